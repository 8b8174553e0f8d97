"""Run a contestant: `python -m benchmarks.contestants NAME JOB [--usage FILE | --profile]`."""

from __future__ import annotations

import argparse
import cProfile
import importlib
import json
import pstats
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

from benchmarks.contestants import Job
from benchmarks.process import BYTES_PER_MAXRSS


def main() -> None:
    """Import the contestant, let it export, and write what this used beyond the import."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("job", type=Job.from_json)
    parser.add_argument("--usage", type=Path)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    contestant = importlib.import_module(f"benchmarks.contestants.{options.name}")
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(contestant.export, options.job)
        pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(25)
        return
    cpu, memory = _used()
    contestant.export(options.job)
    cpu_after, memory_after = _used()
    if options.usage:
        usage = {"cpu": cpu_after - cpu, "memory": memory_after - memory}
        options.usage.write_text(json.dumps(usage))


def _used() -> tuple[float, int]:
    """CPU seconds (user and system), and the peak memory in bytes, of this process so far."""
    cpu = sum(used.ru_utime + used.ru_stime for used in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN)))
    return cpu, getrusage(RUSAGE_SELF).ru_maxrss * BYTES_PER_MAXRSS


if __name__ == "__main__":
    main()
