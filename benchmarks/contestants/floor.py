"""The least work that exports the log correctly: what any exporter in Python has to do, and nothing more.

It requests each page from one second after the oldest entry so far, drops the entries that it has seen, and
writes the others as the API sent them, newest first. It leaves out what a production export needs: retries,
rate limits, checks of the entries, sorting, atomic objects, checkpoints, a manifest.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from zlib import MAX_WBITS, decompress

import msgspec

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
    lines_of, entries_of = msgspec.json.Decoder(_Lines).decode, msgspec.json.Decoder(_Entries).decode
    connection = HTTPConnection(urlsplit(job.url).netloc, timeout=60)
    headers = {"Authorization": f"Bearer {job.key}", "Accept-Encoding": "gzip"}
    before, oldest, seen = job.end, "", set[str]()
    with Path(job.folder, "logs.jsonl.gz").open("wb") as raw, compressed(raw, "gzip") as file:
        while True:
            connection.request(
                "GET", f"{job.path}?{urlencode({'limit': 1000, 'before': before})}", headers=headers
            )
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise RuntimeError(f"status {response.status}")
            body = _inflated(body)
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
    connection.close()


def _inflated(body: bytes) -> bytes:
    """Inflate with the library that the package uses."""
    return decompress(body, 16 + MAX_WBITS)
