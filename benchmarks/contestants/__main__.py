"""Run a contestant: `python -m benchmarks.contestants NAME [--job JSON] [--profile]`; without a job, idle."""

from __future__ import annotations

import argparse
import cProfile
import importlib
import pstats

from benchmarks.contestants import Job


def main() -> None:
    """Import the contestant and, where there is a job, let it do it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--job", type=Job.from_json)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    contestant = importlib.import_module(f"benchmarks.contestants.{options.name}")
    if options.job is None:
        return
    if not options.profile:
        contestant.export(options.job)
        return
    profile = cProfile.Profile()
    profile.runcall(contestant.export, options.job)
    pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
