"""Classification and parsing of responses."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.entry import read_page
from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.responses import (
    Outcome,
    RateLimit,
    classify,
    parse_connectors,
    parse_log_entry,
    parse_retry_after,
)

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
ENVELOPE = {
    "meta": {"request_id": "BXaEFVtjc7TXaJxgZhmFgSUD9edqq_CN"},
    "error": {"code": "NOT_FOUND", "message": "No such team.", "description": "Team 7 does not exist."},
}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.OK),
        (201, Outcome.OK),
        (301, Outcome.UNEXPECTED),
        (304, Outcome.UNEXPECTED),
        (400, Outcome.REFUSED),
        (401, Outcome.REFUSED),
        (403, Outcome.REFUSED),
        (404, Outcome.REFUSED),
        (408, Outcome.SERVER_FAILED),
        (418, Outcome.REFUSED),
        (422, Outcome.REFUSED),
        (429, Outcome.RATE_LIMITED),
        (500, Outcome.SERVER_FAILED),
        (503, Outcome.SERVER_FAILED),
        (599, Outcome.SERVER_FAILED),
    ],
)
def test_a_status_says_what_to_do(status: int, outcome: Outcome) -> None:
    """Errors are sorted by what the caller should do about them."""
    assert classify(status, {}, b"", now=NOW).outcome is outcome


def test_the_facts_of_an_error() -> None:
    """The error has all facts of the envelope and of the headers, whatever their letter case."""
    response = classify(
        429,
        {"retry-AFTER": "3600", "x-ratelimit-limit": "5000", "X-RateLimit-Remaining": "0"},
        json.dumps(ENVELOPE).encode(),
        now=NOW,
    )
    assert (response.code, response.message) == ("NOT_FOUND", "No such team.")
    assert response.description == "Team 7 does not exist."
    assert response.request_id == "BXaEFVtjc7TXaJxgZhmFgSUD9edqq_CN"
    assert response.retry_after == 3600
    assert response.rate_limit == RateLimit(5000, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502</html>",
        b"[]",
        b'{"error": ["text"], "meta": []}',
        b'{"error": {"code": 7}}',
        b"\xff\xfe",
    ],
)
def test_an_error_without_an_envelope_is_still_an_error(body: bytes) -> None:
    """A gateway's response without an envelope is classified by its status."""
    response = classify(502, {}, body, now=NOW)
    assert response.outcome is Outcome.SERVER_FAILED
    assert response.code is response.message is response.request_id is None


def test_texts_are_short_and_of_one_line() -> None:
    """Strings for a log line are cut to the lengths that the API documents."""
    body = {"error": {"code": "C" * 500, "message": "a\nb " + "m" * 500, "description": "d" * 5000}}
    response = classify(400, {}, json.dumps(body).encode(), now=NOW)
    assert len(response.code or "") == 100
    assert response.message is not None
    assert response.message.startswith("a b ")
    assert len(response.message) == 255
    assert len(response.description or "") == 2048


