"""Both hooks with responses that are hostile, foreign or incomplete."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import (
    SupermetricsError,
    SupermetricsRequestError,
    SupermetricsResponseError,
    SupermetricsServerError,
    SupermetricsTokenError,
    SupermetricsValidationError,
)
from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsHook
from dev.simulator import Connector, Fault, Simulator
from tests.conftest import CONNECTOR, KEY, TEAM
from tests.support.compat import AirflowFailException
from tests.support.responses import HOSTILE, listed

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]


def facts(error: SupermetricsError) -> list[str]:
    """The message and each attribute that is a string."""
    return [str(error), *(value for value in vars(error).values() if isinstance(value, str))]


# Text of the API's in messages


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_control_characters_of_an_error_do_not_reach_messages(
    simulate: Simulate,
    new_hook: Callable[..., Any],
    waits: list[float],
    logged: Callable[[], list[str]],
    status: int,
) -> None:
    """Neither the exception, nor its attributes, nor the log of a retry has one raw."""
    body = {
        "error": {
            "code": HOSTILE,
            "message": HOSTILE,
            "description": HOSTILE,
            "details": {HOSTILE: [HOSTILE]},
        },
        "meta": {"request_id": HOSTILE},
    }
    simulate(faults=[Fault(status, body=body)] * 5)
    with pytest.raises(SupermetricsError) as raised:
        new_hook(wait_policy={"max_attempts": 2}).list_connectors()
    reported = facts(raised.value)
    assert len(reported) == (5 if raised.value.remedy is None else 6)
    assert [text for text in reported if not text.isprintable()] == []
    lines = logged()
    assert [line for line in lines if not line.isprintable()] == []
    assert ("retrying" in "".join(lines)) == (status == 500)


@pytest.mark.parametrize("log_time", [None, HOSTILE, [HOSTILE], "x" * 2**20], ids=lambda _: "")
@pytest.mark.parametrize("entry_id", [HOSTILE, {HOSTILE: HOSTILE}, "x" * 2**20, 7], ids=lambda _: "")
def test_an_entry_that_breaks_the_contract_is_quoted_short_and_in_one_line(
    simulate: Simulate, hook: Any, entry_id: Any, log_time: Any
) -> None:
    """An id of a megabyte, or one with control characters, does not go into the message as it is."""
    simulate(faults=[Fault(200, body={"logs": [{"id": entry_id, "log_time": log_time}]})])
    with pytest.raises(SupermetricsResponseError, match="no readable log_time") as raised:
        hook.iter_logs(CONNECTOR)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("field", ["id", "log_time"])
def test_a_quoted_entry_has_no_part_of_the_credential(simulate: Simulate, hook: Any, field: str) -> None:
    """However long the value is around it: a part would escape the redaction."""
    entries = [{"id": "1", "log_time": None, field: "x" * length + KEY} for length in range(0, 120, 3)]
    simulate(faults=[Fault(200, body={"logs": [entry]}) for entry in entries])
    for _ in entries:
        with pytest.raises(SupermetricsResponseError) as raised:
            hook.iter_logs(CONNECTOR)
        assert KEY[:6] not in str(raised.value)


def test_each_text_of_an_error_is_quoted_short(simulate: Simulate, hook: Any) -> None:
    """A message has some hundred characters of each value; attributes keep what the API's page allows."""
    error: dict[str, Any] = {"code": "C" * 10**5, "message": "m" * 10**5, "description": "d" * 10**5}
    error["details"] = [{"x": "e" * 10**5}]
    simulate(faults=[Fault(400, body={"error": error, "meta": {"request_id": "r" * 10**5}})])
    with pytest.raises(SupermetricsRequestError) as raised:
        hook.list_connectors()
    for letter in "Cmder":
        assert 64 <= str(raised.value).count(letter) <= 330, letter
    assert len(raised.value.description or "") == 2048


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_log", (CONNECTOR, "x" * 10**6)),
        ("get_log", ("x" * 10**6, "1")),
        ("list_logs", ("\x1b[31m" * 10**5,)),
        ("list_connectors", ("9" * 10**6,)),
        ("list_connectors", (10**5000,)),
    ],
    ids=["log_id", "identifier", "control characters", "team_id", "integer"],
)
def test_an_argument_that_is_refused_is_quoted_short(
    simulate: Simulate, hook: Any, method: str, arguments: tuple[Any, ...]
) -> None:
    """Arguments may come from the API as well, such as an identifier or an id."""
    simulate()
    with pytest.raises(SupermetricsValidationError) as raised:
        getattr(hook, method)(*arguments)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("log_id", ["\ud800", "x\udfff"])
