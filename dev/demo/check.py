"""Check that the exported files contain the entries that the API had."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Check:
    """The counts of one connector's window in the API and in the files. `problem` is empty if they match."""

    expected: int
    written: int
    objects: int
    bytes: int
    problem: str


def check(folder: Path, identifier: str, truth: Sequence[Mapping[str, Any]]) -> Check:
    """Compare a connector's exported files with the entries of the API.

    :param truth: the entries that the API had in the window.
    """
    files = sorted(folder.glob(f"{identifier}-*.jsonl.gz"))
    entries = [json.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
    return Check(
        expected=len(truth),
        written=len(entries),
        objects=len(files),
        bytes=sum(file.stat().st_size for file in files),
        problem=_entries_problem(truth, entries) or _manifest_problem(folder, identifier, files),
    )


def manifests(folder: Path, identifier: str) -> list[Path]:
    """Return the manifests of a connector's exports."""
    return sorted(folder.glob(f"_manifest-{identifier}-*.json"))


def _entries_problem(truth: Sequence[Mapping[str, Any]], entries: Sequence[Mapping[str, Any]]) -> str:
    expected = {entry["id"]: entry for entry in truth}
    written = {entry["id"]: entry for entry in entries}
    if missing := expected.keys() - written.keys():
        return f"{len(missing)} entries are missing, such as {min(missing)}"
    if extra := written.keys() - expected.keys():
        return f"{len(extra)} entries do not belong to the window, such as {min(extra)}"
    if len(entries) != len(written):
        return f"{len(entries) - len(written)} entries were written more than once"
    if changed := [name for name, entry in expected.items() if written[name] != entry]:
        return f"{len(changed)} entries differ from the API's, such as {changed[0]}"
    return ""


def _manifest_problem(folder: Path, identifier: str, files: Sequence[Path]) -> str:
    found = manifests(folder, identifier)
    if len(found) != 1:
        return f"{len(found)} manifests where there should be one"
    manifest = json.loads(found[0].read_text())
    reported = {item["name"]: item["sha256"] for item in manifest["objects"]}
    if not manifest["complete"] or reported != {
        file.name: sha256(file.read_bytes()).hexdigest() for file in files
    }:
        return "the manifest does not list the files that are there"
    return ""
