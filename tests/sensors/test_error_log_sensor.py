"""The guarantees of the sensor in its three modes, in virtual time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics.exceptions import (
    SupermetricsError,
    SupermetricsPaginationError,
    SupermetricsRateLimitError,
    SupermetricsRequestError,
    SupermetricsResponseError,
    SupermetricsServerError,
    SupermetricsValidationError,
)
from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor
from airflow_provider_supermetrics.triggers.supermetrics import error_event, error_of
from dev.simulator import Fault, RateLimitWindow, generate_entries
from tests.conftest import CONNECTOR, HOUR, KEY, START
from tests.support.airflow import stored
from tests.support.compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
)
from tests.support.export import context
from tests.support.sensors import MODES, Simulate, Wait, at, good, keep_first_start, quiet

pytestmark = pytest.mark.airflow_2


@pytest.fixture
def virtual(simulate: Simulate, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> Simulate:
    """Start simulators that use the virtual clock."""
    keep_first_start(monkeypatch)
    return lambda *args, **kwargs: simulate(*args, clock=lambda: time.monotonic(), **kwargs)


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"min_status": 500, "min_matches": 3},
        {"statuses": [401, 403], "max_entries": 2},
        {"events": ["data.fetch"], "request_contains": "CUSTOMERS", "max_entries": 0},
    ],
    ids=str,
)
def test_the_same_result_in_every_mode(
    virtual: Simulate, waits: list[float], filters: dict[str, Any]
) -> None:
    """With the same log and filters, all modes return the same result, which matches the log."""
    entries = generate_entries(count=4000, start=START - HOUR, end=START + HOUR, seed=5)
    results = {}
    for mode in MODES:
        # Nothing at first; then all at once, between the third and the fourth poll.
        sim = virtual(quiet(), arrivals={4: [(CONNECTOR, entries)]})
        results[mode] = Wait(mode, waits, **filters).run()
    matching = [
        e
        for e in sim.truth(CONNECTOR, START)
        if (
            e["status"] in filters["statuses"]
            if "statuses" in filters
            else (e["status"] or 0) >= filters.get("min_status", 400)
        )
        and e["event"] in filters.get("events", [e["event"]])
        and filters.get("request_contains", "").lower() in e["request"].lower()
    ]
    first, *others = results.values()
    assert others == [first] * 3
    assert first["matches"] == len(matching) > 4
    most = filters.get("max_entries", 20)
    assert len(first["entries"]) == min(most, len(matching))
    assert {e["id"] for e in first["entries"]} <= {e["id"] for e in matching}
    times = [e["log_time"] for e in first["entries"]]
    assert times == sorted((e["log_time"] for e in matching), reverse=True)[:most]
    assert first["since"] == "2026-01-01T00:00:00Z"
    assert first["until"] == max(e["log_time"] for e in sim.truth(CONNECTOR))


@pytest.mark.parametrize("mode", MODES)
def test_an_idle_wait(virtual: Simulate, waits: list[float], mode: str) -> None:
    """60 idle polls take at most 61 requests, and the next poll finds the error."""
    sim = virtual(quiet(), arrivals={61: [(CONNECTOR, [at(5)])]})
    result = Wait(mode, waits).run()
    assert result["matches"] == 1
    assert len(sim.requests) == 61
    assert all(59 <= nap <= 61 for nap in waits)
    assert len(waits) == 60
    assert {int(request.params["limit"]) for request in sim.requests} <= {100, 1000}


@pytest.mark.parametrize("mode", ["poke", "reschedule with memory", "deferrable"])
def test_what_was_seen_is_not_read_again(virtual: Simulate, waits: list[float], mode: str) -> None:
    """A busy log without errors is read once, and later polls read a small page."""
    busy = good(generate_entries(count=5000, start=START, end=START + HOUR, seed=6))
    sim = virtual(quiet() + busy, arrivals={36: [(CONNECTOR, [at(3601)])]})
    Wait(mode, waits).run()
    assert len(sim.requests) <= 38
    assert sum(request.params["limit"] == "1000" for request in sim.requests) <= 7


@pytest.mark.parametrize("mode", MODES)
def test_no_request_before_retry_after_has_passed(virtual: Simulate, waits: list[float], mode: str) -> None:
    """During a Retry-After of an hour, no request is sent and the sensor hardly wakes."""
    sim = virtual([*quiet(), at(5)], faults=[Fault(429, headers={"Retry-After": "3600"})] * 2)
    wait = Wait(mode, waits)
    assert wait.run()["matches"] == 1
    assert len(sim.requests) == 3
    for earlier, later in zip(sim.requests, sim.requests[1:], strict=False):
        assert 3600 <= later.time - earlier.time <= 3662
    assert len(waits) <= 3
    assert wait.wakes <= 3


@pytest.mark.parametrize("mode", MODES)
def test_a_time_beyond_the_timeout(virtual: Simulate, waits: list[float], mode: str) -> None:
    """Where no request is allowed before the timeout, the sensor ends at once."""
    sim = virtual(quiet(), faults=[None, Fault(429, headers={"Retry-After": "86400"})])
    with pytest.raises(AirflowSensorTimeout, match=r"last poll .*failed: 429 TOO_MANY"):
        Wait(mode, waits, timeout=600).run()
    assert len(sim.requests) == 2
    assert sum(waits) < 200
    sim = virtual(quiet(), faults=[None, Fault(429, headers={"Retry-After": "86400"})])
    with pytest.raises(AirflowSkipException):
        Wait(mode, waits, timeout=600, soft_fail=True).run()


@pytest.mark.parametrize("mode", MODES)
def test_a_timeout(virtual: Simulate, waits: list[float], mode: str) -> None:
    """At its timeout, the sensor fails without a retry, or is skipped."""
    sim = virtual(quiet())
    with pytest.raises(AirflowSensorTimeout):
        Wait(mode, waits, timeout=300).run()
    assert 5 <= len(sim.requests) <= 7
    with pytest.raises(AirflowSkipException):
        Wait(mode, waits, timeout=100, soft_fail=True).run()


REFUSED = {"429": Fault(429), "Retry-After": Fault(429, headers={"Retry-After": "100"}), "500": Fault(500)}


@pytest.mark.parametrize("soft_fail", [False, True])
@pytest.mark.parametrize(
    ("mode", "kind"),
    # Where no failures can be counted, the first one ends the task.
    [(mode, kind) for mode in MODES for kind in REFUSED if (mode, kind) != ("reschedule", "500")],
)
def test_a_timeout_without_one_successful_poll_says_so_and_why(
    virtual: Simulate, waits: list[float], mode: str, soft_fail: bool, kind: str
) -> None:
    """A timeout or a skip without a successful poll does not claim that there were no errors."""
    fault = REFUSED[kind]
    virtual(quiet(), faults=[fault] * 999)
    with pytest.raises(AirflowSkipException if soft_fail else AirflowSensorTimeout) as ended:
        Wait(
            mode,
            waits,
            timeout=1200,
            soft_fail=soft_fail,
            max_consecutive_failures=999,
            wait_policy={"max_inline_wait": 0},
        ).run()
    message = str(ended.value)
    # Where nothing is stored between polls, earlier ones are not known.
    begin = "The last poll of T3S70 within" if mode == "reschedule" else "No poll of T3S70 succeeded within"
    assert message.startswith(f"{begin} the sensor's timeout of 1200 s")
    assert f"failed: {fault.status} " in message


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_timeout_after_failed_polls_mentions_the_last_one(
    virtual: Simulate, waits: list[float], mode: str, soft_fail: bool
) -> None:
    """The message of a timeout contains the last failure, unless a later poll succeeded."""
    ended = AirflowSkipException if soft_fail else AirflowSensorTimeout
    refused = Fault(429, headers={"Retry-After": "100"})
    arguments = {"timeout": 1200, "soft_fail": soft_fail, "wait_policy": {"max_inline_wait": 0}}
    virtual(quiet(), faults=[None, None, *[refused] * 999])
    with pytest.raises(ended, match=r"last poll .*failed: 429 TOO_MANY_REQUESTS.*GET .*/logs"):
        Wait(mode, waits, **arguments).run()
    virtual(quiet(), faults=[None, refused, None])
    with pytest.raises(ended, match=r"^T3S70 has not logged 1 matching entry within .* of 1200 s$"):
        Wait(mode, waits, **arguments).run()


@pytest.mark.parametrize("mode", MODES)
def test_a_skip_instead_of_a_failure_says_why(virtual: Simulate, waits: list[float], mode: str) -> None:
    """Airflow's log of a skipped task has the skip's message only, and in its words that is soft_fail."""
    virtual(quiet(), faults=[Fault(401)])
    with pytest.raises(AirflowSkipException, match=r"401 "):
        Wait(mode, waits, soft_fail=True).run()


@pytest.mark.parametrize("mode", ["poke", "reschedule with memory", "deferrable"])
def test_failures_that_pass(virtual: Simulate, waits: list[float], mode: str) -> None:
    """The sensor continues after failed polls, and a successful poll resets the count."""
    broken = Fault(500)
    faults = [None, *[broken] * 2, None, Fault(kind="not_json"), Fault(kind="reset"), None]
    sim = virtual(quiet(), faults=faults, arrivals={9: [(CONNECTOR, [at(5)])]})
    wait = Wait(mode, waits, max_consecutive_failures=3, wait_policy={"max_attempts": 1})
    assert wait.run()["matches"] == 1
    assert len(sim.requests) == 9


@pytest.mark.parametrize(
    ("mode", "polls"), [("poke", 3), ("reschedule", 1), ("reschedule with memory", 3), ("deferrable", 3)]
)
def test_failures_that_stay(virtual: Simulate, waits: list[float], mode: str, polls: int) -> None:
    """The task fails after the allowed failed polls in a row, or after the first if none can be counted."""
    sim = virtual(quiet(), faults=[Fault(500)] * 99)
    with pytest.raises(SupermetricsServerError):
        Wait(mode, waits, max_consecutive_failures=3, wait_policy={"max_attempts": 2}).run()
    assert len(sim.requests) == 2 * polls


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("first", [True, False])
def test_a_refused_request_ends_it_at_once(
    virtual: Simulate, waits: list[float], mode: str, first: bool
) -> None:
    """A refused request fails the task without a retry, or skips it with soft_fail."""
    faults = [Fault(401)] if first else [None, Fault(401)]
    sim = virtual(quiet(), faults=faults)
    with pytest.raises(SupermetricsRequestError) as refused:
        Wait(mode, waits).run()
    assert isinstance(refused.value, AirflowFailException)
    assert refused.value.status_code == 401
    assert len(sim.requests) == len(faults)
    virtual(quiet(), faults=faults)
    with pytest.raises(AirflowSkipException):
        Wait(mode, waits, soft_fail=True).run()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", [Fault(500), Fault(401)], ids=lambda fault: str(fault.status))
def test_never_fail_skips_after_any_error(
    virtual: Simulate, waits: list[float], mode: str, fault: Fault
) -> None:
    """With never_fail, any error skips the task; after a deferral, since Airflow 3."""
    virtual(quiet(), faults=[fault] * 9)
    with pytest.raises(AirflowSkipException, match=rf"{fault.status} "):
        Wait(mode, waits, never_fail=True, max_consecutive_failures=1, wait_policy={"max_attempts": 1}).run()


@pytest.mark.parametrize("mode", MODES)
def test_silent_fail_continues_after_errors_that_may_pass(
    virtual: Simulate, waits: list[float], mode: str
) -> None:
    """With silent_fail, failed polls do not end the sensor before it defers, but a refused request does."""
    arguments = {"silent_fail": True, "max_consecutive_failures": 1, "wait_policy": {"max_attempts": 1}}
    failures = 1 if mode == "deferrable" else 3
    sim = virtual([*quiet(), at(5)], faults=[Fault(500)] * failures)
    assert Wait(mode, waits, **arguments).run()["matches"] == 1
    assert len(waits) == failures
    assert all(50 <= nap <= 61 for nap in waits)
    assert sim.requests[failures - 1].status == 500
    virtual(quiet(), faults=[Fault(401)])
    with pytest.raises(SupermetricsRequestError):
        Wait(mode, waits, **arguments).run()


def test_an_execution_timeout_within_a_poll(virtual: Simulate, waits: list[float]) -> None:
    """An execution timeout ends the sensor, or skips it with soft_fail, as in Airflow's own sensors."""
    virtual(quiet())

    class Slow(SupermetricsErrorLogSensor):
        def poke(self, context: Any) -> Any:  # noqa: ARG002  # Airflow's signature
            raise AirflowTaskTimeout("too slow")

    with pytest.raises(AirflowTaskTimeout):
        Slow(task_id="t", connector_identifier=CONNECTOR, silent_fail=True).execute(context())
    with pytest.raises(AirflowSkipException, match="too slow"):
        Slow(task_id="t", connector_identifier=CONNECTOR, soft_fail=True).execute(context())


