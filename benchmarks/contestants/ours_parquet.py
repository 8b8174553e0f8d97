"""The operator of this package, with `format="parquet"`."""

from __future__ import annotations

import pyarrow.parquet  # noqa: F401  # the export imports it when it writes

from benchmarks.contestants import Job, ours


def export(job: Job) -> None:
    """Export the window to Parquet."""
    ours.export(job, format="parquet")
