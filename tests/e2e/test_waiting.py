"""Exports that have to wait, are refused or are killed, in the services of a real Airflow."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from dev.simulator import Connector, Fault, RateLimitWindow, Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, KEY, START, TEAM
from tests.e2e.services import Services, Task
from tests.support.export import Exported, by_id, context
from tests.support.received import refusals, returned_pages
from tests.support.release import AIRFLOW_2

pytestmark = pytest.mark.airflow_2

needs_retry_policies = pytest.mark.skipif(AIRFLOW_2, reason="retry policies came with Airflow 3.3")

ENTRIES_PER_FILE = 2000
LIMIT = RateLimitWindow(requests=4, seconds=20)
SHARED_LIMIT = RateLimitWindow(requests=7, seconds=15)
SHARING = [f"SHARED{number}" for number in range(6)]

DAGS = f'''
from datetime import datetime, timedelta, timezone

from airflow import DAG

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
EXPORT = {{
    "start": START,
    "end": START + timedelta(hours=1),
    "path": "{{{{ var.value.exports }}}}/{{{{ dag.dag_id }}}}",
    "entries_per_file": {ENTRIES_PER_FILE},
}}


def dag(dag_id, **arguments):
    """A DAG whose exports go through the Connection of its name."""
    return DAG(
        dag_id, schedule=None, start_date=START, default_args={{"supermetrics_conn_id": dag_id, **arguments}}
    )


with dag("limited", retries=0):
    SupermetricsExportLogsOperator(
        task_id="export", connector_identifier="{CONNECTOR}", deferrable=True, **EXPORT
    )

with dag("killed", retries=1, retry_delay=timedelta(seconds=1)):
    SupermetricsExportLogsOperator(task_id="export", connector_identifier="{CONNECTOR}", **EXPORT)

with dag("refused", retries=3, retry_delay=timedelta(seconds=10)):
    SupermetricsExportLogsOperator(task_id="export", connector_identifier="{CONNECTOR}", **EXPORT)
    SupermetricsExportLogsOperator.partial(task_id="mapped", **EXPORT).expand(
        connector_identifier=["{CONNECTOR}"]
    )

with dag("unauthorized", retries=3, retry_delay=timedelta(seconds=10)):
    SupermetricsExportLogsOperator(task_id="export", connector_identifier="{CONNECTOR}", **EXPORT)

with dag("shared", retries=0):
    SupermetricsExportLogsOperator.partial(
        task_id="export", pool="supermetrics_api", deferrable=True, **EXPORT
    ).expand(connector_identifier={SHARING})
'''


def log_of(connector: str = CONNECTOR, count: int = 10_500, number: int = 0) -> Connector:
    """A connector whose log is longer than the hour that is exported."""
    entries = generate_entries(
        count=count, start=START - HOUR / 10, end=START + HOUR, seed=number, first_number=number * count
    )
    return Connector(connector, entries, team_id=TEAM)


def simulator(*connectors: Connector, **switches: Any) -> Simulator:
    """The API for these connectors."""
    return Simulator(connectors=connectors, tokens={KEY: {TEAM}}, **switches)


@pytest.fixture(scope="module")
def simulators() -> Iterator[dict[str, Simulator]]:
    """An API for each DAG, by the DAG's id."""
    a_log = log_of()
    every = {
        "limited": simulator(a_log, rate_limit=LIMIT),
        # The response that the worker never receives.
        "killed": simulator(a_log, faults=[*[None] * 4, Fault(delay=3600)]),
        "refused": simulator(a_log, faults=[Fault(429, headers={"Retry-After": "3600"})] * 10),
        "unauthorized": simulator(a_log),
        "shared": simulator(
            *[log_of(name, 1500, number) for number, name in enumerate(SHARING, start=1)],
            rate_limit=SHARED_LIMIT,
        ),
    }
    with ExitStack() as stack:
        yield {name: stack.enter_context(each) for name, each in every.items()}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that has a folder of exports for each DAG."""
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def services(
    tmp_path_factory: pytest.TempPathFactory, simulators: dict[str, Simulator], exports: Path
) -> Iterator[Services]:
    """Services that know the DAGs above."""
    dags = tmp_path_factory.mktemp("dags")
    (dags / "dags.py").write_text(DAGS)
    variables = {"AIRFLOW_VAR_EXPORTS": f"file://{exports}"}
    for name, each in simulators.items():
        variables[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(
            {
                "conn_type": "supermetrics",
                "host": each.url,
                "password": "not-the-key" if name == "unauthorized" else KEY,
                "extra": {"team_id": TEAM, "max_inline_wait": 1},
            }
        )
    with Services(tmp_path_factory.mktemp("services"), dags, variables) as services:
        yield services


def succeed(services: Services, dag_id: str, run_id: str) -> None:
    """Wait for the end of a run, and check that it succeeded."""
    assert services.end(dag_id, run_id) == "success", services.log(dag_id, run_id, "export")


def in_state(services: Services, state: str, dag_id: str, run_id: str, task_id: str, index: int = -1) -> Task:
    """Wait until a task instance is in a state, and return it."""

    def task_in_state() -> Task | None:
        task = services.task(dag_id, run_id, task_id, index)
        assert task.state not in ("success", "failed"), services.log(dag_id, run_id, task_id)
        return task if task.state == state else None

    return services.wait(f"{task_id} of {dag_id} to be {state}", task_in_state)


def truth(sim: Simulator, *connectors: str) -> list[dict[str, Any]]:
    """Return the entries that the exports of these connectors should have."""
    return by_id([entry for name in connectors for entry in sim.truth(name, START, START + HOUR)])


def test_a_long_wait_takes_no_slot_and_outlives_the_triggerer(
    services: Services,
    simulators: dict[str, Simulator],
    exports: Path,
    simulate: Callable[..., Simulator],
    tmp_path: Path,
) -> None:
    """More pages than an hour has requests: one attempt, complete, one refused request for each wait."""
    sim = simulators["limited"]
    run = services.trigger("limited")
    waiting = in_state(services, "deferred", "limited", run, "export")
    services.wait("the worker to be free", lambda: not services.task_processes())
    assert services.pool_slots_used() == 0
    assert (waiting.next_method, waiting.try_number) == ("execute_complete", 1)
    [row] = services.trigger_rows()
    assert row.id == waiting.trigger_id
    assert "moment" in row.kwargs
    assert KEY not in f"{row.stored_kwargs}{row.kwargs}{waiting.next_kwargs}"
    services.kill("triggerer")
    assert services.task("limited", run, "export").state == "deferred"
    services.start("triggerer")
    succeed(services, "limited", run)
    assert services.task("limited", run, "export").try_number == 1

    exported = Exported(exports / "limited")
    assert by_id(exported.entries()) == truth(sim, CONNECTOR)
    [manifest] = exported.manifests
    assert len(manifest["objects"]) >= 3
    waits = refusals(sim.requests, LIMIT)
    assert len(waits) >= 2
    assert set(waits) == {1}
    assert len(returned_pages(sim.requests)) == len(set(returned_pages(sim.requests)))
    free = simulate(connectors=[log_of()])
    SupermetricsExportLogsOperator(
        task_id="export",
        connector_identifier=CONNECTOR,
        path=f"file://{tmp_path}",
        entries_per_file=ENTRIES_PER_FILE,
    ).execute(context())
    assert len(sim.requests) == len(free.requests) + len(waits) == manifest["requests"]
    assert KEY not in services.log("limited", run, "export")
    assert KEY not in services.service_log("triggerer")


def test_a_killed_worker_costs_no_finished_part(
    services: Services, simulators: dict[str, Simulator], exports: Path
) -> None:
    """Airflow notices and retries; the retry resumes after the last finished part."""
    sim, exported = simulators["killed"], Exported(exports / "killed")
    run = services.trigger("killed")
    services.wait("the response that never comes", lambda: len(sim.requests) == 5)
    assert len(exported.parts) == 1
    assert any(name.startswith("_checkpoint-") for name in exported.names)
    services.kill_task_process()
    succeed(services, "killed", run)
    assert services.task("killed", run, "export").try_number == 2

    assert by_id(exported.entries()) == truth(sim, CONNECTOR)
    [manifest] = exported.manifests
    assert sorted(item["name"] for item in manifest["objects"]) == exported.parts
    assert not any(name.startswith("_checkpoint-") for name in exported.names)
    first, second = set(returned_pages(sim.requests[:5])), set(returned_pages(sim.requests[5:]))
    assert len(first) == 4
    assert len(first & second) <= ENTRIES_PER_FILE / 1000 + 1
    assert None not in second
    assert len(returned_pages(sim.requests[5:])) == len(second)


@needs_retry_policies
def test_a_retry_waits_until_retry_after_has_passed(
    services: Services, simulators: dict[str, Simulator]
) -> None:
    """A retry waits for Retry-After instead of the task's retry_delay, also in a mapped task."""
    run = services.trigger("refused")
    for task_id, index in (("export", -1), ("mapped", 0)):
        task = in_state(services, "up_for_retry", "refused", run, task_id, index)
        assert task.try_number == 1
        assert task.retry_delay_override is not None
        assert 3600 <= task.retry_delay_override <= 3661
        assert "SupermetricsRateLimitError" in (task.retry_reason or "")
        assert task.retry_due is not None
        assert task.end_date is not None
        assert 3600 <= (task.retry_due - task.end_date).total_seconds() <= 3661
    assert [request.status for request in simulators["refused"].requests] == [429, 429]