@pytest.mark.parametrize("mode", MODES)
def test_a_time_that_fills_a_page(virtual: Simulate, waits: list[float], mode: str) -> None:
    """A time that fills a page fails the sensor at once, because the next poll would fail as well."""
    virtual([*quiet(), *[{"id": str(i), "log_time": START, "status": 200} for i in range(1200)]])
    with pytest.raises(SupermetricsPaginationError):
        Wait(mode, waits).run()


@pytest.mark.parametrize("mode", MODES)
def test_polls_stretch_when_the_budget_runs_low(virtual: Simulate, waits: list[float], mode: str) -> None:
    """With less than a tenth left each interval is longer than the previous one."""
    virtual(
        quiet(), rate_limit=RateLimitWindow(requests=40, seconds=10**6), arrivals={40: [(CONNECTOR, [at(5)])]}
    )
    Wait(mode, waits).run()
    assert all(59 <= nap <= 61 for nap in waits[:35])
    low = waits[36:39]
    assert low == sorted(low)
    assert low[-1] >= 200


@pytest.mark.parametrize("mode", MODES)
def test_an_interrupted_poll_is_continued(virtual: Simulate, waits: list[float], mode: str) -> None:
    """A refusal in the middle of a burst: pages read before are not read again, nothing is counted twice."""
    burst = generate_entries(count=5000, start=START, end=START + HOUR, seed=6)
    faults = [None, None, None, Fault(429, headers={"Retry-After": "600"})]
    sim = virtual(quiet() + burst, faults=faults)
    result = Wait(mode, waits).run()
    assert result["matches"] == sum((e["status"] or 0) >= 400 for e in sim.truth(CONNECTOR, START))
    if mode != "reschedule":
        requested = [request.params.get("before") for request in sim.requests if request.status == 200]
        assert len(requested) == len(set(requested))


