"""What the statistics of the manifest cost: `make bench ARGS=--statistics` runs this in a process of its own.

Exports with and without them take turns in one process. Of each, the least CPU time counts, because what else
the machine does only adds to it; the share is of one and the same export, in which both were as fast.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from statistics import median

from airflow_provider_supermetrics._api.entry import LogEntry
from airflow_provider_supermetrics._api.statistics import Statistics
from benchmarks.contestants import Job, ours
from benchmarks.runs import Cost


def measure(job: Job, rounds: int) -> Cost:
    """Export so many times with the statistics, and as often without them, each time into a new folder."""
    add = Statistics.add
    inside = 0.0

    def timed(statistics: Statistics, entries: Sequence[LogEntry], **span: datetime) -> None:
        nonlocal inside
        begun = time.thread_time()
        add(statistics, entries, **span)
        inside += time.thread_time() - begun

    def nothing(statistics: Statistics, entries: Sequence[LogEntry], **span: datetime) -> None:
        """Count nothing."""

    def cpu() -> float:
        with tempfile.TemporaryDirectory(dir=job.folder) as folder:
            begun = time.process_time()
            ours.export(replace(job, folder=folder))
            return time.process_time() - begun

    costs = []
    try:
        for _ in range(rounds):
            inside = 0.0
            Statistics.add = timed  # type: ignore[assignment, method-assign]  # to measure it
            counted = cpu()
            Statistics.add = nothing  # type: ignore[assignment, method-assign]  # to measure it
            costs.append((counted, cpu(), inside))
    finally:
        Statistics.add = add  # type: ignore[method-assign]  # as before
    share = median(spent / counted for counted, _, spent in costs)
    counted, uncounted, inside = map(min, zip(*costs, strict=True))
    return Cost(counted, uncounted, inside, share)


def main() -> None:
    """Measure, and print the cost as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statistics", description=__doc__)
    parser.add_argument("job", type=Job.from_json)
    parser.add_argument("rounds", type=int)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    print(json.dumps(asdict(measure(options.job, options.rounds))))


if __name__ == "__main__":
    main()
