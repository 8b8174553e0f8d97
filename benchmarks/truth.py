"""Whether an export contains what the simulator's log contains."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.log import Log
from dev.simulator import generate_entries
from dev.simulator.times import TimeFormat, microseconds, parse_time


@dataclass(frozen=True)
class Score:
    """Entries of an export: how many of the log are there with the same values, and how many are not.

    `respelled` counts those of the right ones that are not equal in every field, but mean the same: nulls are
    left out, fields are added, or `log_time` is written in another form. `duplicated` counts the lines after
    an id's first; `changed` the ids that the log does not contain, or contains with other values.
    """

    right: int
    respelled: int
    missing: int
    duplicated: int
    changed: int
    bytes: int

    @property
    def is_perfect(self) -> bool:
        """Whether the export is the log, no more and no less."""
        return not (self.respelled or self.missing or self.duplicated or self.changed)


class Truth:
    """All entries of a log as the simulator prints them."""

    def __init__(self, log: Log) -> None:
        form = TimeFormat()
        entries = generate_entries(log.entries, log.start, log.end, seed=log.seed, ties=log.ties)
        for entry in entries:
            entry["log_time"] = form.text(microseconds(entry["log_time"]))
        self._entries: dict[str, dict[str, Any]] = {entry["id"]: entry for entry in entries}

    def busiest_second(self) -> int:
        """How many entries share the most frequent time."""
        return max(Counter(entry["log_time"] for entry in self._entries.values()).values())

    def digest(self) -> dict[str, Any]:
        """What the simulator reports of the log that it serves."""
        ids = sorted(self._entries)
        return {"count": len(ids), "sha256": sha256("\n".join(ids).encode()).hexdigest()}

    def score(self, folder: Path) -> Score:
        """Compare all `*.jsonl.gz` of a folder with the log."""
        files = sorted(folder.glob("*.jsonl.gz"))
        written: Counter[str] = Counter()
        changed: set[str] = set()
        respelled: set[str] = set()
        for file in files:
            with gzip.open(file) as lines:
                for line in lines:
                    entry = json.loads(line)
                    written[entry["id"]] += 1
                    original = self._entries.get(entry["id"])
                    if entry != original:
                        same = original is not None and _means_the_same(entry, original)
                        (respelled if same else changed).add(entry["id"])
        return Score(
            right=len(written.keys() - changed),
            respelled=len(respelled - changed),
            missing=len(self._entries.keys() - written.keys()),
            duplicated=written.total() - len(written),
            changed=len(changed),
            bytes=sum(file.stat().st_size for file in files),
        )


def _means_the_same(entry: Mapping[str, Any], original: Mapping[str, Any]) -> bool:
    return all(
        entry.get(name) == value or (name == "log_time" and parse_time(entry[name]) == parse_time(value))
        for name, value in original.items()
    )
