"""Names that newer providers have for every Airflow, and the oldest supported ones do not."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow import __version__ as airflow_version

if TYPE_CHECKING:
    from airflow.providers.http.hooks.http import SessionConfig

_AIRFLOW = tuple(int(part) for part in airflow_version.split(".")[:2])

# common-compat 1.8.0: airflow.providers.common.compat.sdk
if TYPE_CHECKING or _AIRFLOW >= (3, 0):
    from airflow.sdk import (
        Asset,
        BaseOperator,
        BaseOperatorLink,
        BaseSensorOperator,
        Connection,
        Context,
        ObjectStoragePath,
        PokeReturnValue,
    )
else:
    from airflow.datasets import Dataset as Asset
    from airflow.io.path import ObjectStoragePath
    from airflow.models.baseoperator import BaseOperator
    from airflow.models.baseoperatorlink import BaseOperatorLink
    from airflow.models.connection import Connection
    from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
    from airflow.utils.context import Context

# common-compat 1.11.0: likewise
if TYPE_CHECKING or _AIRFLOW >= (3, 1):
    from airflow.sdk import BaseHook
else:
    from airflow.hooks.base import BaseHook

# common-compat 1.12.0: likewise
if TYPE_CHECKING or _AIRFLOW >= (3, 2):
    from airflow.sdk import exceptions
    from airflow.sdk.configuration import conf
else:
    from airflow import exceptions
    from airflow.configuration import conf

AirflowException = exceptions.AirflowException
AirflowFailException = exceptions.AirflowFailException
AirflowNotFoundException = exceptions.AirflowNotFoundException
AirflowOptionalProviderFeatureException = exceptions.AirflowOptionalProviderFeatureException
AirflowSensorTimeout = exceptions.AirflowSensorTimeout
AirflowSkipException = exceptions.AirflowSkipException
AirflowTaskTimeout = exceptions.AirflowTaskTimeout

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowOptionalProviderFeatureException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "Asset",
    "BaseHook",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "Connection",
    "Context",
    "ObjectStoragePath",
    "PokeReturnValue",
    "conf",
    "first_start_of_sensor",
    "session_config",
    "states_of_task",
    "task_result",
    "xcoms_of_task",
]


def first_start_of_sensor(context: Context, retries: int) -> datetime | None:
    """Return when a rescheduled sensor was started first, retries included; None where it is now."""
    ti: Any = context["ti"]
    if _AIRFLOW >= (3, 0):
        started: datetime | None = ti.get_first_reschedule_date(context)
        return started
    # Nothing public in Airflow 2 gives it.
    from airflow.sensors import base  # type: ignore[attr-defined]  # gone in Airflow 3

    return base._orig_start_date(  # type: ignore[no-any-return]  # likewise
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        map_index=ti.map_index,
        try_number=(ti.max_tries or 0) - retries + 1,
    )


def xcoms_of_task(context: Context, keys: Iterable[str]) -> list[Any]:
    """Return what a task has stored under these keys in all its runs, for whichever of its map indexes.

    In Airflow 3, a value may be there twice.
    """
    ti: Any = context["ti"]
    if _AIRFLOW >= (3, 0):
        from airflow.sdk.execution_time.xcom import XCom

        task = {"dag_id": ti.dag_id, "task_id": ti.task_id}
        runs = list(_runs_with_all(context))
        return [
            value
            for key in keys
            for run_id, and_prior in runs
            for value in XCom.get_all(key=key, run_id=run_id, include_prior_dates=and_prior, **task) or []
        ]
    from airflow.models.xcom import XCom as Model
    from airflow.utils.session import create_session

    with create_session() as session:
        query = session.query(Model).filter_by(dag_id=ti.dag_id, task_id=ti.task_id)
        rows = query.filter(Model.key.in_(list(keys))).with_entities(Model.value)
        return [Model.deserialize_value(row) for row in rows]


# Airflow 3 finds the XComs of one run, or of that and those before it: by their logical dates, or by the time
# when one without it was due. It cannot say which is the newest without one, only name all that ever ran.

# A run that was due less than this before another one started has hardly ended by then.
_SOON = timedelta(minutes=1)
# Each needs a request for each key.
_MOST_OF_OTHER_NAMES = 20
# As Airflow names a run: type, and time when due; it adds something if there is no logical date.
_RUN_ID = re.compile(r"(.+?)__(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?[+-]\d\d:\d\d)(_?)")


def _runs_with_all(context: Context) -> Iterator[tuple[str, bool]]:
    """Yield runs that together have all XComs, and for each whether those before it belong to it."""
    newest, date = _newest_dated_run(context)
    yield newest, True
    ti: Any = context["ti"]
    is_cleared = (ti.max_tries or 0) > (ti.task.retries or 0)  # clearing a task adds to its tries
    started = context["dag_run"].start_date or datetime.now(timezone.utc)
    if not is_cleared and started - date < _SOON:
        return
    # Index 0 is there however many a mapped task has.
    map_index = -1 if ti.map_index is None else min(ti.map_index, 0)
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], map_index=map_index)
    last: dict[str, tuple[datetime, str]] = {}
    others = []
    for run_id in states:
        match = _RUN_ID.match(run_id)
        if run_id in (newest, ti.run_id) or (match and (due := datetime.fromisoformat(match[2])) <= date):
            continue
        if match and match[3]:
            # By type, because a timetable may name the runs of its schedule in its own way.
            last[match[1]] = max(last.get(match[1], (due, run_id)), (due, run_id))
        else:
            others.append(run_id)
    for _, run_id in last.values():
        yield run_id, True
    # The newest are the last, as a rule.
    for run_id in others[-_MOST_OF_OTHER_NAMES:]:
        yield run_id, False


def _newest_dated_run(context: Context) -> tuple[str, datetime]:
    """Return the newest run with a logical date, or this run if that is later; and its date."""
    from airflow.sdk.execution_time import comms, task_runner

    ti: Any = context["ti"]
    # `ti.get_previous_dagrun()` only knows the runs before this one.
    after_all = datetime(9000, 1, 1, tzinfo=timezone.utc)
    request = comms.GetPreviousDagRun(dag_id=ti.dag_id, logical_date=after_all)
    response: Any = task_runner.SUPERVISOR_COMMS.send(request)
    newest, own = response.dag_run, context.get("logical_date") or context["dag_run"].run_after
    if newest and newest.logical_date > own:
        return newest.run_id, newest.logical_date
    return ti.run_id, own


def states_of_task(context: Context, run_ids: Collection[str]) -> Mapping[tuple[str, int], str | None]:
    """Return the states of a task in these runs, by run and map index."""
    ti: Any = context["ti"]
    if _AIRFLOW >= (3, 0):
        names = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=list(run_ids))
        prefix = f"{ti.task_id}_"
        return {
            (run_id, -1 if name == ti.task_id else int(name.removeprefix(prefix))): state
            for run_id, states in names.items()
            for name, state in states.items()
        }
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        query = session.query(TaskInstance.run_id, TaskInstance.map_index, TaskInstance.state)
        rows = query.filter_by(dag_id=ti.dag_id, task_id=ti.task_id).filter(TaskInstance.run_id.in_(run_ids))
        return {(run_id, map_index): state for run_id, map_index, state in rows}


def task_result(operator: BaseOperator, ti_key: Any) -> Any:
    """Return what a task has returned, where Airflow makes its extra links; None without a result."""
    if _AIRFLOW >= (3, 0):
        # The task's own process, at its end: an operator with links keeps its result.
        return getattr(operator, "result", None)
    # The web server, which has the task's DAG without its operators.
    from airflow.models.xcom import XCom

    return XCom.get_value(ti_key=ti_key, key="return_value")


# http 6.0.1: SessionConfig, and an HttpAsyncHook that uses it
def session_config(**settings: Any) -> SessionConfig:
    """Return settings for HttpAsyncHook's inherited requests.

    :raises AirflowOptionalProviderFeatureException: on http providers that would not use them.
    """
    try:
        from airflow.providers.http.hooks.http import SessionConfig
    except ImportError:
        raise AirflowOptionalProviderFeatureException(
            "SupermetricsAsyncHook.run() needs apache-airflow-providers-http 6.0.1 or later: older ones send "
            "the Connection's extra as headers. Use list_logs(), iter_logs(), get_log() or list_connectors()"
        ) from None
    from pydantic import Field, create_model

    # Not in its repr, because they contain the credential.
    headers: Any = (dict[str, Any] | None, Field(default=None, repr=False))
    return create_model("SessionConfig", __base__=SessionConfig, headers=headers)(**settings)
