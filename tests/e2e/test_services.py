"""The services of the end-to-end tests, which can be killed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from tests.e2e.services import Services
from tests.support.release import AIRFLOW_2

pytestmark = pytest.mark.airflow_2

DAGS = '''
from datetime import datetime, timedelta, timezone
from pathlib import Path
from time import sleep

from airflow import DAG
from airflow.providers.common.compat.standard.triggers import TimeDeltaTrigger

try:
    from airflow.sdk import BaseOperator
except ImportError:  # Airflow 2
    from airflow.models.baseoperator import BaseOperator

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Quick(BaseOperator):
    def execute(self, context):
        print("quick is here")
        return {"conf": context["dag_run"].conf, "date": str(context.get("logical_date"))}


class Waiting(BaseOperator):
    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=16)), method_name="resume")

    def resume(self, context, event=None):
        return "resumed"


class Stuck(BaseOperator):
    """Never ends in its first try."""

    def execute(self, context):
        if context["ti"].try_number == 1:
            sleep(3600)
        return "second try"


with DAG("waiting", schedule=None, start_date=START):
    Waiting(task_id="wait")

with DAG("others", schedule=None, start_date=START):
    Quick(task_id="quick") >> Stuck(task_id="stuck", retries=1, retry_delay=timedelta(seconds=3))
'''


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Services that know the DAGs above."""
    dags = tmp_path_factory.mktemp("dags")
    (dags / "dags.py").write_text(DAGS)
    with Services(tmp_path_factory.mktemp("services"), dags) as services:
        yield services


def ended(services: Services, dag_id: str, run_id: str) -> str | None:
    """The state of a run that has ended."""
    state = services.runs(dag_id).get(run_id)
    return state if state in ("success", "failed") else None


def test_services_can_be_killed(services: Services) -> None:
    """A triggerer and a task's process are killed and everything is done in the end; all can be seen."""
    run = services.trigger("waiting")
    services.wait("the deferral", lambda: services.task("waiting", run, "wait").state == "deferred")
    services.wait("the worker to be free", lambda: not services.task_processes())
    assert services.pool_slots_used() == 0
    task = services.task("waiting", run, "wait")
    assert (task.next_method, task.try_number, task.pool) == ("resume", 1, "default_pool")
    [row] = services.trigger_rows()
    assert row.id == task.trigger_id
    assert row.classpath.endswith(".DateTimeTrigger")
    assert "moment" in row.kwargs
    assert ("moment" in row.stored_kwargs) != AIRFLOW_2
    triggerer = services.process("triggerer")
    services.kill("triggerer")
    assert not triggerer.is_running()
    assert services.task("waiting", run, "wait").state == "deferred"
    services.start("triggerer")

    # Meanwhile, something else: the deferred task takes no worker.
    date = datetime(2026, 2, 3, 4, 5, tzinfo=timezone.utc)
    other = services.trigger("others", "my-run", {"a": 1}, date)
    services.wait("a running task", lambda: services.task("others", other, "stuck").state == "running")
    assert services.xcom("others", other, "quick") == {"conf": {"a": 1}, "date": str(date)}
    assert "quick is here" in services.log("others", other, "quick")
    assert services.pool_slots_used() >= 1
    services.wait("the task's processes", lambda: len(services.task_processes()) >= 2)
    services.kill_task_process()
    retried = services.wait(
        "the loss to be noticed",
        lambda: (task := services.task("others", other, "stuck")).state == "up_for_retry" and task,
    )
    assert retried.retry_due == retried.end_date + timedelta(seconds=3)
    assert services.wait("the other DAG's end", lambda: ended(services, "others", other)) == "success"
    assert services.task("others", other, "stuck").try_number == 2
    assert services.xcom("others", other, "stuck") == "second try"

    assert services.wait("the end of the wait", lambda: ended(services, "waiting", run)) == "success"
    assert services.task("waiting", run, "wait").try_number == 1
    assert services.xcom("waiting", run, "wait") == "resumed"
    assert services.trigger_rows() == []
