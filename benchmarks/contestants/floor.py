"""The least work that exports the log correctly with the library of Airflow's HTTP hook, requests.

It requests each page from one second after the oldest entry so far, drops the entries that it has seen, and
writes the others as the API sent them, newest first. It leaves out what a production export needs: retries,
rate limits, checks of the entries, sorting, atomic objects, checkpoints, a manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import requests

from airflow_provider_supermetrics._export.formats.base import compressed
from benchmarks.contestants import Job


class _Lines(msgspec.Struct):
    logs: list[msgspec.Raw]


class _Entry(msgspec.Struct, gc=False):
    id: str
    log_time: str


class _Entries(msgspec.Struct):
    logs: list[_Entry]


def export(job: Job) -> None:
    """Export until a page has no entry that is new and not older than the start."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {job.key}"

        def fetch(before: str) -> bytes:
            params: dict[str, str | int] = {"limit": 1000, "before": before}
            response = session.get(job.url + job.path, params=params, timeout=60)
            response.raise_for_status()
            return response.content

        write(job, fetch)


def write(job: Job, fetch: Callable[[str], bytes]) -> None:
    """Export, with a function that returns the body of the page before a time."""
    lines_of, entries_of = msgspec.json.Decoder(_Lines).decode, msgspec.json.Decoder(_Entries).decode
    before, oldest, seen = job.end, "", set[str]()
    with Path(job.folder, "logs.jsonl.gz").open("wb") as raw, compressed(raw, "gzip") as file:
        while True:
            body = fetch(before)
            entries = entries_of(body).logs
            lines = [
                line
                for line, entry in zip(lines_of(body).logs, entries)
                if not (entry.log_time == oldest and entry.id in seen) and entry.log_time >= job.start
            ]
            if not lines:
                break
            lines.append(msgspec.Raw())  # ends the last line
            file.write(b"\n".join(lines))
            if entries[-1].log_time != oldest:
                oldest, seen = entries[-1].log_time, set()
                before = (
                    datetime.fromisoformat(oldest.replace("Z", "+00:00")) + timedelta(seconds=1)
                ).isoformat()
            seen.update(entry.id for entry in entries if entry.log_time == oldest)
