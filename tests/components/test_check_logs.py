"""The check of a window of logs, over the wire against a simulated API."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.exceptions import AirflowRescheduleException

from airflow_provider_supermetrics.exceptions import (
    SupermetricsCheckError,
    SupermetricsError,
    SupermetricsRateLimitError,
    SupermetricsRequestError,
    SupermetricsResponseError,
    SupermetricsServerError,
    SupermetricsValidationError,
)
from airflow_provider_supermetrics.operators.supermetrics import (
    SupermetricsCheckLogsOperator,
    SupermetricsListConnectorsOperator,
)
from dev.simulator import Connector, Fault, RateLimitWindow, Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, START, TEAM
from tests.support.airflow import stored
from tests.support.compat import DAG, AirflowFailException, AirflowSkipException, TaskDeferred
from tests.support.connectors import MISTYPED, lists
from tests.support.export import Exported, context, log_of, require_statistics
from tests.support.release import AIRFLOW_2
from tests.support.sensors import Store

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]
WINDOW = "2026-01-01T00:00:00Z to 2026-01-01T01:00:00Z"


def log_with(errors: int, count: int = 3500, first: int = 0) -> list[dict[str, Any]]:
    """The hour's log, newest last, whose only errors begin with the newest entry but ``first``."""
    entries = [{**entry, "status": 200} for entry in log_of(count)]
    newest = sorted(entries, key=lambda entry: entry["log_time"], reverse=True)
    for entry in newest[first : first + errors]:
        entry["status"] = 500
    return entries


class Check:
    """A task whose every attempt and resume is another operator in another process.

    :param waits: the virtual waits; those of deferrals are added to it, so that time passes.
    :param drops_kwargs: whether what is passed through a deferral is lost, as in ``dag.test()``.
    """

    def __init__(
        self, waits: list[float] | None = None, drops_kwargs: bool = False, **arguments: Any
    ) -> None:
        self.waits = [] if waits is None else waits
        self.drops_kwargs = drops_kwargs
        self.arguments = {"task_id": "check", "connector_identifier": CONNECTOR, **arguments}
        self.pushed: dict[str, Any] = {}
        self.deferrals: list[TaskDeferred] = []
        self.context = context(ti=SimpleNamespace(map_index=-1, xcom_push=self._push))

    def _push(self, key: str, value: Any) -> None:
        self.pushed[key] = stored(value)

    def step(self, method: str = "execute", **kwargs: Any) -> dict[str, Any] | None:
        """Run until the end, or until the task defers; then let that time pass."""
        operator = SupermetricsCheckLogsOperator(**self.arguments)
        try:
            result: dict[str, Any] = getattr(operator, method)(self.context, **kwargs)
        except TaskDeferred as deferred:
            seconds = (deferred.trigger.moment - datetime.now(timezone.utc)).total_seconds()
            self.waits.append(seconds)
            self.deferrals.append(deferred)
            return None
        return stored(result)  # type: ignore[no-any-return]  # as it was

    def run(self, most: int = 20) -> dict[str, Any]:
        """Run, and resume as often as it takes."""
        result = self.step()
        while result is None:
            assert len(self.deferrals) < most, "it does not end"
            deferred = self.deferrals[-1]
            kwargs = {} if self.drops_kwargs else stored(deferred.kwargs or {})
            result = self.step(deferred.method_name, event=None, **kwargs)
        return result

    def violated(self) -> dict[str, Any]:
        """The result of one that fails."""
        with pytest.raises(SupermetricsCheckError) as failed:
            self.run()
        assert self.pushed == {"return_value": failed.value.result}
        return failed.value.result


@pytest.fixture
def virtual(simulate: Simulate, waits: list[float]) -> Simulate:
    """Start simulators that use the clock of the virtual waits."""
    return lambda *args, **kwargs: simulate(*args, clock=lambda: time.monotonic() + sum(waits), **kwargs)


# Verdicts


