"""Whether an export contains what the simulator's log contains."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from benchmarks.log import Log, text
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
        """Compare all objects of a folder with the log."""
        files = sorted(file for file in folder.iterdir() if file.name.endswith(tuple(_READERS)))
        written: Counter[str] = Counter()
        changed: set[str] = set()
        respelled: set[str] = set()
        for file in files:
            for entry in next(read for suffix, read in _READERS.items() if file.name.endswith(suffix))(file):
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


def _json_lines(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file) as lines:
        yield from map(json.loads, lines)


def _csv(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            numbers = {name: int(row[name]) for name in ("status", "duration_ms") if row[name]}
            yield _rebuilt({**row, **numbers})


def _parquet(file: Path) -> Iterator[dict[str, Any]]:
    from pyarrow.parquet import ParquetFile

    for batch in ParquetFile(file).iter_batches(10_000):
        for row in batch.to_pylist():
            yield _rebuilt({**row, "log_time": text(row["log_time"])})


def _rebuilt(row: dict[str, Any]) -> dict[str, Any]:
    """The entry of a row, as docs/formats.md says."""
    extra = row.pop("extra")
    del row["team_id"], row["connector_identifier"]
    entry = {name: value for name, value in row.items() if value not in ("", None)}
    return {**entry, **json.loads(extra or "{}")}


_READERS: Final[dict[str, Callable[[Path], Iterator[dict[str, Any]]]]] = {
    ".jsonl.gz": _json_lines,
    ".csv.gz": _csv,
    ".parquet": _parquet,
}
