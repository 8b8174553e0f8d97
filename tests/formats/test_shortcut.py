"""The shortcut for ordinary lines: what it returns, the rule in `row` returns as well."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.entry import SCHEMA, decode
from airflow_provider_supermetrics._export.formats import csv, rows
from tests.support.any_json import fields, texts, values
from tests.support.table import ODD, ORDINARY

pytestmark = pytest.mark.airflow_2

TEXTS = {"csv": csv._text, "parquet": rows.text}

# As an entry of the API, one value of which may be anything.
usual_values: dict[str, Any] = {
    **{name: st.sampled_from(["", "a", "a,b", "\0", "\\u0000", "ä😀", "null"]) for name in SCHEMA},
    "log_time": st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T00:00:59.250Z", "2026-01-01T00:00:60Z"]),
    "status": st.sampled_from([0, 200, 2**15 - 1, 2**15, -(2**15), -(2**15) - 1, 1.0, True]),
    "duration_ms": st.sampled_from([0, 253, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1]),
}
pairs = st.one_of(
    [st.tuples(st.just(name), usual_values[name] | st.none()) for name in SCHEMA]
    + [st.tuples(st.just(name), fields[name]) for name in SCHEMA]
    + [st.tuples(texts, values)]
)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """An entry as JSON prints it, or with fields in any order, repeated, left out, with spaces or escapes."""
    entry = draw(st.fixed_dictionaries({}, optional={**usual_values, "log_time": usual_values["log_time"]}))
    entry |= dict.fromkeys(draw(st.lists(st.sampled_from(list(SCHEMA)), max_size=3)))
    members = [(name, entry[name]) for name in SCHEMA if name in entry]
    if draw(st.booleans()):
        members = draw(st.permutations(members + draw(st.lists(pairs, max_size=3))))
    space = draw(st.sampled_from(["", "", " "]))
    is_ascii = draw(st.booleans())
    printed = [
        json.dumps(name, ensure_ascii=is_ascii or not name.isascii())
        + f"{space}:{space}"
        + json.dumps(value, ensure_ascii=is_ascii or not is_utf8(value), separators=(",", ":"))
        for name, value in members
    ]
    return ("{" + f",{space}".join(printed) + "}").encode()


def is_utf8(value: Any) -> bool:
    """Whether UTF-8 can encode it, which has no lone surrogates."""
    return "\\ud" not in json.dumps(value).lower()


def line(**changes: Any) -> bytes:
    """The ordinary entry with changes."""
    return json.dumps({**ORDINARY, **changes}, separators=(",", ":")).encode()


@pytest.mark.parametrize("format", ["csv", "parquet"])
@settings(deadline=None, max_examples=500)
@given(line=lines())
@example(line=line(status=None, request=None))
@example(line=b'{"log_time":"2026-01-01T00:00:00Z","status":1,"event":null,"status":null}')
@example(line=b'{"event":null,"status":null,"log_time":"2026-01-01T00:00:00Z"}')
@example(line=line(event="a\0b"))
@example(line=line(event=""))
def test_the_shortcut_returns_what_the_rule_returns(format: str, line: bytes) -> None:
    """For any line, in the same types; where it is not certain it returns nothing."""
    found = rows._usual_table(line + b"\n")
    if found is not None:
        assert repr(tuple(value for (value,) in found)) == repr(rows.row(decode(line), TEXTS[format]))


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_tables_contain_the_rows_that_the_rule_returns(format: str) -> None:
    """Ordinary entries and odd ones next to each other, in order."""
    block = [line(**change) for change, _, _ in ODD for _ in range(3)] + [line(id=str(n)) for n in range(50)]
    expected = [rows.row(decode(one), TEXTS[format]) for one in block]
    cut = [b"\n".join(block[:7]) + b"\n", b"\n".join(block[7:]) + b"\n"]
    found = [list(zip(*table, strict=True)) for table in rows.tables(cut, 20, TEXTS[format])]
    assert [len(batch) for batch in found[:-1]] == [20] * (len(found) - 1)
    assert repr([row for batch in found for row in batch]) == repr(expected)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"status": None},
        {"status": None, "request": None},
        {"log_time": "2026-01-01T23:59:59Z"},
        {"log_time": "2026-01-01T00:00:00.250Z"},
        {"event": 'a,"b"\n'},
        {"status": -(2**15), "duration_ms": 2**63 - 1},
    ],
    ids=str,
)
def test_the_shortcut_takes_ordinary_lines(changes: dict[str, Any]) -> None:
    """Otherwise it would be slower than none."""
    assert rows._usual_table(line(**changes) + b"\n" + line() + b"\n") is not None
