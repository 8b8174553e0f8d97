"""Parsing of users' times, and the package's format of times."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pendulum
import pytest

from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._api.times import (
    DAY,
    ceil,
    compact_time,
    format_time,
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
