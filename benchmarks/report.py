"""The results in Markdown, and where they are kept: between markers in docs/benchmarks.md and README.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Final

from benchmarks.contestants import BARE_FLOOR, FLOOR, OURS, Contestant
from benchmarks.log import Log
from benchmarks.process import ROOT
from benchmarks.runs import Cost, Result

_PAGE: Final = ROOT / "docs/benchmarks.md"
_PLOT: Final = ROOT / "docs/images/benchmarks.png"
_README: Final = ROOT / "README.md"
_HEAD: Final = (
    "",
    "entries right",
    "missing",
    "duplicated",
    "changed",
    "requests",
    "connections",
    "CPU s",
    "memory MB",
    "wall s",
)


@dataclass(frozen=True)
class Comparison:
    """The contestants compared: results without latency and, unless empty, with it."""

    log: Log
    command: str
    results: Sequence[Result]
    distant: Sequence[Result]
    latency: float

    def markdown(self) -> str:
        """All tables."""
        versions = [[result.contestant.title, _distribution(result.contestant)] for result in self.results]
        log = f"{self.log.entries:,} entries, on average {self.log.ties:g} in each second that has any"
        parts = [
            _conditions(self.command, f"Log: {log}."),
            table(["contestant", "version"], versions),
            f"Without latency, {_rounds(self.results)}:",
            table(_HEAD, map(_row, self.results)),
        ]
        if ratios := self._ratios():
            parts += [
                "CPU time of this package, relative to the others:",
                table(["compared with", "this package uses"], ratios),
            ]
        if self.distant:
            parts += [
                f"With {1000 * self.latency:g} ms before each response, {_rounds(self.distant)}:",
                table(_HEAD, map(_row, self.distant)),
            ]
        return "\n\n".join(parts)

    def write(self) -> None:
        """Replace the tables and the plot in the documentation."""
        from benchmarks.plot import draw

        draw(self.results, self.log.entries, _PLOT)
        _replace(_PAGE, "comparison", self.markdown())
        _replace(_README, "comparison", self._summary())

    def _ratios(self) -> list[list[str]]:
        cpu = {result.contestant: result.cpu for result in self.results}
        if OURS not in cpu:
            return []
        ours = cpu.pop(OURS)
        return [[one.title, f"{ours / other:.2f} times the CPU"] for one, other in cpu.items() if other > 0]

    def _summary(self) -> str:
        head = [
            "",
            f"correct entries, of {self.log.entries:,}",
            "requests, connections",
            "CPU s",
            "memory MB",
        ]
        rows = []
        for result in self.results:
            if result.contestant not in (FLOOR, BARE_FLOOR):
                title, right, _, _, _, requests, connections, cpu, memory, _ = _row(result)
                rows.append([title, right, f"{requests}, {connections}", cpu, memory])
        return table(head, rows)


@dataclass(frozen=True)
class Growth:
    """Results of this package, each with the number of entries in its log."""

    command: str
    results: Sequence[tuple[int, Result]]

    def markdown(self) -> str:
        """The table."""
        head = ["entries", "entries right", "requests", "CPU s", "CPU µs per entry", "memory MB", "wall s"]
        rows = []
        for entries, result in self.results:
            _, right, _, _, _, requests, _, cpu, memory, wall = _row(result)
            rows.append(
                [f"{entries:,}", right, requests, cpu, f"{1e6 * result.cpu / entries:.1f}", memory, wall]
            )
        rounds = _rounds([result for _, result in self.results])
        return "\n\n".join([_conditions(self.command), f"This package, {rounds}:", table(head, rows)])

    def write(self) -> None:
        """Replace the table in the documentation."""
        _replace(_PAGE, "growth", self.markdown())


@dataclass(frozen=True)
class Formats:
    """Results of this package with each format."""

    log: Log
    command: str
    results: Sequence[Result]

    def markdown(self) -> str:
        """The table."""
        head = ["format", "entries right", "CPU s", "x JSON Lines", "memory MB", "bytes"]
        rows = []
        for result in self.results:
            title, right, _, _, _, _, _, cpu, memory, _ = _row(result)
            size = f"{result.median(lambda run: run.score.bytes):,.0f}"
            rows.append([title, right, cpu, f"{result.cpu / self.results[0].cpu:.2f}", memory, size])
        conditions = _conditions(self.command, f"Log: {self.log.entries:,} entries.")
        return "\n\n".join([conditions, f"This package, {_rounds(self.results)}:", table(head, rows)])

    def write(self) -> None:
        """Replace the table in the documentation."""
        _replace(_PAGE, "formats", self.markdown())


@dataclass(frozen=True)
class Share:
    """What the statistics cost this package's export."""

    log: Log
    command: str
    rounds: int
    cost: Cost

    def markdown(self) -> str:
        """The table."""
        per_entry = 1e6 / self.log.entries
        share = f"{100 * self.cost.share:.1f} %"
        rows = [
            ["export with statistics", f"{self.cost.counted * per_entry:.2f}", ""],
            ["export without them", f"{self.cost.uncounted * per_entry:.2f}", ""],
            ["inside the statistics", f"{self.cost.inside * per_entry:.2f}", share],
        ]
        conditions = _conditions(self.command, f"Log: {self.log.entries:,} entries.")
        least = f"The least CPU time of {self.rounds} rounds, and the median of their shares:"
        return "\n\n".join([conditions, least, table(["", "CPU µs per entry", "share"], rows)])

    def write(self) -> None:
        """Replace the table in the documentation."""
        _replace(_PAGE, "statistics", self.markdown())


def version(contestant: Contestant) -> str | None:
    """The installed version of a contestant's distribution."""
    try:
        return metadata.version(contestant.distribution)
    except metadata.PackageNotFoundError:
        return None


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is to the left, the others are to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _distribution(contestant: Contestant) -> str:
    return f"{contestant.distribution} {version(contestant)}"


def _conditions(command: str, *more: str) -> str:
    date = datetime.now(timezone.utc).date().isoformat()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    machine = f"{_processor()}, {os.cpu_count()} cores, {platform.system()}"
    lines = [f"`{command}` on {date}.", f"Machine: {machine}.", f"Python: {python}.", *more]
    return "\n".join(f"- {line}" for line in lines)


def _processor() -> str:
    try:
        names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _rounds(results: Sequence[Result]) -> str:
    count = len(results[0].runs)
    return f"medians of {count} rounds" if count > 1 else "one round"


def _row(result: Result) -> list[str]:
    return [
        result.contestant.title,
        f"{result.median(lambda run: run.score.right):,.0f}",
        f"{result.median(lambda run: run.score.missing):,.0f}",
        f"{result.median(lambda run: run.score.duplicated):,.0f}",
        f"{result.median(lambda run: run.score.changed):,.0f}",
        f"{result.median(lambda run: run.requests):,.0f}",
        f"{result.median(lambda run: run.connections):,.0f}",
        f"{result.cpu:.2f}",
        f"{result.memory / 1e6:.1f}",
        f"{result.wall:.1f}",
    ]


def _replace(path: Path, name: str, text: str) -> None:
    """Replace what is between a file's markers of this name."""
    begin, end = f"<!-- begin {name}: written by `make bench` -->", f"<!-- end {name} -->"
    page = path.read_text(encoding="utf-8")
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise RuntimeError(f"{path} has no {begin} … {end}")
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
