"""Single cases of the pager: requests, refusals, ends."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.entry import Fields, LogEntry
from airflow_provider_supermetrics._api.errors import ContractViolation, InvalidRequest, NoProgress
from airflow_provider_supermetrics._api.pager import LogPager, PageFacts, PageRequest, PagerState, Step
from airflow_provider_supermetrics._api.state import from_json, to_json
from tests.support.model import ORIGIN, Server, page_of, printed, run
from tests.support.selection import examples

SECOND = timedelta(seconds=1)
KEYS = [f"id:{i}" for i in range(6)]
TIMES = [ORIGIN + i * SECOND for i in range(4)]


def server(seconds: list[int], **switches: object) -> Server:
    """Return a server whose log has an entry at each of these seconds."""
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
    """N entries take ceil(N / page) + 2 requests at most, or one if the page shows an older entry."""
    source = server(list(range(2000)), inclusive=inclusive)
    start, end = ORIGIN + 500 * SECOND, ORIGIN + (500 + count) * SECOND
    got = run(source, LogPager(start=start, end=end, limit=100))
    assert len(got) == count
    assert source.requests <= math.ceil(count / 100) + 2
    if count < 99:
        assert source.requests == 1


@pytest.mark.parametrize("count", [0, 1, 5, 100, 199, 200, 250, 300, 500])
def test_requests_for_a_whole_history(count: int) -> None:
    """A whole history takes overlapping pages and two requests that prove the end."""
    source = server(list(range(count)))
    assert len(run(source, LogPager(limit=100))) == count
    assert source.requests <= max(1, math.ceil((count - 1) / 99)) + 2


def test_an_empty_window_in_a_history_costs_one_request() -> None:
    """One page proves an idle hour empty."""
    source = server([0, 1, 2])
    assert run(source, LogPager(start=ORIGIN + 10 * SECOND, end=ORIGIN + 20 * SECOND)) == []
    assert source.requests == 1


@pytest.mark.parametrize("inclusive", [False, True])
def test_a_time_that_fills_a_page_is_refused(inclusive: bool) -> None:
    """1,000 entries at one time and an older one: completeness cannot be proven, so the pager raises."""
    source = server([0] + [5] * 1000, inclusive=inclusive)
    with pytest.raises(NoProgress, match="2026-01-01T00:00:05") as refused:
        run(source, LogPager())
    assert refused.value.page_length == 1000
    assert source.requests <= 4


@pytest.mark.parametrize("ties", [999, 1000])
def test_a_time_that_fills_a_page_is_not_the_end_of_the_history(ties: int) -> None:
    """A full page of one time is refused, although a shorter one would be the end of the history."""
    source = server([5] * ties)
    pager = LogPager()
    if ties == 1000:
        with pytest.raises(NoProgress):
            run(source, pager)
    else:
        assert len(run(source, pager)) == ties


def test_a_small_page_grows_where_one_time_fills_it() -> None:
    """A time that fills a page of 10 is read with a page of 1,000."""
    source = server([1, 2] + [5] * 300 + [7])
    assert len(run(source, LogPager(limit=10))) == 303


def test_a_server_that_cuts_pages_within_a_time_is_refused() -> None:
    """Short pages of one time are refused if older entries follow."""
    source = server([0, 1] + [5] * 60 + [9], cap=50)
    with pytest.raises(NoProgress):
        run(source, LogPager())


@pytest.mark.parametrize("times", [list(range(5000)), [5] * 900 + [9] * 800 + list(range(20, 4000))], ids=len)
def test_a_compact_state_is_enough(times: list[int]) -> None:
    """What is left of the entries read is what a later page can repeat, wherever the state was stored."""
    source, pager = server(times), LogPager()
    received: list[str] = []
    while pager.next is not None:
        stored = json.loads(json.dumps(to_json(pager.state.compact())))
        pager = LogPager.resumed(from_json(stored, PagerState))
        assert len(pager.state.seen) <= 2000
        assert pager.next is not None
        received += [entry.key for entry in pager.receive(source.page(pager.next.before, pager.next.limit))]
    assert len(received) == len(set(received)) == len(times)


def test_the_window_goes_by_the_printed_time() -> None:
    """With times printed as dates, late entries of a day belong to the window that contains its start."""
    entries = [(ORIGIN + timedelta(hours=h), {"id": str(h), "log_time": "2026-01-01"}) for h in range(24)]
    source = Server(entries, inclusive=False, precision="day", finer=True, cap=None, cuts=None, shuffled=None)
    got = run(source, LogPager(start=ORIGIN, end=ORIGIN + timedelta(hours=6)))
    assert len(got) == 24


@pytest.mark.parametrize("precision", ["day", "second"])
def test_the_last_printed_time_of_the_window_is_read_to_its_end(precision: str) -> None:
    """Also where the first page reaches beyond it: later entries of that day or second follow."""
    tick = {"day": timedelta(days=1), "second": SECOND}[precision]
    times = [ORIGIN + i * tick / 24 for i in range(48)]
    entries = [(at, {"id": str(i), "log_time": printed(at, precision)}) for i, at in enumerate(times)]
    source = Server(
        entries, inclusive=False, precision=precision, finer=True, cap=None, cuts=None, shuffled=None
    )
    got = run(source, LogPager(start=ORIGIN, end=ORIGIN + tick * 1.25))
    assert len(got) == 48


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
def test_invalid_windows(start: datetime | None, end: datetime | None, limit: int) -> None:
    """Naive times, empty and reversed windows and impossible pages are refused before any request."""
    with pytest.raises(InvalidRequest):
        LogPager(start=start, end=end, limit=limit)


def test_a_window_in_another_zone_is_the_same_window() -> None:
    """A window in another zone with the same moments is read in the same way."""
    zone = timezone(timedelta(hours=5, minutes=30))
    pager = LogPager(end=(ORIGIN + timedelta(milliseconds=1)).astimezone(zone))
    assert pager.next is not None
    assert pager.next.before == ORIGIN + SECOND


@pytest.mark.parametrize(
    "times",
    [
        ["2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"],  # not newest first
        ["2026-01-01T00:02:00Z"],  # newer than was requested
    ],
)
def test_pages_that_break_the_contract(times: list[str]) -> None:
    """A page other than the requested one is refused, because it may hide entries."""
    pager = LogPager(end=ORIGIN + 10 * SECOND)
    page: list[Fields] = [{"id": time, "log_time": time} for time in times]
    with pytest.raises(ContractViolation):
        pager.receive(page_of(page))


def test_a_server_that_ignores_before_is_refused() -> None:
    """A server that always returns the newest page is refused, without a loop."""
    page: list[Fields] = [
        {"id": str(i), "log_time": (ORIGIN - i * SECOND).strftime("%Y-%m-%dT%H:%M:%SZ")} for i in range(10)
    ]
    pager = LogPager(limit=10)
    pager.receive(page_of(page))
    with pytest.raises(ContractViolation):
        pager.receive(page_of(page))


def test_an_entry_that_comes_twice_in_a_page_counts_once() -> None:
    """An entry that is repeated in a page counts once."""
    pager = LogPager()
    entry: Fields = {"id": "1", "log_time": "2026-01-01T00:00:01Z"}
    assert [e.fields for e in pager.receive(page_of([entry, dict(entry)]))] == [entry]


def test_a_finished_pager_takes_no_page() -> None:
    """Feeding a finished pager raises an error."""
    pager = LogPager()
    pager.receive(page_of([]))
    assert pager.next is None
    with pytest.raises(RuntimeError):
        pager.receive(page_of([]))


@pytest.mark.parametrize("cuts", [[1000, 1000, 700, 1], [1000, 1000, 700, 700, 1], [1000, 1000, 1000, 999]])
def test_a_server_that_cuts_after_full_pages_loses_nothing(cuts: list[int]) -> None:
    """A short page after full ones is not taken for the end: reading is complete or refused."""
    source = server(list(range(5000)))
    lengths = [*cuts, *[1000] * 20]
    pager, got = LogPager(), 0
    try:
        while pager.next:
            source.cap = lengths[source.requests]
            got += len(pager.receive(source.page(pager.next.before, pager.next.limit)))
    except NoProgress:
        return
    assert got == 5000


@pytest.mark.parametrize("inclusive", [False, True])
def test_a_cut_oldest_time_is_refused_where_the_cut_has_shown(inclusive: bool) -> None:
    """A cut page that the oldest time fills is refused, because earlier pages have shown the cut."""
    source = server([1] * 60 + list(range(5, 105)), cap=50, inclusive=inclusive)
    with pytest.raises(NoProgress):
        run(source, LogPager())


def test_rounded_times_in_a_cut_page_are_refused() -> None:
    """A page with rounded times, which repeats the oldest time below itself, is refused."""
    half = [(ORIGIN + timedelta(seconds=59.6 + i / 1000), "2026-01-01T00:01:00Z") for i in range(120)]
    old = [(ORIGIN - i * SECOND, (ORIGIN - i * SECOND).strftime("%Y-%m-%dT%H:%M:%SZ")) for i in range(500)]
    entries = [(at, {"id": str(i), "log_time": text}) for i, (at, text) in enumerate(half + old)]
    source = Server(
        entries, inclusive=False, precision="second", finer=True, cap=100, cuts=None, shuffled=None
    )
    with pytest.raises(NoProgress):
        run(source, LogPager())


def test_an_end_between_seconds_does_not_read_much_more() -> None:
    """A short window in a busy log takes requests for its entries and those of its last second only."""
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
    assert len(run(source, LogPager(start=start, end=start + timedelta(milliseconds=10)))) == 5
    assert source.requests == 1


def test_times_cut_more_coarsely_than_they_are_printed_are_refused() -> None:
    """Minutes printed with seconds are refused."""
    entries = [(ORIGIN + s * SECOND, {"id": str(s), "log_time": "2026-01-01T00:00:00Z"}) for s in range(60)]
    source = Server(
        entries, inclusive=False, precision="second", finer=True, cap=None, cuts=None, shuffled=None
    )
    with pytest.raises(NoProgress):
        run(source, LogPager(start=ORIGIN, end=ORIGIN + 60 * SECOND))


def test_a_coarser_entry_among_finer_ones_is_in_order() -> None:
    """An entry printed to the second can precede one of the same second with a fraction."""
    page: list[Fields] = [
        {"id": "1", "log_time": "2026-01-01T00:00:05Z"},
        {"id": "2", "log_time": "2026-01-01T00:00:05.300Z"},
    ]
    assert [e.fields for e in LogPager().receive(page_of(page))] == page


@pytest.mark.parametrize("limit", [1, 2, 4, 10])
def test_mixed_precision_at_the_ends_of_the_window(limit: int) -> None:
    """The printed time of each entry decides, and a coarse one does not end the pager early."""
    times = {"05.300": 5.3, "05": 5.2, "05.100": 5.1, "04": 4.8, "04.600": 4.6, "04.300": 4.3, "03.900": 3.9}
    entries = [
        (ORIGIN + at * SECOND, {"id": text, "log_time": f"2026-01-01T00:00:{text}Z"})
        for text, at in times.items()
    ]
    source = Server(
        entries, inclusive=False, precision="second", finer=True, cap=None, cuts=None, shuffled=None
    )
    got = run(source, LogPager(start=ORIGIN + 4.5 * SECOND, end=ORIGIN + 5.2 * SECOND, limit=limit))
    assert [entry["id"] for entry in got] == ["05", "05.100", "04.600"]


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_times_at_the_end_of_all_times(text: str) -> None:
    """A time that no request can exceed is refused, without an OverflowError."""
    pager = LogPager()
    page: list[Fields] = [{"id": "1", "log_time": text}]
    if text.startswith("0001"):
        pager.receive(page_of(page))
    with pytest.raises(ContractViolation):
        pager.receive(page_of(page))
    with pytest.raises(InvalidRequest):
        LogPager(end=datetime.max.replace(tzinfo=timezone.utc))


def test_the_entries_that_a_page_may_still_contain_are_known() -> None:
    """While the pager requests a page below its oldest time, entries of that time may still follow."""
    pager = LogPager(limit=10)
    pager.receive(page_of([{"id": "1", "log_time": "2026-01-01T00:00:05Z"}]))
    while pager.next:
        assert pager.repeated is not None
        assert pager.repeated > ORIGIN + 5 * SECOND
        more = [{"id": "1", "log_time": "2026-01-01T00:00:05Z"}]
        pager.receive(page_of(more if pager.next.before > ORIGIN + 5 * SECOND else []))
    assert pager.repeated is None


@pytest.mark.parametrize(
    "change",
    [
        {"step": "elsewhere"},
        {"limit": 0},
        {"tick": "x"},
        {"oldest": "yesterday"},
        {"oldest": "2026-01-01T00:00:00"},
        {"seen": [["x"]]},
        {"page": [1]},
        {"next": {"before": None}},
        {"cut_lengths": None},
    ],
)
def test_an_invalid_state(change: dict[str, Any]) -> None:
    """A truncated, changed or foreign state is refused."""
    pager = LogPager(limit=10)
    pager.receive(page_of([{"id": "1", "log_time": "2026-01-01T00:00:05Z"}]))
    state = to_json(pager.state)
    assert from_json(state, PagerState) == pager.state
    with pytest.raises(ContractViolation):
        from_json({**state, **change}, PagerState)
    for name in state:
        with pytest.raises(ContractViolation):
            from_json({key: value for key, value in state.items() if key != name}, PagerState)
    with pytest.raises(ContractViolation):
        from_json([], PagerState)


def legal(state: PagerState) -> PagerState:
    """Return the state with the request that matches its step."""
    assert state.oldest is not None
    microsecond = timedelta(microseconds=1)
    ahead = {Step.PAST: state.tick, Step.WITHIN: state.tick - microsecond, Step.BELOW: -microsecond}
    return replace(state, next=PageRequest(state.oldest + ahead[state.step], state.limit))


STATES = st.builds(
    PagerState,
    start=st.none(),
    end=st.none(),
    next=st.none(),
    limit=st.integers(1, 6),
    max_limit=st.just(6),
    step=st.sampled_from([Step.PAST, Step.WITHIN, Step.BELOW]),
    tick=st.sampled_from([timedelta(milliseconds=1), SECOND, timedelta(days=1)]),
    least_tick=st.just(timedelta(microseconds=1)),
    oldest=st.sampled_from(TIMES),
    oldest_tick=st.sampled_from([SECOND, timedelta(days=1)]),
    last=st.sampled_from(KEYS),
    seen=st.dictionaries(st.sampled_from(KEYS), st.sampled_from(TIMES)),
    page=st.builds(
        PageFacts,
        st.sampled_from(Step),
        st.integers(1, 6),
        st.integers(1, 6),
        st.sampled_from(TIMES),
        st.booleans(),
    ),
    older_exist=st.none() | st.booleans(),
    repeats=st.integers(0, 7),
    cut_lengths=st.frozensets(st.integers(1, 6)),
    trust_first_page=st.booleans(),
).map(legal)


@settings(max_examples=examples(400), deadline=None)
@given(STATES, st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(TIMES)), max_size=6))
def test_any_state_and_any_page(state: PagerState, rows: list[tuple[str, datetime]]) -> None:
    """Any page leads to a legal next state, or raises a typed error and leaves the state unchanged."""
    rows.sort(key=lambda row: row[1], reverse=True)
    page = page_of([{"id": key[3:], "log_time": at.strftime("%Y-%m-%dT%H:%M:%SZ")} for key, at in rows])
    pager = LogPager.resumed(state)
    try:
        pager.receive(page)
    except ContractViolation:
        assert pager.state is state
        return
    after = pager.state
    assert from_json(json.loads(json.dumps(to_json(after))), PagerState) == after
    assert after.oldest is not None
    assert after.oldest <= state.oldest
    if after.next is None:
        return
    assert after.step is not Step.TOP
    assert after.next.before is not None
    if after.step is Step.BELOW:
        assert after.next.before <= after.oldest
    else:
        assert after.oldest < after.next.before <= after.oldest + timedelta(days=1)
    # Progress: an older time, a new entry, another request, a coarser tick, or one repetition more.
    progress = (
        after.oldest < state.oldest
        or after.seen != state.seen
        or after.repeats > state.repeats
        or after.least_tick > state.least_tick
        or (after.step, after.limit, after.tick, after.older_exist, after.next.before)
        != (state.step, state.limit, state.tick, state.older_exist, state.next and state.next.before)
    )
    assert progress


def test_what_is_known_while_reading() -> None:
    """The pager exposes the oldest time read and whether the connector exists."""
    pager = LogPager(limit=10)
    assert (pager.is_known, pager.oldest) == (False, None)
    pager.receive(page_of([{"id": "1", "log_time": "2026-01-01T00:00:05Z"}]))
    assert (pager.is_known, pager.oldest) == (True, ORIGIN + 5 * SECOND)


def test_the_oldest_entry_is_requested_by_its_own_precision() -> None:
    """Some times have milliseconds, others only seconds and seem older than they are: no entry is lost."""
    times = {"06.500": 6.5, "06": 6.4, "05.900": 5.9, "05": 5.8, "05.700": 5.7}
    entries = [
        (ORIGIN + at * SECOND, {"id": text, "log_time": f"2026-01-01T00:00:{text}Z"})
        for text, at in times.items()
    ]
    source = Server(
        entries, inclusive=False, precision="second", finer=True, cap=None, cuts=None, shuffled=None
    )
    got = run(source, LogPager(limit=2))
    assert [entry["id"] for entry in got] == list(times)


def test_an_oldest_entry_that_is_gone_is_refused() -> None:
    """Printed as finely as the others, no coarser request can bring it."""
    pager = LogPager(limit=2)
    pager.receive(page_of([{"id": str(i), "log_time": f"2026-01-01T00:00:0{i}Z"} for i in (9, 8)]))
    state = pager.state
    with pytest.raises(ContractViolation, match="is missing now"):
        pager.receive(page_of([{"id": "7", "log_time": "2026-01-01T00:00:07Z"}]))
    assert pager.state is state


def test_a_state_in_a_log_line_is_short() -> None:
    """It names no entries, of which it can hold thousands."""
    pager = LogPager()
    pager.receive(page_of([{"id": "some-entry", "log_time": "2026-01-01T00:00:05Z"}]))
    state = replace(pager.state, last=None)
    assert "some-entry" not in repr(state)


def page_at(*seconds: float, name: str = "") -> list[LogEntry]:
    """A page with an entry at each of these seconds, newest first; times have microseconds."""
    times = [ORIGIN + second * SECOND for second in seconds]
    return page_of(
        [{"id": f"{name}{i}", "log_time": printed(at, "microsecond")} for i, at in enumerate(times)]
    )


@pytest.mark.parametrize("rest", [[], [page_at(7 * 3600)[0]]])
def test_a_window_without_entries_is_read_to_the_end_of_its_day(rest: list[LogEntry]) -> None:
    """Where dates are printed, that day's entries belong to it; where times are, the later ones do not."""
    pager = LogPager(end=ORIGIN + timedelta(hours=6))
    assert pager.receive([]) == []
    assert pager.next is not None
    assert pager.next.before == ORIGIN + timedelta(days=1)
    assert pager.receive(rest) == []
    assert pager.next is None


