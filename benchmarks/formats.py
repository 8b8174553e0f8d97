"""One and the same log in every format: `python -m benchmarks.formats`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Final

from airflow_provider_supermetrics._api.entry import encode
from airflow_provider_supermetrics._export.formats import Source, file_format
from benchmarks.log import CONNECTOR, TEAM_ID, Log, text
from benchmarks.process import measure
from benchmarks.table import table
from dev.simulator import generate_entries

_KINDS: Final = {
    "jsonl": ("none", "gzip", "zstd"),
    "csv": ("none", "gzip", "zstd"),
    "parquet": ("none", "snappy", "gzip", "zstd"),
}
_PAGE: Final = 1000
_ROUNDS: Final = 3
_HOW_TO_READ: Final = """\
How to read it: each object holds the same {entries:,} entries, {bytes:,} bytes as lines, and is written in
a fresh process; medians of {rounds}. CPU (user and system) is that of writing, with the import of what the
format needs. Memory is the peak beyond that of a process that only holds the lines, as an export does,
{idle:.0f} MB."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write each kind of object and print the table; or write one, as the processes that are measured do."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.formats", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--hold", type=Path, metavar="LINES", help="instead, hold the lines of this file,")
    parser.add_argument(
        "--write", nargs=3, metavar=("FORMAT", "COMPRESSION", "OBJECT"), help="and write them"
    )
    options = parser.parse_args(arguments)
    if options.hold is not None:
        _hold(options.hold, options.write)
        return 0
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        _compare(options.entries, Path(folder))
    return 0


def _compare(entries: int, folder: Path) -> None:
    lines, target, output = folder / "lines", folder / "object", folder / "output.txt"
    log = Log(entries)
    with lines.open("wb") as file:
        for entry in generate_entries(log.entries, log.start, log.end, seed=log.seed, ties=log.ties):
            file.write(encode({**entry, "log_time": text(entry["log_time"])}) + b"\n")

    def used(*arguments: str) -> tuple[float, float]:
        """CPU seconds of writing, MB at the peak."""
        runs = []
        for _ in range(_ROUNDS):
            command = ("-m", "benchmarks.formats", "--hold", str(lines), *arguments)
            usage = measure(*command, environment={}, log=output)
            runs.append((float(output.read_text().split()[-1]), usage.peak_memory / 1e6))
        cpus, peaks = zip(*runs, strict=True)
        return median(cpus), median(peaks)

    _, idle = used()
    rows = [["format", "compression", "bytes", "CPU s", "memory MB"]]
    for name, compressions in _KINDS.items():
        for compression in compressions:
            cpu, peak = used("--write", name, compression, str(target))
            size = f"{target.stat().st_size:,}"
            rows.append([name, compression, size, f"{cpu:.2f}", f"{peak - idle:.0f}"])
    print(table(rows))
    facts = {"entries": entries, "bytes": lines.stat().st_size, "rounds": _ROUNDS, "idle": idle}
    print("\n" + _HOW_TO_READ.format(**facts))


def _hold(lines: Path, kind: Sequence[str] | None) -> None:
    """Read the lines; write them, if requested; print the CPU seconds of writing."""
    with lines.open("rb") as file:
        blocks = list(iter(lambda: b"".join(islice(file, _PAGE)), b""))
    begun = time.process_time()
    if kind is not None:
        name, compression, target = kind
        # In memory first, as an export does.
        buffer = BytesIO()
        file_format(name, compression).write(buffer, blocks, Source(TEAM_ID, CONNECTOR))
        Path(target).write_bytes(buffer.getvalue())
    print(time.process_time() - begun)


if __name__ == "__main__":
    sys.exit(main())