def test_a_wait_of_less_than_15_seconds_sleeps(virtual: Simulate, waits: list[float]) -> None:
    """Airflow 3.3 can lose a try that comes back within a heartbeat."""
    for mode in MODES:
        virtual(quiet(), arrivals={3: [(CONNECTOR, [at(5)])]})
        del waits[:]
        Wait(mode, waits, poke_interval=1).run()
        away = waits[:1] if mode == "deferrable" else waits
        assert all(nap == 1 for nap in waits) if mode == "poke" else all(nap >= 14.9 for nap in away)


@pytest.mark.parametrize("mode", MODES)
def test_the_reserve_is_left_to_others(virtual: Simulate, waits: list[float], mode: str) -> None:
    """At the reserve each interval is much longer than the previous one; no poll comes at the usual pace."""
    sim = virtual(quiet(), rate_limit=RateLimitWindow(requests=100, seconds=10**6))
    with pytest.raises(AirflowSensorTimeout):
        Wait(mode, waits, timeout=8000, wait_policy={"rate_limit_reserve": 90}).run()
    # Without a memory the wait does not grow.
    assert len(sim.requests) <= 10 + (27 if mode == "reschedule" else 5)
    if mode != "reschedule":  # which remembers no count
        assert [round(nap / 310) for nap in waits if nap > 200][:4] == [1, 2, 4, 8]


