"""Which window a run exports: by the calendar of its schedule, by its partition, by hand."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import pendulum
import pytest

from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor
from dev.simulator import Simulator
from tests.components.conftest import context, utc
from tests.conftest import CONNECTOR, HOUR, START

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]
Export = Callable[..., dict[str, Any]]
Logged = Callable[[], list[str]]
WindowOf = Callable[..., tuple[datetime, datetime]]
DAY = timedelta(days=1)
HELSINKI = "Europe/Helsinki"


# Times that people give


@pytest.mark.parametrize(
    "text",
    [
        "2025-01-01T05:00:00Z",
        "2025-01-01 05:00:00+00:00",
        "2025-01-01T05:00:00+0000",
        "2025-01-01T05:00:00+00",
        "2025-01-01T10:30:00.0+05:30",
        "2025-01-01T05:00:00,000Z",
        "2025-01-01T05:00Z",
        "2025-01-01T05Z",
        "20250101T050000Z",
        "20250101T0500+0000",
        " 2024-12-31T23:30:00-05:30\n",
        pendulum.datetime(2025, 1, 1, 5),
        pendulum.datetime(2025, 1, 1, 7, tz=HELSINKI),
        datetime(2025, 1, 1, 7, tzinfo=zoneinfo.ZoneInfo(HELSINKI)),
    ],
)
def test_a_time_is_read_alike_on_every_python(window_of: WindowOf, text: Any) -> None:
    """ISO 8601 with an offset, in its usual spellings."""
    assert window_of(context(), start=text, end=START)[0] == utc("2025-01-01T05:00:00")
    assert window_of(context(), start=utc("2024-01-01"), end=text)[1] == utc("2025-01-01T05:00:00")


def test_fractions_of_a_second_count(window_of: WindowOf) -> None:
    """As many digits as there are."""
    start, end = window_of(context(), start="2025-01-01T05:00:00.5Z", end="20250101T050001.123456789+0000")
    assert start == utc("2025-01-01T05:00:00.500000")
    assert end == utc("2025-01-01T05:00:01.123456")


NOT_TIMES = [
    ("2025-01-01", "no time zone"),
    ("20250101", "no time zone"),
    ("2025-01-01T05:00:00", "no time zone"),
    ("2025-01-01 05:00:00.5", "no time zone"),
    ("20250101T050000", "no time zone"),
    (datetime(2025, 1, 1), "no time zone"),
    (pendulum.naive(2025, 1, 1), "no time zone"),
    ("12", "not an ISO 8601 time"),
    ("2025", "not an ISO 8601 time"),
    ("202501", "not an ISO 8601 time"),
    ("12:30Z", "not an ISO 8601 time"),
    ("now", "not an ISO 8601 time"),
    ("P1D", "not an ISO 8601 time"),
    ("PT1H", "not an ISO 8601 time"),
    ("2025-01-01T00:00:00Z/2025-01-02T00:00:00Z", "not an ISO 8601 time"),
    ("2025-01-01T00:00:00Z/PT1H", "not an ISO 8601 time"),
    ("2025-W01", "not an ISO 8601 time"),
    ("2025-W00-1T00:00:00Z", "not an ISO 8601 time"),
    ("2025-W01T00:00:00Z", "not an ISO 8601 time"),
    ("2025-001T00:00:00Z", "not an ISO 8601 time"),
    ("2025-01T00:00:00Z", "not an ISO 8601 time"),
    ("2025/01/01 05:00:00", "not an ISO 8601 time"),
    ("1735689600", "not an ISO 8601 time"),
    ("2025-01-01T24:00:00Z", "not an ISO 8601 time"),
    ("2025-02-30T00:00:00Z", "not an ISO 8601 time"),
    ("2025-01-01T00:00:00+99:99", "not an ISO 8601 time"),
    ("2025-01-01T00:00:00+24:00", "not an ISO 8601 time"),
    ("2025-01-01T00:00:00Z" * 2, "not an ISO 8601 time"),
    ("٢٠٢٥-01-01T00:00:00Z", "not an ISO 8601 time"),
    ("9999-12-31T23:59:59Z", "out of range"),
    ("9999-12-31T23:59:59-05:00", "out of range"),
    (datetime.max.replace(tzinfo=timezone(-HOUR)), "out of range"),
    ("0001-01-01T00:00:00+05:00", "out of range"),
    (20250101, "must be a datetime"),
    (START.date(), "must be a datetime"),
]


@pytest.mark.parametrize(("value", "complaint"), NOT_TIMES)
@pytest.mark.parametrize("name", ["start", "end", "since"])
def test_what_is_no_certain_time_is_refused(
    quiet: Simulator, export: Export, name: str, value: Any, complaint: str
) -> None:
    """Nothing is guessed: not a day, not a zone."""
    if name == "since":
        sensor = SupermetricsErrorLogSensor(
            task_id="t", connector_identifier=CONNECTOR, since=value, timeout=0
        )
        run = partial(sensor.execute, context())
    else:
        run = partial(export, context(), **{name: value}, settle=timedelta(0))
    with pytest.raises(SupermetricsValidationError, match=complaint) as refused:
        run()
    assert str(refused.value).startswith(name)
    assert quiet.requests == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"end": "9998-12-31T00:00:00Z", "settle": timedelta(days=800)}, "settle"),
    ],
)
def test_a_window_beyond_the_calendar_is_refused(
    quiet: Simulator, export: Export, arguments: dict[str, Any], complaint: str
) -> None:
    """With an error of this package, not one of datetime's."""
    with pytest.raises(SupermetricsValidationError, match=f"^{complaint}.*out of range"):
        export(context(), **arguments)
    assert quiet.requests == []


def test_the_year_1_has_four_digits_in_names(window_of: WindowOf, exported: Any) -> None:
    """On every platform."""
    window_of(context(), start="0001-01-01T00:00:00Z", end="2025-01-01T00:00:00Z")
    assert f"_manifest-{CONNECTOR}-00010101T000000Z-20250101T000000Z.json" in exported.names
