"""Whether an export contains what the simulator's log contains."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.log import Log
from dev.simulator import generate_entries
from dev.simulator.times import TimeFormat, microseconds


@dataclass(frozen=True)
class Score:
    """Entries of an export: how many of the log are there, equal in every field, and how many are not.

    `duplicated` counts the lines after an id's first; `wrong` the ids that the log has not, or not so.
    """

    right: int
    missing: int
    duplicated: int
    wrong: int
    bytes: int

    @property
    def is_perfect(self) -> bool:
        """Whether the export is the log, no more and no less."""
        return not (self.missing or self.duplicated or self.wrong)


class Truth:
    """All entries of a log as the simulator prints them."""

    def __init__(self, log: Log) -> None:
        form = TimeFormat()
        entries = generate_entries(log.entries, log.start, log.end, seed=log.seed, ties=log.ties)
        for entry in entries:
            entry["log_time"] = form.text(microseconds(entry["log_time"]))
        self._entries: dict[str, dict[str, Any]] = {entry["id"]: entry for entry in entries}

    def digest(self) -> dict[str, Any]:
        """What the simulator reports of the log that it serves."""
        ids = sorted(self._entries)
        return {"count": len(ids), "sha256": sha256("\n".join(ids).encode()).hexdigest()}

    def score(self, folder: Path) -> Score:
        """Compare all `*.jsonl.gz` of a folder with the log."""
        files = sorted(folder.glob("*.jsonl.gz"))
        written: Counter[str] = Counter()
        wrong = set()
        for file in files:
            with gzip.open(file) as lines:
                for line in lines:
                    entry = json.loads(line)
                    written[entry["id"]] += 1
                    if self._entries.get(entry["id"]) != entry:
                        wrong.add(entry["id"])
        return Score(
            right=len(written.keys() - wrong),
            missing=len(self._entries.keys() - written.keys()),
            duplicated=written.total() - len(written),
            wrong=len(wrong),
            bytes=sum(file.stat().st_size for file in files),
        )