@pytest.mark.parametrize("mode", MODES)
def test_a_low_budget_does_not_outlast_the_timeout(virtual: Simulate, waits: list[float], mode: str) -> None:
    """The last poll is at the timeout, not an hour later."""
    sim = virtual(quiet(), rate_limit=RateLimitWindow(requests=3, seconds=1))
    with pytest.raises(AirflowSensorTimeout):
        Wait(mode, waits, timeout=150).run()
    assert sum(waits) <= 260
    assert len(sim.requests) >= 2


@pytest.mark.parametrize("mode", MODES)
def test_a_retry_after_is_not_shortened_by_the_timeout(
    virtual: Simulate, waits: list[float], mode: str
) -> None:
    """The timeout does not shorten a Retry-After."""
    sim = virtual(quiet(), faults=[Fault(429, headers={"Retry-After": "100"})])
    with pytest.raises(AirflowSensorTimeout):
        Wait(mode, waits, timeout=60, poke_interval=300).run()
    assert len(sim.requests) == 1


@pytest.mark.parametrize("mode", MODES)
def test_an_interval_that_doubles(virtual: Simulate, waits: list[float], mode: str) -> None:
    """With exponential_backoff, the interval doubles in every mode."""
    sim = virtual(quiet())
    with pytest.raises(AirflowSensorTimeout):
        Wait(mode, waits, timeout=7200, exponential_backoff=True, max_wait=3600).run()
    assert 4 <= len(sim.requests) <= 14