@needs_retry_policies
def test_a_permanent_error_is_not_retried(services: Services, simulators: dict[str, Simulator]) -> None:
    """A wrong key fails the task at its first attempt, although it has retries."""
    run = services.trigger("unauthorized")
    assert services.end("unauthorized", run) == "failed"
    task = services.task("unauthorized", run, "export")
    assert (task.state, task.try_number, task.max_tries) == ("failed", 1, 3)
    assert [request.status for request in simulators["unauthorized"].requests] == [401]


@needs_retry_policies
def test_a_pool_that_counts_deferred_tasks_keeps_the_others_back(
    services: Services, simulators: dict[str, Simulator], exports: Path
) -> None:
    """Each time that the budget of six exports is spent, no more are refused than the pool has slots."""
    with closing(sqlite3.connect(services.home / "airflow.db", timeout=60)) as database, database:
        database.execute(
            "INSERT INTO slot_pool (pool, slots, description, include_deferred)"
            " VALUES ('supermetrics_api', 2, '', true)"
        )
    sim = simulators["shared"]
    run = services.trigger("shared")
    succeed(services, "shared", run)
    assert {services.task("shared", run, "export", index).try_number for index in range(6)} == {1}

    exported = Exported(exports / "shared")
    assert by_id(exported.entries()) == truth(sim, *SHARING)
    assert len(exported.manifests) == 6
    waits = refusals(sim.requests, SHARED_LIMIT)
    assert waits
    assert max(waits) <= 2
