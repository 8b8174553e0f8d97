"""The log that is exported, and the simulator that serves it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final
from urllib.request import Request, urlopen

from benchmarks.process import ROOT

KEY: Final = "bench-key"
TEAM_ID: Final = 936506
CONNECTOR: Final = "T3S70"

_ENTRIES_PER_DAY: Final = 200_000


@dataclass(frozen=True)
class Log:
    """A busy connector's log: on average three entries share each printed second that has any."""

    entries: int
    ties: float = 3.0
    seed: int = 1
    start: datetime = datetime(2026, 1, 1, tzinfo=timezone.utc)

    @property
    def end(self) -> datetime:
        """Late enough for so many distinct seconds."""
        return self.start + timedelta(days=-(-self.entries // _ENTRIES_PER_DAY))


def text(time: datetime) -> str:
    """A time in UTC as the API writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


class Simulator:
    """A simulator in another process."""

    def __init__(self, url: str) -> None:
        self.url = url

    def reset(self) -> None:
        """Forget requests and connections."""
        self._ask("reset", "POST")

    def requests(self) -> dict[str, Any]:
        """Counts of the requests and connections since the last reset."""
        return self._ask("requests")

    def digest(self) -> dict[str, Any]:
        """Count and digest of the ids in the log."""
        return self._ask(f"truth?connector={CONNECTOR}")

    def _ask(self, what: str, method: str = "GET") -> dict[str, Any]:
        with urlopen(Request(f"{self.url}/_simulator/{what}", method=method), timeout=60) as answer:
            result: dict[str, Any] = json.load(answer)
            return result


@contextmanager
def served(log: Log, latency: float = 0.0) -> Iterator[Simulator]:
    """Serve a log from a process of its own, so that its work counts for nobody.

    :param latency: seconds before each response.
    """
    options = {
        "--port": 0,
        "--key": KEY,
        "--team-id": TEAM_ID,
        "--count": log.entries,
        "--start": text(log.start),
        "--end": text(log.end),
        "--ties": log.ties,
        "--seed": log.seed,
        "--latency": latency,
    }
    with simulating(*[str(part) for option in options.items() for part in option]) as simulator:
        yield simulator


@contextmanager
def simulating(*arguments: str) -> Iterator[Simulator]:
    """Run the simulator in a process of its own, with these arguments of its command line."""
    command = [sys.executable, "-m", "dev.simulator", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line.startswith("listening on "):
                raise RuntimeError("the simulator did not start")
            yield Simulator(line.split()[-1])
        finally:
            process.terminate()
