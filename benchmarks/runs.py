"""Runs of the contestants: each export in a fresh process, in interleaved rounds, scored and counted."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.contestants import FORMATS, OURS, Contestant, Job
from benchmarks.log import CONNECTOR, KEY, TEAM_ID, Log, Simulator, served, text
from benchmarks.process import ROOT, measure
from benchmarks.truth import Score, Truth

_PAGE: Final = 1000
# Beyond the requests that pages of 1,000 need, if each repeats a whole second and one proves the end.
_MOST_EXTRA_REQUESTS: Final = 0.015


@dataclass(frozen=True)
class Run:
    """One export by one contestant: CPU seconds and peak memory in bytes beyond import, wall seconds."""

    cpu: float
    memory: int
    wall: float
    requests: int
    connections: int
    score: Score


@dataclass(frozen=True)
class Result:
    """All runs of one contestant."""

    contestant: Contestant
    runs: Sequence[Run]

    @property
    def cpu(self) -> float:
        """CPU seconds beyond import."""
        return self.median(lambda run: run.cpu)

    @property
    def memory(self) -> float:
        """Bytes of peak memory beyond import."""
        return self.median(lambda run: run.memory)

    @property
    def wall(self) -> float:
        """Seconds that the whole process took."""
        return self.median(lambda run: run.wall)

    def median(self, value: Callable[[Run], float]) -> float:
        """The median of a value of the runs."""
        return median(map(value, self.runs))


@dataclass(frozen=True)
class Cost:
    """What `benchmarks.statistics` prints: CPU seconds (user and system) of an export, the least of all.

    :param counted: with the statistics.
    :param uncounted: without them.
    :param inside: spent in them.
    :param share: which part of an export was spent in them, the median of all rounds.
    """

    counted: float
    uncounted: float
    inside: float
    share: float

    @classmethod
    def from_json(cls, text: str) -> Cost:
        """Read what was printed."""
        return cls(**json.loads(text))


class Bench:
    """One log, and the simulator that serves it."""

    def __init__(self, log: Log, simulator: Simulator, truth: Truth, folder: Path) -> None:
        if truth.digest() != simulator.digest():
            raise RuntimeError("the simulator serves another log than the exports are compared with")
        self._log = log
        self._simulator = simulator
        self._truth = truth
        self._folder = folder
        self._output = folder / "output.txt"
        # An Airflow of its own with the default settings, but without the plugins of its example DAGs.
        self._environment = {
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "XDG_DATA_HOME": str(folder / "data"),  # where dlt keeps an id, unless root runs it
        }

    def rounds(self, contestants: Sequence[Contestant], count: int) -> list[Result]:
        """Run all contestants in turns, because the speed of a machine varies over time."""
        for contestant in contestants:  # a first start compiles modules, Airflow's also writes settings
            importing = f"import benchmarks.contestants.{contestant.module}"
            measure("-c", importing, environment=self._environment, log=self._output)
        runs: dict[Contestant, list[Run]] = {contestant: [] for contestant in contestants}
        for number in range(1, count + 1):
            for contestant in contestants:
                print(f"round {number} of {count}: {contestant.title}", file=sys.stderr)
                runs[contestant].append(self._run(contestant))
        return [Result(contestant, of_one) for contestant, of_one in runs.items()]

    def profile(self) -> None:
        """Print which functions of this package's export use the CPU."""
        with tempfile.TemporaryDirectory(dir=self._folder) as target:
            subprocess.run(
                [sys.executable, *self._command(OURS, target), "--profile"],
                cwd=ROOT,
                env={**os.environ, **self._environment},
                check=True,
            )

    def statistics(self, rounds: int) -> Cost:
        """Measure what the statistics cost this package's export."""
        with tempfile.TemporaryDirectory(dir=self._folder) as target:
            printed = subprocess.run(
                [sys.executable, "-m", "benchmarks.statistics", self._job(target), str(rounds)],
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
        return Cost.from_json(printed.splitlines()[-1])

    def _run(self, contestant: Contestant) -> Run:
        with tempfile.TemporaryDirectory(dir=self._folder) as target:
            self._simulator.reset()
            file = self._folder / "usage.json"
            command = [*self._command(contestant, target), "--usage", str(file)]
            process = measure(*command, environment=self._environment, log=self._output)
            usage, counts = json.loads(file.read_text()), self._simulator.requests()
            return Run(
                usage["cpu"],
                usage["memory"],
                process.wall,
                counts["count"],
                counts["connections"],
                self._truth.score(Path(target)),
            )

    def _command(self, contestant: Contestant, folder: str) -> list[str]:
        return ["-m", "benchmarks.contestants", contestant.module, self._job(folder)]

    def _job(self, folder: str) -> str:
        start, end = text(self._log.start), text(self._log.end)
        return Job(self._simulator.url, KEY, TEAM_ID, CONNECTOR, start, end, folder).to_json()


def defects(log: Log, truth: Truth, results: Sequence[Result]) -> list[str]:
    """Return what is not as promised in the exports of this package; nothing must be."""
    needed = math.ceil(log.entries / (_PAGE - truth.busiest_second()))
    most = math.ceil((1 + _MOST_EXTRA_REQUESTS) * needed + 1)
    found = []
    for run in (run for result in results if result.contestant in (OURS, *FORMATS) for run in result.runs):
        if not run.score.is_perfect:
            found.append(f"the export of this package is not exactly the log: {run.score}")
        if run.requests > most:
            found.append(f"this package sent {run.requests} requests; at most {most} are allowed")
        if run.connections > 1:
            found.append(f"this package opened {run.connections} connections; 1 is allowed")
    return found


@contextmanager
def bench(log: Log, truth: Truth, latency: float = 0.0) -> Iterator[Bench]:
    """Serve a log, with a folder for the exports of it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, served(log, latency) as simulator:
        yield Bench(log, simulator, truth, Path(folder))
