"""The walk in single cases: requests, refusals, ends."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_supermetrics.protocol.entries import Entry
from airflow_provider_supermetrics.protocol.errors import ContractViolation, InvalidRequest, NoProgress
from airflow_provider_supermetrics.protocol.walk import LogWalk
from tests.support.model import ORIGIN, Server, printed, run

SECOND = timedelta(seconds=1)


def server(seconds: list[int], **switches: object) -> Server:
    """A server whose log has an entry at each of these seconds."""
    entries = [
        (
            ORIGIN + s * SECOND,
            {"id": str(i), "log_time": (ORIGIN + s * SECOND).strftime("%Y-%m-%dT%H:%M:%SZ")},
        )
        for i, s in enumerate(seconds)
    ]
    defaults = {
        "inclusive": False,
        "precision": "second",
        "finer": False,
        "cap": None,
        "cuts": None,
        "shuffled": None,
    }
    return Server(entries, **{**defaults, **switches})


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("count", [1, 5, 99, 100, 101, 199, 250, 1000])
def test_requests_for_a_window_within_the_history(count: int, inclusive: bool) -> None:
    """N entries cost ceil(N / page) + 2 requests at most, and one where the page shows an older entry."""
    source = server(list(range(2000)), inclusive=inclusive)
    start, end = ORIGIN + 500 * SECOND, ORIGIN + (500 + count) * SECOND
    got = run(source, LogWalk(start=start, end=end, limit=100))
    assert len(got) == count
    assert source.requests <= math.ceil(count / 100) + 2
    if count < 99:
        assert source.requests == 1


@pytest.mark.parametrize("count", [0, 1, 5, 100, 199, 200, 250, 300, 500])
def test_requests_for_a_whole_history(count: int) -> None:
    """Its pages, each of which repeats an entry of the one before, and two that prove the end."""
    source = server(list(range(count)))
    assert len(run(source, LogWalk(limit=100))) == count
    assert source.requests <= max(1, math.ceil((count - 1) / 99)) + 2


def test_an_empty_window_in_a_history_costs_one_request() -> None:
    """An idle hour is known from one page."""
    source = server([0, 1, 2])
    assert run(source, LogWalk(start=ORIGIN + 10 * SECOND, end=ORIGIN + 20 * SECOND)) == []
    assert source.requests == 1


@pytest.mark.parametrize("inclusive", [False, True])
def test_a_time_that_fills_a_page_is_refused(inclusive: bool) -> None:
    """1,000 entries at one time and an older one: nothing can be known, so the walk says so."""
    source = server([0] + [5] * 1000, inclusive=inclusive)
    with pytest.raises(NoProgress, match="2026-01-01T00:00:05") as refused:
        run(source, LogWalk())
    assert refused.value.page_length == 1000
    assert source.requests <= 4


@pytest.mark.parametrize("ties", [999, 1000])
def test_a_time_that_fills_a_page_is_not_the_end_of_the_history(ties: int) -> None:
    """A page of one time only is refused where it is full, although it looks like an end."""
    source = server([5] * ties)
    walk = LogWalk()
    if ties == 1000:
        with pytest.raises(NoProgress):
            run(source, walk)
    else:
        assert len(run(source, walk)) == ties


def test_a_small_page_grows_where_one_time_fills_it() -> None:
    """What a page of 10 cannot pass, one of 1,000 can."""
    source = server([1, 2] + [5] * 300 + [7])
    assert len(run(source, LogWalk(limit=10))) == 303


def test_a_server_that_cuts_pages_within_a_time_is_refused() -> None:
    """Short pages of one time, with older entries behind them, are not taken for the end."""
    source = server([0, 1] + [5] * 60 + [9], cap=50)
    with pytest.raises(NoProgress):
        run(source, LogWalk())


def test_the_window_goes_by_the_printed_time() -> None:
    """Where times are printed as dates, a late entry of a day belongs to the window with its start."""
    entries = [(ORIGIN + timedelta(hours=h), {"id": str(h), "log_time": "2026-01-01"}) for h in range(24)]
    source = Server(entries, inclusive=False, precision="day", finer=True, cap=None, cuts=None, shuffled=None)
    got = run(source, LogWalk(start=ORIGIN, end=ORIGIN + timedelta(hours=6)))
    assert len(got) == 24


@pytest.mark.parametrize(
    ("start", "end", "limit"),
    [
        (ORIGIN, ORIGIN, 10),
        (ORIGIN + SECOND, ORIGIN, 10),
        (ORIGIN.replace(tzinfo=None), None, 10),
        (None, ORIGIN.replace(tzinfo=None), 10),
        (None, None, 0),
        (None, None, 1001),
    ],
)
def test_windows_that_make_no_sense(start: datetime | None, end: datetime | None, limit: int) -> None:
    """Naive times, empty and reversed windows and impossible pages are refused before any request."""
    with pytest.raises(InvalidRequest):
        LogWalk(start=start, end=end, limit=limit)


def test_a_window_in_another_zone_is_the_same_window() -> None:
    """Only the moment counts."""
    zone = timezone(timedelta(hours=5, minutes=30))
    walk = LogWalk(end=(ORIGIN + timedelta(milliseconds=1)).astimezone(zone))
    assert walk.next is not None
    assert walk.next.before == ORIGIN + SECOND


@pytest.mark.parametrize(
    "times",
    [
        ["2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"],  # not newest first
        ["2026-01-01T00:02:00Z"],  # newer than was asked for
    ],
)
def test_pages_that_break_the_contract(times: list[str]) -> None:
    """A page that is not what was asked for may hide entries."""
    walk = LogWalk(end=ORIGIN + 10 * SECOND)
    page: list[Entry] = [{"id": time, "log_time": time} for time in times]
    with pytest.raises(ContractViolation):
        walk.receive(page)


def test_a_server_that_ignores_before_is_refused() -> None:
    """The same newest page for ever is neither a loop nor an end."""
    page: list[Entry] = [
        {"id": str(i), "log_time": (ORIGIN - i * SECOND).strftime("%Y-%m-%dT%H:%M:%SZ")} for i in range(10)
    ]
    walk = LogWalk(limit=10)
    walk.receive(page)
    with pytest.raises(ContractViolation):
        walk.receive(page)


def test_an_entry_that_comes_twice_in_a_page_counts_once() -> None:
    """One id is one entry."""
    walk = LogWalk()
    entry: Entry = {"id": "1", "log_time": "2026-01-01T00:00:01Z"}
    assert walk.receive([entry, dict(entry)]) == [entry]


def test_a_walk_that_is_over_takes_no_page() -> None:
    """Asking on after the end is a mistake of the caller."""
    walk = LogWalk()
    walk.receive([])
    assert walk.next is None
    with pytest.raises(RuntimeError):
        walk.receive([])


@pytest.mark.parametrize("cuts", [[1000, 1000, 700, 1], [1000, 1000, 700, 700, 1], [1000, 1000, 1000, 999]])
def test_a_server_that_cuts_after_full_pages_loses_nothing(cuts: list[int]) -> None:
    """Full pages first prove nothing for a short one later: all entries, or a refusal."""
    source = server(list(range(5000)))
    lengths = [*cuts, *[1000] * 20]
    walk, got = LogWalk(), 0
    try:
        while walk.next:
            source.cap = lengths[source.requests]
            got += len(walk.receive(source.page(walk.next.before, walk.next.limit)))
    except NoProgress:
        return
    assert got == 5000


@pytest.mark.parametrize("inclusive", [False, True])
def test_a_cut_oldest_time_is_refused_where_the_cut_has_shown(inclusive: bool) -> None:
    """The oldest time of the history fills a cut page; earlier pages have shown where the server cuts."""
    source = server([1] * 60 + list(range(5, 105)), cap=50, inclusive=inclusive)
    with pytest.raises(NoProgress):
        run(source, LogWalk())


def test_rounded_times_in_a_cut_page_are_refused() -> None:
    """A server that prints rounded times shows the oldest time below itself: that is not the end."""
    half = [(ORIGIN + timedelta(seconds=59.6 + i / 1000), "2026-01-01T00:01:00Z") for i in range(120)]
    old = [(ORIGIN - i * SECOND, (ORIGIN - i * SECOND).strftime("%Y-%m-%dT%H:%M:%SZ")) for i in range(500)]
    entries = [(at, {"id": str(i), "log_time": text}) for i, (at, text) in enumerate(half + old)]
    source = Server(
        entries, inclusive=False, precision="second", finer=True, cap=100, cuts=None, shuffled=None
    )
    with pytest.raises(NoProgress):
        run(source, LogWalk())


def test_an_end_between_seconds_does_not_read_much_more() -> None:
    """A short window in a busy log costs no more than its entries and those of its last second."""
    entries = [
        (
            time := ORIGIN + timedelta(milliseconds=2 * i),
            {"id": str(i), "log_time": printed(time, "millisecond")},
        )
        for i in range(40_000)
    ]
    source = Server(
        entries, inclusive=False, precision="millisecond", finer=False, cap=None, cuts=None, shuffled=None
    )
    start = ORIGIN + timedelta(seconds=10, milliseconds=500)
    assert len(run(source, LogWalk(start=start, end=start + timedelta(milliseconds=10)))) == 5
    assert source.requests == 1


def test_times_cut_more_coarsely_than_they_are_printed_are_refused() -> None:
    """Minutes printed with seconds: what the walk cannot see, it does not guess."""
    entries = [(ORIGIN + s * SECOND, {"id": str(s), "log_time": "2026-01-01T00:00:00Z"}) for s in range(60)]
    source = Server(
        entries, inclusive=False, precision="second", finer=True, cap=None, cuts=None, shuffled=None
    )
    with pytest.raises(NoProgress):
        run(source, LogWalk(start=ORIGIN, end=ORIGIN + 60 * SECOND))


def test_a_coarser_entry_among_finer_ones_is_in_order() -> None:
    """An entry printed to the second can stand before one of the same second with a fraction."""
    page: list[Entry] = [
        {"id": "1", "log_time": "2026-01-01T00:00:05Z"},
        {"id": "2", "log_time": "2026-01-01T00:00:05.300Z"},
    ]
    assert LogWalk().receive(page) == page


@pytest.mark.parametrize("limit", [1, 2, 4, 10])
def test_mixed_precision_at_the_ends_of_the_window(limit: int) -> None:
    """Each entry goes by its own printed time, and one printed coarsely does not end the walk early."""
    times = {"05.300": 5.3, "05": 5.2, "05.100": 5.1, "04": 4.8, "04.600": 4.6, "04.300": 4.3, "03.900": 3.9}
    entries = [
        (ORIGIN + at * SECOND, {"id": text, "log_time": f"2026-01-01T00:00:{text}Z"})
        for text, at in times.items()
    ]
    source = Server(
        entries, inclusive=False, precision="second", finer=True, cap=None, cuts=None, shuffled=None
    )
    got = run(source, LogWalk(start=ORIGIN + 4.5 * SECOND, end=ORIGIN + 5.2 * SECOND, limit=limit))
    assert [entry["id"] for entry in got] == ["05", "05.100", "04.600"]


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_times_at_the_end_of_all_times(text: str) -> None:
    """What cannot be asked past is refused, not an OverflowError."""
    walk = LogWalk()
    page: list[Entry] = [{"id": "1", "log_time": text}]
    if text.startswith("0001"):
        walk.receive(page)
    with pytest.raises(ContractViolation):
        walk.receive(page)
    with pytest.raises(InvalidRequest):
        LogWalk(end=datetime.max.replace(tzinfo=timezone.utc))


def test_what_a_page_may_still_bring_is_known() -> None:
    """While the walk asks below its oldest time, entries of that time may still come."""
    walk = LogWalk(limit=10)
    walk.receive([{"id": "1", "log_time": "2026-01-01T00:00:05Z"}])
    while walk.next:
        assert walk.repeated is not None
        assert walk.repeated > ORIGIN + 5 * SECOND
        walk.receive(
            [{"id": "1", "log_time": "2026-01-01T00:00:05Z"}]
            if walk.next.before > ORIGIN + 5 * SECOND
            else []
        )
    assert walk.repeated is None


@pytest.mark.parametrize(
    "change",
    [
        {"step": "ELSEWHERE"},
        {"limit": 0},
        {"tick": "x"},
        {"oldest": "yesterday"},
        {"seen": [["x"]]},
        {"page": [1]},
        {"next": {"before": None}},
        {"cut_lengths": None},
        {"start": "2026-01-01T00:00:00+00:00", "end": "2026-01-01T00:00:00+00:00"},
    ],
)
def test_a_state_that_is_none(change: dict[str, Any]) -> None:
    """What was cut, changed or written by something else is refused, not guessed at."""
    walk = LogWalk(limit=10)
    walk.receive([{"id": "1", "log_time": "2026-01-01T00:00:05Z"}])
    state = walk.to_state()
    assert LogWalk.from_state(state).next == walk.next
    with pytest.raises(ContractViolation):
        LogWalk.from_state({**state, **change})
    for name in state:
        with pytest.raises(ContractViolation):
            LogWalk.from_state({key: value for key, value in state.items() if key != name})
    with pytest.raises(ContractViolation):
        LogWalk.from_state([])  # type: ignore[arg-type]
