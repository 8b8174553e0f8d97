"""Exports, run by the operator; what is in their folder."""

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
    """The folder that `export` writes to."""
    return Exported(tmp_path / "export")


@pytest.fixture
def export(exported: Exported) -> Callable[..., dict[str, Any]]:
    """Run an export of the first hour, or as the arguments say; return its result."""

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
    """A connector that has logged something once, long ago."""
    long_ago = utc("1971-01-01")
    return simulate(generate_entries(count=1, start=long_ago, end=long_ago + HOUR, seed=1))


@pytest.fixture
def window_of(
    quiet: Simulator, export: Callable[..., dict[str, Any]]
) -> Callable[..., tuple[datetime, datetime]]:
    """Export in a run; return the window."""
    return lambda run, **arguments: span(export(run, **arguments))
