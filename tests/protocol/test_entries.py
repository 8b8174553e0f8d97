"""An entry's time, identity and line."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_supermetrics.protocol import entries
from airflow_provider_supermetrics.protocol.errors import ContractViolation

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
        ("2025-01-01T10:20:30.5z", "2025-01-01T10:20:30.500000+00:00", SECOND / 10),
        ("2025-01-01T10:20:30.123Z", "2025-01-01T10:20:30.123000+00:00", SECOND / 1000),
        ("2025-01-01T10:20:30,123456Z", "2025-01-01T10:20:30.123456+00:00", SECOND / 10**6),
        ("2025-01-01T10:20:30.123456789Z", "2025-01-01T10:20:30.123456+00:00", SECOND / 10**6),
    ],
)
def test_times(text: str, at: str, tick: timedelta) -> None:
    """Every form that the API's documents show is read, with the precision it was printed to."""
    assert entries.parse_time(text) == (datetime.fromisoformat(at), tick)


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
    """Without a time an entry cannot be placed; going on could lose others."""
    with pytest.raises(ContractViolation, match="log_time"):
        entries.log_time({"id": "1", "log_time": value})


def test_a_huge_id_is_not_quoted_whole() -> None:
    """A message holds some of it."""
    with pytest.raises(ContractViolation) as refused:
        entries.log_time({"id": "x" * 1_000_000, "log_time": "y" * 1_000_000})
    assert len(str(refused.value)) < 300


def test_a_missing_time_is_refused() -> None:
    """As above, and the message names the entry."""
    with pytest.raises(ContractViolation, match="123-foo"):
        entries.log_time({"id": "123-foo"})


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    """Whatever arrives as a time, nothing but ContractViolation is raised."""
    try:
        at, tick = entries.log_time({"log_time": text})
    except ContractViolation:
        return
    assert at.utcoffset() == timedelta()
    assert tick > timedelta()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), _json, max_size=6))
def test_a_line_says_all_that_the_entry_said(entry: dict[str, Any]) -> None:
    """Any entry, numbers beyond 64 bits included, comes back equal from its one line."""
    line = entries.line(entry)
    assert b"\n" not in line
    assert json.loads(line) == entry
    assert list(json.loads(line)) == list(entry)


def test_a_lone_surrogate_survives() -> None:
    """A text that UTF-8 cannot hold is kept as an escape."""
    assert json.loads(entries.line({"request": "\ud800"})) == {"request": "\ud800"}


def test_identity_is_the_id() -> None:
    """Two copies of an entry are one, even if a field changed meanwhile."""
    assert entries.identity({"id": "1", "status": None}) == entries.identity({"id": "1", "status": 200})
    assert entries.identity({"id": "1"}) != entries.identity({"id": 1})


def test_identity_without_an_id_is_the_content() -> None:
    """Where there is no id, only an equal entry is the same; the order of fields does not matter."""
    assert entries.identity({"a": 1, "b": 2}) == entries.identity({"b": 2, "a": 1})
    assert entries.identity({"a": 1}) != entries.identity({"a": 2})
    assert entries.identity({"id": None, "a": 1}) != entries.identity({"id": None, "a": 2})


@given(st.one_of(_json, st.text(alphabet=st.characters(), min_size=1)), st.dictionaries(st.text(), _json))
def test_the_identity_can_be_stored_anywhere(entry_id: Any, entry: dict[str, Any]) -> None:
    """Whatever the id is, its key is a short string that UTF-8, JSON and any database hold."""
    for odd in ("x\ud800", "\0", "x" * 10_000, entry_id):
        key = entries.identity({**entry, "id": odd})
        assert "\0" not in key
        assert len(key.encode()) < 300
    assert entries.identity({"id": "x\ud800"}) != entries.identity({"id": "x\ud801"})