def test_a_log_that_is_good_enough(simulate: Simulate) -> None:
    """The result has what was read of the whole window, in the numbers of a manifest."""
    sim = simulate(log_of(3500))
    truth = sim.truth(CONNECTOR, START, START + HOUR)
    errors = [entry for entry in truth if (entry["status"] or 0) >= 400]
    result = Check(max_errors=len(errors), min_entries=len(truth), max_p95_duration_ms=10**6).run()
    assert (result["verdict"], result["complete"], result["violations"]) == ("passed", True, [])
    assert (result["connector_identifier"], result["team_id"]) == (CONNECTOR, TEAM)
    assert f"{result['start']} to {result['end']}" == WINDOW
    assert (result["entries"], result["errors"]) == (len(truth), len(errors))
    assert {entry["status"] for entry in result["examples"]} <= {entry["status"] for entry in errors}
    require_statistics(result["statistics"], truth)
    assert result["requests"] == len(sim.requests) == 4
    passed = f"{CONNECTOR}: passed, {len(errors)} errors in {len(truth):,} entries, in {WINDOW}\n"
    assert result["message"].startswith(passed)


def test_a_log_that_is_not(simulate: Simulate, logged: Callable[[], list[str]]) -> None:
    """One request finds new errors; the message begins with the bound, and the log has what failed."""
    sim = simulate(log_with(7))
    check = Check()
    with pytest.raises(SupermetricsCheckError) as failed:
        check.run()
    message = f"{CONNECTOR}: at least 7 errors, more than max_errors=0, in {WINDOW}"
    assert str(failed.value) == message
    assert isinstance(failed.value, SupermetricsError)
    assert isinstance(failed.value, AirflowFailException), "Airflow does not retry it"
    assert not failed.value.retryable
    assert len(sim.requests) == 1
    result = failed.value.result
    assert check.pushed == {"return_value": result}
    assert result["violations"] == [{"bound": "max_errors", "limit": 0, "value": 7}]
    assert (result["verdict"], result["complete"], result["errors"]) == ("violated", False, 7)
    assert len(result["examples"]) == 5
    assert result["message"].split("\n")[0] == message
    assert len(json.dumps(result)) < 5000
    lines = logged()
    for detail in result["message"].split("\n")[1:]:
        assert any(detail.strip() in line for line in lines), detail
    assert any("x 500 " in line for line in lines)


@pytest.mark.parametrize(
    ("bounds", "requests", "words"),
    [
        ({"max_errors": 6}, 1, "at least 7 errors, more than max_errors=6"),
        ({"max_errors": None, "max_error_rate": 0.001}, 4, r"error rate 0\.002\d* \(7 errors in 3,\d+ entr"),
        (
            {"max_errors": None, "max_error_rate": 0},
            1,
            r"\(7 errors in the newest 1,000 entries\), more than",
        ),
        ({"max_errors": None, "min_entries": 5000}, 4, r"3,\d+ entries, fewer than min_entries=5000"),
        ({"max_errors": None, "max_p95_duration_ms": 1}, 4, r"p95 of duration_ms [\d,]+, more than max_p95"),
        ({"max_errors": "6", "min_entries": " 5 "}, 1, "max_errors=6"),
    ],
    ids=str,
)
def test_each_bound(simulate: Simulate, bounds: dict[str, Any], requests: int, words: str) -> None:
    """Each is named with its value, for as few requests as it needs."""
    sim = simulate(log_with(7))
    result = Check(**bounds).violated()
    assert re.search(words, result["message"])
    assert re.search(words, result["message"][:90])
    assert len(sim.requests) == requests == result["requests"]


@pytest.mark.parametrize(
    ("bounds", "requests"),
    [
        ({"max_errors": None, "min_entries": 1000}, 1),
        ({"max_errors": None, "min_entries": 1001}, 2),
        ({"max_errors": 7}, 4),
        ({"max_errors": None, "max_error_rate": 0.5, "min_entries": 1}, 4),
    ],
    ids=str,
)
def test_requests_of_one_that_passes(simulate: Simulate, bounds: dict[str, Any], requests: int) -> None:
    """Enough entries are enough; whatever the rest of the window could violate needs all of it."""
    sim = simulate(log_with(7))
    assert Check(**bounds).run()["verdict"] == "passed"
    assert len(sim.requests) == requests


