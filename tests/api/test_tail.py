"""Polling a log returns each entry once, whatever arrives between polls, with few requests."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter

from airflow_provider_supermetrics._api.counter import CounterState, ErrorCounter
from airflow_provider_supermetrics._api.entry import Fields, LogEntry
from airflow_provider_supermetrics._api.errors import ContractViolation, InvalidRequest
from airflow_provider_supermetrics._api.filter import ErrorFilter, Matches, brief
from airflow_provider_supermetrics._api.state import from_json, to_json
from airflow_provider_supermetrics._api.tail import LogTail, TailState
from airflow_provider_supermetrics._api.times import parse_log_time
from tests.support.model import ORIGIN, Server, printed
from tests.support.selection import examples

SECOND = timedelta(seconds=1)
OVERLAP = 60 * SECOND
NOW = ORIGIN + timedelta(days=1)
JSON: TypeAdapter[Any] = TypeAdapter(JsonValue)


def entry(number: int, at: datetime, status: int | None = 500, **parts: Any) -> tuple[datetime, Fields]:
    """Return an entry with its time."""
    return at, {"id": f"e{number}", "log_time": printed(at, "second"), "status": status, **parts}


def server(entries: list[tuple[datetime, Fields]], inclusive: bool = False) -> Server:
    """Return a server with these entries."""
    return Server(entries, inclusive, "second", finer=False, cap=None, cuts=None, shuffled=random.Random(1))


def new_tail(since: datetime, overlap: timedelta = OVERLAP, first_limit: int = 100) -> LogTail:
    """Return a tail that has not polled yet."""
    return LogTail(TailState(since, overlap, first_limit))


def poll(
    source: Server, tail: LogTail | ErrorCounter, now: datetime, most: int | None = None
) -> list[LogEntry]:
    """Poll once, or send only the first `cut` requests of a poll."""
    tail.begin_poll(now)
    found: list[LogEntry] = []
    while tail.next is not None:
        if most == 0:
            return found
        most = None if most is None else most - 1
        found += tail.receive(source.page(tail.next.before, tail.next.limit))
    tail.finish_poll(now)
    return found


def moved(tail: LogTail) -> LogTail:
    """Return the tail as another process restores it."""
    # As strict as the stores of Airflow 3.3, which take no tuple for a list.
    return LogTail(from_json(JSON.validate_python(to_json(tail.state)), TailState))


def ids(entries: list[LogEntry]) -> list[str]:
    """Return the ids of the entries, in order."""
    return [entry.fields["id"] for entry in entries]


def test_an_idle_log_costs_one_request_a_poll() -> None:
    """60 polls of a log in which nothing happens: at most 61 requests."""
    history = [entry(i, ORIGIN + i * SECOND) for i in range(5000)]
    for since in (ORIGIN + 4990 * SECOND, ORIGIN + 9000 * SECOND):
        source, tail = server(list(history)), new_tail(since)
        found = [poll(source, tail, since + i * 60 * SECOND) for i in range(60)]
        assert sum(map(len, found)) == sum(since <= at for at, _ in history)
        assert source.requests <= 61


@pytest.mark.parametrize("length", [0, 1, 3])
def test_an_idle_log_with_a_short_history(length: int) -> None:
    """A new connector, whose whole log is newer than `since`."""
    source, tail = server([entry(i, ORIGIN + i * SECOND) for i in range(length)]), new_tail(ORIGIN)
    found = [poll(source, tail, ORIGIN + i * 60 * SECOND) for i in range(60)]
    assert [len(new) for new in found] == [length] + [0] * 59
    assert source.requests <= 61


def test_a_burst() -> None:
    """5,000 new entries between two polls take at most 7 requests, and all 37 errors are found."""
    source = server([entry(i, ORIGIN - i * SECOND, 200) for i in range(1, 2000)])
    counter = ErrorCounter(CounterState(new_tail(ORIGIN).state), ErrorFilter(), 20)
    poll(source, counter, ORIGIN)
    burst = [
        entry(10_000 + i, ORIGIN + i // 10 * SECOND, 500 if i % 135 == 1 and i < 37 * 135 else 200)
        for i in range(5000)
    ]
    source.entries += burst
    before = source.requests
    poll(source, counter, ORIGIN + 600 * SECOND)
    assert source.requests - before <= 7
    assert counter.matches.count == counter.count == 37
    assert counter.is_reached
    assert [e["id"] for e in counter.matches.entries][:2] == [f"e{10_000 + i * 135 + 1}" for i in (36, 35)]
    assert len(counter.matches.entries) == 20
    before = source.requests
    for i in range(30):
        assert poll(source, counter, ORIGIN + (601 + i) * SECOND) == []
    assert source.requests - before == 30


def test_late_entries_below_the_first_page() -> None:
    """Late entries are found when the overlap has passed, without a further entry."""
    source = server([entry(i, ORIGIN + i // 20 * SECOND) for i in range(1000)])
    tail = new_tail(ORIGIN)
    poll(source, tail, ORIGIN + 50 * SECOND)
    source.entries.append(entry(5000, ORIGIN + 10 * SECOND))
    assert poll(source, tail, ORIGIN + 60 * SECOND) == []
    assert ids(poll(source, tail, ORIGIN + 111 * SECOND)) == ["e5000"]


@settings(max_examples=examples(400), deadline=None)
@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), max_size=60), min_size=1, max_size=6
    ),
    inclusive=st.booleans(),
    moves=st.booleans(),
    interrupted=st.lists(st.none() | st.integers(0, 2), min_size=6, max_size=6),
    with_ids=st.booleans(),
    first_limit=st.sampled_from([1, 2, 5, 100]),
)
def test_each_entry_is_returned_once(
    batches: list[list[tuple[int, int]]],
    inclusive: bool,
    moves: bool,
    interrupted: list[int | None],
    with_ids: bool,
    first_limit: int,
) -> None:
    """Each entry that arrives within the overlap is returned once, whatever interrupts the polls."""
    overlap = 30 * SECOND
    source = server([entry(9999, ORIGIN - SECOND)], inclusive)
    tail = new_tail(ORIGIN, overlap, first_limit)
    newest, count, returned, now, arrived = ORIGIN, 0, [], ORIGIN, ORIGIN
    for batch, cut in zip(batches, interrupted, strict=False):
        # After a longer silence an entry is later than the overlap unless it is the newest.
        is_silent = now - arrived >= overlap
        arrived = now if batch else arrived
        for ahead, behind in batch:
            late = newest + ahead * SECOND - min(behind, 30) * SECOND
            at = newest + (1 + ahead) * SECOND if is_silent else max(ORIGIN, late)
            count += 1
            time, made = entry(count, at)
            if not with_ids:
                del made["id"]
                made["number"] = count % 3  # some are equal
            source.entries.append((time, made))
        now += 10 * SECOND
        returned += poll(source, tail, now, cut)
        if moves:
            tail = moved(tail)
        newest = max([newest, *(e.time for e in returned)])
    # What is late waits for the overlap; after that, two quiet polls have found all.
    for _ in range(3):
        now += 31 * SECOND
        returned += poll(source, tail, now)
    expected = [e for _, e in source.entries if parse_log_time(e["log_time"]).at >= ORIGIN]
    assert sorted(str(e.fields) for e in returned) == sorted(map(str, expected))


def test_an_abandoned_poll_does_not_count() -> None:
    """The next poll reads again what an abandoned poll has read."""
    source = server([entry(i, ORIGIN + i * SECOND) for i in range(3000)])
    counter = ErrorCounter(CounterState(new_tail(ORIGIN).state), ErrorFilter(), 5)
    assert len(poll(source, counter, ORIGIN, most=1)) == 100
    assert counter.state.pending.count == 100
    counter.abandon_poll()
    assert (counter.state.pending.count, counter.matches.count) == (0, 0)
    poll(source, counter, ORIGIN)
    assert counter.matches.count == 3000
    counter.abandon_poll()
    assert counter.matches.count == 3000, "a poll that has ended is not taken back"


def test_entries_found_by_another_tail() -> None:
    """An entry that another tail has found is new to this tail, and known after one poll."""
    source = server([entry(i, ORIGIN + i * SECOND) for i in range(200)])
    mine, other = new_tail(ORIGIN), new_tail(ORIGIN)
    first = poll(source, other, NOW)
    assert mine.take_shared(first, NOW) == first
    assert mine.take_shared(first, NOW) == []
    for number in (500, 501):  # equal, and without an id
        at, made = entry(number, ORIGIN + 199 * SECOND)
        del made["id"]
        source.entries.append((at, made))
        mine = moved(mine)
        assert [e.fields for e in mine.take_shared(poll(source, other, NOW), NOW)] == [made]
    assert mine.state.watermark == other.state.watermark


def test_what_another_tail_has_found_is_no_complete_poll() -> None:
    """Entries that are late for this tail may still appear, although the other one has found nothing new."""
    source = server([entry(i, ORIGIN + i * SECOND) for i in range(3)])
    tail = new_tail(ORIGIN)
    poll(source, tail, NOW)
    last_new_at = tail.state.last_new_at
    assert last_new_at is not None
    assert tail.take_shared([], NOW + SECOND) == []
    assert tail.state.last_new_at == last_new_at


def test_an_entry_from_the_future_hides_no_later_one() -> None:
    """An entry dated in the future does not advance the watermark; nothing is returned twice."""
    source, tail = server([]), new_tail(ORIGIN)
    returned = []
    for i in range(20):
        now = ORIGIN + i * 30 * SECOND
        source.entries.append(entry(i, now))
        if i == 3:
            source.entries.append(entry(99, now + 300 * SECOND))
        tail = moved(tail)
        returned += poll(source, tail, now)
    assert sorted(ids(returned)) == sorted(e["id"] for _, e in source.entries)


@pytest.mark.parametrize(
    "change", [{"since": None}, {"seen": 5}, {"watermark": "x"}, {"poll": {}}, {"overlap": "x"}]
)
def test_an_invalid_state(change: dict[str, Any]) -> None:
    """An invalid state is refused."""
    state = to_json(new_tail(ORIGIN).state)
    assert from_json(state, TailState) == new_tail(ORIGIN).state
    with pytest.raises(ContractViolation):
        from_json({**state, **change}, TailState)
    with pytest.raises(ContractViolation):
        from_json({"tail": {**state, **change}}, CounterState)


# Which entries count


@pytest.mark.parametrize(
    ("arguments", "parts", "matches"),
    [
        ({}, {"status": 400}, True),
        ({}, {"status": 399}, False),
        ({}, {"status": 500.0}, True),
        ({}, {"status": "503"}, True),
        ({}, {"status": None}, False),
        ({}, {}, False),
        ({}, {"status": True}, False),
        ({}, {"status": "error"}, False),
        ({}, {"status": [500]}, False),
        ({"min_status": 500}, {"status": 404}, False),
        ({"min_status": 200}, {"status": 201}, True),
        ({"statuses": [302, 404]}, {"status": 302}, True),
        ({"statuses": [302, 404]}, {"status": 500}, False),
        ({"events": ["a.b"]}, {"status": 500, "event": "a.b"}, True),
        ({"events": ["a.b"]}, {"status": 500, "event": "a.bc"}, False),
        ({"events": ["a.b"]}, {"status": 500, "event": None}, False),
        ({"request_contains": "OAuth"}, {"status": 500, "request": "POST /api/oauth/x"}, True),
        ({"request_contains": "oauth"}, {"status": 500, "request": "GET /x"}, False),
        ({"request_contains": "oauth"}, {"status": 500, "request": None}, False),
        ({"request_contains": "oauth"}, {"status": 500}, False),
    ],
)
def test_filters(arguments: dict[str, Any], parts: dict[str, Any], matches: bool) -> None:
    """A match meets all conditions; an entry without a status is not an error."""
    made = ErrorFilter.of(**arguments)
    assert made.matches(parts) is matches
    again = ErrorFilter.of(**json.loads(json.dumps(made.to_arguments())))
    assert again == made


def test_a_filter_without_arguments_counts_what_http_calls_errors() -> None:
    """However it is made."""
    assert ErrorFilter() == ErrorFilter.of() == ErrorFilter(min_status=400)


@pytest.mark.parametrize(
    "arguments",
    [
        {"min_status": "400"},
        {"min_status": True},
        {"statuses": 404},
        {"statuses": "404"},
        {"statuses": []},
        {"statuses": ["404"]},
        {"events": "auth"},
        {"events": []},
        {"events": [5]},
        {"request_contains": ""},
        {"request_contains": 5},
    ],
)
def test_invalid_filters(arguments: dict[str, Any]) -> None:
    """Filters that would never match, or would match single letters, are refused."""
    with pytest.raises(InvalidRequest):
        ErrorFilter.of(**arguments)


def test_the_summary_of_an_entry_is_small_and_plain() -> None:
    """Long strings are cut, odd values become strings, documented fields always stay."""
    others = {f"x{i}": i for i in range(50)}
    big = {"id": "1", **others, "log_time": "2026-01-01", "request": "r" * 5000, "deep": {"a": ["b"] * 1000}}
    reported = brief({**big, "x1": 2**70, "x2": "\ud800\0", "x3": None, "x4": 1.5, "x5": True})
    assert reported["request"] == "r" * 299 + "…"
    assert (reported["x1"], reported["x3"], reported["x4"], reported["x5"]) == (str(2**70), None, 1.5, True)
    assert reported["log_time"] == "2026-01-01"
    assert len(reported) == 13
    assert len(json.dumps(reported)) < 2000
    assert reported["x2"] == "\ufffd\ufffd"


@pytest.mark.parametrize("odd", ["log_time ", "\tlog_time", "log_time\n"])
def test_no_other_field_takes_the_place_of_a_documented_one(odd: str) -> None:
    """Names become one line, and the newest are found by `log_time`."""
    entry = {"id": "1", "log_time": "2026-01-01T00:00:00Z", "status": 500}
    for mixed in ({**entry, odd: "x"}, {odd: "x", **entry}):
        assert brief(mixed) == entry
        assert Matches().plus([mixed], 20) == Matches(1, (entry,))
    assert list(brief({odd: "x", "other ": 1, **entry})) == ["id", "log_time", "status", "other"]


def test_no_name_in_a_summary_begins_with_two_underscores() -> None:
    """Airflow's serialization refuses, or takes for its own, such names; also without the space before."""
    assert brief({"__type": 1, " __type": 2, "\n__var": 3, "_type": 4}) == {"_type": 4}


