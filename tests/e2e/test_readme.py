"""The README's DAG can be parsed."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.release import AIRFLOW_2

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 2
    from airflow.models.dagbag import DagBag

pytestmark = pytest.mark.airflow_2


def test_the_dag_of_the_readme(repository: Path, tmp_path: Path) -> None:
    """Copied as it stands, it parses on Airflow 3; on 2.11 with the import that its comment names."""
    [code] = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(), re.DOTALL)
    if AIRFLOW_2:
        code = code.replace("from airflow.sdk import DAG", "from airflow import DAG")
    (tmp_path / "readme.py").write_text(code)
    bag = DagBag(str(tmp_path))
    assert (bag.import_errors, bag.captured_warnings) == ({}, {})
    [task] = bag.dags["supermetrics_logs"].tasks
    assert task.window == timedelta(hours=1)