def test_errors_outside_of_the_window(simulate: Simulate) -> None:
    """They do not count."""
    before, after = ({"id": str(m), "log_time": START + m * HOUR, "status": 500} for m in (-0.1, 1))
    simulate([before, after, {"id": "0", "log_time": START, "status": 200}])
    assert Check().run()["entries"] == 1


@pytest.mark.parametrize(
    ("filters", "errors"),
    [
        ({"min_status": 500}, 1),
        ({"min_status": "500"}, 1),
        ({"statuses": [404]}, 1),
        ({"statuses": "403, 404"}, 2),
        ({"events": ["api.call"]}, 1),
        ({"request_contains": "ORDERS"}, 1),
    ],
    ids=str,
)
def test_which_entries_count_as_errors(simulate: Simulate, filters: dict[str, Any], errors: int) -> None:
    """The filters are the sensor's."""
    entries = [
        {"status": 404, "request": "GET /orders", "event": "data.fetch"},
        {"status": 403, "request": "GET /", "event": "api.call"},
        {"status": 500, "request": None, "event": None},
        {"status": None, "request": "GET /orders", "event": "api.call"},
    ]
    simulate([{"id": str(i), "log_time": START, **entry} for i, entry in enumerate(entries)])
    result = Check(**filters).violated()
    assert (result["errors"], result["statistics"]["errors"], result["entries"]) == (errors, 3, 4)


def test_skip(simulate: Simulate) -> None:
    """Instead of failing, the task is skipped, with the same words and the same XCom."""
    simulate(log_with(7))
    check = Check(on_violation="skip")
    with pytest.raises(AirflowSkipException, match=r"^T3S70: at least 7 errors, more than max_errors=0, in "):
        check.run()
    assert check.pushed["return_value"]["verdict"] == "violated"


def test_without_xcom(simulate: Simulate) -> None:
    """A task that may not push an XCom does not push one."""
    simulate(log_with(7))
    check = Check(do_xcom_push=False)
    with pytest.raises(SupermetricsCheckError):
        check.run()
    assert check.pushed == {}


def test_an_idle_hour(simulate: Simulate) -> None:
    """A connector that has fallen silent has no errors: min_entries finds it."""
    sim = simulate(generate_entries(count=5, start=START - 2 * HOUR, end=START - HOUR, seed=1))
    assert Check().run()["entries"] == 0
    result = Check(max_errors=None, min_entries=1).violated()
    assert result["message"] == f"{CONNECTOR}: 0 entries, fewer than min_entries=1, in {WINDOW}"
    assert (len(sim.requests), lists(sim)) == (2, 0)


def test_a_mistyped_connector(simulate: Simulate) -> None:
    """It has no errors either, but does not pass."""
    sim = simulate(unknown_connector="empty")
    with pytest.raises(SupermetricsRequestError, match=f"has no connector {MISTYPED}"):
        Check(connector_identifier=MISTYPED).run()
    assert lists(sim) == 1


def test_what_the_log_contains_cannot_forge_a_line(
    simulate: Simulate, logged: Callable[[], list[str]]
) -> None:
    """Anybody can log a request: its line breaks and control characters end up harmless."""
    hostile = "GET /\x1b[2J\n[2026-01-01] {x} INFO - passed\u202e"
    simulate([{"id": hostile, "log_time": START, "status": 500, "request": hostile, "request_id": hostile}])
    result = Check().violated()
    assert [line for line in result["message"].split("\n") if not line.isprintable()] == []
    assert len(result["message"].split("\n")) == 4
    assert not any("\x1b[2J" in line or "\u202e" in line for line in logged() if "/work" not in line)