def test_a_log_id_with_half_a_surrogate_pair_is_refused(simulate: Simulate, hook: Any, log_id: str) -> None:
    """No URL can hold it: a typed error, and nothing is sent."""
    sim = simulate()
    with pytest.raises(SupermetricsValidationError, match="log_id"):
        hook.get_log(CONNECTOR, log_id)
    assert sim.requests == []


@pytest.mark.parametrize(
    "before",
    [
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
    ],
    ids=["after year 9999", "before year 1"],
)
def test_a_time_that_has_no_form_in_utc_is_refused(simulate: Simulate, hook: Any, before: datetime) -> None:
    """An offset can move it out of the years that there are."""
    sim = simulate()
    with pytest.raises(SupermetricsValidationError, match="before"):
        hook.list_logs(CONNECTOR, before=before)
    assert sim.requests == []


def test_any_message_of_an_error_is_one_line() -> None:
    """Any error has a message of one line."""
    error = SupermetricsServerError(f"x {HOSTILE} y" + "z" * 10**6)
    assert str(error).isprintable()
    assert len(str(error)) <= 2000
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# Error bodies outside the envelope


@pytest.mark.parametrize(
    ("body", "code", "quoted"),
    [
        (
            '{"error": "invalid_scope", "error_description": "The scope is  not granted."}',
            "invalid_scope",
            "403 invalid_scope: The scope is not granted",
        ),
        ('{"error": "access_denied"}', "access_denied", "403 access_denied"),
        ('{"error": "No such route here"}', None, "403 No such route here"),
        (
            '{"message": "Missing Authentication Token"}',
            None,
            "403 Missing Authentication Token",
        ),
        (
            '{"message": null, "fault": [1]}',
            None,
            '403 (body: {"message": null, "fault": [1]})',
        ),
        ("Access denied by policy\n", None, "403 (body: Access denied by policy)"),
        ("html", None, "403 (body: Error Something went wrong)"),
        (
            "<!DOCTYPE html><!-- x > y --><style>p > a { }</style><SCRIPT>if (a<b) {}</SCRIPT >"
            "<title>Blocked</title><p class='a'>Ask&nbsp;IT &amp; <b>security</b>",
            None,
            "403 (body: Blocked Ask IT & security)",
        ),
        (
            "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>No</Message></Error>",
            None,
            "403 (body: AccessDenied No)",
        ),
        ("[1, 2]", None, "403 (body: [1, 2])"),
        (b"\xef\xbb\xbfdenied \xfc", None, "403 (body: denied \ufffd)"),
        ("empty", None, "403"),
        (" \r\n", None, "403"),
        ('{"error": {"code": 7}}', None, '403 (body: {"error": {"code": 7}})'),
    ],
)
def test_a_body_outside_the_envelope_is_quoted(
    simulate: Simulate, hook: Any, body: str | bytes, code: str | None, quoted: str
) -> None:
    """Gateways, proxies and OAuth servers respond in their own words, and those say what is wrong."""
    simulate(faults=[Fault(403, body=body)])
    with pytest.raises(SupermetricsRequestError) as raised:
        hook.list_connectors()
    assert str(raised.value).startswith(f"{quoted}; the credential of")
    assert raised.value.code == code


