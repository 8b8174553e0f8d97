"""Airflow 2.11 and 3.0 with a universal-pathlib too new for them, as pip installs it without constraints."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    version("universal-pathlib") < "0.3", reason="tests/install/test_release.py installs one that is too new"
)

# Airflow's class of these versions, over the universal-pathlib of this environment.
CODE = """
import airflow.sdk.io.path
from upath.implementations.cloud import CloudPath

class ObjectStoragePath(CloudPath):
    pass

airflow.sdk.ObjectStoragePath = airflow.sdk.io.path.ObjectStoragePath = ObjectStoragePath

from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from tests.support.export import context

task = SupermetricsExportLogsOperator(task_id="t", connector_identifier="A", path="file:///nowhere/logs")
try:
    task.execute(context())
except SupermetricsValidationError as error:
    print("said", error)
"""


def test_the_error_names_the_remedy(repository: Path) -> None:
    """The error names the version to install, and does not blame the Connection."""
    done = subprocess.run([sys.executable, "-c", CODE], cwd=repository, capture_output=True, text=True)
    said = [line for line in done.stdout.splitlines() if line.startswith("said ")]
    assert len(said) == 1, done.stderr
    assert "which is incompatible with ObjectStoragePath; " in said[0]
    assert said[0].endswith("pip install 'universal-pathlib<0.3'")
