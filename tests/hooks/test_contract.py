"""The contract of both hooks, tested with a real server."""

from __future__ import annotations

import logging
import math
import pickle
import re
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import product
from typing import Any

import pytest

from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics._client.client import USER_AGENT
from airflow_provider_supermetrics.exceptions import (
    SupermetricsConnectionError,
    SupermetricsError,
    SupermetricsPaginationError,
    SupermetricsRateLimitError,
    SupermetricsRequestError,
    SupermetricsResponseError,
    SupermetricsServerError,
    SupermetricsValidationError,
)
from dev.simulator import Connector, Fault, RateLimitWindow, Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, KEY, START, TEAM

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]


def ids(entries: list[dict[str, Any]]) -> list[str]:
    """The ids, sorted, because the order of ties is free."""
    return sorted(entry["id"] for entry in entries)


# What is sent


def test_list_logs_is_one_request(simulate: Simulate, hook: Any) -> None:
    """list_logs() sends one request for one page, and reads the rate limit of the response."""
    sim = simulate()
    page = hook.list_logs(CONNECTOR, limit=10, before=START + HOUR)
    assert page.entries == sim.truth(CONNECTOR, end=START + HOUR)[:10]
    assert page.rate_limit == hook.rate_limit == RateLimit(5000, 4999)
    [received] = sim.requests
    assert (received.method, received.path) == (
        "GET",
        f"/v1/teams/{TEAM}/connector_builder/connectors/{CONNECTOR}/logs",
    )
    assert received.params == {"limit": "10", "before": "2026-01-01T01:00:00Z"}


def test_the_headers_of_a_request(simulate: Simulate, connection: Callable[..., None], hook: Any) -> None:
    """Ours, the Connection's explicit ones, and none from any other key of its extra."""
    sim = simulate()
    connection(
        sim.url,
        login="someone",
        extra={
            "team_id": TEAM,
            "X-Unknown": "leak",
            "client_secret": "leak",
            "headers": {"X-Explicit": "yes"},
        },
    )
    hook.list_connectors()
    headers = dict(sim.requests[0].headers)
    assert headers.pop("authorization") == f"Bearer {KEY}"
    assert headers.pop("user-agent") == USER_AGENT
    assert headers.pop("x-explicit") == "yes"
    assert headers.pop("accept") == "application/json"
    assert set(headers) <= {"host", "accept-encoding", "connection"}


def test_the_connections_headers_take_precedence_over_ours(
    simulate: Simulate, connection: Callable[..., None], hook: Any
) -> None:
    """Whatever the letter case, each header is sent once."""
    sim = simulate()
    connection(sim.url, extra={"team_id": TEAM, "headers": {"user-agent": "mine"}})
    hook.list_connectors()
    assert sim.requests[0].headers["user-agent"] == "mine"


