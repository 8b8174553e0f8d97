"""Airflow's own `HttpOperator` with a `pagination_function`, and a `response_filter` that writes."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

from airflow.providers.http.operators.http import HttpOperator
from requests import Response

from benchmarks.contestants import GZIP_LEVEL, Job


def export(job: Job) -> None:
    """Export until a page is empty; the operator keeps all responses until the last one is there."""
    os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps({"conn_type": "http", "host": job.url})

    def next_page(response: Response) -> dict[str, Any] | None:
        logs = response.json()["logs"]
        return {"data": {"before": logs[-1]["log_time"]}} if logs else None

    def write(responses: list[Response]) -> None:
        with gzip.open(Path(job.folder, "logs.jsonl.gz"), "wt", GZIP_LEVEL, encoding="utf-8") as file:
            for response in responses:
                for entry in response.json()["logs"]:
                    file.write(json.dumps(entry) + "\n")

    context: Any = {}
    HttpOperator(
        task_id="export",
        http_conn_id="http_default",
        endpoint=job.path,
        method="GET",
        data={"limit": "1000", "before": job.end},
        headers={"Authorization": f"Bearer {job.key}"},
        pagination_function=next_page,
        response_filter=write,
        deferrable=False,
    ).execute(context)
