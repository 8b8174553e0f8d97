"""The page about the connectors' health, of 100 connectors and 30 days of hours: CPU and memory of a view.

python -m benchmarks.health
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import process_time

_CONNECTORS = 100
_DAYS = 30
_END = datetime(2026, 2, 1, tzinfo=timezone.utc)
_HOUR = timedelta(hours=1)
# The least time counts, because what else the machine does only adds to it.
_WARM_VIEWS = 7


def main() -> int:
    """Write 72,000 manifests, and let another process read them, so that its memory is its own."""
    if len(sys.argv) == 2:
        _views(Path(sys.argv[1]))
        return 0
    with tempfile.TemporaryDirectory(prefix="health-") as folder:
        count = _write(Path(folder))
        print(f"{count:,} manifests of {_CONNECTORS} connectors, {_DAYS} days of hours, on a local disk")
        return subprocess.run([sys.executable, "-m", "benchmarks.health", folder], check=False).returncode


def _write(folder: Path) -> int:
    count = 0
    for hour in range(_DAYS * 24):
        start = _END - (hour + 1) * _HOUR
        day = folder / f"date={start:%Y-%m-%d}"
        day.mkdir(exist_ok=True)
        for number in range(_CONNECTORS):
            name = f"C{number:03}"
            errors = (hour * number) % 7
            statistics = {
                "errors": errors,
                "statuses": {"200": 900, "201": 60, "404": errors, "none": 40},
                "duration_ms": {"entries": 1000 + errors, "p50": 240, "p95": 1180 + hour, "max": 4973},
                "hours": [],
            }
            times = {"start": _text(start), "end": _text(start + _HOUR)}
            manifest = {
                "connector_identifier": name,
                "team_id": 936506,
                **times,
                "entries": 1000 + errors,
                "bytes": 94691,
                "statistics": statistics,
                "requests": 3,
                "rate_limit": {"limit": 5000, "remaining": 4996},
                "format": "jsonl",
                "format_version": 1,
                "compression": "gzip",
                "objects": [],
                "complete": True,
            }
            slug = f"{start:%Y%m%dT%H%M%SZ}-{start + _HOUR:%Y%m%dT%H%M%SZ}"
            (day / f"_manifest-{name}-{slug}.json").write_text(json.dumps(manifest))
            count += 1
    return count


def _views(folder: Path) -> None:
    from airflow_provider_supermetrics._health.page import render
    from airflow_provider_supermetrics._health.reader import HealthReader
    from airflow_provider_supermetrics._schedule import Window

    reader = HealthReader([str(folder)])
    window = Window(_END - timedelta(days=_DAYS), _END)
    print(f"before: {_memory():.0f} MB")
    for cache, views in (("cold", 1), ("warm", _WARM_VIEWS)):
        seconds = []
        for _ in range(views):
            begun = process_time()
            html = render(reader.report(window, _END))
            seconds.append(process_time() - begun)
        print(
            f"{cache} cache: {min(seconds):.2f} s of CPU, the least of {views}; {_memory():.0f} MB at most, "
            f"{len(html) / 1e6:.1f} MB of HTML"
        )


def _memory() -> float:
    return getrusage(RUSAGE_SELF).ru_maxrss / 1024


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


if __name__ == "__main__":
    sys.exit(main())