def test_a_netrc_file_does_not_replace_the_credential(
    simulate: Simulate, hook: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests and aiohttp both prefer a .netrc entry to a header, if trust_env allows it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password wrong\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    sim = simulate()
    hook.list_connectors()
    assert sim.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_get_log(simulate: Simulate, hook: Any) -> None:
    """One entry by its id, which may hold anything."""
    entries = [{"id": "1/2 ä?#%", "log_time": "2026-01-01T00:00:00Z", "status": 200}]
    sim = simulate(entries)
    assert hook.get_log(CONNECTOR, "1/2 ä?#%") == entries[0]
    assert len(sim.requests) == 1


def test_list_connectors(simulate: Simulate, hook: Any) -> None:
    """All connectors of the team, as the API describes them."""
    simulate(connectors=[Connector("T3S70", team_id=TEAM), Connector("B-2_x", team_id=TEAM)])
    assert [c["connector_identifier"] for c in hook.list_connectors(TEAM)] == ["T3S70", "B-2_x"]


def test_the_team_argument_takes_precedence_over_the_connections(simulate: Simulate, hook: Any) -> None:
    """The team_id argument takes precedence over the Connection's."""
    sim = simulate()
    with pytest.raises(SupermetricsRequestError):
        hook.list_connectors(team_id="77")
    assert sim.requests[0].path == "/v1/teams/77/connector_builder/connectors"


# Reading all pages


@pytest.mark.parametrize("before", ["exclusive", "inclusive"])
@pytest.mark.parametrize(
    ("precision", "switches"),
    [
        *product(
            ["second", "millisecond", "microsecond", "nanosecond", "trimmed"],
            [{}, {"max_page": 400}, {"zone": ""}, {"rounding": "round"}],
        ),
        # The 30 characters of a time do not hold finer ones with an offset.
        *product(["second", "millisecond"], [{"zone": "+05:30"}]),
    ],
    ids=str,
)
def test_every_entry_once(
    simulate: Simulate, hook: Any, before: str, precision: str, switches: dict[str, Any]
) -> None:
    """Whatever the server leaves open, a window is read completely, and each entry once."""
    entries = generate_entries(
        count=3000, start=START, end=START + 3 * HOUR, seed=7, ties=3, precision="second"
    )
    sim = simulate(entries, before=before, precision=precision, tie_order="shuffled", **switches)
    start, end = START + timedelta(minutes=30), START + timedelta(minutes=150)
    got = hook.iter_logs(CONNECTOR, start=start, end=end)
    assert ids(got) == ids(sim.truth(CONNECTOR, start, end))
    assert sim.connections == 1
    assert len(sim.requests) <= math.ceil(len(got) / switches.get("max_page", 1000)) + 2
    assert hook.requests_sent == len(sim.requests)


def test_times_that_are_cut_more_coarsely_than_printed(simulate: Simulate, hook: Any) -> None:
    """Minutes printed with seconds of 00: an entry that seems to be missing is an error, and no loss."""
    entries = generate_entries(count=3000, start=START, end=START + 3 * HOUR, seed=7, ties=20)
    simulate(entries, before="exclusive", precision="minute")
    with pytest.raises(SupermetricsResponseError, match=r"the oldest entry read .* is missing now"):
        hook.iter_logs(CONNECTOR)


def test_entries_that_arrive_meanwhile(simulate: Simulate, hook: Any) -> None:
    """New entries at the top neither repeat nor hide others."""
    entries = generate_entries(count=2500, start=START, end=START + HOUR, seed=3)
    late = [{"id": f"late-{i}", "log_time": START + HOUR + timedelta(seconds=i)} for i in range(200)]
    sim = simulate(entries, arrivals={2: [(CONNECTOR, late[:100])], 3: [(CONNECTOR, late[100:])]})
    expected = ids(sim.truth(CONNECTOR))
    got = hook.iter_logs(CONNECTOR)
    assert ids(got) == expected
    assert len(sim.truth(CONNECTOR)) == 2700


def test_newest_first(simulate: Simulate, hook: Any) -> None:
    """The order is the API's."""
    simulate(generate_entries(count=2500, start=START, end=START + HOUR, seed=3))
    times = [entry["log_time"] for entry in hook.iter_logs(CONNECTOR)]
    assert times == sorted(times, reverse=True)


def test_a_time_that_fills_a_page(simulate: Simulate, hook: Any) -> None:
    """A time that fills a page raises an error that explains it, without a loop."""
    entries = [{"id": str(i), "log_time": START} for i in range(1200)] + [
        {"id": "old", "log_time": START - HOUR}
    ]
    sim = simulate(entries)
    with pytest.raises(SupermetricsPaginationError, match="fills a page"):
        hook.iter_logs(CONNECTOR)
    assert len(sim.requests) <= 4


@pytest.mark.parametrize(
    "window",
    [
        {"start": datetime(2026, 1, 1)},
        {"end": datetime(2026, 1, 1)},
        {"start": START, "end": START},
        {"start": START + HOUR, "end": START},
        {"page_size": 0},
        {"page_size": 1001},
    ],
)
def test_invalid_windows(simulate: Simulate, hook: Any, window: dict[str, Any]) -> None:
    """Invalid windows are refused before any request."""
    sim = simulate()
    with pytest.raises(SupermetricsValidationError):
        hook.iter_logs(CONNECTOR, **window)
    assert sim.requests == []


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("list_logs", {"connector_identifier": "../x"}),
        ("list_logs", {"connector_identifier": CONNECTOR, "limit": 0}),
        ("list_logs", {"connector_identifier": CONNECTOR, "before": datetime(2026, 1, 1)}),
        ("list_logs", {"connector_identifier": CONNECTOR, "team_id": -1}),
        ("get_log", {"connector_identifier": CONNECTOR, "log_id": ".."}),
        ("list_connectors", {"team_id": 2**63}),
    ],
)
def test_bad_arguments(simulate: Simulate, hook: Any, method: str, arguments: dict[str, Any]) -> None:
    """Bad arguments are refused before any request, as ValueErrors that Airflow does not retry."""
    sim = simulate()
    with pytest.raises(SupermetricsValidationError) as refused:
        getattr(hook, method)(**arguments)
    assert isinstance(refused.value, ValueError)
    assert sim.requests == []