# The window


def test_a_window_that_is_not_over(simulate: Simulate) -> None:
    """What is logged later could change the verdict."""
    sim = simulate()
    with pytest.raises(
        SupermetricsValidationError, match="the window is not over, so its log is not complete"
    ):
        Check(end=datetime.now(timezone.utc) + HOUR).run()
    assert sim.requests == []


def test_settle(virtual: Simulate, waits: list[float]) -> None:
    """A window is read when its entries have had the time to appear."""
    end = datetime.now(timezone.utc)
    sim = virtual(generate_entries(count=10, start=end - HOUR, end=end, seed=1, error_rate=0))
    arguments = {"end": end, "window": HOUR, "settle": timedelta(minutes=5), "max_errors": None}
    with pytest.raises(AirflowRescheduleException):
        Check(waits, min_entries=1, **arguments).run()
    check = Check(waits, min_entries=1, deferrable=True, **arguments)
    assert check.step() is None
    assert sim.requests == []
    assert 285 <= waits[-1] <= 300
    assert check.step("execute_complete")


def test_mapped_tasks_are_named_by_their_connector(simulate: Simulate) -> None:
    """As those of the exports are; a name that the DAG gives has priority."""
    simulate(log_with(0))
    check = Check()
    check.context["ti"].map_index = 3
    check.run()
    assert check.context["map_index_template"] == "{{ task.connector_identifier }}"
    check.context["map_index_template"] = "{{ 1 }}"
    check.run()
    assert check.context["map_index_template"] == "{{ 1 }}"


# Waiting


@pytest.mark.parametrize(("drops_kwargs", "has_store"), [(False, False), (False, True), (True, True)])
def test_a_deferral_reads_no_page_again(
    virtual: Simulate, waits: list[float], drops_kwargs: bool, has_store: bool
) -> None:
    """What was read is passed on, on Airflow 3.3 through the task's state store, too."""
    entries = log_of(9000)
    expected = virtual(entries), Check(max_errors=5000).run()
    sim = virtual(entries, rate_limit=RateLimitWindow(requests=2, seconds=3600))
    check = Check(waits, drops_kwargs, deferrable=True, max_errors=5000)
    store = Store()
    if has_store:
        check.context["task_state_store"] = store
    result = check.run()
    assert len(check.deferrals) >= 3
    assert {**result, "requests": 0} == {**expected[1], "requests": 0}
    assert result["requests"] == len(sim.requests) == len(expected[0].requests) + len(check.deferrals)
    requested = [request.params.get("before") for request in sim.requests if request.status == 200]
    assert len(requested) == len(set(requested))
    assert store == {}
    assert all(3500 < seconds < 3700 for seconds in waits)


def test_a_check_that_is_cleared_reads_from_scratch(virtual: Simulate, waits: list[float]) -> None:
    """On Airflow 3.3, too, where its progress was stored before a deferral: entries can appear late."""
    entries = log_of(3500)
    sim = virtual(entries, faults=[None, Fault(429, headers={"Retry-After": "3600"})])
    check = Check(waits, deferrable=True, max_errors=5000)
    check.context["task_state_store"] = store = Store()
    assert check.step() is None
    assert store
    before = check.step("execute_complete", event=None, **stored(check.deferrals[-1].kwargs))
    assert before is not None
    sim.append(CONNECTOR, [{**max(entries, key=lambda entry: entry["log_time"]), "id": "late"}])
    assert check.run()["entries"] == before["entries"] + 1


def test_a_resume_that_has_lost_what_was_read(virtual: Simulate, waits: list[float]) -> None:
    """It reads from the window's end again, and says the same."""
    sim = virtual(log_with(1, first=3000), faults=[None, Fault(429, headers={"Retry-After": "3600"})])
    result = Check(waits, drops_kwargs=True, deferrable=True).violated()
    assert (result["errors"], result["requests"]) == (1, 4)
    assert len(sim.requests) == 6