def test_entries_without_ids_are_remembered(virtual: Simulate, waits: list[float]) -> None:
    """Entries without ids are remembered by keys that Airflow's store accepts."""
    nameless = [{"log_time": START + timedelta(seconds=i // 2), "status": 500 + i % 2} for i in range(5)]
    numbered = [{"id": i, "log_time": START + timedelta(seconds=9), "status": 500} for i in range(3)]
    late = {**nameless[0]}
    for mode in MODES:
        virtual([*quiet(), *nameless, *numbered], arrivals={3: [(CONNECTOR, [late])]})
        result = Wait(mode, waits, min_matches=9).run()
        assert result["matches"] == 9


# Some end in what has no form in UTF-8, or none in PostgreSQL; replaced by a question mark they were equal.
ODD_IDS = ["x\ud800", "x\ud801", "x?", "x\0", "\udfff\0", "\U0001f98a", "é" * 400, 5, "5", True]


@pytest.mark.parametrize("mode", MODES)
def test_any_id_can_be_stored_between_polls(virtual: Simulate, waits: list[float], mode: str) -> None:
    """Each entry counts once, whatever stands where its id should be."""
    odd = [{**at(i), "id": odd} for i, odd in enumerate(ODD_IDS)]
    nameless = [{"log_time": START + timedelta(seconds=20), "status": 500, "note": "\ud800\0"}] * 2
    virtual([*quiet(), *odd, *nameless], arrivals={4: [(CONNECTOR, [at(30)])]})
    wait = Wait(mode, waits, min_matches=len(odd) + 3, max_entries=50)
    result = wait.run()
    assert result["matches"] == len(result["entries"]) == len(odd) + 3
    assert stored(result) == result


@pytest.mark.parametrize("mode", MODES)
def test_any_field_can_be_stored_between_polls(virtual: Simulate, waits: list[float], mode: str) -> None:
    """Any field can be stored, including names and values that Airflow's serialization reserves."""
    fields: list[dict[str, Any]] = [
        {"__classname__": "builtins.int", "__version__": 1, "__data__": 1},
        {"__type": "dict", "__var": {}},
        {"request": "\ud800\0" * 200, "event": {"__type": "x"}},
        {"\ud800\0": 1, "n": 2**70, "x": 1e300},
    ]
    entries = [at(i, **parts) for i, parts in enumerate(fields)]
    entries += [at(7, status) for status in ("5" * 5000, [500], {"a": 500}, True)]
    virtual([*quiet(), *entries], arrivals={4: [(CONNECTOR, [at(9)])]})
    result = Wait(mode, waits, min_matches=5, max_entries=50).run()
    assert result["matches"] == 5
    assert stored(result) == result


@pytest.mark.parametrize("mode", MODES)
def test_an_error_message_with_anything_in_it(virtual: Simulate, waits: list[float], mode: str) -> None:
    """Any error message of the API reaches the task through the trigger's event."""
    body = json.dumps({"error": {"code": "\ud800", "message": "no\0\ud800!"}, "meta": {"request_id": "\0"}})
    refused = Fault(401, body=body.encode())
    virtual(quiet(), faults=[None, refused])
    with pytest.raises(SupermetricsRequestError, match=r"^401 "):
        Wait(mode, waits).run()
    limited = Fault(429, body=body.encode(), headers={"Retry-After": "100"})
    virtual(quiet(), faults=[None, *[limited] * 99])
    with pytest.raises(AirflowSensorTimeout, match=": 429 "):
        Wait(mode, waits, timeout=600, wait_policy={"max_inline_wait": 0}).run()


class BrokenStore:
    """A task state store that cannot be used."""

    def _fail(self, *_: Any) -> Any:
        raise RuntimeError("the API server is not reachable")

    get = set = delete = _fail


def test_a_state_store_that_fails_does_not_fail_the_sensor(virtual: Simulate, waits: list[float]) -> None:
    """If the state store fails, each poll reads again from `since`."""
    busy = good(generate_entries(count=3000, start=START, end=START + HOUR, seed=6))
    sim = virtual(quiet() + busy, arrivals={9: [(CONNECTOR, [at(3601)])]})
    wait = Wait("reschedule with memory", waits)
    wait.store = wait.context["task_state_store"] = BrokenStore()
    assert wait.run()["matches"] == 1
    assert len(sim.requests) <= 20


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"statuses": "[302, 404]"}, [302, 404]),
        ({"statuses": "(302,)"}, [302]),
        ({"statuses": "{302, 404}"}, [302, 404]),
        ({"statuses": '["302", "404"]'}, [302, 404]),
        ({"statuses": "500"}, [500]),
        ({"statuses": " 302 , 404 "}, [302, 404]),
        ({"statuses": "302,404,"}, [302, 404]),
        ({"statuses": "'302', '404'"}, [302, 404]),
        # One template for each item; and what native rendering gives.
        ({"statuses": ["302", " 404 "]}, [302, 404]),
        ({"statuses": ["302", 404]}, [302, 404]),
        ({"statuses": ("302",)}, [302]),
        ({"statuses": {302, 404}}, [302, 404]),
        ({"statuses": 302}, [302]),
        ({"statuses": "", "events": "None", "request_contains": "", "team_id": "None"}, [404, 500]),
        ({"statuses": None, "events": ""}, [404, 500]),
    ],
)
def test_templates_give_strings(virtual: Simulate, arguments: dict[str, Any], found: list[int]) -> None:
    """A list, an item or an empty value that is rendered as a string is accepted."""
    virtual([*quiet(), at(5), at(6, 404), at(7, 302)])
    result = SupermetricsErrorLogSensor(task_id="t", connector_identifier=CONNECTOR, **arguments).execute(
        context()
    )
    assert sorted(entry["status"] for entry in result["entries"]) == found


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ("['a, b']", ["a, b"]),
        ('["a, b", "c"]', ["a, b", "c"]),
        ("('a, b',)", ["a, b"]),
        ("'a, b'", ["a, b"]),
        ("a, b", ["a", "b"]),
        ("'a', 'b'", ["a", "b"]),
        ('["it\'s"]', ["it's"]),
        ("it's", ["it's"]),
        (["a, b"], ["a, b"]),
    ],
)
def test_an_event_with_a_comma_or_a_quote_in_it(virtual: Simulate, events: Any, found: list[str]) -> None:
    """In a list it is one event, as everywhere in Python; in a bare string a comma separates."""
    names = ["a, b", "a", "b", "c", "it's"]
    virtual([*quiet(), *[at(i, event=name) for i, name in enumerate(names)]])
    sensor = SupermetricsErrorLogSensor(task_id="t", connector_identifier=CONNECTOR, events=events)
    result = sensor.execute(context())
    assert sorted(entry["event"] for entry in result["entries"]) == found


