"""What a DAG file with our tasks may not load: Airflow reads it again and again, and runs nothing of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.release import AIRFLOW_2

pytestmark = pytest.mark.airflow_2

#: The modules, and why a DAG file does not need them. What Airflow itself loads does not count.
FORBIDDEN = {
    "aiohttp": "requests are sent by tasks and triggers",
    "requests": "requests are sent by tasks and triggers",
    "requests_toolbelt": "requests are sent by tasks and triggers",
    "urllib3": "requests are sent by tasks and triggers",
    "airflow.providers.http": "its hook imports both HTTP libraries",
    "asgiref": "only the async hook needs it",
    "fsspec": "the path is checked without the store",
    "upath": "the path is checked without the store",
    "pyarrow": "only a task writes Parquet",
    "zstandard": "only a task compresses",
    "airflow_provider_supermetrics.hooks.supermetrics": "it imports both HTTP libraries",
    "airflow_provider_supermetrics._client": "it imports both HTTP libraries",
    "airflow_provider_supermetrics._context": "only a run has a window",
    "airflow_provider_supermetrics._schedule": "only a run has a window",
    "airflow_provider_supermetrics._health": "only a run reads manifests, and writes the page",
    "airflow_provider_supermetrics._export.catalog": "only a run reads manifests",
    "airflow_provider_supermetrics._export.job": "only a run exports",
    "airflow_provider_supermetrics._export.storage": "only a run exports",
    "airflow_provider_supermetrics._lineage": "only a finished export is reported",
}
#: Nor does one without an asset watcher, which has a trigger.
OF_TRIGGERS = {
    "airflow_provider_supermetrics._api.pager": "only a run reads pages",
    "airflow_provider_supermetrics._api.counter": "only a run counts entries",
    "airflow_provider_supermetrics._api.check": "only a run counts entries",
    "airflow.triggers": "a task imports its trigger when it defers",
    "airflow.providers.standard.triggers": "a task imports its trigger when it defers",
    "airflow_provider_supermetrics.triggers.supermetrics": "a task imports its trigger when it defers",
}
BASE = """
try:
    from airflow.sdk import DAG, BaseOperator, BaseSensorOperator
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.models.baseoperator import BaseOperator
    from airflow.sensors.base import BaseSensorOperator

BaseOperator(task_id="any")
"""
TASKS = """
from airflow_provider_supermetrics.operators.supermetrics import *
from airflow_provider_supermetrics.sensors.supermetrics import *

with DAG("tasks", schedule=None):
    for kind, compression in (("jsonl", "zstd"), ("csv", "gzip"), ("parquet", "auto")):
        SupermetricsExportLogsOperator(
            task_id=kind,
            connector_identifier="T3S70",
            path="s3://conn@bucket/logs",
            format=kind,
            compression=compression,
            deferrable=True,
        )
    SupermetricsListConnectorsOperator(task_id="list")
    SupermetricsHealthReportOperator(task_id="health", path="s3://conn@bucket/logs")
    SupermetricsCheckLogsOperator(
        task_id="check", connector_identifier="T3S70", max_error_rate="{{ params.rate }}", deferrable=True
    )
    SupermetricsCheckExportsOperator(task_id="check_exports", path="s3://conn@bucket/logs")
    SupermetricsErrorLogSensor(task_id="wait", connector_identifier="T3S70", deferrable=True)
"""
WATCHER = """
from airflow_provider_supermetrics.triggers.supermetrics import SupermetricsErrorLogEventTrigger

SupermetricsErrorLogEventTrigger(connector_identifier="T3S70")
"""


def loaded(code: str) -> set[str]:
    """The modules that a fresh process has loaded after it has run this code."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{code}\nimport sys\nprint('loaded:', *sys.modules)"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


@pytest.fixture(scope="module")
def own() -> set[str]:
    """What Airflow loads by itself, for any task and sensor."""
    return loaded(BASE)


def test_tasks_load_only_what_they_need(own: set[str]) -> None:
    """Reading a file with each operator and the sensor loads nothing that only runs later."""
    assert unneeded(loaded(BASE + TASKS) - own, FORBIDDEN | OF_TRIGGERS) == {}


def test_a_watcher_loads_only_what_it_needs(own: set[str]) -> None:
    """Nor does one with the trigger of an asset watcher."""
    if AIRFLOW_2:
        pytest.skip("Airflow 2 has no asset watchers")
    assert unneeded(loaded(BASE + WATCHER) - own, FORBIDDEN) == {}


def unneeded(modules: set[str], reasons: dict[str, str]) -> dict[str, str]:
    """Those of the reasons whose module, or one within it, is among the modules."""
    return {
        name: why
        for name, why in reasons.items()
        if any(module == name or module.startswith(f"{name}.") for module in modules)
    }
