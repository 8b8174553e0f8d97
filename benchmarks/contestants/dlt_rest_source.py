"""dlt's REST API source, with its cursor paginator, into files of JSON lines."""

from __future__ import annotations

import os
from pathlib import Path

import dlt
from dlt.destinations import filesystem
from dlt.sources.rest_api import rest_api_source

from benchmarks.contestants import Job


def export(job: Job) -> None:
    """Export until a page is empty, which has no cursor; then normalize the entries, and load the files."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    # Where Airflow is installed, dlt would import it to read its Variables: 6 s of CPU time.
    os.environ["PROVIDERS__ENABLE_AIRFLOW_SECRETS"] = "false"
    source = rest_api_source(
        {
            "client": {
                "base_url": job.url,
                "auth": {"type": "bearer", "token": job.key},
                "paginator": {
                    "type": "cursor",
                    "cursor_path": "logs[-1].log_time",
                    "cursor_param": "before",
                },
            },
            "resources": [
                {
                    "name": "logs",
                    "endpoint": {
                        "path": job.path,
                        "params": {"limit": 1000, "before": job.end},
                        "data_selector": "logs",
                    },
                    # By default dlt parses times, and writes them in another form.
                    "columns": {"log_time": {"data_type": "text"}},
                }
            ],
        }
    )
    pipeline = dlt.pipeline(
        "benchmark",
        pipelines_dir=str(Path(job.folder, "pipelines")),
        destination=filesystem(bucket_url=Path(job.folder, "exports").as_uri()),
        dataset_name="logs",
    )
    pipeline.run(source, loader_file_format="jsonl")
    for file in Path(job.folder, "exports/logs/logs").glob("*.jsonl.gz"):
        file.rename(Path(job.folder, file.name))