@pytest.mark.parametrize(
    ("number", "reported"),
    [(2**63 - 1, 2**63 - 1), (2**63, str(2**63)), (-(2**63), -(2**63)), (-(2**63) - 1, str(-(2**63) - 1))],
)
def test_an_integer_in_a_summary_has_at_most_64_bits(number: int, reported: int | str) -> None:
    """Not every store of results has larger ones, which become strings."""
    assert brief({"n": number})["n"] == reported


def test_the_summary_of_an_entry_is_safe_for_a_log_line() -> None:
    """Examples log it, and send it: no control character and no second line comes from the API."""
    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep]
    reported = brief(
        {
            "id": "a\u202eb",
            "log_time": "2026-01-01",
            "request": "GET /\x1b[2J\r\n2026-01-01 ERROR \x9b all is lost",
            "event": {"\n": "\n"},
            "deep": deep,
            "digits": 10**9999,
            "a\nb": 1,
        }
    )
    assert all(text.isprintable() for text in (*reported, *map(str, reported.values())))
    assert reported["request"] == "GET /\ufffd[2J 2026-01-01 ERROR \ufffd all is lost"


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50)), max_size=40), st.integers(0, 8), st.randoms()
)
def test_the_newest_are_kept_in_one_order(
    made: list[tuple[int, int]], most: int, shuffler: random.Random
) -> None:
    """The order of pages changes neither the count nor the newest entries kept."""
    entries = [entry(number, ORIGIN + second * SECOND)[1] for second, number in made]
    one, other = Matches().plus(entries, most), Matches()
    shuffler.shuffle(entries)
    for item in entries:
        other = other.plus([item], most)
    assert one.count == other.count == len(entries)
    assert one.entries == other.entries
    times = [e["log_time"] for e in one.entries]
    assert times == sorted(times, reverse=True)


