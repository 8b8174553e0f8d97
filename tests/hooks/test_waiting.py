"""Waits of both hooks, in virtual time, for an API that fails or refuses requests."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics.exceptions import (
    SupermetricsConnectionError,
    SupermetricsError,
    SupermetricsRateLimitError,
    SupermetricsRequestError,
    SupermetricsResponseError,
    SupermetricsServerError,
    SupermetricsValidationError,
)
from dev.simulator import Fault, RateLimitWindow, Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, KEY, START, TEAM

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]
NewHook = Callable[..., Any]

# The waits of a policy with four attempts: 1, 2 and 4 seconds, each up to half less.
BACKOFF = [(0.5, 1), (1, 2), (2, 4)]


def http_date(seconds: float, now: datetime | None = None) -> str:
    """Return the time in this many seconds in the format of a header."""
    at = (now or datetime.now(timezone.utc)) + timedelta(seconds=seconds)
    return at.strftime("%a, %d %b %Y %H:%M:%S GMT")


def refusal(retry_after: str, status: int = 429) -> Fault:
    """Return a refusal with a Retry-After."""
    return Fault(status, headers={"Retry-After": retry_after})


SKEWED = datetime(2031, 5, 5, tzinfo=timezone.utc)

FAULTS: dict[str, tuple[Fault, type[SupermetricsError], list[tuple[float, float]]]] = {
    "500": (Fault(500), SupermetricsServerError, BACKOFF),
    "502": (Fault(502, body="html"), SupermetricsServerError, BACKOFF),
    "503 with HTML": (Fault(503, body="html"), SupermetricsServerError, BACKOFF),
    "503 with a time": (refusal("9", 503), SupermetricsServerError, [(9, 10)] * 3),
    "503 with a long time": (refusal("3600", 503), SupermetricsServerError, []),
    "504": (Fault(504, body="empty"), SupermetricsServerError, BACKOFF),
    "408": (Fault(408), SupermetricsServerError, BACKOFF),
    "reset before the response": (Fault(kind="reset"), SupermetricsConnectionError, BACKOFF),
    "reset within the body": (Fault(kind="reset_in_body"), SupermetricsConnectionError, BACKOFF),
    "body cut short": (Fault(kind="truncated"), SupermetricsConnectionError, BACKOFF),
    "read timeout": (Fault(delay=1.5), SupermetricsConnectionError, BACKOFF),
    "truncated JSON": (Fault(kind="truncated_json"), SupermetricsResponseError, []),
    "HTML for a response": (Fault(kind="not_json"), SupermetricsResponseError, []),
    "429 in seconds": (refusal("7"), SupermetricsRateLimitError, [(7, 8)] * 3),
    "429 in a minute": (refusal("60"), SupermetricsRateLimitError, [(60, 60)] * 3),
    "429 in more than a minute": (refusal("61"), SupermetricsRateLimitError, []),
    "429 in a day": (refusal("86400"), SupermetricsRateLimitError, []),
    # Read by the server's own clock, whatever ours says.
    "429 at a date": (
        Fault(429, headers={"Retry-After": http_date(30, SKEWED), "Date": http_date(0, SKEWED)}),
        SupermetricsRateLimitError,
        [(30, 31)] * 3,
    ),
    "429 at a date far off": (refusal("Fri, 31 Dec 9999 23:59:59 GMT"), SupermetricsRateLimitError, []),
    "429 at a past date": (refusal("Thu, 01 Jan 1970 00:00:00 GMT"), SupermetricsRateLimitError, BACKOFF),
    "429 without a time": (Fault(429), SupermetricsRateLimitError, []),
    "429 with zero": (refusal("0"), SupermetricsRateLimitError, BACKOFF),
    "429 with a word": (refusal("soon"), SupermetricsRateLimitError, []),
    "429 with less than nothing": (refusal("-5"), SupermetricsRateLimitError, []),
    "429 in a million years": (refusal("31536000000000"), SupermetricsRateLimitError, []),
    "401": (Fault(401), SupermetricsRequestError, []),
    "403": (Fault(403), SupermetricsRequestError, []),
    "404": (Fault(404), SupermetricsRequestError, []),
    "422": (Fault(422), SupermetricsRequestError, []),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_stays(
    simulate: Simulate, connection: Callable[..., None], new_hook: NewHook, waits: list[float], name: str
) -> None:
    """A permanent fault takes one request more than waits, and then raises the right error."""
    fault, kind, expected = FAULTS[name]
    sim = simulate(faults=[fault] * 9)
    connection(sim.url, extra={"team_id": TEAM, "timeout": 1 if fault.delay else 30})
    hook = new_hook(wait_policy={"max_attempts": 4, "backoff_max": 10})
    with pytest.raises(kind) as raised:
        hook.list_logs(CONNECTOR)
    assert type(raised.value) is kind
    assert len(sim.requests) == hook.requests_sent == len(waits) + 1
    assert len(waits) == len(expected)
    for wait, (shortest, longest) in zip(waits, expected, strict=True):
        assert shortest <= wait <= longest
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("name", [name for name, (_, _, expected) in FAULTS.items() if expected])
def test_a_fault_that_passes(
    simulate: Simulate, connection: Callable[..., None], hook: Any, waits: list[float], name: str
) -> None:
    """A temporary fault takes one wait and one more request, and the window is complete."""
    fault, _, _ = FAULTS[name]
    sim = simulate(generate_entries(count=2500, start=START, end=START + HOUR, seed=3), faults=[None, fault])
    connection(sim.url, extra={"team_id": TEAM, "timeout": 1 if fault.delay else 30})
    got = hook.iter_logs(CONNECTOR, start=START)
    assert sorted(e["id"] for e in got) == sorted(e["id"] for e in sim.truth(CONNECTOR, START))
    assert len(waits) == 1
    undisturbed = 5  # three pages, and two that prove the end of the history
    assert len(sim.requests) == undisturbed + 1


def test_nothing_listens(connection: Callable[..., None], new_hook: NewHook, waits: list[float]) -> None:
    """A refused connection is retried as a failing server is."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        connection(f"http://127.0.0.1:{taken.getsockname()[1]}")
        hook = new_hook(wait_policy={"max_attempts": 4})
        with pytest.raises(SupermetricsConnectionError, match="check the host of Connection '"):
            hook.list_logs(CONNECTOR)
    assert hook.requests_sent == 4
    assert len(waits) == 3


