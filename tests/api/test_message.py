"""What a person reads about errors, whatever the log contains."""

from __future__ import annotations

import html
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.filter import brief
from airflow_provider_supermetrics._api.message import failures, message, with_message
from tests.support.any_json import values

SINCE, UNTIL = "2026-01-01T09:58:00Z", "2026-01-01T10:02:00Z"
NEWEST = {
    "id": "002211-er9",
    "log_time": UNTIL,
    "status": 500,
    "request": "GET /v2/customers/17?cursor=c2056",
    "request_id": "d6fc087f",
}
OLDER = {"id": "002210-x", "log_time": SINCE, "status": 403, "request": "POST /v2/orders"}
TEXT = """\
T3S70: 3 errors from 2026-01-01T09:58:00Z to 2026-01-01T10:02:00Z
Most frequent:
  2 x 500 GET /v2/customers/…?…
  1 x 403 POST /v2/orders
Newest: log entry 002211-er9, at 2026-01-01T10:02:00Z, request id d6fc087f"""


def test_the_whole_message() -> None:
    """Connector, count and time; the failures; the newest error."""
    other = {**NEWEST, "request": "GET /v2/customers/4"}
    same = {**NEWEST, "request": "GET /v2/customers/4?x=1"}
    assert message("T3S70", 3, [NEWEST, same, OLDER], SINCE, UNTIL) == TEXT
    assert failures([NEWEST, other], 2)[1:-1] == [
        "  1 x 500 GET /v2/customers/…?…",
        "  1 x 500 GET /v2/customers/…",
    ]


def test_more_errors_than_are_known() -> None:
    """The message says that the failures are only those of the newest errors."""
    lines = message("T3S70", 1234, [NEWEST, OLDER], SINCE, UNTIL).splitlines()
    assert lines[0] == f"T3S70: 1,234 errors from {SINCE} to {UNTIL}"
    assert lines[1] == "Most frequent among the newest 2:"


def test_what_is_unknown_is_left_out() -> None:
    """No entries, no id, no status, no request: what is there is said."""
    assert message("T3S70", 1, [], SINCE, None) == f"T3S70: 1 error from {SINCE}"
    bare = {"log_time": UNTIL}
    assert message("T3S70", 1, [bare], SINCE, UNTIL).splitlines()[2:] == [
        "  1 x None without a request",
        f"Newest: at {UNTIL}",
    ]
    assert failures([{"status": 500, "event": "data.fetch"}], 1)[1] == "  1 x 500 data.fetch"


def test_the_most_frequent_failures_come_first() -> None:
    """Five of them, and how many others there are."""
    entries = [{"status": 500 + kind, "request": f"GET /{'abcdefgh'[kind]}"} for kind in range(8)]
    entries += [*entries[3:], entries[7]]
    first, most, *others, rest, newest = failures(entries, 14)
    assert (first, most, others[0]) == ("Most frequent:", "  3 x 507 GET /h", "  2 x 503 GET /d")
    assert (len(others), rest, newest) == (4, "  and 3 others", "Newest: ")
    assert len(message("T3S70", 14, entries, SINCE, UNTIL).splitlines()) == 2 + 5 + 2


def test_errors_of_which_others_were_reported_before() -> None:
    """They are new ones, so that nobody counts those of the time and finds more."""
    text = message("T3S70", 1, [], SINCE, UNTIL, is_rest=True)
    assert text == f"T3S70: 1 new error from {SINCE} to {UNTIL}"


def test_the_first_line_is_short() -> None:
    """Log views and mail clients cut longer ones."""
    since, until = "2026-01-01T09:58:00.123456Z", "2026-01-01T10:02:00.654321Z"
    assert len(message("T3S70", 999_999, [], since, until, is_rest=True)) <= 90


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["id", "status", "request", "event", "request_id", "x"]), values)
        | st.fixed_dictionaries({"request": st.text(), "id": st.text(), "request_id": st.text()}),
        max_size=8,
    )
)
def test_no_entry_forges_a_line(entries: list[dict[str, Any]]) -> None:
    """Each line begins as this package writes it, and prints, whether the entries are cut or not."""
    entries = [{**entry, "log_time": UNTIL} for entry in entries]
    for known in (entries, [brief(entry) for entry in entries]):
        first, *others = message("T3S70", 9, known, SINCE, UNTIL).split("\n")
        assert first == f"T3S70: 9 errors from {SINCE} to {UNTIL}"
        kinds = [line for line in others if line.startswith("  ")]
        assert others == (
            [f"Most frequent among the newest {len(known)}:", *kinds, others[-1]] if known else []
        )
        assert all(line.isprintable() for line in [first, *others])
        assert not known or others[-1].startswith("Newest: ")
        assert len("\n".join(others)) < 1500


@pytest.mark.parametrize("field", ["id", "status", "request", "event", "request_id"])
def test_a_hostile_value(field: str) -> None:
    """A value is cut, stays on its line, and is text for a browser once the message is escaped."""
    hostile = "<img src=x onerror=alert(1)>&\"'\r\nT3S70: 0 errors\x1b[2J\u202e{{ 7 * 7 }}" + "a" * 500
    text = message("T3S70", 1, [{**NEWEST, "request": None, field: hostile}], SINCE, UNTIL)
    assert len(text.splitlines()) == 4
    assert all(line.isprintable() and len(line) <= 300 for line in text.splitlines())
    assert "<" not in html.escape(text)


def test_the_message_is_part_of_the_result() -> None:
    """Beside what it is made of."""
    counted = {"matches": 1, "entries": [NEWEST], "since": SINCE, "until": UNTIL}
    result = with_message("T3S70", 7, counted)
    assert list(result) == ["connector_identifier", "team_id", *counted, "message"]
    assert result["message"] == message("T3S70", **counted)
