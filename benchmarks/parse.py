"""What it costs to read a DAG file: `python -m benchmarks.parse`.

Each file is run in a fresh process, as it is where Airflow has loaded nothing but itself, and in turns.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.process import ROOT, measure
from benchmarks.table import table

_DAG: Final = """\
from airflow.sdk import DAG
{imports}

with DAG("parsed", schedule=None):
    {tasks}
"""
_NOTHING: Final = "Airflow alone"
_HTTP: Final = "HttpSensor, HttpOperator"
#: The imports and the tasks of each file.
FILES: Final = {
    _NOTHING: ("from airflow.sdk import BaseOperator", "BaseOperator(task_id='nothing')"),
    _HTTP: (
        "from airflow.providers.http.operators.http import HttpOperator\n"
        "from airflow.providers.http.sensors.http import HttpSensor",
        "HttpSensor(task_id='wait', endpoint='e') >> HttpOperator(task_id='read', endpoint='e')",
    ),
    "this package": (
        "from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator\n"
        "from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor",
        "SupermetricsErrorLogSensor(task_id='wait', connector_identifier='T3S70')"
        " >> SupermetricsExportLogsOperator("
        "task_id='export', connector_identifier='T3S70', path='s3://conn@bucket/logs')",
    ),
}
_HOW_TO_READ: Final = """\
How to read it: CPU (user and system) of a whole process that runs the file, in milliseconds; medians of
{rounds}. "more" is the difference to Airflow alone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the files and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parse", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args(arguments).rounds
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        medians = _measure(Path(folder), rounds)
    rows = [["DAG file with", "CPU ms", "more", "x HttpOperator"]]
    for name, cpu in medians.items():
        more, share = cpu - medians[_NOTHING], cpu / medians[_HTTP]
        rows.append([name, f"{cpu * 1000:.0f}", f"{more * 1000:.0f}", f"{share:.3f}"])
    print(table(rows))
    print("\n" + _HOW_TO_READ.format(rounds=rounds))
    return 0


def _measure(folder: Path, rounds: int) -> dict[str, float]:
    """The median CPU seconds of each file."""
    cpus: dict[str, list[float]] = {name: [] for name in FILES}
    # Python looks for modules beside the file, not here.
    environment = {"AIRFLOW_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    for _ in range(rounds):
        for index, (name, (imports, tasks)) in enumerate(FILES.items()):
            # Not beside the others: Python imports from the folder of the file.
            file = folder / str(index) / "dag.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text(_DAG.format(imports=imports, tasks=tasks))
            usage = measure(str(file), environment=environment, log=folder / "output.txt")
            cpus[name].append(usage.cpu)
    return {name: median(values) for name, values in cpus.items()}


if __name__ == "__main__":
    sys.exit(main())
