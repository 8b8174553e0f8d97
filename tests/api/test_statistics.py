"""What the entries of a window say in numbers."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.entry import LogEntry, read_page
from airflow_provider_supermetrics._api.state import from_json, to_json
from airflow_provider_supermetrics._api.statistics import DurationStatistics, HourStatistics, Statistics
from tests.support import any_json
from tests.support.selection import examples

START = datetime(2026, 1, 1, 0, 30, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def entries_of(*fields: dict[str, Any]) -> list[LogEntry]:
    """Read entries as those of one page, at the start unless they have a time."""
    logs = [{"id": str(i), "log_time": "2026-01-01T00:30:00Z", **f} for i, f in enumerate(fields)]
    return read_page(json.dumps({"logs": logs}).encode())


def counted(*fields: dict[str, Any], length: timedelta = HOUR) -> Statistics:
    """Count entries, those of a window of this length."""
    statistics = Statistics.of(length)
    statistics.add(entries_of(*fields))
    return statistics


@pytest.mark.parametrize(
    ("status", "label", "is_error"),
    [
        (200, "200", False),
        (399, "399", False),
        (400, "400", True),
        (404.0, "404", True),
        ("503", "503", True),
        (" 503 ", "503", True),
        (None, "none", False),
        ("error", "none", False),
        (True, "none", False),
        ([500], "none", False),
        ({"status": 500}, "none", False),
        (0, "0", False),
        (999, "999", True),
        (1000, "other", True),
        (-1, "other", False),
        (404.5, "other", True),
        (10**400, "other", True),
    ],
    ids=str,
)
def test_a_status(status: Any, label: str, is_error: bool) -> None:
    """It counts as the filter of the alerts reads it."""
    summary = counted({"status": status}).summary()
    assert (summary.statuses, summary.errors) == ({label: 1}, int(is_error))


def test_equal_values_of_other_types() -> None:
    """True is no status, though it equals 1."""
    statuses = [1, True, 1.0, "1", False, 0]
    assert counted(*({"status": s} for s in statuses)).summary().statuses == {"0": 1, "1": 3, "none": 2}


@pytest.mark.parametrize("duration", [None, -1, "12", True, [5], 2**63, 1e300, -0.5])
def test_what_is_no_duration(duration: Any) -> None:
    """It is left out, and the others count."""
    summary = counted({"duration_ms": duration}, {"duration_ms": 7}, {}).summary()
    assert summary.duration_ms == DurationStatistics(1, 7, 7, 7)


def test_no_durations() -> None:
    """Nothing is made up."""
    assert counted({"status": 200}).summary().duration_ms == DurationStatistics(0, None, None, None)
    assert counted().summary().duration_ms == DurationStatistics(0, None, None, None)


def test_short_durations_are_exact() -> None:
    """Up to 100 ms, each millisecond has a bucket of its own."""
    for longest in range(101):
        summary = counted(*({"duration_ms": d} for d in range(longest + 1))).summary().duration_ms
        assert summary.p50 == math.ceil((longest + 1) * 0.5) - 1
        assert summary.p95 == math.ceil((longest + 1) * 0.95) - 1
        assert summary.max == longest


@pytest.mark.parametrize(
    ("length", "hours"),
    [(HOUR, 0), (2 * HOUR, 0), (2 * HOUR + timedelta(seconds=1), 1), (400 * DAY, 1), (401 * DAY, 0)],
)
def test_hours_of_long_windows(length: timedelta, hours: int) -> None:
    """Hours are counted where the window has more than two, and not so many that the manifest is huge."""
    assert len(counted({"status": 500}, length=length).summary().hours) == hours


def test_hours_across_a_page() -> None:
    """Each entry counts in its own hour, whatever the order of the page."""
    times = ["02:00:00", "01:59:59", "00:00:00", "01:00:00"]
    fields = [
        {"log_time": f"2026-01-01T{time}Z", "status": status}
        for time, status in zip(times, [500, 200, 400, "503"], strict=True)
    ]
    assert counted(*fields, length=DAY).summary().hours == [
        HourStatistics("2026-01-01T00:00:00Z", 1, 1),
        HourStatistics("2026-01-01T01:00:00Z", 2, 1),
        HourStatistics("2026-01-01T02:00:00Z", 1, 1),
    ]


def test_more_durations_than_wait() -> None:
    """They are put into buckets from time to time, which bounds the memory and changes nothing."""
    statistics = Statistics.of(HOUR)
    for _ in range(55):
        statistics.add(entries_of(*({"duration_ms": duration} for duration in range(1000))))
    assert len(statistics.recent) < 50_000
    summary = statistics.summary().duration_ms
    assert (summary.entries, summary.max) == (55_000, 999)
    assert abs(summary.p50 - 499) <= 5 and abs(summary.p95 - 949) <= 10


@pytest.mark.parametrize(("newest", "later"), [("00:30:00", 0), ("00:59:59", 0), ("01:00:00", 1)])
def test_times_that_the_caller_knows(newest: str, later: int) -> None:
    """Bounds in one hour spare a look at each time; others do not decide anything."""
    entries = entries_of({"log_time": f"2026-01-01T{newest}Z"}, {"status": 500})
    statistics = Statistics.of(DAY)
    statistics.add(entries, oldest=START, newest=entries[0].time)
    found = {hour.start[11:13]: (hour.entries, hour.errors) for hour in statistics.summary().hours}
    assert found == ({"00": (1, 1), "01": (1, 0)} if later else {"00": (2, 1)})


_FIELDS = st.fixed_dictionaries(
    {
        "log_time": st.integers(0, 5 * 3600).map(
            lambda s: f"{START + timedelta(seconds=s):%Y-%m-%dT%H:%M:%SZ}"
        )
    },
    optional={"status": any_json.fields["status"], "duration_ms": any_json.fields["duration_ms"]},
)


@settings(max_examples=examples(500))
@given(st.lists(st.lists(_FIELDS, max_size=8), max_size=5), st.booleans())
@example([[{"log_time": "2026-01-01T00:30:00Z", "status": 500, "duration_ms": 2**63 - 1}]], True)
@example([[{"log_time": "2026-01-01T00:30:00Z", "status": 100, "duration_ms": 577}]], False)
@example([[{"log_time": "2026-01-01T00:30:00Z", "duration_ms": 173}]], False)
def test_any_entries_in_any_pages(pages: list[list[dict[str, Any]]], resumes: bool) -> None:
    """Counts are exact and percentiles close, however the entries are divided, and after a resume."""
    statistics = Statistics.of(DAY)
    for page in pages:
        statistics.add(entries_of(*page))
        if resumes:
            statistics = from_json(to_json(statistics), Statistics)
    summary = statistics.summary()
    entries = [entry for page in pages for entry in page]
    assert sum(summary.statuses.values()) == sum(hour.entries for hour in summary.hours) == len(entries)
    assert summary.errors == sum(hour.errors for hour in summary.hours)
    assert Counter({hour.start: hour.entries for hour in summary.hours}) == Counter(
        f"{entry['log_time'][:13]}:00:00Z" for entry in entries
    )
    durations = sorted(
        d for e in entries if type(d := e.get("duration_ms")) in (int, float) and 0 <= d < 2**63
    )
    found = summary.duration_ms
    assert (found.entries, found.max) == (len(durations), max(durations, default=None))
    for percentile, value in ((50, found.p50), (95, found.p95)):
        exact = durations[math.ceil(len(durations) * percentile / 100) - 1] if durations else None
        assert value == exact or abs(value - exact) <= max(1, 0.01 * exact)