def test_no_hook_sends_a_request_before_retry_after_has_passed(
    simulate: Simulate, hook: Any, waits: list[float]
) -> None:
    """After a Retry-After of an hour, a hook sends nothing before that time, whatever is called."""
    sim = simulate(faults=[refusal("3600")])
    with pytest.raises(SupermetricsRateLimitError):
        hook.list_logs(CONNECTOR)
    for call in (lambda: hook.list_logs(CONNECTOR), hook.list_connectors):
        with pytest.raises(SupermetricsRateLimitError, match=r"^Not sent: .*429.*retry in") as raised:
            call()
        assert 3590 < (raised.value.retry_after or 0) <= 3600
    assert len(sim.requests) == hook.requests_sent == 1
    waits.append(3600)
    hook.list_logs(CONNECTOR)
    assert len(sim.requests) == 2


def test_reading_through_a_rate_limit(simulate: Simulate, new_hook: NewHook, waits: list[float]) -> None:
    """Each wait is as long as the API says; an hour whose budget is used up costs one refused request."""
    entries = generate_entries(count=9500, start=START, end=START + HOUR, seed=3)
    free = simulate(entries)
    new_hook().iter_logs(CONNECTOR)
    sim = simulate(
        entries,
        rate_limit=RateLimitWindow(requests=3, seconds=50),
        clock=lambda: time.monotonic() + sum(waits),
    )
    hook = new_hook()
    got = hook.iter_logs(CONNECTOR)
    assert sorted(e["id"] for e in got) == sorted(e["id"] for e in sim.truth(CONNECTOR))
    refused = [request for request in sim.requests if request.status == 429]
    assert len(refused) == len(waits) >= 3
    assert len(sim.requests) == len(free.requests) + len(waits)
    # There is no request between a refusal and the end of its Retry-After.
    for request in refused:
        following = sim.requests[request.number]
        assert following.status == 200
        assert following.time - request.time >= 47


def test_all_waits_of_one_call_together_have_a_cap(
    simulate: Simulate, new_hook: NewHook, waits: list[float]
) -> None:
    """Many short waits hold a worker slot as one long one does."""
    entries = generate_entries(count=9500, start=START, end=START + HOUR, seed=3)
    sim = simulate(entries, faults=[None, *[refusal("40"), None] * 9])
    hook = new_hook(wait_policy={"max_total_wait": 100})
    with pytest.raises(SupermetricsRateLimitError) as raised:
        hook.iter_logs(CONNECTOR)
    assert raised.value.retry_after == 40
    assert len(waits) == 2
    assert sum(waits) <= 100
    assert len(sim.requests) == 6


def test_a_patient_policy_waits_without_retry_after(
    simulate: Simulate, new_hook: NewHook, waits: list[float]
) -> None:
    """A policy may allow long waits inside a request: they grow, because the budget is per hour."""
    sim = simulate(faults=[Fault(429)] * 3)
    new_hook(wait_policy={"max_inline_wait": 3600, "max_total_wait": 7200}).list_connectors()
    assert len(sim.requests) == 4
    assert [round(wait / 330, 0) for wait in waits] == [1, 2, 4]
    assert all(wait >= floor for wait, floor in zip(waits, (300, 600, 1200), strict=True))