def test_the_dates_of_a_day_that_ends_after_the_window_belong_to_it() -> None:
    """Where dates are printed, an entry stored after the window's end counts by its printed time."""
    pager = LogPager(start=ORIGIN, end=ORIGIN + timedelta(hours=6))
    pager.receive([])
    page = page_of([{"id": "1", "log_time": "2026-01-01"}])
    assert pager.receive(page) == page
    assert pager.next is not None


def test_an_empty_page_in_place_of_the_oldest_entry_is_requested_again() -> None:
    """The oldest entry was sent a moment ago: after five repeats, the page is refused."""
    pager = LogPager()
    page = page_at(5)
    pager.receive(page)
    request = pager.next
    for _ in range(5):
        assert pager.receive([]) == []
        assert pager.next == request
    with pytest.raises(ContractViolation, match="is missing now"):
        pager.receive([])
    assert pager.receive(page) == [], "the page is still wanted"


def test_a_tie_that_appears_while_the_end_is_proven() -> None:
    """The request below the oldest time brings it: the time is read once more before all counts as read."""
    pager = LogPager()
    first, tie = page_at(5), page_at(5, name="tie")
    pager.receive(first)
    pager.receive(first)
    assert pager.receive(tie) == tie
    assert pager.receive([]) == []
    assert pager.next == PageRequest(ORIGIN + 5 * SECOND + timedelta(microseconds=1), 1000)
    pager.receive([*first, *tie])
    assert pager.next is None


