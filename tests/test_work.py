"""How much Python an entry costs, from the body of a response to the object, in bytecode instructions.

Unlike seconds, these are the same on any machine, so a test can bound them. They leave out what a C function
does in one call, which `make bench` measures.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import airflow_provider_supermetrics
from airflow_provider_supermetrics._api.entry import read_page
from airflow_provider_supermetrics._api.pager import LogPager
from airflow_provider_supermetrics._api.times import format_time
from airflow_provider_supermetrics._export.formats import file_format
from airflow_provider_supermetrics._export.manifest import ExportPlan
from airflow_provider_supermetrics._export.storage import Destination
from airflow_provider_supermetrics._export.writer import ExportWriter
from airflow_provider_supermetrics._schedule import Window
from tests.conftest import CONNECTOR, HOUR, START, TEAM

PACKAGE = str(Path(airflow_provider_supermetrics.__file__).parent)
#: Instructions an entry: what Python 3.11 executes, and almost half as much again, because versions differ.
MOST = {"entry.py": 50, "pager.py": 86, "statistics.py": 24, "writer.py": 24}


@contextmanager
def counted(instructions: Counter[str]) -> Iterator[None]:
    """Count the instructions of each module of the package."""

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        path = frame.f_code.co_filename
        if not path.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            instructions[Path(path).name] += 1
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(previous)


def pages(count: int) -> list[bytes]:
    """Full pages of a log with this many entries, three a second."""
    entries = [
        {
            "id": str(i),
            "log_time": format_time(START + HOUR - timedelta(seconds=1 + i // 3)),
            "status": 200,
            "event": "x",
            "duration_ms": i,
        }
        for i in range(count)
    ]
    starts = range(0, count, 999)  # repeats the last entry, which has its second for itself
    return [json.dumps({"logs": entries[i : i + 1000]}, separators=(",", ":")).encode() for i in starts]


def instructions_of(count: int, folder: Path) -> Counter[str]:
    """What the export of this many entries executes, without HTTP."""
    window = Window(START, START + HOUR)
    plan = ExportPlan(CONNECTOR, TEAM, window, file_format("jsonl", "gzip"), 100_000)
    writer = ExportWriter(Destination.at(folder), plan)
    pager = LogPager(start=window.start, end=window.end)
    found: Counter[str] = Counter()
    for body in pages(count):
        with counted(found):
            writer.add(pager.receive(read_page(body, 1000)), pager.repeated)
    with counted(found):
        writer.add([], None)
    assert writer.entries == count
    return found


def test_an_entry_costs_little_python(tmp_path: Path) -> None:
    """Twice the instructions an entry in one of these modules fail."""
    few, many = (instructions_of(count, tmp_path / str(count)) for count in (1998, 4995))
    per_entry = {name: (many[name] - few[name]) / (4995 - 1998) for name in MOST}
    assert {name: cost for name, cost in per_entry.items() if cost > MOST[name]} == {}
    assert all(cost > MOST[name] / 2 for name, cost in per_entry.items()), per_entry
