"""The lineage that an export reports."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsHook
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator, export_logs
from dev.simulator import Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, START, TEAM
from tests.support.export import Exported, context
from tests.support.table import COLUMNS, SOURCE

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]


def test_hook_lineage_reports_the_log_and_the_final_objects(
    simulate: Simulate, exported: Exported, collected: Callable[..., list[str]]
) -> None:
    """Hook lineage has the log, and each part once, and no checkpoint or temporary file."""
    sim = simulate(generate_entries(count=3000, start=START, end=START + HOUR, seed=5))
    SupermetricsExportLogsOperator(
        task_id="e", connector_identifier=CONNECTOR, path=f"file://{exported.folder}/", entries_per_file=1000
    ).execute(context())
    assert sorted(collected()) == [f"file://{exported.folder}/{name}" for name in exported.parts]
    assert len(exported.parts) == 3
    host = sim.url.removeprefix("http://")
    assert collected("inputs") == [f"supermetrics://{host}/teams/{TEAM}/connectors/{CONNECTOR}/logs"]


def test_hook_lineage_of_a_task_of_python(
    simulate: Simulate, exported: Exported, collected: Callable[..., list[str]]
) -> None:
    """`export_logs` reports the same, also of a window without entries."""
    simulate()
    with SupermetricsHook() as hook:
        export_logs(
            hook, CONNECTOR, exported.folder, start="2025-01-01T00:00:00Z", end="2025-01-01T01:00:00Z"
        )
    [log] = collected("inputs")
    assert log.endswith(f"/teams/{TEAM}/connectors/{CONNECTOR}/logs")
    assert collected() == []


def test_openlineage_reports_the_log_and_the_folder(simulate: Simulate, exported: Exported) -> None:
    """OpenLineage has the input, the output with its schema, and the amount."""
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


def test_a_folder_with_characters_that_uris_give_a_meaning(
    simulate: Simulate, exported: Exported, collected: Callable[..., list[str]]
) -> None:
    """Hook lineage gets a URI that leads to the object, OpenLineage the folder's name as it is."""
    simulate(generate_entries(count=30, start=START, end=START + HOUR, seed=5))
    folder = exported.folder / "a#b?c=1%20" / "dt=1 é"
    operator = SupermetricsExportLogsOperator(
        task_id="e", connector_identifier=CONNECTOR, path=f"file://{folder}"
    )
    operator.execute(context())
    [part] = Exported(folder).parts
    [uri] = collected()
    assert uri == f"file://{exported.folder}/a%23b%3Fc=1%2520/dt=1%20%C3%A9/{part}"
    assert unquote(urlsplit(uri).path) == str(folder / part)
    [dataset] = operator.get_openlineage_facets_on_complete(None).outputs
    assert (dataset.namespace, dataset.name) == ("file", str(folder))


def test_what_airflow_refuses_to_record_does_not_fail_an_export(
    simulate: Simulate,
    exported: Exported,
    collected: Callable[..., list[str]],
    logged: Callable[[], list[str]],
) -> None:
    """The URI of an object may be longer than Airflow accepts; the rest is reported."""
    simulate(generate_entries(count=3000, start=START, end=START + HOUR, seed=5))
    folder = exported.folder.joinpath(*["ж" * 100] * 6)
    operator = SupermetricsExportLogsOperator(
        task_id="e", connector_identifier=CONNECTOR, path=f"file://{folder}", entries_per_file=1000
    )
    assert operator.execute(context())["entries"] == 3000
    assert collected() == []
    assert len(collected("inputs")) == 1
    warning = re.compile(r"The lineage of this export lacks (\S+) and 2 others: ValueError: ")
    assert {*warning.findall("\n".join(logged()))} == {Exported(folder).parts[0]}
    [dataset] = operator.get_openlineage_facets_on_complete(None).outputs
    assert dataset.name == str(folder)


def test_a_collector_of_lineage_that_fails(
    simulate: Simulate, exported: Exported, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], list[str]]
) -> None:
    """It is Airflow's, or a plugin's; the export is complete."""
    try:
        from airflow.sdk import lineage
    except ImportError:  # Airflow before 3.2
        from airflow.lineage import hook as lineage

    def fails() -> None:
        raise RuntimeError("no lineage today")

    monkeypatch.setattr(lineage, "get_hook_lineage_collector", fails)
    simulate(generate_entries(count=30, start=START, end=START + HOUR, seed=5))
    with SupermetricsHook() as hook:
        export_logs(hook, CONNECTOR, exported.folder, start=START, end=START + HOUR)
    lacks = f"lacks the log of {CONNECTOR} and 1 other: RuntimeError: no lineage today"
    assert lacks in "\n".join(logged())


@pytest.mark.parametrize(("format", "is_table"), [("jsonl", False), ("csv", True), ("parquet", True)])
def test_the_schema_that_openlineage_reports(
    simulate: Simulate, exported: Exported, format: str, is_table: bool
) -> None:
    """The columns that the objects have; the log has no column for what does not fit one."""
    simulate(generate_entries(count=30, start=START, end=START + HOUR, seed=5))
    operator = SupermetricsExportLogsOperator(
        task_id="e", connector_identifier=CONNECTOR, path=f"file://{exported.folder}", format=format
    )
    operator.execute(context())
    lineage: Any = operator.get_openlineage_facets_on_complete(None)
    [log], [folder] = lineage.inputs, lineage.outputs
    of_entry = [name for name in COLUMNS if name not in (*SOURCE, "extra")]
    fields = {field.name: field.type for field in folder.facets["schema"].fields}
    assert list(fields) == (COLUMNS if is_table else of_entry)
    assert (fields.get("team_id"), fields.get("connector_identifier")) == (
        ("integer", "string") if is_table else (None, None)
    )
    assert [field.name for field in log.facets["schema"].fields] == of_entry


def test_the_statistics_that_openlineage_reports(simulate: Simulate, exported: Exported) -> None:
    """Those of the manifest, as metrics of the log's columns."""
    simulate(generate_entries(count=3000, start=START, end=START + HOUR, seed=5))
    operator = SupermetricsExportLogsOperator(
        task_id="e", connector_identifier=CONNECTOR, path=f"file://{exported.folder}"
    )
    statistics = operator.execute(context())["statistics"]
    lineage: Any = operator.get_openlineage_facets_on_complete(None)
    metrics = lineage.inputs[0].inputFacets["dataQualityMetrics"]
    status, duration = metrics.columnMetrics["status"], metrics.columnMetrics["duration_ms"]
    assert (metrics.rowCount, status.nullCount) == (3000, statistics["statuses"].get("none", 0))
    found = statistics["duration_ms"]
    assert (duration.count, duration.nullCount, duration.max) == (
        found["entries"],
        3000 - found["entries"],
        found["max"],
    )
    assert duration.quantiles == {"0.5": found["p50"], "0.95": found["p95"]}
