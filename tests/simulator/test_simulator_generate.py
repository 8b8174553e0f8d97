"""Generated entries."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest

from dev.simulator import generate_entries
from dev.simulator.times import UNITS, microseconds

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
END = START + timedelta(days=1)


def test_same_arguments_same_entries():
    """A seed gives the same entries each time, another seed others."""
    first, again = (generate_entries(500, START, END, seed=3) for _ in range(2))
    assert first == again
    assert first != generate_entries(500, START, END, seed=4)


def test_entries_are_as_documented():
    """Count, order, window, unique ids and the documented types and ranges hold, with enough variety."""
    entries = generate_entries(count=5000, start=START, end=END, seed=1)
    times = [entry["log_time"] for entry in entries]
    assert len(entries) == len({entry["id"] for entry in entries}) == 5000
    assert times == sorted(times)
    assert times[0] >= START
    assert times[-1] < END
    assert all(str(UUID(entry["request_id"])) == entry["request_id"] for entry in entries)
    assert all(entry["status"] is None or 100 <= entry["status"] <= 599 for entry in entries)
    assert all(entry["duration_ms"] is None or entry["duration_ms"] >= 0 for entry in entries)
    for name in ("status", "event", "request", "duration_ms"):
        values = {entry[name] for entry in entries}
        assert None in values
        assert len(values) > 5


def test_numbering_can_continue():
    """Ids begin with the given number."""
    assert generate_entries(2, START, END, first_number=41)[1]["id"].startswith("000042-")


@pytest.mark.parametrize("error_rate", [0.0, 0.3, 1.0])
def test_error_rate(error_rate):
    """The share of entries with an error status is about the given one."""
    entries = generate_entries(4000, START, END, error_rate=error_rate)
    errors = sum((entry["status"] or 0) >= 400 for entry in entries)
    assert errors / 4000 == pytest.approx(error_rate, abs=0.03)


@pytest.mark.parametrize("precision", ["minute", "second", "millisecond", "microsecond"])
@pytest.mark.parametrize("ties", [1.0, 3.0])
def test_ties(precision, ties):
    """At the given precision, so many entries share a time on average."""
    entries = generate_entries(900, START, END, ties=ties, precision=precision)
    shared = Counter(microseconds(entry["log_time"]) // UNITS[precision] for entry in entries)
    assert 900 / len(shared) == pytest.approx(ties)


def test_crowded_window():
    """A window with too few distinct times takes all entries, in ties that are larger."""
    entries = generate_entries(900, START, START + timedelta(seconds=2), ties=1.0)
    assert {entry["log_time"].second for entry in entries} == {0, 1}


def test_empty():
    """Zero entries are allowed, but an empty window with entries is not."""
    assert generate_entries(0, START, END) == []
    with pytest.raises(ValueError, match="no whole"):
        generate_entries(1, START, START)