def test_a_poll_that_is_abandoned_counts_nothing() -> None:
    """An abandoned poll counts no entry, but its first entry proves that the connector exists."""
    source = server([entry(i, ORIGIN + i * SECOND) for i in range(3)])
    counter = ErrorCounter(CounterState(TailState(ORIGIN, OVERLAP, 2)), ErrorFilter(), 5)
    assert not counter.is_known
    poll(source, counter, NOW, most=1)
    assert counter.is_known
    assert counter.matches.count == 0
    counter.abandon_poll()
    assert not counter.is_known
    poll(source, counter, NOW)
    assert counter.is_known
    assert counter.matches.count == 3


def test_a_poll_that_has_begun_is_continued() -> None:
    """After an error, the next poll resumes from the failed request."""
    source = server([entry(i, ORIGIN + i * SECOND) for i in range(200)])
    tail = new_tail(ORIGIN)
    poll(source, tail, NOW, most=1)
    state = tail.state
    tail.begin_poll(NOW + SECOND)
    assert tail.state is state


@pytest.mark.parametrize(("seconds", "full_scan"), [(-1, False), (0, True), (1, True)])
def test_a_log_is_read_completely_once_no_entry_can_be_late_any_more(seconds: int, full_scan: bool) -> None:
    """That is ``overlap`` after a poll has brought something new, to the second."""
    source = server([entry(i, ORIGIN + i * SECOND) for i in range(3)])
    tail = LogTail(TailState(ORIGIN, OVERLAP))
    poll(source, tail, NOW)
    assert tail.state.last_new_at == NOW
    tail.begin_poll(NOW + OVERLAP + seconds * SECOND)
    assert tail.state.poll is not None
    assert tail.state.poll.full_scan is full_scan


def test_an_overlap_that_is_no_overlap() -> None:
    """An invalid overlap in a stored state is refused, because no poll could succeed with it."""
    stored = to_json(TailState(ORIGIN, OVERLAP))
    for overlap in (-SECOND, timedelta(days=99_999)):
        with pytest.raises(ContractViolation, match="overlap must be from 0 to 36,500 days"):
            from_json({**stored, "overlap": to_json(overlap)}, TailState)


def test_the_result_of_polls() -> None:
    """The result has counts, the newest entries, and the time that they cover."""
    counter = ErrorCounter(CounterState(new_tail(ORIGIN).state), ErrorFilter(), 1)
    assert counter.result() == {"matches": 0, "entries": [], "since": "2026-01-01T00:00:00Z", "until": None}
