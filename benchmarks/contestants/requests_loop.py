"""The loop over `requests` that comes to mind first: `before` is the last entry's time."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import requests

from benchmarks.contestants import GZIP_LEVEL, Job


def export(job: Job) -> None:
    """Export until a page is empty, page by page."""
    params = {"limit": "1000", "before": job.end}
    with (
        requests.Session() as session,
        gzip.open(Path(job.folder, "logs.jsonl.gz"), "wt", GZIP_LEVEL, encoding="utf-8") as file,
    ):
        session.headers["Authorization"] = f"Bearer {job.key}"
        while True:
            response = session.get(job.url + job.path, params=params, timeout=60)
            response.raise_for_status()
            logs = response.json()["logs"]
            if not logs:
                break
            for entry in logs:
                file.write(json.dumps(entry) + "\n")
            params["before"] = logs[-1]["log_time"]
