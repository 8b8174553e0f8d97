"""Fixtures that run exports with the operator and read their folder."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from dev.simulator import Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR
from tests.support.export import Exported, context, span, utc


@pytest.fixture
def exported(tmp_path: Path) -> Exported:
    """Return the folder that `export` writes to."""
    return Exported(tmp_path / "export")


@pytest.fixture
def export(exported: Exported) -> Callable[..., dict[str, Any]]:
    """Return a function that exports the first hour, or as its arguments specify, and returns the result."""

    def run(run_context: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
        operator = SupermetricsExportLogsOperator(
            **{
                "task_id": "export",
                "connector_identifier": CONNECTOR,
                "path": f"file://{exported.folder}",
                **arguments,
            }
        )
        result: dict[str, Any] = operator.execute(run_context or context())
        return result

    return run


@pytest.fixture
def quiet(simulate: Callable[..., Simulator]) -> Simulator:
    """Return a connector with one old entry."""
    long_ago = utc("1971-01-01")
    return simulate(generate_entries(count=1, start=long_ago, end=long_ago + HOUR, seed=1))


@pytest.fixture
def window_of(
    quiet: Simulator, export: Callable[..., dict[str, Any]]
) -> Callable[..., tuple[datetime, datetime]]:
    """Export in a run and return the window."""
    return lambda run, **arguments: span(export(run, **arguments))