# The reserve


def test_the_reserve_is_left_to_others(simulate: Simulate, new_hook: NewHook, waits: list[float]) -> None:
    """When only the reserve is left, the client stops as after a 429."""
    entries = generate_entries(count=9500, start=START, end=START + HOUR, seed=3)
    sim = simulate(entries, rate_limit=RateLimitWindow(requests=8, seconds=3600))
    hook = new_hook(wait_policy={"rate_limit_reserve": 3})
    with pytest.raises(SupermetricsRateLimitError, match=r"3 requests are left.* 3 are reserved") as raised:
        hook.iter_logs(CONNECTOR)
    assert len(sim.requests) == hook.requests_sent == 5
    assert {request.status for request in sim.requests} == {200}
    assert raised.value.retry_after is None
    assert raised.value.rate_limit == RateLimit(8, 3)
    with pytest.raises(SupermetricsRateLimitError):
        hook.list_connectors()
    assert len(sim.requests) == 5
    # Only a response can show that the hour is over. One request is sent after a wait.
    waits.append(300)
    hook.list_connectors()
    assert len(sim.requests) == 6


def test_a_reserve_needs_the_headers(simulate: Simulate, new_hook: NewHook) -> None:
    """Without the headers, the reserve has no effect."""
    sim = simulate(rate_limit_headers="never")
    hook = new_hook(wait_policy={"rate_limit_reserve": 100_000})
    hook.list_connectors()
    hook.list_connectors()
    assert len(sim.requests) == 2


def test_without_a_reserve_requests_continue_until_the_api_refuses(simulate: Simulate, hook: Any) -> None:
    """The headers do not say when the hour ends; a 429 does, and costs nothing of the budget."""
    sim = simulate(rate_limit=RateLimitWindow(requests=1, seconds=3600))
    hook.list_connectors()
    assert hook.rate_limit == RateLimit(1, 0)
    with pytest.raises(SupermetricsRateLimitError) as raised:
        hook.list_connectors()
    assert raised.value.retry_after is not None
    assert len(sim.requests) == 2


def test_a_low_budget_is_logged_once(
    simulate: Simulate,
    hook: Any,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """When less than a tenth is left the log warns, but not for every page."""
    caplog.set_level(logging.INFO)
    simulate(rate_limit=RateLimitWindow(requests=20, seconds=3600))
    for _ in range(18):
        hook.list_connectors()
    said = "Less than a tenth of the hour's requests is left"
    assert said not in caplog.text + capfd.readouterr().out
    hook.list_connectors()
    hook.list_connectors()
    reported = caplog.text if said in caplog.text else capfd.readouterr().out
    assert reported.count(f"{said} to Connection 'supermetrics_default': 1 of 20") == 1


# Where the numbers come from


def test_the_policy_comes_from_the_connection(
    simulate: Simulate, connection: Callable[..., None], new_hook: NewHook, waits: list[float]
) -> None:
    """Its numbers may be strings, as in forms and URIs; a task's own take precedence."""
    sim = simulate(faults=[Fault(500)] * 20)
    connection(sim.url, extra={"team_id": TEAM, "max_attempts": "2", "backoff_initial": 8})
    with pytest.raises(SupermetricsServerError):
        new_hook().list_connectors()
    assert len(sim.requests) == 2
    assert 4 <= waits[0] <= 8
    with pytest.raises(SupermetricsServerError):
        new_hook(wait_policy={"max_attempts": 3}).list_connectors()
    assert len(sim.requests) == 5
    assert waits[1] >= 4


@pytest.mark.parametrize(
    ("extra", "wait_policy", "complaint"),
    [
        ({"max_attempts": 0}, {}, "Connection 'supermetrics_default': max_attempts must be an integer"),
        ({"rate_limit_reserve": "many"}, {}, "'supermetrics_default': rate_limit_reserve must be an integer"),
        ({}, {"max_inline_wait": -1}, "max_inline_wait must be a number of 0 or more"),
        ({}, {"patience": 5}, "no 'patience' in a wait policy"),
    ],
)
def test_an_invalid_policy(
    simulate: Simulate,
    connection: Callable[..., None],
    new_hook: NewHook,
    extra: dict[str, Any],
    wait_policy: dict[str, Any],
    complaint: str,
) -> None:
    """An invalid policy is refused before any request, and the message names its source."""
    sim = simulate()
    connection(sim.url, extra={"team_id": TEAM, **extra})
    with pytest.raises(SupermetricsValidationError, match=complaint):
        new_hook(wait_policy=wait_policy).list_connectors()
    assert sim.requests == []
