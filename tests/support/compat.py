"""Airflow's names that tests use, from wherever each version of Airflow has them."""

from __future__ import annotations

from airflow import DAG

from airflow_provider_supermetrics._compat import (
    AirflowFailException,
    AirflowOptionalProviderFeatureException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    Asset,
    BaseOperator,
    Connection,
    ObjectStoragePath,
)

try:
    from airflow.sdk.execution_time.context import OutletEventAccessors
except ImportError:  # Airflow 2
    from airflow.utils.context import OutletEventAccessors

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:  # Airflow before 3.2
    from airflow.exceptions import TaskDeferred

__all__ = [
    "DAG",
    "AirflowFailException",
    "AirflowOptionalProviderFeatureException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "Asset",
    "BaseOperator",
    "Connection",
    "ObjectStoragePath",
    "OutletEventAccessors",
    "TaskDeferred",
]