def test_what_a_deferral_holds_is_small(virtual: Simulate, waits: list[float]) -> None:
    """Counts, a position and the newest errors, however many there are."""
    virtual(log_with(6000, count=9000), faults=[*[None] * 6, Fault(429, headers={"Retry-After": "3600"})])
    check = Check(waits, deferrable=True, max_errors=None, max_error_rate=0.99)
    assert check.step() is None
    [deferred] = check.deferrals
    assert 1000 < len(json.dumps(deferred.kwargs)) < 50_000


@pytest.mark.parametrize(
    "changed",
    [
        {"min_status": 500},
        {"max_p95_duration_ms": 5},
        {"end": START + HOUR / 2},
        {"connector_identifier": "K2M41"},
    ],
    ids=str,
)
def test_what_was_stored_of_another_check_is_not_used(
    simulate: Simulate, waits: list[float], changed: dict[str, Any]
) -> None:
    """The store of a cleared task may contain the progress of what it did before."""
    logs = [Connector(name, log_of(3000), team_id=TEAM) for name in (CONNECTOR, "K2M41")]
    refusal = Fault(429, headers={"Retry-After": "3600"})
    sim = simulate(connectors=logs, faults=[None, refusal])
    check = Check(max_errors=5000)
    check.context["task_state_store"] = Store()
    with pytest.raises(SupermetricsRateLimitError):
        check.run()
    waits.append(3600)
    check.arguments.update(changed)
    try:
        result = check.run()
    except SupermetricsCheckError as failed:
        result = failed.result
    assert result["requests"] == len(sim.requests) - 2


@pytest.mark.parametrize("days", [0, 4])
def test_a_retry(virtual: Simulate, waits: list[float], days: int) -> None:
    """On Airflow 3.3 it resumes where the attempt failed, unless that is long ago; before, it reads again."""
    entries = log_of(3500)
    sim = virtual(entries, faults=[None, None, Fault(500)])
    check = Check(waits, max_errors=5000, wait_policy={"max_attempts": 1})
    check.context["task_state_store"] = Store()
    with pytest.raises(SupermetricsServerError):
        check.run()
    waits.append(days * 86_400)
    result = check.run()
    assert len(sim.requests) - 3 == (4 if days else 2)
    assert result["requests"] == (4 if days else 5)
    assert check.context["task_state_store"] == {}


def test_a_response_that_cannot_be_continued_after_a_deferral(virtual: Simulate, waits: list[float]) -> None:
    """What was stored before the deferral is deleted, too."""
    virtual(log_of(3500), faults=[None, Fault(429, headers={"Retry-After": "3600"}), Fault(kind="no_logs")])
    check = Check(waits, deferrable=True, max_errors=5000)
    check.context["task_state_store"] = store = Store()
    with pytest.raises(SupermetricsResponseError):
        check.run()
    assert len(check.deferrals) == 1
    assert store == {}


def test_a_response_that_cannot_be_continued_starts_over(virtual: Simulate, waits: list[float]) -> None:
    """The next attempt does not meet it again."""
    sim = virtual(log_of(3500), faults=[None, Fault(500), Fault(kind="no_logs")])
    check = Check(waits, max_errors=5000, wait_policy={"max_attempts": 1})
    check.context["task_state_store"] = store = Store()
    with pytest.raises(SupermetricsServerError):
        check.run()
    assert store
    with pytest.raises(SupermetricsResponseError):
        check.run()
    assert store == {}
    check.run()
    assert len(sim.requests) == 7


class BrokenStore:
    """A store whose server is away."""

    def __getattr__(self, name: str) -> Any:
        def use(*args: Any) -> Any:
            raise RuntimeError(f"no {name} today")

        return use


