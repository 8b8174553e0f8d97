"""Parsing of users' times, and the package's format of times."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._api.times import (
    DAY,
    ceil,
    compact_time,
    format_time,
    parse_duration,
    parse_log_time,
    parse_time,
    to_utc,
)

NINE = datetime(2026, 1, 1, 9, tzinfo=timezone.utc)
LAST = datetime.max.replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "value",
    [
        NINE,
        NINE.astimezone(timezone(timedelta(hours=2))),
        pendulum.datetime(2026, 1, 1, 11, tz="Europe/Helsinki"),
        "2026-01-01T09:00:00Z",
        " 2026-01-01 11:00+02:00 ",
        "20260101T090000Z",
        "2026-01-01T09Z",
    ],
)
def test_a_time_is_read_in_utc(value: Any) -> None:
    """Any form of a time is returned as a plain datetime in UTC."""
    read = parse_time("since", value)
    assert read == NINE
    assert type(read) is datetime
    assert read.tzinfo is timezone.utc


@pytest.mark.parametrize("value", [None, "", " ", "None"])
def test_a_template_may_give_no_time(value: Any) -> None:
    """An empty string and "None" mean no time."""
    assert parse_time("since", value) is None


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("2026-01-01", "since 2026-01-01 has no time zone"),
        (NINE.replace(tzinfo=None), "since 2026-01-01T09:00:00 has no time zone"),
        ("2026-W01-1", "since '2026-W01-1' is not an ISO 8601 time with an offset"),
        ("2026-13-01T00:00:00Z", "is not an ISO 8601 time"),
        (5, "since must be a datetime or an ISO 8601 string, not 5"),
        ("9999-12-31T00:00:00Z", "out of range"),
        ("9999-12-31T23:00:00-05:00", "out of range"),
    ],
)
def test_a_time_that_is_refused(value: Any, complaint: str) -> None:
    """The message of a refused time contains the argument's name and the value."""
    with pytest.raises(InvalidRequest, match=complaint):
        parse_time("since", value)


def test_a_time_of_which_there_is_none_in_utc() -> None:
    """A time that has no form in UTC is refused as out of range, without an OverflowError."""
    with pytest.raises(InvalidRequest, match="out of range"):
        to_utc("end", datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))))


def test_a_time_is_printed_with_the_digits_that_it_has() -> None:
    """A time is printed with no, three or six digits; names of objects have no separators."""
    texts = [format_time(NINE + timedelta(microseconds=part)) for part in (0, 500_000, 500_001)]
    assert texts == ["2026-01-01T09:00:00Z", "2026-01-01T09:00:00.500Z", "2026-01-01T09:00:00.500001Z"]
    assert compact_time(NINE) == "20260101T090000Z"
    assert compact_time(datetime(1, 1, 1, tzinfo=timezone.utc)) == "00010101T000000Z"


def test_rounding_up() -> None:
    """Whole units are unchanged, and the largest datetime is not rounded up."""
    assert ceil(NINE, DAY) == datetime(2026, 1, 2, tzinfo=timezone.utc)
    assert ceil(NINE, timedelta(hours=1)) == NINE
    with pytest.raises(OverflowError):
        ceil(LAST, DAY)


@pytest.mark.parametrize(
    ("text", "at", "tick"),
    [
        ("2026-01-01", NINE - timedelta(hours=9), DAY),
        ("2026-01-01T09:00Z", NINE, timedelta(minutes=1)),
        ("2026-01-01 07:30:00-0130", NINE, timedelta(seconds=1)),
        ("2026-01-01T09:00:00,000", NINE, timedelta(milliseconds=1)),
        ("2026-01-01T10:00:00.1234567+01", NINE + timedelta(microseconds=123456), timedelta(microseconds=1)),
    ],
)
def test_a_log_time_and_its_precision(text: str, at: datetime, tick: timedelta) -> None:
    """A log time without an offset is in UTC, and digits beyond microseconds are dropped."""
    assert parse_log_time(text) == (at, tick)


@pytest.mark.parametrize(
    ("value", "duration"),
    [
        (timedelta(hours=1), timedelta(hours=1)),
        (pendulum.duration(months=1), pendulum.duration(months=1)),
        ("PT1H", timedelta(hours=1)),
        (" P1D ", timedelta(days=1)),
        ("P1W2DT3H4M5S", timedelta(days=9, hours=3, minutes=4, seconds=5)),
        ("PT0.25S", timedelta(milliseconds=250)),
        ("PT90M", timedelta(minutes=90)),
        ("P1Y2M", pendulum.duration(years=1, months=2)),
        ("P0D", timedelta()),
        *[(value, None) for value in (None, "", " ", "None")],
    ],
)
def test_a_length_of_time_is_read(value: Any, duration: timedelta | None) -> None:
    """A timedelta as it is, a duration in the notation of ISO 8601, or none where a template gave none."""
    read = parse_duration("window", value)
    assert read == duration
    if isinstance(duration, pendulum.Duration):
        assert isinstance(read, pendulum.Duration)
        assert (read.years, read.months) == (duration.years, duration.months)


@pytest.mark.parametrize(
    "value",
    [
        "1h",
        "1:00:00",
        "3600",
        3600,
        True,
        "P",
        "PT",
        "P1DT",
        "P1H",
        "-P1D",
        "P-1D",
        "p1d",
        "P1.5D",
        "P1D P1D",
    ],
)
def test_what_is_no_length_of_time(value: Any) -> None:
    """The message has the argument, what to write, and the value."""
    with pytest.raises(InvalidRequest) as refused:
        parse_duration("window", value)
    expected = "window must be a timedelta or an ISO 8601 duration such as 'PT1H' or 'P1D'"
    assert str(refused.value) == f"{expected}, not {value!r}"


@pytest.mark.parametrize(
    "value", ["P999999999999D", f"PT{'9' * 5000}S", f"PT{'9' * 500}.5S", "P99999999999999999999Y"]
)
def test_a_length_of_time_that_no_timedelta_can_hold(value: str) -> None:
    """It is refused as well."""
    with pytest.raises(InvalidRequest, match=r"window .* is out of range"):
        parse_duration("window", value)


@given(*[st.integers(0, 1000)] * 7)
def test_a_duration_is_read_as_pendulum_reads_it(
    years: int, months: int, weeks: int, days: int, hours: int, minutes: int, seconds: int
) -> None:
    """Each unit counts as the argument of `pendulum.duration` with its name."""
    text = f"P{years}Y{months}M{weeks}W{days}DT{hours}H{minutes}M{seconds}S"
    read = parse_duration("window", text)
    made = pendulum.duration(
        years=years, months=months, weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds
    )
    assert isinstance(read, pendulum.Duration)
    assert (read, read.years, read.months) == (made, made.years, made.months)
    if not weeks:
        assert pendulum.parse(text.replace("0W", "")) == made
