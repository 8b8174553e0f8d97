"""Names that newer providers have for every Airflow, and the oldest supported ones do not."""

from __future__ import annotations

from datetime import datetime
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
    "task_result",
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