# Since when


@pytest.mark.parametrize(
    ("arguments", "parts", "since"),
    [
        ({}, {}, "2026-01-01T00:00:00Z"),
        ({}, {"data_interval_start": None, "data_interval_end": START + HOUR}, "2026-01-01T01:00:00Z"),
        ({}, {"data_interval_start": None, "data_interval_end": None}, "2026-01-01T00:00:00Z"),
        (
            {},
            {"data_interval_start": None, "data_interval_end": None, "logical_date": None},
            "2026-01-01T02:00:00Z",
        ),
        ({"since": "2025-12-31T23:30:00+00:00"}, {}, "2025-12-31T23:30:00Z"),
        ({"since": START - HOUR}, {}, "2025-12-31T23:00:00Z"),
        ({"since": ""}, {}, "2026-01-01T00:00:00Z"),
    ],
)
def test_since(virtual: Simulate, arguments: dict[str, Any], parts: dict[str, Any], since: str) -> None:
    """`since` is the argument or else the run's time, and never the start of an attempt."""
    virtual([*quiet(), at(3 * 3600)])
    sensor = SupermetricsErrorLogSensor(task_id="t", connector_identifier=CONNECTOR, **arguments)
    for _ in range(2):
        assert sensor.execute(context(**parts))["since"] == since


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"since": "2026-01-01"}, "no time zone"),
        ({"since": "yesterday"}, "not an ISO 8601 time"),
        ({"connector_identifier": "../x"}, "connector_identifier"),
        ({"statuses": []}, "statuses must be a list"),
        ({"statuses": "all"}, "statuses must be a list"),
        ({"statuses": "5xx,404"}, "statuses must be a list"),
        ({"statuses": "[500"}, "statuses must be a list"),
        ({"statuses": "[" * 9999}, "statuses must be a list"),
        ({"statuses": "[[500]]"}, "statuses must be a list"),
        ({"statuses": "{500: 1}"}, "statuses must be a list"),
        ({"statuses": "[True]"}, "statuses must be a list"),
        ({"statuses": "500,,503"}, "statuses must be a list"),
        ({"statuses": "9" * 5000}, "statuses must be a list"),
        ({"statuses": [""]}, "statuses must be a list"),
        ({"statuses": 500.5}, "statuses must be a list"),
        ({"events": [1]}, "events must be a list"),
        ({"events": "[]"}, "events must be a list"),
        ({"events": "['a'"}, "events must be a list"),
        ({"events": [""]}, "events must be a list"),
        ({"events": "[404]"}, "events must be a list"),
    ],
)
def test_bad_input_is_refused_before_any_request(
    virtual: Simulate, waits: list[float], arguments: dict[str, Any], complaint: str
) -> None:
    """Invalid input is refused in every mode, without a request or a retry."""
    sim = virtual(quiet())
    for mode in MODES:
        with pytest.raises(SupermetricsValidationError, match=complaint):
            Wait(mode, waits, **arguments).run()
    assert sim.requests == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"min_matches": 0}, "min_matches must be an integer of 1 or more, not 0"),
        ({"max_entries": -1}, "max_entries must be an integer of 0 or more, not -1"),
        ({"max_consecutive_failures": 0}, "max_consecutive_failures"),
        ({"overlap": 5}, "overlap must be a timedelta"),
        ({"poke_interval": 0}, "poke_interval must be 1 second or more"),
        ({"wait_policy": {"x": 1}}, "no 'x' in a wait policy"),
    ],
)
def test_invalid_arguments_fail_when_the_dag_is_read(arguments: dict[str, Any], complaint: str) -> None:
    """Invalid arguments are refused when the DAG is read."""
    with pytest.raises(SupermetricsValidationError, match=complaint):
        SupermetricsErrorLogSensor(task_id="t", connector_identifier="A", **arguments)


