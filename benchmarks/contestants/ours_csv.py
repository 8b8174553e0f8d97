"""The operator of this package, with `format="csv"`."""

from __future__ import annotations

from benchmarks.contestants import Job, ours


def export(job: Job) -> None:
    """Export the window to gzipped CSV."""
    ours.export(job, format="csv")
