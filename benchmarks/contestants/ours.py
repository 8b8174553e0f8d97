"""The operator of this package, executed as the task runner of Airflow would."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import Any

# The operator imports these when it runs.
import airflow_provider_supermetrics._context
import airflow_provider_supermetrics._export.job
import airflow_provider_supermetrics._lineage
import airflow_provider_supermetrics.hooks.supermetrics  # noqa: F401  # see above
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from benchmarks.contestants import Job


def export(job: Job, format: str = "jsonl") -> None:
    """Export the window, to gzipped JSON lines unless another format is given."""
    os.environ["AIRFLOW_CONN_SUPERMETRICS_DEFAULT"] = json.dumps(
        {"conn_type": "supermetrics", "host": job.url, "password": job.key, "extra": {"team_id": job.team_id}}
    )
    operator = SupermetricsExportLogsOperator(
        task_id="export",
        connector_identifier=job.connector,
        path=f"file://{job.folder}",
        start=job.start,
        end=job.end,
        format=format,
    )
    # Nothing more of the context is read where start and end are given.
    context: Any = {"ti": SimpleNamespace(map_index=-1)}
    operator.execute(context)
