"""The command line and the control endpoints, from another process."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from time import monotonic, sleep
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from dev.simulator import generate_entries

ROOT = Path(__file__).parents[2]


def fetch(url, key=None, method="GET"):
    """Send a request and return the JSON of its response."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with urlopen(Request(url, headers=headers, method=method), timeout=5) as response:
        return json.load(response)


@contextmanager
def running(*options, end_with=signal.SIGTERM):
    """Run the command on a free port, yield its URL, and check that it exits with 0."""
    command = [sys.executable, "-m", "dev.simulator", "--port", "0", *options]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("listening on http://127.0.0.1:"), process.stderr.read()
            yield line.split()[-1]
        finally:
            process.send_signal(end_with)
            errors = process.communicate(timeout=10)[1]
        assert (process.returncode, errors) == (0, "")


def test_exact_log_and_control_endpoints():
    """`--count` serves exactly the generated entries; the control endpoints return truth and requests."""
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    end = start + timedelta(hours=1)
    middle = start + timedelta(minutes=30)
    entries = generate_entries(500, start, end, seed=9, ties=2.0)
    ids = sorted(entry["id"] for entry in entries if entry["log_time"] >= middle)
    window = ("--start", "2026-01-01T00:00:00Z", "--end", "2026-01-01T01:00:00Z")
    with running(
        "--count", "500", *window, "--ties", "2", "--seed", "9", "--key", "k", "--team-id", "5"
    ) as url:
        logs = f"{url}/v1/teams/5/connector_builder/connectors/T3S70/logs"
        page = fetch(f"{logs}?limit=1000", "k")["logs"]
        assert [entry["id"] for entry in page] == [entry["id"] for entry in reversed(entries)]
        with pytest.raises(HTTPError) as caught:
            fetch(logs)
        caught.value.close()

        assert fetch(f"{url}/_simulator/truth?connector=T3S70&start=2026-01-01T00:30:00Z&end=2026-01-02") == {
            "count": len(ids),
            "sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
        }
        assert fetch(f"{url}/_simulator/truth?connector=T3S70")["count"] == 500
        for path, status in (("truth", 400), ("truth?connector=T3S70&start=soon", 400), ("else", 404)):
            with pytest.raises(HTTPError) as caught:
                fetch(f"{url}/_simulator/{path}")
            assert caught.value.code == status
            caught.value.close()

        assert fetch(f"{url}/_simulator/requests") == {
            "count": 2,
            "connections": 2,
            "by_connector": {"T3S70": 2},
            "by_status": {"200": 1, "401": 1},
        }
        assert fetch(f"{url}/_simulator/reset", method="POST") == {}
        assert fetch(f"{url}/_simulator/requests")["count"] == 0


def test_recent_logs_of_several_connectors():
    """By default several connectors have logs up to the start of this hour, and SIGINT ends well."""
    options = ("--connectors", "2", "--hours", "2", "--entries-per-hour", "300", "--rate-limit", "3")
    with running(*options, "--precision", "microsecond", "--max-page", "700", end_with=signal.SIGINT) as url:
        now = datetime.now(timezone.utc)
        base = f"{url}/v1/teams/936506/connector_builder/connectors"
        listed = fetch(base, "demo-key")["connectors"]
        assert len({connector["connector_identifier"] for connector in listed}) == 2
        assert len({connector["name"] for connector in listed}) == 2
        for connector in listed:
            logs = fetch(f"{base}/{connector['connector_identifier']}/logs?limit=1000", "demo-key")["logs"]
            assert len(logs) == 600
            newest = datetime.fromisoformat(logs[0]["log_time"].replace("Z", "+00:00"))
            assert timedelta() < now - newest < timedelta(hours=1, minutes=5)
        with pytest.raises(HTTPError) as caught:
            fetch(base, "demo-key")
        assert caught.value.code == 429
        caught.value.close()


def test_latency():
    """--latency delays each response."""
    with running("--connectors", "1", "--hours", "1", "--latency", "0.2") as url:
        begun = monotonic()
        fetch(f"{url}/v1/teams/936506/connector_builder/connectors", "demo-key")
        assert monotonic() - begun >= 0.2


def test_live():
    """With `--live`, entries with current times are appended."""
    with running("--connectors", "1", "--hours", "1", "--entries-per-hour", "10", "--live") as url:
        begun = datetime.now(timezone.utc).replace(microsecond=0)
        end = monotonic() + 8
        truth = f"{url}/_simulator/truth?connector=T3S70&start={begun.isoformat().replace('+00:00', 'Z')}"
        while not (count := fetch(truth)["count"]) and monotonic() < end:
            sleep(0.1)
        assert count >= 1


def test_count_needs_a_window():
    """`--count` without a window is refused, and the message names the missing options."""
    command = [sys.executable, "-m", "dev.simulator", "--count", "5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "--count needs --start and --end" in done.stderr