@pytest.mark.parametrize(
    ("headers", "rate_limit"),
    [
        ({}, None),
        ({"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4999"}, RateLimit(5000, 4999)),
        ({"X-RateLimit-Remaining": "3"}, RateLimit(None, 3)),
        ({"X-RateLimit-Limit": "5000, 5000;w=3600", "X-RateLimit-Remaining": " 7 "}, RateLimit(5000, 7)),
        ({"X-RateLimit-Limit": "many", "X-RateLimit-Remaining": "-1"}, None),
        ({"X-RateLimit-Remaining": ""}, None),
        ({"X-RateLimit-Remaining": "9" * 40}, None),
    ],
)
def test_rate_limit_headers(headers: dict[str, str], rate_limit: RateLimit | None) -> None:
    """Absent or unreadable headers are ignored."""
    assert classify(200, headers, b"{}", now=NOW).rate_limit == rate_limit


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("0", 0),
        ("1", 1),
        (" 86400 ", 86400),
        ("1.5", 1.5),
        (format_datetime(NOW + timedelta(minutes=2), usegmt=True), 120),
        (format_datetime(NOW - timedelta(minutes=2), usegmt=True), 0),
        ("Thu, 01 Jan 2026 00:01:00", 60),
        ("Thu, 99 Foo 2026 00:01:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds and HTTP dates are parsed, and any other value is ignored."""
    assert parse_retry_after(value, now=NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "5, 120"}, 120),
        ({"Retry-After": "120,5"}, 120),
        ({"Retry-After": "soon, 7"}, 7),
        ({"Retry-After": "soon, later"}, None),
        ({"Retry-After": "Thu, 01 Jan 2026 00:01:00 GMT, 5"}, 60),
        ({"Retry-After": "90, Thu, 01 Jan 2026 00:01:00 GMT"}, 90),
        ({"Retry-After": "Thu, 01 Jan 2026 00:01:00 GMT, Thu, 1 Jan 2026 00:02:00 GMT"}, 120),
        ({"Retry-After": "Thursday, 01-Jan-26 00:01:00 GMT"}, 60),
        ({"Retry-After": "5", "retry-after": "120", "RETRY-AFTER": "7"}, 120),
    ],
    ids=str,
)
def test_the_longest_of_several_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """The longest of several Retry-After values counts, however a gateway has joined them."""
    assert classify(429, headers, b"", now=NOW).retry_after == seconds


def test_a_page_of_more_than_was_requested() -> None:
    """A page with more entries than requested is refused."""
    body = json.dumps({"logs": [{"log_time": "2025-01-01"}] * 4}).encode()
    assert len(read_page(body, limit=4)) == 4
    with pytest.raises(ContractViolation, match="4 entries, but 3"):
        read_page(body, limit=3)


def test_a_page() -> None:
    """Entries are returned unchanged, with unknown fields and without missing ones."""
    logs = [{"id": "1", "log_time": "2025-01-01", "new_field": [1, {"a": None}]}, {"log_time": "2025-01-01"}]
    page = read_page(json.dumps({"logs": logs, "more": 1}).encode())
    assert [entry.fields for entry in page] == logs


def test_numbers_beyond_64_bits_stay_exact() -> None:
    """A fast JSON library must not make a float of a large integer."""
    page = read_page(b'{"logs": [{"log_time": "2025-01-01", "n": 123456789012345678901234567890}]}')
    assert page[0].fields["n"] == 123456789012345678901234567890


def test_a_lone_surrogate_does_not_block_a_page() -> None:
    """JSON that the fast library refuses is read by the standard library."""
    assert (
        read_page(b'{"logs": [{"log_time": "2025-01-01", "request": "\\ud800"}]}')[0].fields["request"]
        == "\ud800"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        b'{"logs": [',
        b"[]",
        b"null",
        b"{}",
        b'{"logs": null}',
        b'{"logs": {}}',
        b'{"logs": [1]}',
        b'{"logs": [{"id": "1"}]}',
        b'{"logs": [{"id": "1", "log_time": "never"}]}',
        b'{"logs": [{"log_time": "2025-01-01", "n": NaN}]}',
        b'{"logs": [{"log_time": "\xff"}]}',
        b"[" * 100_000,
    ],
)
def test_an_invalid_page(body: bytes) -> None:
    """A body that could hide entries is refused."""
    with pytest.raises(ContractViolation):
        read_page(body)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"connectors": [{}]}', b'{"connectors": [{"connector_identifier": 1}]}']
)
def test_a_list_with_an_invalid_connector(body: bytes) -> None:
    """A connector without its identifier could not be exported, so the list is refused."""
    with pytest.raises(ContractViolation):
        parse_connectors(body)


