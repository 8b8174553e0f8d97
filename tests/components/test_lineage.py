"""What an export tells those who follow data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from dev.simulator import Simulator, generate_entries
from tests.components.conftest import Exported, context
from tests.conftest import CONNECTOR, HOUR, START, TEAM

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]


def test_hook_lineage_tells_of_the_final_objects(
    simulate: Simulate, exported: Exported, collected: Callable[[], list[str]]
) -> None:
    """Each part once; no checkpoint, no temporary file."""
    simulate(generate_entries(count=3000, start=START, end=START + HOUR, seed=5))
    SupermetricsExportLogsOperator(
        task_id="e", connector_identifier=CONNECTOR, path=f"file://{exported.folder}/", entries_per_file=1000
    ).execute(context())
    assert sorted(collected()) == [f"file://{exported.folder}/{name}" for name in exported.parts]
    assert len(exported.parts) == 3


def test_openlineage_is_told_of_the_log_and_the_folder(simulate: Simulate, exported: Exported) -> None:
    """Its input, its output with the schema, and how much it was."""
    sim = simulate(generate_entries(count=3000, start=START, end=START + HOUR, seed=5))
    operator = SupermetricsExportLogsOperator(
        task_id="e", connector_identifier=CONNECTOR, path=f"file://{exported.folder}", entries_per_file=1000
    )
    assert operator.get_openlineage_facets_on_complete(None) is None, "nothing was exported yet"
    result = operator.execute(context())
    lineage: Any = operator.get_openlineage_facets_on_complete(None)
    [log], [folder] = lineage.inputs, lineage.outputs
    assert log.namespace == f"supermetrics://{sim.url.removeprefix('http://')}"
    assert log.name == f"teams/{TEAM}/connectors/{CONNECTOR}/logs"
    assert (folder.namespace, folder.name) == ("file", str(exported.folder))
    statistics = folder.outputFacets["outputStatistics"]
    assert (statistics.rowCount, statistics.size, statistics.fileCount) == (
        result["entries"],
        result["bytes"],
        3,
    )
    fields = {field.name: field.type for field in folder.facets["schema"].fields}
    assert fields["log_time"] == "timestamp"
    assert set(fields) >= {"id", "status", "event", "request", "duration_ms", "request_id"}