# Errors


@pytest.mark.parametrize(
    ("fault", "kind", "requests"),
    [
        (Fault(400), SupermetricsRequestError, 1),
        (Fault(401), SupermetricsRequestError, 1),
        (Fault(403), SupermetricsRequestError, 1),
        (Fault(404), SupermetricsRequestError, 1),
        (Fault(422), SupermetricsRequestError, 1),
        (Fault(429), SupermetricsRateLimitError, 1),
        (Fault(429, headers={"Retry-After": "61"}), SupermetricsRateLimitError, 1),
        (Fault(429, headers={"Retry-After": "2"}), SupermetricsRateLimitError, 3),
        (Fault(500), SupermetricsServerError, 3),
        (Fault(502, body="html"), SupermetricsServerError, 3),
        (Fault(503, body="html", headers={"Retry-After": "86400"}), SupermetricsServerError, 1),
        (Fault(504, body="empty"), SupermetricsServerError, 3),
        (Fault(kind="reset"), SupermetricsConnectionError, 3),
        (Fault(kind="reset_in_body"), SupermetricsConnectionError, 3),
        (Fault(kind="truncated"), SupermetricsConnectionError, 3),
        (Fault(kind="truncated_json"), SupermetricsResponseError, 1),
        (Fault(kind="not_json"), SupermetricsResponseError, 1),
        (Fault(kind="no_logs"), SupermetricsResponseError, 1),
        (Fault(kind="no_log_time"), SupermetricsResponseError, 1),
        (Fault(kind="bad_log_time"), SupermetricsResponseError, 1),
        (Fault(204, body="empty"), SupermetricsResponseError, 1),
        (Fault(302, headers={"Location": "http://127.0.0.1:9/"}), SupermetricsResponseError, 1),
    ],
    ids=lambda value: (
        f"{value.kind}-{value.status}-{value.headers.get('Retry-After')}"
        if isinstance(value, Fault)
        else None
    ),
)
def test_errors(
    simulate: Simulate,
    new_hook: Callable[..., Any],
    waits: list[float],
    fault: Fault,
    kind: type[SupermetricsError],
    requests: int,
) -> None:
    """Each fault has its kind of error, its number of requests, and leaves no credential behind."""
    sim = simulate(faults=[fault] * 20)
    hook = new_hook(wait_policy={"max_attempts": 3})
    with pytest.raises(kind) as raised:
        hook.list_logs(CONNECTOR)
    assert type(raised.value) is kind
    assert len(sim.requests) == hook.requests_sent == requests
    assert len(waits) == requests - 1
    assert KEY not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500),
        Fault(503, body="html"),
        Fault(kind="reset_in_body"),
        Fault(kind="truncated"),
        Fault(429, headers={"Retry-After": "7"}),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_a_passing_fault_costs_one_request(
    simulate: Simulate, hook: Any, waits: list[float], fault: Fault
) -> None:
    """After it the reading continues, and nothing is lost or repeated."""
    entries = generate_entries(count=2500, start=START, end=START + HOUR, seed=3)
    sim = simulate(entries, faults=[None, fault])
    assert ids(hook.iter_logs(CONNECTOR)) == ids(sim.truth(CONNECTOR))
    assert len(waits) == 1
    if fault.status == 429:
        assert 7 <= waits[0] < 8


def test_the_facts_of_an_error(simulate: Simulate, hook: Any) -> None:
    """An error says what, where, why and what to do, as attributes and in one line."""
    simulate(rate_limit=RateLimitWindow(requests=1, seconds=3600))
    hook.list_connectors()
    with pytest.raises(SupermetricsRateLimitError) as raised:
        hook.list_logs(CONNECTOR)
    error = raised.value
    assert (error.status_code, error.code) == (429, "TOO_MANY_REQUESTS")
    assert error.retry_after is not None
    assert 3590 <= error.retry_after <= 3600
    assert error.rate_limit == RateLimit(1, 0)
    assert error.request_id
    message = str(error)
    for part in (
        "GET",
        f"/connectors/{CONNECTOR}/logs",
        "429",
        "TOO_MANY_REQUESTS",
        error.request_id,
        "retry in",
    ):
        assert part in message
    assert "\n" not in message
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.retry_after, copy.code) == (message, error.retry_after, error.code)