def test_an_invalid_entry() -> None:
    """A single entry that is not an object is refused."""
    assert parse_log_entry(b'{"id": "1"}') == {"id": "1"}
    with pytest.raises(ContractViolation):
        parse_log_entry(b"[]")


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(["Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining"]), st.text()
    ),
    st.binary()
    | st.recursive(
        st.none() | st.text(),
        lambda s: st.dictionaries(st.sampled_from(["error", "meta", "code", "message", "request_id"]), s),
    ).map(lambda d: json.dumps(d).encode()),
)
def test_no_response_can_break_the_client(status: int, headers: dict[str, str], body: bytes) -> None:
    """Any response is classified."""
    response = classify(status, headers, body, now=NOW)
    assert response.retry_after is None or response.retry_after >= 0


@given(st.binary(max_size=200) | st.from_type(dict).map(lambda d: repr(d).encode()))
def test_any_body_is_a_page_or_refused(body: bytes) -> None:
    """Nothing but ContractViolation is raised for any bytes."""
    result: Any = None
    try:
        result = read_page(body)
    except ContractViolation:
        return
    assert isinstance(result, list)


@pytest.mark.parametrize("code", ["ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_INVALID", "invalid_token"])
def test_an_expired_token(code: str) -> None:
    """An expired token is retryable, because it may be renewed; its code with another status is ignored."""
    body = json.dumps({"error": {"code": code}}).encode()
    assert classify(401, {}, body, now=NOW).outcome is Outcome.EXPIRED
    assert classify(403, {}, body, now=NOW).outcome is Outcome.REFUSED


def connectors(number: int, count: Any) -> bytes:
    """Return the body of a list of this many connectors."""
    items = [{"connector_identifier": f"C{i}"} for i in range(number)]
    return json.dumps({"connectors": items, "count": count}).encode()


@pytest.mark.parametrize(
    ("number", "count", "is_partial"),
    [(2, 2, False), (2, 3, True), (2, None, False), (2, "3", False), (1000, None, True), (1000, 1000, False)],
)
def test_a_list_of_connectors_that_may_be_cut(number: int, count: Any, is_partial: bool) -> None:
    """The API counts them, or the list has the length at which it cuts."""
    listed = parse_connectors(connectors(number, count))
    assert (listed.is_partial, len(listed.all())) == (is_partial, number)


def test_a_list_of_connectors_that_is_cut() -> None:
    """A truncated list of connectors is refused, because it has no further pages."""
    with pytest.raises(ContractViolation, match="has 1,000 of 1,001 connectors"):
        parse_connectors(connectors(1000, 1001)).all()


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b'{"connectors": {}}', b'{"connectors": [1]}', b'{"connectors": [{}]}']
)
def test_an_invalid_list_of_connectors(body: bytes) -> None:
    """A list without identifiers is refused."""
    with pytest.raises(ContractViolation):
        parse_connectors(body)


def test_numbers_beside_a_lone_surrogate() -> None:
    """The slower parser reads them as well, and refuses those that no float can be."""
    assert parse_log_entry(rb'{"id": "\ud800", "log_time": "2026-01-01", "x": 1.5}')["x"] == 1.5
    with pytest.raises(ContractViolation, match="is not JSON"):
        parse_log_entry(rb'{"id": "\ud800", "log_time": "2026-01-01", "x": 1e400}')


def test_details_nested_as_deep_as_can_be_read() -> None:
    """Details that are nested too deeply to be encoded again are left out."""
    for depth in range(700, 1000):
        body = b'{"error": {"message": "no", "details": ' + b"[" * depth + b"]" * depth + b"}}"
        assert classify(400, {}, body, now=NOW).outcome is Outcome.REFUSED


def test_an_error_as_oauth_has_it() -> None:
    """The name of an OAuth error is the code, and an invalid token is retryable."""
    body = json.dumps({"error": "invalid_token", "error_description": "The token expired."}).encode()
    response = classify(401, {}, body, now=NOW)
    assert (response.outcome, response.code) == (Outcome.EXPIRED, "invalid_token")
    assert response.message == "The token expired."
    assert not response.is_enveloped
