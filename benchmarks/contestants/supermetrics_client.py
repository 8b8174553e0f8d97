"""The vendor's Python client in a loop: `before` is the last entry's time."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from supermetrics import SupermetricsClient

from benchmarks.contestants import GZIP_LEVEL, Job


def export(job: Job) -> None:
    """Export until a page is empty, page by page."""
    before = job.end
    with (
        SupermetricsClient(api_key=job.key, base_url=job.url) as client,
        gzip.open(Path(job.folder, "logs.jsonl.gz"), "wt", GZIP_LEVEL, encoding="utf-8") as file,
    ):
        while True:
            page = client.connector_builder_logs.list(job.team_id, job.connector, limit=1000, before=before)
            if not page.logs:
                break
            for entry in page.logs:
                file.write(json.dumps(entry.to_dict()) + "\n")
            before = page.logs[-1].log_time
