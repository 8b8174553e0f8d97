"""The export compared with two usual ways, against one simulator: `python -m benchmarks.export`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import json_libraries
from benchmarks.contestants import Job
from benchmarks.log import CONNECTOR, KEY, TEAM_ID, Log, Simulator, served, text
from benchmarks.process import ROOT, Usage, measure
from benchmarks.table import table
from benchmarks.truth import Score, Truth

_OURS: Final = "ours"
_CONTESTANTS: Final = {
    _OURS: "this package",
    "requests_loop": "requests loop",
    "http_operator": "HttpOperator",
}
_HOW_TO_READ: Final = """\
How to read it: a column for each way to export the same log, each run in a fresh process, the median of
{rounds}. Correct entries are in the log and in the export, equal in every field. CPU (user and system)
and peak memory are what a run took beyond an idle process, which only imports the same modules and is
listed below; wall time is the whole process's and depends on what else the machine does. Each requests pages
of 1,000, receives them gzipped, and writes JSON lines at gzip level 6.
"""


@dataclass(frozen=True)
class Run:
    """One export by one contestant, and the idle process before it."""

    idle: Usage
    usage: Usage
    requests: int
    connections: int
    score: Score


def main(arguments: Sequence[str] | None = None) -> int:
    """Let all export in turns, print the medians; return 1 if this package's export differs from the log."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__)
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="instead, say where this package's CPU goes")
    options = parser.parse_args(arguments)
    if options.entries < 1 or options.rounds < 1:
        parser.error("--entries and --rounds begin at 1")
    log = Log(options.entries)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, served(log) as simulator:
        bench = _Bench(log, simulator, Path(folder))
        if options.profile:
            bench.profile()
            return 0
        runs = bench.rounds(options.rounds)
    _print_runs(log, runs)
    print()
    json_libraries.main()
    if not all(run.score.is_perfect for run in runs[_OURS]):
        print(f"\n{_CONTESTANTS[_OURS]} did not export exactly the log", file=sys.stderr)
        return 1
    return 0


class _Bench:
    """What the runs share."""

    def __init__(self, log: Log, simulator: Simulator, folder: Path) -> None:
        self._log = log
        self._simulator = simulator
        self._folder = folder
        # An Airflow of its own, whose settings are the defaults.
        self._environment = {"AIRFLOW_HOME": str(folder / "airflow")}

    def rounds(self, count: int) -> Mapping[str, list[Run]]:
        """All contestants in turns, because a machine is not equally fast all the time."""
        truth = Truth(self._log)
        if truth.digest() != self._simulator.digest():
            raise RuntimeError("the simulator serves another log than the exports are compared with")
        for name in _CONTESTANTS:  # Airflow's first start writes files
            self._measure(name)
        runs: dict[str, list[Run]] = {name: [] for name in _CONTESTANTS}
        for number in range(1, count + 1):
            for name, title in _CONTESTANTS.items():
                print(f"round {number} of {count}: {title}", file=sys.stderr)
                runs[name].append(self._run(name, truth))
        return runs

    def profile(self) -> None:
        """Print where the CPU of this package's export goes."""
        with tempfile.TemporaryDirectory(dir=self._folder) as target:
            subprocess.run(
                [sys.executable, *_command(_OURS, "--profile", "--job", self._job(target))],
                cwd=ROOT,
                env={**os.environ, **self._environment},
                check=True,
            )

    def _run(self, name: str, truth: Truth) -> Run:
        with tempfile.TemporaryDirectory(dir=self._folder) as target:
            idle = self._measure(name)
            self._simulator.reset()
            usage = self._measure(name, "--job", self._job(target))
            counts = self._simulator.requests()
            return Run(idle, usage, counts["count"], counts["connections"], truth.score(Path(target)))

    def _measure(self, name: str, *arguments: str) -> Usage:
        log = self._folder / "output.txt"
        return measure(*_command(name, *arguments), environment=self._environment, log=log)

    def _job(self, folder: str) -> str:
        start, end = text(self._log.start), text(self._log.end)
        return Job(self._simulator.url, KEY, TEAM_ID, CONNECTOR, start, end, folder).to_json()


def _command(name: str, *arguments: str) -> list[str]:
    return ["-m", "benchmarks.contestants", name, *arguments]


def _print_runs(log: Log, runs: Mapping[str, list[Run]]) -> None:
    def row(title: str, form: str, value: Callable[[Run], float], less: Callable[[Run], float]) -> list[str]:
        medians = (median(map(value, of_one)) - median(map(less, of_one)) for of_one in runs.values())
        return [title, *(format(number, form) for number in medians)]

    def plain(title: str, form: str, value: Callable[[Run], float]) -> list[str]:
        return row(title, form, value, lambda _: 0)

    print(f"Export of {log.entries:,} entries, {log.ties:g} to a second on average\n")
    rows = [
        ["", *_CONTESTANTS.values()],
        plain("correct entries", ",.0f", lambda run: run.score.right),
        plain("entries missing", ",.0f", lambda run: run.score.missing),
        plain("entries written twice", ",.0f", lambda run: run.score.duplicated),
        plain("entries wrong", ",.0f", lambda run: run.score.wrong),
        plain("requests", ",.0f", lambda run: run.requests),
        plain("TCP connections", ",.0f", lambda run: run.connections),
        row("CPU s", ".2f", lambda run: run.usage.cpu, lambda run: run.idle.cpu),
        plain("  of idle process", ".2f", lambda run: run.idle.cpu),
        row(
            "memory MB",
            ".1f",
            lambda run: run.usage.peak_memory / 1e6,
            lambda run: run.idle.peak_memory / 1e6,
        ),
        plain("  of idle process", ".1f", lambda run: run.idle.peak_memory / 1e6),
        plain("wall s", ".1f", lambda run: run.usage.wall),
        plain("bytes written", ",.0f", lambda run: run.score.bytes),
    ]
    print(table(rows))
    rounds = len(runs[_OURS])
    print("\n" + _HOW_TO_READ.format(rounds=f"{rounds} rounds" if rounds > 1 else "1 round"))


if __name__ == "__main__":
    sys.exit(main())
