"""Whether a window is good enough, decided as early as it is certain, against the verdict over all of it."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.bounds import Bounds, Counts, as_number, read_bound
from airflow_provider_supermetrics._api.check import CheckProgress, CheckState, LogCheck
from airflow_provider_supermetrics._api.errors import ContractViolation, InvalidRequest
from airflow_provider_supermetrics._api.filter import ErrorFilter
from airflow_provider_supermetrics._api.pager import LogPager
from airflow_provider_supermetrics._api.state import from_json, to_json
from airflow_provider_supermetrics._api.statistics import Statistics
from tests.support.model import ORIGIN, Server, page_of, printed
from tests.support.selection import examples

SECOND = timedelta(seconds=1)
END = ORIGIN + timedelta(hours=1)
# Closer to each other, and to the bounds, than the statistics count.
DURATIONS = [None, 0, 100, 10_000, 10_001, 10_002, 10_003.5]
MANY = 3000
# An entry is its status and its duration. These may follow whatever was read.
FUTURES: list[list[tuple[int, int | None]]] = [
    [],
    [(500, 0)] * MANY,
    [(500, 10**9)] * MANY,
    [(200, 0)] * MANY,
    [(200, 10**9)] * MANY,
    [(200, None)] * MANY,
]


def violated(bounds: Bounds, entries: list[tuple[int, int | None]]) -> set[str]:
    """The bounds that a whole window with these entries violates, as a person would count it."""
    errors = sum(status >= 400 for status, _ in entries)
    durations = sorted(duration for _, duration in entries if duration is not None)
    p95 = durations[math.ceil(len(durations) * 0.95) - 1] if durations else None
    found = set()
    if bounds.max_errors is not None and errors > bounds.max_errors:
        found.add("max_errors")
    if bounds.max_error_rate is not None and entries and errors / len(entries) > bounds.max_error_rate:
        found.add("max_error_rate")
    if bounds.min_entries is not None and len(entries) < bounds.min_entries:
        found.add("min_entries")
    if bounds.max_p95_duration_ms is not None and p95 is not None and p95 > bounds.max_p95_duration_ms:
        found.add("max_p95_duration_ms")
    return found


def counts_of(entries: list[tuple[int, int | None]], is_complete: bool) -> Counts:
    """What is counted of these entries."""
    statistics = Statistics(by_hour=False)
    logs = [
        {"id": str(i), "log_time": "2026-01-01", "status": s, "duration_ms": d}
        for i, (s, d) in enumerate(entries)
    ]
    statistics.add(page_of(logs))
    p95 = statistics.summary().duration_ms.p95
    return Counts(len(entries), sum(status >= 400 for status, _ in entries), p95, is_complete)


def server_of(entries: list[tuple[int, int | None]], ties: int = 1, cap: int | None = None) -> Server:
    """A log with these entries, newest first, so many of them in each second."""
    rows = []
    for i, (status, duration) in enumerate(entries):
        time = END - SECOND * (1 + i // ties)
        fields = {"id": f"{i}-x", "log_time": printed(time, "second"), "status": status}
        rows.append((time, fields if duration is None else {**fields, "duration_ms": duration}))
    # Outside of the window: they must not count.
    for number in range(30):
        time = END + SECOND * number if number % 2 else ORIGIN - SECOND * (1 + number)
        outside = {"id": f"{number}-y", "log_time": printed(time, "second"), "status": 500}
        rows.append((time, {**outside, "duration_ms": 10**8}))
    return Server(rows, inclusive=False, precision="second", finer=False, cap=cap, cuts=None, shuffled=None)


def checked(server: Server, bounds: Bounds, limit: int = 1000, **filters: Any) -> LogCheck:
    """The check at its end; before each request it moves to another process."""
    check = new_check(bounds, limit, **filters)
    while check.next is not None:
        stored = json.loads(json.dumps(to_json(check.state.compact())))
        check = LogCheck(from_json(stored, CheckState), ErrorFilter.of(**filters), bounds)
        assert check.next is not None
        check.receive(server.page(check.next.before, check.next.limit))
        assert server.requests < 500
    return check


def new_check(bounds: Bounds, limit: int = 1000, **filters: Any) -> LogCheck:
    """A check that has read nothing."""
    state = CheckState(LogPager(start=ORIGIN, end=END, limit=limit).state)
    return LogCheck(state, ErrorFilter.of(**filters), bounds)


some_bounds = st.builds(
    Bounds,
    max_errors=st.none() | st.integers(0, 12),
    max_error_rate=st.none() | st.sampled_from([0, 0.05, 0.25, 0.5, 0.9, 1]),
    min_entries=st.none() | st.integers(1, 40),
    max_p95_duration_ms=st.none() | st.sampled_from([0, 100, 10_000, 10_001, 10_003.5]),
)
some_entries = st.lists(
    st.tuples(st.sampled_from([200, 200, 404, 500]), st.sampled_from(DURATIONS)), max_size=40
)


@settings(max_examples=examples(1500), deadline=None)
@given(bounds=some_bounds, entries=some_entries, limit=st.integers(3, 9), ties=st.integers(1, 2))
def test_the_verdict_is_that_of_the_whole_window(
    bounds: Bounds, entries: list[tuple[int, int | None]], limit: int, ties: int
) -> None:
    """However early it ends, and wherever it is interrupted, the check says what the whole window says."""
    check = checked(server_of(entries, ties), bounds, limit)
    result, truth = check.result(), violated(bounds, entries)
    event(f"{result['verdict']}, {'complete' if result['complete'] else 'early'}")
    found = {violation["bound"] for violation in result["violations"]}
    assert (result["verdict"] == "violated") == bool(found) == bool(truth)
    assert found <= truth
    assert not result["complete"] or found == truth
    read = entries if result["complete"] else entries[: result["entries"]]
    assert result["entries"] == len(read)
    if result["complete"] or ties == 1:
        assert result["errors"] == sum(status >= 400 for status, _ in read) == result["statistics"]["errors"]


@settings(max_examples=examples(500), deadline=None)
@given(bounds=some_bounds, entries=some_entries)
@example(Bounds(max_error_rate=0), [(500, None)])
@example(Bounds(max_error_rate=1, min_entries=1), [(500, None)])
def test_it_is_decided_as_soon_as_it_can_be(bounds: Bounds, entries: list[tuple[int, int | None]]) -> None:
    """A decision holds whatever follows; without one, the rest of the window can still decide either way."""
    counts = counts_of(entries, is_complete=False)
    verdicts = {bool(violated(bounds, entries + future)) for future in FUTURES}
    event(f"decided: {bounds.is_decided(counts)}")
    assert bounds.is_decided(counts) == (len(verdicts) == 1)
    if bounds.is_decided(counts):
        assert verdicts == {bool(bounds.violations(counts))}


@settings(max_examples=examples(200), deadline=None)
@given(bounds=some_bounds, entries=some_entries, limit=st.integers(3, 9), cap=st.integers(3, 9))
def test_pages_that_are_cut(
    bounds: Bounds, entries: list[tuple[int, int | None]], limit: int, cap: int
) -> None:
    """Short pages prove nothing, so they end nothing early."""
    assume(not bounds.is_decided(Counts()))
    check = checked(server_of(entries, cap=cap), bounds, limit)
    assert (check.result()["verdict"] == "violated") == bool(violated(bounds, entries))


GOOD, BAD = (200, 100), (500, 100)


@pytest.mark.parametrize(
    ("bounds", "entries", "requests", "found"),
    [
        ({"max_errors": 0}, [BAD, *[GOOD] * 50], 1, ["max_errors"]),
        ({"max_errors": 0}, [*[GOOD] * 50, BAD], 6, ["max_errors"]),
        ({"max_errors": 1}, [BAD, *[GOOD] * 50], 6, []),
        ({"max_errors": 11}, [BAD] * 51, 2, ["max_errors"]),
        ({"min_entries": 10}, [GOOD] * 51, 1, []),
        ({"min_entries": 11}, [GOOD] * 51, 2, []),
        ({"min_entries": 52}, [GOOD] * 51, 6, ["min_entries"]),
        ({"min_entries": 1}, [], 1, ["min_entries"]),
        ({"max_errors": 0, "min_entries": 1}, [GOOD] * 51, 6, []),
        ({"max_error_rate": 0}, [BAD, *[GOOD] * 50], 1, ["max_error_rate"]),
        ({"max_error_rate": 0.01}, [BAD, *[GOOD] * 50], 6, ["max_error_rate"]),
        ({"max_error_rate": 0.02}, [BAD, *[GOOD] * 50], 6, []),
        ({"max_error_rate": 0.5}, [], 1, []),
        ({"max_error_rate": 1, "min_entries": 10}, [BAD] * 51, 1, []),
        ({"max_p95_duration_ms": 99}, [GOOD] * 51, 6, ["max_p95_duration_ms"]),
        ({"max_p95_duration_ms": 100}, [GOOD] * 51, 6, []),
        ({"max_p95_duration_ms": 0}, [(200, None)] * 5, 1, []),
        (
            {"max_errors": 1, "max_error_rate": 0.5, "min_entries": 9, "max_p95_duration_ms": 99},
            [BAD] * 51,
            1,
            ["max_errors"],
        ),
        (
            {"max_errors": 5, "max_error_rate": 0.5, "min_entries": 9, "max_p95_duration_ms": 99},
            [BAD] * 5,
            1,
            ["max_error_rate", "max_p95_duration_ms", "min_entries"],
        ),
    ],
)
def test_requests(bounds: dict[str, Any], entries: list[Any], requests: int, found: list[str]) -> None:
    """Pages of 10 are read until the verdict is certain, and no further."""
    server = server_of(entries)
    result = checked(server, Bounds.of(**bounds), 10).result()
    assert [violation["bound"] for violation in result["violations"]] == found
    assert server.requests == requests


def test_what_a_refused_page_leaves() -> None:
    """A page that is refused is not counted."""
    check = new_check(Bounds.of(max_errors=2))
    check.receive(page_of([{"id": "1", "log_time": "2026-01-01T00:30:00Z", "status": 500}]))
    state = to_json(check.state)
    with pytest.raises(ContractViolation):
        check.receive(page_of([{"id": "2", "log_time": "2026-01-01T00:50:00Z", "status": 500}]))
    assert to_json(check.state) == state
    assert check.is_known
    progress = CheckProgress({}, check.state, 1, 0, END)
    assert from_json(to_json(progress), CheckProgress) == progress


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("max_errors", 0, 0),
        ("max_errors", " 7 ", 7),
        ("max_errors", "", None),
        ("max_errors", "None", None),
        ("max_errors", None, None),
        ("max_error_rate", 0.25, 0.25),
        ("max_error_rate", "0.25", 0.25),
        ("max_error_rate", "1", 1),
        ("min_entries", 1, 1),
        ("max_p95_duration_ms", 1500.5, 1500.5),
    ],
)
def test_a_bound(name: str, value: Any, read: Any) -> None:
    """Templates give strings; a string without anything in it is no bound."""
    found = read_bound(name, value)
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("max_errors", -1, "max_errors must be an integer of 0 or more, or None for no bound, not -1"),
        ("max_errors", 1.0, "max_errors must be an integer"),
        ("max_errors", True, "max_errors must be an integer"),
        ("max_errors", "-1", "max_errors must be an integer of 0 or more, or None for no bound, not '-1'"),
        ("max_errors", "some", "not 'some'"),
        (
            "max_error_rate",
            1.01,
            "max_error_rate must be a number from 0 to 1, such as 0.05 for 5 %, or None",
        ),
        ("max_error_rate", 5, "from 0 to 1"),
        ("max_error_rate", -0.1, "from 0 to 1"),
        ("max_error_rate", math.nan, "from 0 to 1"),
        ("max_error_rate", "5 %", "not '5 %'"),
        ("min_entries", 0, "min_entries must be an integer of 1 or more"),
        ("max_p95_duration_ms", -1, "max_p95_duration_ms must be a number of milliseconds, 0 or more"),
        ("max_p95_duration_ms", math.inf, "0 or more"),
        ("max_p95_duration_ms", [1], "0 or more"),
    ],
)
def test_a_bound_out_of_range(name: str, value: Any, complaint: str) -> None:
    """The message says what to write."""
    with pytest.raises(InvalidRequest, match=complaint):
        read_bound(name, value)


@pytest.mark.parametrize("bounds", [{}, {"max_errors": None}, {"max_error_rate": 1}, {"max_errors": ""}])
def test_no_bound(bounds: dict[str, Any]) -> None:
    """A check that no log can fail is refused: it would only look like one."""
    with pytest.raises(InvalidRequest, match="no bound that a log could violate: give max_errors,"):
        Bounds.of(**bounds)


@pytest.mark.parametrize("value", [3, None, "x", "1e3", "0x1", "1_0", "1" * 16, [1]])
def test_what_is_no_number(value: Any) -> None:
    """It stays as it is, for the message."""
    assert as_number(value) is value


@pytest.mark.parametrize(
    ("bounds", "entries", "line"),
    [
        ({"max_errors": 0}, [BAD], "T3S70: 1 error, more than max_errors=0, in the hour"),
        (
            {"max_errors": 1},
            [BAD] * 2000,
            "T3S70: at least 1,000 errors, more than max_errors=1, in the hour",
        ),
        (
            {"max_error_rate": 0.2},
            [BAD, GOOD, GOOD],
            "T3S70: error rate 0.3333 (1 error in 3 entries), more than max_error_rate=0.2, in the hour",
        ),
        (
            {"max_error_rate": 0},
            [BAD, *[GOOD] * 1999],
            "T3S70: error rate 0.001 (1 error in the newest 1,000 entries), more than max_error_rate=0, in "
            "the hour",
        ),
        ({"min_entries": 2}, [GOOD], "T3S70: 1 entry, fewer than min_entries=2, in the hour"),
        (
            {"max_p95_duration_ms": 99},
            [GOOD],
            "T3S70: p95 of duration_ms 100, more than max_p95_duration_ms=99, in the hour",
        ),
        (
            {"max_errors": 0, "min_entries": 5},
            [BAD] * 2,
            "T3S70: 2 errors, more than max_errors=0, 2 entries, fewer than min_entries=5, in the hour",
        ),
        ({"max_errors": 5}, [BAD, GOOD], "T3S70: passed, 1 error in 2 entries, in the hour"),
        (
            {"min_entries": 5},
            [GOOD] * 2000,
            "T3S70: passed, 0 errors in the newest 1,000 entries, in the hour",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)}",
)
def test_the_first_line(bounds: dict[str, Any], entries: list[Any], line: str) -> None:
    """It says which bound is violated, and by how much, before it says when."""
    check = checked(server_of(entries), Bounds.of(**bounds))
    assert check.message("T3S70", "the hour").split("\n")[0] == line


@pytest.mark.parametrize(
    ("errors", "title"), [(3, "Most frequent:"), (25, "Most frequent among the newest 20:")]
)
def test_the_other_lines(errors: int, title: str) -> None:
    """They say what failed most, and where to look."""
    check = checked(server_of([BAD] * errors), Bounds.of(max_errors=0))
    assert check.message("T3S70", "the hour").split("\n")[1:] == [
        title,
        f"  {min(errors, 20)} x 500 without a request",
        "Newest: log entry 0-x, at 2026-01-01T00:59:59Z",
    ]
    assert [entry["id"] for entry in check.result()["examples"]] == [f"{i}-x" for i in range(min(errors, 5))]


def test_which_entries_count_as_errors() -> None:
    """The filter decides it; the statistics count each status of 400 and more."""
    check = checked(server_of([BAD, (404, 1), (200, 1)]), Bounds.of(max_errors=0), statuses=[404])
    result = check.result()
    assert (result["errors"], result["statistics"]["errors"]) == (1, 2)
    assert [entry["status"] for entry in result["examples"]] == [404]
    assert "hours" not in result["statistics"]


def test_a_window_that_cannot_be_read() -> None:
    """It is refused, as by the pager."""
    with pytest.raises(InvalidRequest, match="is empty"):
        CheckState.of(END, END)