def test_a_message_that_quotes_the_credential_is_redacted(simulate: Simulate, hook: Any) -> None:
    """A credential that the API quotes in its message is redacted."""
    simulate(faults=[Fault(401, message=f"Unknown key {KEY}", description=f"You sent {KEY}.")])
    with pytest.raises(SupermetricsRequestError) as raised:
        hook.list_connectors()
    assert KEY not in str(raised.value)
    assert KEY not in str(raised.value.description)
    assert "***" in str(raised.value)


@pytest.mark.parametrize(
    "quoted", [KEY, KEY.replace("/", "\\/"), KEY.replace("+", "\\u002b").replace("=", "\\u003D")]
)
def test_a_credential_is_found_however_json_writes_it(simulate: Simulate, hook: Any, quoted: str) -> None:
    """PHP escapes slashes, .NET plus and equals signs."""
    body = f'{{"error": {{"code": "X", "message": "bad key {quoted}", "description": "{quoted}"}}}}'
    simulate(faults=[Fault(401, body=body)])
    with pytest.raises(SupermetricsRequestError, match="bad key") as raised:
        hook.list_connectors()
    assert KEY not in f"{raised.value} {raised.value.description}"


def test_nothing_reveals_the_credential(
    simulate: Simulate, hook: Any, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the repr of anything a hook holds nor a log of any level has it."""
    caplog.set_level(logging.DEBUG)
    simulate(faults=[Fault(500), Fault(kind="reset")])
    hook.list_logs(CONNECTOR)
    inner = hook.hook
    reported = [caplog.text, repr(inner), *(repr(value) for value in vars(inner).values())]
    reported += [repr(value) for value in vars(inner._client).values()]
    assert len(waits) >= 1
    assert not [text for text in reported if KEY in text]


def test_a_cut_text_has_no_piece_of_the_credential(simulate: Simulate, hook: Any) -> None:
    """A credential at the border of what is kept leaves no part of itself, nor does one in a code."""
    simulate(
        faults=[
            Fault(
                400,
                message="m" * 245 + KEY,
                description="d" * 2040 + KEY,
                code=KEY,
                body=None,
            )
        ]
    )
    with pytest.raises(SupermetricsRequestError) as raised:
        hook.list_connectors()
    error = raised.value
    assert KEY[:6] not in f"{error} {error.code} {error.description} {error.request_id}"


def test_a_failing_proxy_keeps_its_password(
    simulate: Simulate,
    connection: Callable[..., None],
    new_hook: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error with a proxy does not quote its user name and password."""
    caplog.set_level(logging.DEBUG)
    sim = simulate(faults=[Fault(407), Fault(kind="reset")])
    proxy = sim.url.replace("http://", "http://corp-user:corp-password@")
    for url in ("http://127.0.0.1:9", "https://127.0.0.1:9"):
        connection(url, extra={"team_id": TEAM, "proxies": proxy})
        with pytest.raises(SupermetricsError) as raised:
            new_hook(wait_policy={"max_attempts": 1}).list_connectors()
        reported = "".join(traceback.format_exception(raised.value)) + caplog.text
        assert "corp-password" not in reported
        assert "corp-user" not in reported


def test_the_connections_proxy_takes_precedence_over_the_environments(
    simulate: Simulate, connection: Callable[..., None], hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its user name and password reach it."""
    sim = simulate()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    proxy = sim.url.replace("http://", "http://user:word@")
    connection("http://localhost:9", extra={"team_id": TEAM, "proxies": {"http": proxy}})
    with pytest.raises(SupermetricsError):
        hook.list_connectors()
    assert sim.requests[0].headers["host"] == "localhost:9"
    assert sim.requests[0].headers["proxy-authorization"] == "Basic dXNlcjp3b3Jk"


def test_the_environments_proxy(
    simulate: Simulate, connection: Callable[..., None], hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the Connection names none, the environment's counts, for both hooks alike."""
    sim = simulate()
    connection("http://localhost:9")
    monkeypatch.setenv("http_proxy", sim.url)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(SupermetricsError):
        hook.list_connectors()
    assert sim.requests[0].headers["host"] == "localhost:9"


def test_testing_a_connection_changes_no_policy(simulate: Simulate, hook: Any, waits: list[float]) -> None:
    """A hook that was tested waits for a failing API as before."""
    simulate(faults=[Fault(500), Fault(500)])
    assert not hook.test_connection()[0]
    assert len(hook.list_connectors()) == 1
    assert len(waits) == 1


def test_a_redirect_is_refused(simulate: Simulate, hook: Any) -> None:
    """Nothing is sent to the target of a redirect."""
    elsewhere = Simulator(connectors=[Connector(CONNECTOR, team_id=TEAM)], tokens={KEY: {TEAM}})
    with elsewhere:
        simulate(faults=[Fault(307, headers={"Location": elsewhere.url + "/v1/"})])
        with pytest.raises(SupermetricsResponseError, match="redirect"):
            hook.list_connectors()
        assert elsewhere.connections == 0


def test_a_server_that_sends_nothing(
    simulate: Simulate, connection: Callable[..., None], new_hook: Callable[..., Any]
) -> None:
    """The Connection's timeout ends the wait."""
    sim = simulate(faults=[Fault(delay=30)])
    connection(sim.url, extra={"team_id": TEAM, "timeout": "0.2"})
    hook = new_hook(wait_policy={"max_attempts": 1})
    with pytest.raises(SupermetricsConnectionError, match=r"(?i)time"):
        hook.list_connectors()


def test_a_server_that_drips(
    simulate: Simulate, connection: Callable[..., None], new_hook: Callable[..., Any]
) -> None:
    """A response whose pieces arrive in time, but which is incomplete after ten times that, is lost."""
    sim = simulate(faults=[Fault(kind="drip", delay=0.02)])
    connection(sim.url, extra={"team_id": TEAM, "timeout": "0.2"})
    hook = new_hook(wait_policy={"max_attempts": 1})
    with pytest.raises(SupermetricsConnectionError, match=r"not complete after 2 s"):
        hook.list_logs(CONNECTOR)


def test_rate_limit_is_the_last_one_received(simulate: Simulate, hook: Any) -> None:
    """The rate limit is None before any response, and a response without headers does not change it."""
    sim = simulate(rate_limit_headers="never")
    assert hook.rate_limit is None
    hook.list_connectors()
    assert hook.rate_limit is None
    assert hook.list_logs(CONNECTOR).rate_limit is None
    assert len(sim.requests) == 2


def test_a_response_without_rate_limit_headers_changes_nothing(simulate: Simulate, hook: Any) -> None:
    """Absent headers mean nothing: the latest values stay."""
    simulate(rate_limit_headers="errors")
    with pytest.raises(SupermetricsRequestError):
        hook.get_log(CONNECTOR, "no-such-id")
    reported = hook.rate_limit
    assert reported is not None
    hook.list_connectors()
    assert hook.rate_limit == reported


# test_connection


def test_a_good_connection(simulate: Simulate, hook: Any) -> None:
    """A good connection takes one request, and the message says what the credential can access."""
    sim = simulate()
    assert hook.test_connection() == (
        True,
        f"Connected to {sim.url}: the credential sees 1 connector of team {TEAM}.",
    )
    assert len(sim.requests) == 1


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (
            {"password": "wrong-key"},
            "401 UNAUTHORIZED.*check the API key or access token in the password of this Connection",
        ),
        ({"extra": {"team_id": 7}}, "403 FORBIDDEN.*no access to this team"),
        ({"extra": {"team_id": 8}}, "403 FORBIDDEN.*no access to this team.*check team_id"),
        ({"password": ""}, "this Connection: password is empty"),
        ({"extra": {}}, "Not tested: this Connection has no Team ID"),
        ({"url": "http://example.com"}, "https"),
        (
            {"url": "http://127.0.0.1:9"},
            "No response from http://127.0.0.1:9.*check the host of this Connection",
        ),
    ],
)
def test_the_message_of_a_failed_connection_test(
    simulate: Simulate, connection: Callable[..., None], hook: Any, parts: dict[str, Any], sentence: str
) -> None:
    """A failed test takes at most one request, and the message says what to do."""
    sim = simulate(connectors=[Connector(CONNECTOR, team_id=TEAM), Connector("OTHER", team_id=7)])
    connection(**{"url": sim.url, **parts})
    is_good, message = hook.test_connection()
    assert not is_good
    assert re.search(sentence, message), message
    assert len(sim.requests) <= 1


def test_the_clock_of_a_date(simulate: Simulate, hook: Any, waits: list[float]) -> None:
    """A Retry-After that is a date is waited for."""
    now = datetime.now(timezone.utc)
    soon = (now + timedelta(seconds=20)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    simulate(faults=[Fault(503, headers={"Retry-After": soon})])
    hook.list_connectors()
    assert len(waits) == 1
    assert 19 <= waits[0] < 21
