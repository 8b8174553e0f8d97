"""Exports in each format, to the local file system, from a simulated API."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import SupermetricsRequestError, SupermetricsValidationError
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from dev.simulator import Fault, Simulator
from tests.support.export import BASE, Exported
from tests.support.table import odd_log

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]
Export = Callable[..., dict[str, Any]]


def test_the_usual_format(simulate: Simulate, export: Export, exported: Exported) -> None:
    """JSON Lines with gzip is the default."""
    simulate()
    export()
    assert exported.names == [f"{BASE}-00000.jsonl.gz", f"_manifest-{BASE}.json"]


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_another_attempt_resumes(simulate: Simulate, export: Export, exported: Exported, format: str) -> None:
    """A resumed export writes the same bytes as an uninterrupted one."""
    entries = odd_log()
    simulate(entries)
    export(format=format, entries_per_file=400)
    whole = {name: data for name, data in exported.bytes().items() if not name.startswith("_")}
    for path in exported.folder.iterdir():
        path.unlink()
    simulate(entries, faults=[None, None, Fault(401)])
    with pytest.raises(SupermetricsRequestError):
        export(format=format, entries_per_file=400)
    assert f"_checkpoint-{BASE}.gz" in exported.names
    export(format=format, entries_per_file=400)
    assert {name: data for name, data in exported.bytes().items() if not name.startswith("_")} == whole


def test_no_export_resumes_with_parts_of_another_version(
    simulate: Simulate, export: Export, exported: Exported
) -> None:
    """An upgrade between two attempts leaves no part whose rows lack columns of the others."""
    sim = simulate(odd_log(), faults=[None, None, Fault(401)])
    with pytest.raises(SupermetricsRequestError):
        export(format="csv", entries_per_file=400)
    path = exported.folder / f"_checkpoint-{BASE}.gz"
    head, lines = gzip.decompress(path.read_bytes()).split(b"\n", 1)
    checkpoint = json.loads(head)
    checkpoint["plan"]["format_version"] -= 1
    path.write_bytes(gzip.compress(json.dumps(checkpoint).encode() + b"\n" + lines))
    sent = len(sim.requests)
    export(format="csv", entries_per_file=400)
    assert exported.manifests[0]["requests"] == len(sim.requests) - sent, "none of the attempt before"


def test_another_format_takes_the_place_of_the_first(
    simulate: Simulate, export: Export, exported: Exported
) -> None:
    """Objects of a second format replace those of the first, so that no reader sees a window twice."""
    simulate()
    for name, suffix in [("jsonl", "jsonl.gz"), ("csv", "csv.gz"), ("parquet", "parquet")]:
        export(format=name)
        assert exported.names == [f"{BASE}-00000.{suffix}", f"_manifest-{BASE}.json"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"format": "avro"}, "format must be 'jsonl', 'csv' or 'parquet'"),
        ({"format": "csv", "compression": "snappy"}, "'auto', 'gzip', 'zstd' or 'none' with format 'csv'"),
        ({"format": "parquet", "compression": "lz4"}, "'auto', 'zstd', 'snappy', 'gzip' or 'none'"),
    ],
)
def test_unknown_formats_fail_when_the_dag_is_read(arguments: dict[str, Any], complaint: str) -> None:
    """An unknown format is refused when the DAG is read."""
    with pytest.raises(SupermetricsValidationError, match=complaint):
        SupermetricsExportLogsOperator(task_id="t", connector_identifier="A", path="file:///x", **arguments)


def test_a_missing_library_is_named_when_the_dag_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # Python's own way to say that it is not there
    with pytest.raises(SupermetricsValidationError, match=r"airflow-provider-supermetrics\[parquet\]"):
        SupermetricsExportLogsOperator(
            task_id="t", connector_identifier="A", path="file:///x", format="parquet"
        )


def test_reading_a_dag_imports_no_library(repository: Path) -> None:
    """Reading a DAG file does not import the libraries of formats."""
    code = (
        "import sys\n"
        "from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator\n"
        "before = set(sys.modules)\n"
        "for number, (format, compression) in enumerate([('parquet', 'auto'), ('csv', 'zstd')]):\n"
        "    SupermetricsExportLogsOperator(task_id=f't{number}', connector_identifier='A', path='file:///x',\n"
        "        format=format, compression=compression)\n"
        "print(sorted({'pyarrow', 'zstandard'} & (set(sys.modules) - before)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
