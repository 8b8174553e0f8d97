"""The floor with `http.client` of the standard library, and with the decompressor of this package.

It has no connection pool, no proxies and no settings of TLS.
"""

from __future__ import annotations

from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

from airflow_provider_supermetrics._api.deflate import GZIP, decompressor
from benchmarks.contestants import Job
from benchmarks.contestants.floor import write


def export(job: Job) -> None:
    """Export as the floor does."""
    connection = HTTPConnection(urlsplit(job.url).netloc, timeout=60)
    headers = {"Authorization": f"Bearer {job.key}", "Accept-Encoding": "gzip"}

    def fetch(before: str) -> bytes:
        query = urlencode({"limit": 1000, "before": before})
        connection.request("GET", f"{job.path}?{query}", headers=headers)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"status {response.status}")
        return decompressor(GZIP).decompress(body)

    write(job, fetch)
    connection.close()