# Between two polls


def test_a_trigger_holds_no_credential_and_little_else(virtual: Simulate, waits: list[float]) -> None:
    """The trigger, which Airflow stores in its database, contains no credential and few fields."""
    busy = good(generate_entries(count=5000, start=START, end=START + HOUR, seed=6))
    virtual(quiet() + busy, arrivals={10: [(CONNECTOR, [at(3601)])]})
    wait = Wait("deferrable", waits)
    wait.run()
    [serialized] = wait.serialized
    assert KEY not in str(serialized)
    assert len(json.dumps(serialized)) < 10_000


@pytest.mark.parametrize(
    "event",
    [
        None,
        "success",
        {},
        {"status": "success"},
        {"status": "success", "result": {}},
        {"status": "success", "result": {"matches": 0, "entries": []}},
        {"status": "success", "result": {"matches": 1}},
        {"status": "success", "result": {"matches": "1", "entries": []}},
        {"status": "fine", "result": {"matches": 1, "entries": []}},
        {"status": "error"},
        {"status": "error", "kind": "OSError", "message": "x"},
        {"status": "error", "kind": "SupermetricsResponseError", "message": "x"},
    ],
    ids=str,
)
def test_an_event_that_is_no_result_fails(event: Any) -> None:
    """The task fails; the event does not count as a success."""
    sensor = SupermetricsErrorLogSensor(task_id="t", connector_identifier="A")
    with pytest.raises(SupermetricsError):
        sensor.execute_complete(context(), event)


