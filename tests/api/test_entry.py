"""An entry's time, key and line."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.entry import LogEntry, decode, encode, read_line, read_page
from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.times import parse_log_time

LOG_TIME = "2025-01-01T00:00:00Z"


def entry_of(fields: dict[str, Any]) -> LogEntry:
    """Return the entry as parsed from a page of its own."""
    return read_page(json.dumps({"logs": [fields]}).encode())[0]


def key_of(fields: dict[str, Any]) -> str:
    """Return the key of an entry."""
    return entry_of({**fields, "log_time": LOG_TIME}).key


DAY, MINUTE, SECOND = timedelta(days=1), timedelta(minutes=1), timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "at", "tick"),
    [
        ("2025-01-01", "2025-01-01T00:00:00+00:00", DAY),
        ("2025-01-01T10:20Z", "2025-01-01T10:20:00+00:00", MINUTE),
        ("2025-01-01T10:20:30Z", "2025-01-01T10:20:30+00:00", SECOND),
        ("2025-01-01T10:20:30", "2025-01-01T10:20:30+00:00", SECOND),
        ("2025-01-01 10:20:30+00:00", "2025-01-01T10:20:30+00:00", SECOND),
        ("2025-01-01T10:20:30+05:30", "2025-01-01T04:50:30+00:00", SECOND),
        ("2025-01-01T10:20:30-0130", "2025-01-01T11:50:30+00:00", SECOND),
        ("2025-01-01T10:20:30+02", "2025-01-01T08:20:30+00:00", SECOND),
        ("2025-01-01t10:20:30z", "2025-01-01T10:20:30+00:00", SECOND),
        ("2025-01-01T10:20:30.5z", "2025-01-01T10:20:30.500000+00:00", SECOND / 10),
        ("2025-01-01T10:20:30.123Z", "2025-01-01T10:20:30.123000+00:00", SECOND / 1000),
        ("2025-01-01T10:20:30,123456Z", "2025-01-01T10:20:30.123456+00:00", SECOND / 10**6),
        ("2025-01-01T10:20:30.123456789Z", "2025-01-01T10:20:30.123456+00:00", SECOND / 10**6),
    ],
)
def test_times(text: str, at: str, tick: timedelta) -> None:
    """Every documented form of a time is read, with its printed precision."""
    assert parse_log_time(text) == (datetime.fromisoformat(at), tick)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "yesterday",
        "2025-13-01",
        "2025-01-01T25:00:00Z",
        1735689600,
        {},
        "²",
        "2025-01-01T10:20:30+99:99",
        "2025-01-01T10:20:30-24:00",
        "2025-01-01T10:20:30+05:60",
    ],
)
def test_an_unreadable_time_is_refused(value: Any) -> None:
    """An unreadable time is refused, because an entry without a place in the order could hide others."""
    with pytest.raises(ContractViolation, match="log_time"):
        entry_of({"id": "1", "log_time": value})


def test_a_huge_id_is_not_quoted_whole() -> None:
    """A message quotes only a part of it."""
    with pytest.raises(ContractViolation) as refused:
        entry_of({"id": "x" * 1_000_000, "log_time": "y" * 1_000_000})
    assert len(str(refused.value)) < 300


def test_a_missing_time_is_refused() -> None:
    """A missing time is refused, and the message names the entry."""
    with pytest.raises(ContractViolation, match="123-foo"):
        entry_of({"id": "123-foo"})


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    """Any string as a time is read or raises ContractViolation."""
    try:
        entry = entry_of({"log_time": text})
    except ContractViolation:
        return
    assert entry.time.utcoffset() == timedelta()
    assert entry.tick > timedelta()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), _json, max_size=6))
def test_a_line_contains_the_whole_entry(entry: dict[str, Any]) -> None:
    """An entry read from its line equals the original, including numbers beyond 64 bits."""
    line = encode(entry)
    assert b"\n" not in line
    assert json.loads(line) == entry
    assert list(json.loads(line)) == list(entry)


def test_a_lone_surrogate_survives() -> None:
    """A string that UTF-8 cannot represent is kept as an escape."""
    assert json.loads(encode({"request": "\ud800"})) == {"request": "\ud800"}


def test_identity_is_the_id() -> None:
    """Two copies of an entry with one id are the same entry, even if a field differs."""
    assert key_of({"id": "1", "status": None}) == key_of({"id": "1", "status": 200})
    assert key_of({"id": "1"}) != key_of({"id": 1})


@pytest.mark.parametrize("entry_id", ["é", "a\0b", "x" * 256])
def test_an_id_that_not_every_store_holds_becomes_a_digest(entry_id: str) -> None:
    """A short one in ASCII, even where all else of the page is as usual."""
    key = key_of({"id": entry_id})
    assert key.startswith("str:")
    assert key.isascii()
    assert len(key) < 100


def test_identity_without_an_id_is_the_content() -> None:
    """Without an id, equal entries are the same entry, in any order of fields."""
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})
    assert key_of({"id": None, "a": 1}) != key_of({"id": None, "a": 2})


@given(st.one_of(_json, st.text(alphabet=st.characters(), min_size=1)), st.dictionaries(st.text(), _json))
def test_the_identity_can_be_stored_anywhere(entry_id: Any, entry: dict[str, Any]) -> None:
    """The key of any id is a short string that UTF-8, JSON and any database can store."""
    for odd in ("x\ud800", "\0", "x" * 10_000, entry_id):
        key = key_of({**entry, "id": odd})
        assert "\0" not in key
        assert len(key.encode()) < 300
    assert key_of({"id": "x\ud800"}) != key_of({"id": "x\ud801"})


def page_of(*lines: bytes, before: bytes = b'{"logs":[', after: bytes = b"]}") -> bytes:
    """Return a page body with these entries, byte for byte."""
    return before + b",".join(lines) + after


COMPACT = b'{"id":"1","log_time":"2025-01-01T00:00:00Z","n":1.50,"u":"\\u00e9"}'


def test_a_compact_entry_keeps_its_bytes() -> None:
    """A compact entry is not decoded and encoded again: neither 1.50 nor an escape changes."""
    (entry,) = read_page(page_of(COMPACT))
    assert entry.line == COMPACT
    assert entry.fields == {"id": "1", "log_time": LOG_TIME, "n": 1.5, "u": "é"}


@pytest.mark.parametrize(
    "odd", [b'{"id": "2", "log_time": "2025-01-01"}', b'{"id":"2",\n"log_time":"2025-01-01"}']
)
def test_an_entry_with_space_becomes_one_compact_line(odd: bytes) -> None:
    """An entry with white space becomes compact without changing the bytes of other entries of its page."""
    entries = read_page(page_of(COMPACT, odd, COMPACT))
    assert [entry.line for entry in entries] == [COMPACT, b'{"id":"2","log_time":"2025-01-01"}', COMPACT]


def test_a_lone_surrogate_changes_no_other_entry() -> None:
    """A page that the fast library refuses for a lone surrogate keeps the bytes of its other entries."""
    odd = b'{"id":"3","log_time":"2025-01-01","request":"\\ud800"}'
    body = page_of(
        COMPACT, odd, COMPACT, before=b'{ "a": [1, {"logs": []}], "logs" : [ ', after=b' ] , "b": 2}'
    )
    entries = read_page(body)
    assert [entry.line for entry in entries] == [COMPACT, odd, COMPACT]
    assert entries[1].fields["request"] == "\ud800"


def test_a_number_that_no_float_holds_stays_exact() -> None:
    """A number that no float can represent stays exact, in the line and decoded."""
    line = b'{"log_time":"2025-01-01","n":1e999}'
    (entry,) = read_page(page_of(line))
    assert entry.line == line
    assert decode(encode(entry.fields)) == entry.fields


def test_a_number_that_no_float_holds_beside_a_lone_surrogate_stays_exact() -> None:
    """Printed with space, so that the entry is encoded again, by the library that knows neither."""
    body = rb'{"logs":[{"log_time": "2025-01-01","n": [1e400, -2.50],"x": "\ud800 number","number": "a"}]}'
    (entry,) = read_page(body)
    assert entry.line == rb'{"log_time":"2025-01-01","n":[1E+400,-2.5],"x":"\ud800 number","number":"a"}'


def test_equal_entries_without_an_id_are_counted() -> None:
    """Equal entries without an id are numbered, so that each is a separate entry."""
    line = b'{"log_time":"2025-01-01"}'
    keys = [entry.key for entry in read_page(page_of(line, line, COMPACT, line))]
    assert len(set(keys)) == 4
    assert [entry.key for entry in read_page(page_of(line, line))] == keys[:2]


def test_more_entries_than_the_limit_are_refused() -> None:
    """More entries than the limit are refused: the server may ignore other parameters, too."""
    assert len(read_page(page_of(COMPACT, COMPACT), limit=2)) == 2
    with pytest.raises(ContractViolation, match="2 entries, but 1 were requested at most"):
        read_page(page_of(COMPACT, COMPACT), limit=1)


def test_a_line_is_read_as_its_entry() -> None:
    """A line from a checkpoint is parsed as its entry."""
    assert read_line(COMPACT) == read_page(page_of(COMPACT))[0]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (rb'{"x": "\ud800", "logs": 5}', "no list 'logs'"),
        (rb'{"x": "\ud800"}', "no list 'logs'"),
        (rb'["\ud800"]', "no list 'logs'"),
        (rb'{"x": "\ud800", "logs": [5]}', "something other than objects in 'logs'"),
        (rb'{"x": "\ud800", "logs": [{"id": NaN}]}', "is not JSON"),
    ],
)
def test_a_page_beside_a_lone_surrogate_is_refused_for_the_same_reason(body: bytes, complaint: str) -> None:
    """A page with a lone surrogate is refused with the same messages, although another parser reads it."""
    with pytest.raises(ContractViolation, match=complaint):
        read_page(body)


def test_a_lone_surrogate_beside_an_escaped_null_changes_neither() -> None:
    """The mark that replaces the surrogate while a page is read does not occur in the page."""
    body = rb'{"logs":[{"id":"\ud800","log_time":"2026-01-01"},{"id":"\u0000_","log_time":"2026-01-01"}]}'
    assert [entry.fields["id"] for entry in read_page(body)] == ["\ud800", "\0_"]


_times = st.from_regex(
    r"(20\d\d|0001|9999)-(0[1-9]|1[0-2])-([012]\d|3[01])[T t]([01]\d|2[0-4]):[0-6]\d:[0-6]\d(Z|z|\.|\+)",
    fullmatch=True,
)
_ids = (
    st.text(alphabet=st.sampled_from('aé\0"\\\ud800'), max_size=3) | st.just("x" * 255) | st.just("x" * 256)
)
_near_usual = st.fixed_dictionaries(
    {},
    optional={
        "id": _ids | st.sampled_from(["1", 1, None]),
        "log_time": _times | st.sampled_from([LOG_TIME, "2025-01-01", "2025-01-01T00:00:00.5Z", None, 5]),
        "request": st.sampled_from(["a", 2**70, None]),
    },
)


@example([{"id": "é", "log_time": LOG_TIME}])
@example([{"id": "\0", "log_time": LOG_TIME}])
@example([{"id": "x" * 255, "log_time": LOG_TIME}])
@example([{"id": "x" * 256, "log_time": LOG_TIME}])
@example([{"id": "1", "log_time": LOG_TIME[:-1]}])
@example([{"id": "1", "log_time": LOG_TIME[:-1] + ".5Z"}])
@given(st.lists(st.fixed_dictionaries({"id": _ids, "log_time": _times}) | _near_usual, max_size=4))
def test_an_entry_is_read_alike_beside_any_other(entries: list[dict[str, Any]]) -> None:
    """A page of usual entries is decoded at once; beside another entry, the same ones are read one by one."""
    other = {"log_time": "2025-01-01", "other": True}

    def read(page: list[dict[str, Any]]) -> list[LogEntry] | str:
        try:
            return read_page(json.dumps({"logs": page}).encode())
        except ContractViolation as error:
            return str(error)

    alone, beside = read(entries), read([*entries, other])
    assert alone == (beside if isinstance(beside, str) else beside[:-1])