@pytest.mark.parametrize("text", ["plain {}", "<p>{}</p>", '{{"fault": "{}"}}', '{{"message": "{}"}}'])
def test_a_quoted_body_is_short_and_without_the_credential(simulate: Simulate, hook: Any, text: str) -> None:
    """A quoted body is short and has no part of the credential, wherever the quotation ends."""
    bodies = [text.format("y" * length + KEY + "z" * 10**5) for length in range(150, 310, 10)]
    simulate(faults=[Fault(400, body=body) for body in bodies])
    for _ in bodies:
        with pytest.raises(SupermetricsRequestError) as raised:
            hook.list_connectors()
        assert len(str(raised.value)) < 500
        assert KEY[:6] not in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [
        "<p>" + "".join(f"&#{ord(c)};" for c in KEY),
        '{"fault": "' + KEY.replace("/", "\\/").replace("+", "\\u002b") + '"}',
    ],
    ids=["html", "json"],
)
def test_a_credential_that_a_body_escapes_is_redacted(simulate: Simulate, hook: Any, body: str) -> None:
    """The quotation resolves escapes, and is redacted afterwards."""
    simulate(faults=[Fault(400, body=body)])
    with pytest.raises(SupermetricsRequestError, match=r"\*\*\*") as raised:
        hook.list_connectors()
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("unit", ["<", "<script", "<!--", "&", "<style><", "\x1b"])
def test_a_hostile_page_costs_no_time(simulate: Simulate, hook: Any, unit: str) -> None:
    """Patterns meet a megabyte of their own beginnings; the work is bounded by a cut, not by a clock."""
    simulate(faults=[Fault(400, body="<" + unit * (2**20 // len(unit)))])
    with pytest.raises(SupermetricsRequestError, match=r"^400"):
        hook.list_connectors()


@pytest.mark.parametrize(
    "body", ["empty", "html", "404 page not found", '{"message": "no Route matched with those values"}']
)
def test_a_404_without_the_envelope_says_to_check_the_host(simulate: Simulate, hook: Any, body: str) -> None:
    """The API itself would have said which of its things is not there."""
    simulate(faults=[Fault(404, body=body)])
    with pytest.raises(SupermetricsRequestError, match="check the Connection's host") as raised:
        hook.list_connectors()
    assert "team_id" not in str(raised.value)


def test_a_404_of_the_api_says_to_check_the_arguments(simulate: Simulate, hook: Any) -> None:
    """A 404 with the envelope proves that the host is right, so the message refers to the arguments."""
    simulate(faults=[Fault(404)])
    with pytest.raises(SupermetricsRequestError, match="check team_id") as raised:
        hook.list_connectors()
    assert "host" not in str(raised.value)


@pytest.mark.parametrize(
    ("body", "quoted"), [("html", "Error Something went wrong"), ("Sign in first", None)]
)
def test_a_success_that_is_not_json_is_quoted(
    simulate: Simulate, hook: Any, body: str, quoted: str | None
) -> None:
    """The sign-in page of a network, with status 200, is known by its words."""
    simulate(faults=[Fault(200, body=body)])
    with pytest.raises(SupermetricsResponseError, match=f"is not JSON.*{quoted or body}"):
        hook.list_connectors()


# What else an error response says


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        ({"field": "limit", "max": 1000}, '{"field": "limit", "max": 1000}'),
        ([{"loc": ["query", "limit"]}], '[{"loc": ["query", "limit"]}]'),
        ("Grüße", "Grüße"),
        ({"token": KEY}, '{"token": "***"}'),
        ({"n": 123456789012345678901234567890}, '{"n": 123456789012345678901234567890}'),
        ({"half": "\ud800"}, '{"half": "\ufffd"}'),
        ([], None),
        (None, None),
        ("", None),
    ],
)
def test_the_details_of_an_error_are_read(
    simulate: Simulate, hook: Any, details: Any, shown: str | None
) -> None:
    """The details of an error are an attribute and part of the message."""
    error = {"code": "VALIDATION_ERROR", "message": "Invalid.", "details": details}
    simulate(faults=[Fault(422, body={"error": error})])
    with pytest.raises(SupermetricsRequestError) as raised:
        hook.list_connectors()
    assert raised.value.details == shown
    assert ("details" in str(raised.value)) == (shown is not None)
    assert shown is None or f"details: {shown}" in str(raised.value)
    copy = pickle.loads(pickle.dumps(raised.value))
    assert copy.details == shown


def test_details_are_bounded(simulate: Simulate, hook: Any) -> None:
    """The attribute, too, keeps a thousand characters at most."""
    simulate(faults=[Fault(400, body={"error": {"code": "X", "details": {"a": ["y" * 10**6]}}})])
    with pytest.raises(SupermetricsRequestError) as raised:
        hook.list_connectors()
    assert len(raised.value.details) == 1000


@pytest.mark.parametrize(
    ("body", "request_id"),
    [
        ("html", "from-header"),
        ({"error": {"code": "X"}}, "from-header"),
        ({"error": {"code": "X"}, "meta": {"request_id": "from-body"}}, "from-body"),
        ({"error": {"code": "X"}, "meta": {"request_id": 7}}, "from-header"),
    ],
)
def test_the_request_id_of_the_header_is_read(
    simulate: Simulate, hook: Any, body: Any, request_id: str
) -> None:
    """The request id is read from the header if the body has none."""
    simulate(faults=[Fault(400, body=body, headers={"X-Request-Id": "from-header"})])
    with pytest.raises(SupermetricsRequestError, match=f"request id {request_id}") as raised:
        hook.list_connectors()
    assert raised.value.request_id == request_id


def test_a_request_id_of_the_header_is_as_hostile_as_any_text(simulate: Simulate, hook: Any) -> None:
    """Cut, in one line, redacted."""
    simulate(faults=[Fault(400, body="empty", headers={"X-Request-Id": f"{KEY}\x9b2J" + "x" * 500})])
    with pytest.raises(SupermetricsRequestError) as raised:
        hook.list_connectors()
    request_id = raised.value.request_id
    assert request_id is not None
    assert request_id.startswith("***\ufffd2J")
    assert len(request_id) == 64


# A token that is not valid any more


@pytest.mark.parametrize(
    "fault",
    [
        Fault(401, code="ACCESS_TOKEN_EXPIRED"),
        Fault(401, code="ACCESS_TOKEN_INVALID"),
        Fault(401, body={"error": "invalid_token", "error_description": "The access token expired"}),
    ],
    ids=["expired", "invalid", "OAuth"],
)
def test_an_expired_token_is_no_failure_without_retries(simulate: Simulate, hook: Any, fault: Fault) -> None:
    """A retry may find a renewed one in the Connection; this hook has the old one and sends one request."""
    sim = simulate(faults=[fault] * 3)
    with pytest.raises(SupermetricsTokenError, match="renew the access token") as raised:
        hook.list_logs(CONNECTOR)
    assert not isinstance(raised.value, (AirflowFailException, SupermetricsRequestError))
    assert raised.value.retryable
    assert len(sim.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(401),
        Fault(403, code="ACCESS_TOKEN_EXPIRED"),
        Fault(401, code="ACCESS_DENIED"),
        Fault(401, body={"error": "invalid_client"}),
    ],
    ids=["key", "403", "denied", "OAuth"],
)
def test_another_refusal_of_a_credential_is_one(simulate: Simulate, hook: Any, fault: Fault) -> None:
    """A wrong key stays wrong."""
    simulate(faults=[fault])
    with pytest.raises(SupermetricsRequestError) as raised:
        hook.list_logs(CONNECTOR)
    assert isinstance(raised.value, AirflowFailException)
    assert not raised.value.retryable


# Lists of connectors


@pytest.mark.parametrize(("number", "count"), [(0, 1), (3, 4), (999, 10**6)])
def test_a_count_greater_than_the_list_is_a_warning(
    simulate: Simulate, hook: Any, logged: Callable[[], list[str]], number: int, count: int
) -> None:
    """The API may count what the credential cannot see: the list is all that this credential can have."""
    simulate(faults=[listed(number, count)])
    assert len(hook.list_connectors()) == number
    [line] = [line for line in logged() if "counts" in line]
    assert f"{count:,} connectors" in line
    assert f"lists {number:,}" in line


@pytest.mark.parametrize("count", [3, 2, None, "4", 3.5, True, -1, {}])
def test_another_count_is_no_opinion(
    simulate: Simulate, hook: Any, logged: Callable[[], list[str]], count: Any
) -> None:
    """A count that does not exceed the list, or is not an integer, is ignored."""
    simulate(faults=[listed(3, count)])
    assert len(hook.list_connectors()) == 3
    assert not [line for line in logged() if "counts" in line]


def test_a_list_of_1000_connectors_of_more_is_refused(simulate: Simulate, hook: Any) -> None:
    """There the list itself is cut, and an export of all connectors would silently leave some out."""
    simulate(connectors=[Connector(f"C{i}", team_id=TEAM) for i in range(1001)])
    with pytest.raises(SupermetricsResponseError, match="1,000 of 1,001 connectors"):
        hook.list_connectors()


def test_a_list_of_exactly_1000_connectors_is_complete(
    simulate: Simulate, hook: Any, logged: Callable[[], list[str]]
) -> None:
    """A list of exactly 1,000 connectors is complete if the API counts as many."""
    simulate(connectors=[Connector(f"C{i}", team_id=TEAM) for i in range(1000)])
    assert len(hook.list_connectors()) == 1000
    assert not [line for line in logged() if "counts" in line]


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (listed(3, 3), "sees 3 connectors"),
        (listed(3, 7), "sees 3 of 7 connectors"),
        (listed(1000, 1001), "1,000 of"),
    ],
    ids=["all", "some", "cut"],
)
def test_a_connection_whose_list_is_not_complete_is_in_order(
    simulate: Simulate, hook: Any, fault: Fault, seen: str
) -> None:
    """The connection test reports how many connectors the credential can access."""
    simulate(faults=[fault])
    is_good, message = hook.test_connection()
    assert is_good
    assert seen in message


def test_a_response_that_is_checked_by_the_caller(
    simulate: Callable[..., Simulator], caplog: pytest.LogCaptureFixture
) -> None:
    """The inherited `check_response` would log the body, which may repeat the credential."""
    simulate(faults=[Fault(403, body={"error": {"code": "FORBIDDEN", "message": f"not with {KEY}"}})])
    with SupermetricsHook() as hook:
        response = hook.run("v1/teams/1/x", extra_options={"check_response": False})
        with pytest.raises(SupermetricsRequestError, match="403 FORBIDDEN"):
            hook.check_response(response)
    assert KEY not in caplog.text