@pytest.mark.parametrize(
    ("store", "deleted"),
    [(BrokenStore(), ["supermetrics_check_logs"]), (Store(), [])],
    ids=["a store that cannot be read", "an empty store"],
)
def test_progress_is_deleted_where_there_may_be_some(
    simulate: Simulate, store: Any, deleted: list[str]
) -> None:
    """Each use of the store is a request to Airflow."""
    simulate(log_of(10))
    check, used = Check(max_errors=None, min_entries=1), []
    store.delete = used.append
    check.context["task_state_store"] = store
    check.run()
    assert used == deleted


def test_a_store_that_fails(simulate: Simulate, logged: Callable[[], list[str]]) -> None:
    """It costs requests, not the check."""
    simulate(log_of(3500), faults=[None, Fault(500)])
    check = Check(max_errors=5000, wait_policy={"max_attempts": 1})
    check.context["task_state_store"] = BrokenStore()
    with pytest.raises(SupermetricsServerError):
        check.run()
    lines = "\n".join(logged())
    for done in ("read: RuntimeError: no get today", "written: RuntimeError: no set today"):
        assert f"The progress of this check could not be {done}" in lines
    assert check.run()["verdict"] == "passed"


def test_an_unlimited_wait_fails(virtual: Simulate) -> None:
    """A task that cannot defer leaves the wait to Airflow's retry."""
    sim = virtual(log_of(100), faults=[Fault(429, headers={"Retry-After": "3600"})])
    with pytest.raises(SupermetricsRateLimitError) as failed:
        Check().run()
    assert failed.value.retry_after == 3600
    assert len(sim.requests) == 1


# Arguments


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"max_errors": -1}, "max_errors must be an integer of 0 or more, or None for no bound, not -1"),
        ({"max_errors": "many"}, "max_errors must be an integer"),
        ({"max_error_rate": 5}, "max_error_rate must be a number from 0 to 1, such as 0.05 for 5 %"),
        ({"min_entries": 0}, "min_entries must be an integer of 1 or more"),
        ({"max_p95_duration_ms": -1}, "max_p95_duration_ms must be a number of milliseconds"),
        ({"max_errors": None}, "no bound that a log could violate: give max_errors, max_error_rate"),
        ({"max_errors": None, "max_error_rate": 1.0}, "no bound that a log could violate"),
        ({"on_violation": "warn"}, "on_violation must be 'fail' or 'skip', not 'warn'"),
        ({"min_status": 1000}, "min_status must be an integer from 0 to 999, such as 400, not 1000"),
        ({"min_status": None}, "min_status must be an integer from 0 to 999, such as 400, not None"),
        (
            {"statuses": [5000]},
            "statuses must be a list of integers from 0 to 999",
        ),
        ({"statuses": []}, "statuses must be a list of integers"),
        ({"statuses": ["abc"]}, "statuses must be a list of integers"),
        ({"events": [""]}, "events must be a list of strings"),
        ({"request_contains": 5}, "request_contains must be a string"),
        ({"connector_identifier": "a b"}, "connector_identifier must be 1 to 100 letters"),
        ({"team_id": "us"}, "team_id must be an integer"),
        ({"start": "yesterday"}, "is not an ISO 8601 time"),
        ({"start": START, "window": HOUR}, "give start or window, not both"),
        ({"window": 60}, "window must be a timedelta"),
        ({"settle": -HOUR}, "settle must not be negative"),
        ({"align": 1}, "align must be True or False"),
        ({"wait_policy": {"patience": 1}}, "there is no 'patience' in a wait policy"),
    ],
    ids=str,
)
def test_arguments_that_are_not_valid(arguments: dict[str, Any], complaint: str) -> None:
    """The DAG file does not parse, and the message says what to write."""
    with pytest.raises(SupermetricsValidationError, match=complaint):
        Check(**arguments).run()


