"""The export compared with other ways to do the same: `python -m benchmarks.export`, or `make bench`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import Final

from benchmarks import report
from benchmarks.contestants import CONTESTANTS, FORMATS, OURS
from benchmarks.log import Log
from benchmarks.runs import bench, defects
from benchmarks.truth import Truth

_LATENCY: Final = 0.05
_GROWTH: Final = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the contestants and print the medians; return 1 if an export of this package is not as promised."""
    parser = _parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    if min(options.entries, options.rounds, options.latency_rounds + 1) < 1:
        parser.error("--entries and --rounds begin at 1, --latency-rounds at 0")
    log = Log(options.entries)
    if options.profile:
        with bench(log, Truth(log)) as one:
            one.profile()
        return 0
    command = _command(arguments)
    run = _comparison
    if options.growth:
        run = _growth
    elif options.formats:
        run = _formats
    elif options.statistics:
        run = _statistics
    found = run(log, options, command)
    for defect in found:
        print(f"FAILED: {defect}", file=sys.stderr)
    return 1 if found else 0


def _comparison(log: Log, options: argparse.Namespace, command: str) -> list[str]:
    chosen = [one for one in CONTESTANTS if one.module in (options.only or [one.module])]
    contestants = [one for one in chosen if report.version(one)]
    for one in chosen:
        if one not in contestants:
            print(f"{one.title} is left out: {one.distribution} is not installed", file=sys.stderr)
    truth = Truth(log)
    with bench(log, truth) as near:
        results = near.rounds(contestants, options.rounds)
    distant = []
    if options.latency_rounds:
        with bench(log, truth, _LATENCY) as far:
            distant = far.rounds(contestants, options.latency_rounds)
    comparison = report.Comparison(log, command, results, distant, _LATENCY)
    print(comparison.markdown())
    found = defects(log, truth, [*results, *distant])
    if options.write and options.only:
        print("the documentation stays as it is: --only leaves contestants out", file=sys.stderr)
    elif options.write and not found:
        comparison.write()
    return found


def _growth(log: Log, options: argparse.Namespace, command: str) -> list[str]:
    results, found = [], []
    for entries in (log.entries, _GROWTH * log.entries):
        grown = Log(entries)
        truth = Truth(grown)
        with bench(grown, truth) as one:
            [result] = one.rounds([OURS], options.rounds)
        results.append((entries, result))
        found += defects(grown, truth, [result])
    growth = report.Growth(command, results)
    print(growth.markdown())
    if options.write and not found:
        growth.write()
    return found


def _formats(log: Log, options: argparse.Namespace, command: str) -> list[str]:
    truth = Truth(log)
    with bench(log, truth) as one:
        results = one.rounds(FORMATS, options.rounds)
    formats = report.Formats(log, command, results)
    print(formats.markdown())
    found = defects(log, truth, results)
    if options.write and not found:
        formats.write()
    return found


def _statistics(log: Log, options: argparse.Namespace, command: str) -> list[str]:
    with bench(log, Truth(log)) as one:
        share = report.Share(log, command, options.rounds, one.statistics(options.rounds))
    print(share.markdown())
    if options.write:
        share.write()
    return []


def _command(arguments: Sequence[str]) -> str:
    """The command for the report, as a developer types it."""
    given = shlex.join(argument for argument in arguments if argument != "--write")
    return f'make bench ARGS="{given}"' if given else "make bench"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__)
    parser.add_argument("--entries", type=int, default=200_000, help="in the log; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant; default: %(default)s")
    parser.add_argument(
        "--latency-rounds",
        type=int,
        default=1,
        help=f"runs with {_LATENCY:g} s before each response; default: %(default)s",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=[one.module for one in CONTESTANTS], help="%(choices)s"
    )
    parser.add_argument(
        "--growth",
        action="store_true",
        help=f"instead, run only this package, with this log and one of {_GROWTH} times as many entries",
    )
    parser.add_argument(
        "--formats", action="store_true", help="instead, run only this package, with each format of objects"
    )
    parser.add_argument(
        "--statistics",
        action="store_true",
        help="instead, run only this package, with and without the statistics of the manifest",
    )
    parser.add_argument(
        "--profile", action="store_true", help="instead, print which functions of this package use the CPU"
    )
    parser.add_argument(
        "--write", action="store_true", help="also write the results into docs/benchmarks.md and README.md"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