def test_an_error_of_the_trigger_is_the_same_in_the_task() -> None:
    """An error of the trigger has the same class and attributes in the task."""
    sensor = SupermetricsErrorLogSensor(task_id="t", connector_identifier="A")
    event = {"status": "error", "kind": "SupermetricsRateLimitError", "message": "m", "retry_after": 5.0}
    with pytest.raises(SupermetricsRateLimitError) as raised:
        sensor.execute_complete(context(), {**event, "status_code": 429, "code": "C", "request_id": "r"})
    error = raised.value
    assert (str(error), error.retry_after, error.status_code, error.code, error.request_id) == (
        "m",
        5.0,
        429,
        "C",
        "r",
    )
    with pytest.raises(SupermetricsResponseError):
        sensor.execute_complete(context(), {**event, "kind": "SupermetricsResponseError"})


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
@pytest.mark.parametrize("soft_fail", [False, True])
def test_what_to_do_is_a_line_of_its_own(
    virtual: Simulate, waits: list[float], logged: Callable[[], list[str]], mode: str, soft_fail: bool
) -> None:
    """Log views cut long lines, and the remedy stands at the end of a message."""

    class Refused(SupermetricsErrorLogSensor):
        def poke(self, context: Any) -> Any:  # noqa: ARG002  # Airflow's signature
            raise SupermetricsRequestError("401; check the key", remedy="check the key", status_code=401)

    event = error_event(SupermetricsRequestError("401; check the key", remedy="check the key"))
    sensor = Refused(task_id="t", connector_identifier="A", soft_fail=soft_fail)
    run = {
        "poke": lambda: sensor.execute(context()),
        "deferrable": lambda: sensor.resume_execution("execute_complete", {"event": event}, context()),
    }
    logged()
    with pytest.raises(AirflowSkipException if soft_fail else SupermetricsRequestError):
        run[mode]()
    assert sum("Check the key" in line for line in logged()) == 1


@pytest.mark.parametrize("rate_limit", [None, RateLimit(3600, 5)])
def test_an_error_has_all_its_facts_after_a_deferral(rate_limit: RateLimit | None) -> None:
    """An error after a deferral has the same attributes as one without."""
    facts = {"remedy": "wait", "status_code": 429, "code": "C", "description": "d", "details": "x"}
    error = SupermetricsRateLimitError("m", request_id="r", retry_after=5.0, rate_limit=rate_limit, **facts)
    again = error_of(stored(error_event(error)))
    assert type(again) is type(error)
    assert vars(again) == vars(error)


def test_a_cleared_task_begins_where_its_filters_are_the_same(virtual: Simulate, waits: list[float]) -> None:
    """A state of other filters, or one that is not valid, is ignored."""
    virtual([*quiet(), at(5), at(6, 404)])
    for state in (
        {"fingerprint": {}},
        {"fingerprint": None},
        {"x": 1},
        {"fingerprint": "same", "counter": 1},
    ):
        wait = Wait("reschedule with memory", waits)
        wait.store.set("supermetrics_error_log", state)
        assert wait.run()["matches"] == 2
        assert wait.store == {}, "what is done needs no memory"


ONCE = {"max_consecutive_failures": 1, "wait_policy": {"max_attempts": 1}}
ENDS: dict[str, tuple[list[Fault | None], dict[str, Any], type[Exception]]] = {
    "timeout": ([], {}, AirflowSensorTimeout),
    "skip at the timeout": ([], {"soft_fail": True}, AirflowSkipException),
    "refused": ([None, Fault(403)], {}, SupermetricsRequestError),
    "skip after an error": ([None, Fault(403)], {"never_fail": True}, AirflowSkipException),
    "failed": ([None, Fault(503)], ONCE, SupermetricsServerError),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_cleared_task_reads_from_since(virtual: Simulate, waits: list[float], end: str) -> None:
    """It finds an error that appeared too late before, however the task has ended."""
    faults, arguments, error = ENDS[end]
    sim = virtual([*quiet(), *good([at(10), at(600)])], faults=faults)
    wait = Wait("reschedule with memory", waits, timeout=600, **arguments)
    with pytest.raises(error):
        wait.run()
    sim.append(CONNECTOR, [at(5)])
    wait.context["ti"].max_tries += 1
    wait.begin_again()
    assert wait.run()["matches"] == 1


def test_a_sensor_that_has_timed_out_keeps_nothing(virtual: Simulate, waits: list[float]) -> None:
    """What is done needs no memory."""
    virtual(quiet())
    wait = Wait("reschedule with memory", waits, timeout=600)
    with pytest.raises(AirflowSensorTimeout):
        wait.run()
    assert wait.store == {}


def test_a_retry_continues(virtual: Simulate, waits: list[float]) -> None:
    """It does not read again what the attempt before has read, nor so finds what appeared there too late."""
    sim = virtual([*quiet(), *good([at(10), at(600)])], faults=[None, Fault(503)])
    wait = Wait("reschedule with memory", waits, timeout=600, **ONCE)
    with pytest.raises(SupermetricsServerError):
        wait.run()
    sim.append(CONNECTOR, [at(5), at(601)])
    wait.begin_again()
    assert wait.run()["matches"] == 1