TEMPLATES = {
    "connector_identifier": ("{{ params.connector }}", CONNECTOR),
    "team_id": ("{{ params.team }}", str(TEAM)),
    "start": ("{{ params.start }}", START.isoformat()),
    "end": ("{{ params.end }}", (START + HOUR).isoformat()),
    "window": ("{{ params.window }}", ""),
    "align": ("{{ params.align }}", "true"),
    "settle": ("{{ params.settle }}", "PT0S"),
    "max_errors": ("{{ params.errors }}", "5"),
    "max_error_rate": ("{{ params.rate }}", "0.5"),
    "min_entries": ("{{ params.least }}", "1"),
    "max_p95_duration_ms": ("{{ params.slowest }}", "1000000"),
    "on_violation": ("{{ params.action }}", "skip"),
    "min_status": ("{{ params.status }}", "500"),
    "statuses": ("{{ params.statuses }}", "[500, 503]"),
    "events": (["{{ params.event }}"], ["data.fetch"]),
    "request_contains": ("{{ params.request }}", ""),
    "supermetrics_conn_id": ("{{ params.conn }}", "supermetrics_default"),
}


def test_templates(simulate: Simulate) -> None:
    """Each argument that a template can give is checked when it has been rendered."""
    simulate(log_with(0))
    assert TEMPLATES.keys() == set(SupermetricsCheckLogsOperator.template_fields)
    operator = SupermetricsCheckLogsOperator(task_id="c", **{n: t for n, (t, _) in TEMPLATES.items()})
    for name, (_, rendered) in TEMPLATES.items():
        setattr(operator, name, rendered)
    assert operator.execute(context())["verdict"] == "passed"


@pytest.mark.parametrize(
    ("name", "rendered", "complaint"),
    [
        ("max_errors", "-1", "max_errors must be"),
        ("max_error_rate", "1.5", "max_error_rate must be"),
        ("on_violation", "explode", "on_violation must be"),
        ("min_status", "abc", "min_status must be"),
        ("connector_identifier", "a/b", "connector_identifier must be"),
    ],
)
def test_a_template_that_renders_to_something_else(
    simulate: Simulate, name: str, rendered: str, complaint: str
) -> None:
    """It is refused before any request."""
    sim = simulate()
    operator = SupermetricsCheckLogsOperator(
        **{"task_id": "c", "connector_identifier": CONNECTOR, name: "{{ x }}"}
    )
    setattr(operator, name, rendered)
    with pytest.raises(SupermetricsValidationError, match=complaint):
        operator.execute(context())
    assert sim.requests == []


def test_the_output_of_another_task() -> None:
    """It is left for the run."""
    with DAG("d", schedule=None, start_date=START):
        listed = SupermetricsListConnectorsOperator(task_id="list")
        SupermetricsCheckLogsOperator(
            task_id="c", connector_identifier=listed.output, max_errors=listed.output
        )
        SupermetricsCheckLogsOperator.partial(task_id="m").expand(connector_identifier=listed.output)


# The page


def test_the_snippets_of_the_documentation(
    simulate: Simulate, exported: Exported, export: Callable[..., dict[str, Any]], repository: Path
) -> None:
    """Each parses as it stands; the one behind an export decides by its result, without a request."""
    page = (repository / "docs/checks.md").read_text(encoding="utf-8")
    section = page.partition("## Is a window of logs good enough?")[2].partition("\n## ")[0]
    snippets = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(snippets) >= 5
    sim = simulate(log_with(1))
    found: dict[str, Any] = {}
    for number, code in enumerate(snippets):
        if AIRFLOW_2:
            code = code.replace("from airflow.sdk import task", "from airflow.decorators import task")
        with DAG(f"d{number}", schedule=None, start_date=START):
            namespace: dict[str, Any] = {
                "SupermetricsCheckLogsOperator": SupermetricsCheckLogsOperator,
                "timedelta": timedelta,
                "load": SupermetricsListConnectorsOperator(task_id="load"),
                "export_logs": SupermetricsListConnectorsOperator(task_id="export_logs"),
            }
            exec(code, namespace)
        found.update(namespace)
    is_good = found["is_good_enough"].function
    result = export()
    sent = len(sim.requests)
    assert is_good(result) is False
    simulate(log_with(0))
    assert is_good(export()) is True
    assert len(sim.requests) == sent
