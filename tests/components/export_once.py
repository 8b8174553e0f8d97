"""Run one export in its own process, and print the memory that it used beyond its imports, in bytes.

Usage: python -m tests.components.export_once FOLDER START END
"""

from __future__ import annotations

import resource
import sys
from datetime import datetime

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from tests.conftest import CONNECTOR
from tests.support.compat import ObjectStoragePath
from tests.support.export import context


def peak() -> int:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    folder, start, end = sys.argv[1:]
    operator = SupermetricsExportLogsOperator(
        task_id="export",
        connector_identifier=CONNECTOR,
        path=f"file://{folder}",
        start=datetime.fromisoformat(start),
        end=datetime.fromisoformat(end),
    )
    ObjectStoragePath(f"file://{folder}").fs  # noqa: B018  # loads Airflow's file systems
    idle = peak()
    operator.execute(context())
    print("grown by", peak() - idle)