def test_a_full_page_that_repeats_the_next_tick_is_requested_without_it() -> None:
    """An inclusive server: just short of that tick, the page has room for older entries."""
    newer, oldest, older = page_of(
        [{"id": str(second), "log_time": f"2026-01-01T00:00:0{second}Z"} for second in (6, 5, 4)]
    )
    pager = LogPager(limit=2, max_limit=2)
    pager.receive([newer, oldest])
    assert pager.receive([newer, oldest]) == []
    assert pager.next == PageRequest(ORIGIN + 6 * SECOND - timedelta(microseconds=1), 2)
    assert pager.receive([oldest, older]) == [older]


def test_a_window_without_entries_that_ends_at_midnight_costs_one_request() -> None:
    """No later entry of its last day can belong to it, even where dates are printed."""
    pager = LogPager(start=ORIGIN, end=ORIGIN + timedelta(days=1))
    assert pager.receive([]) == []
    assert pager.next is None


def test_a_page_that_hides_older_entries_is_requested_six_times() -> None:
    """Then it is refused, because no response proves that its time is complete."""
    pager = LogPager()
    (oldest,), older = page_at(5), page_at(3, name="older")
    pager.receive([oldest])
    pager.receive([oldest])
    pager.receive(older)  # below the oldest time
    for _ in range(4):
        assert pager.receive([oldest]) == []
    with pytest.raises(NoProgress):
        pager.receive([oldest])
