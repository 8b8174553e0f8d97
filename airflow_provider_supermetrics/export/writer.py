"""From a walk's entries to parts in storage, and the receipt at the end.

The walk brings entries newest first and in any order within one time; a file has them oldest first
and in one order. So entries wait until their time is complete, are sorted, and each part takes the
newest that are left: the same log gives the same bytes, wherever the pages happened to be cut.
"""

from __future__ import annotations

import hashlib
import logging
import re
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from airflow_provider_supermetrics.export.formats import JsonLines
from airflow_provider_supermetrics.export.receipt import ExportedObject, Receipt, receipt_name
from airflow_provider_supermetrics.export.storage import Destination
from airflow_provider_supermetrics.export.window import Window
from airflow_provider_supermetrics.protocol import entries as _entries
from airflow_provider_supermetrics.protocol.entries import Entry

log = logging.getLogger(__name__)

_LINES_PER_WRITE = 1000


class _Row(NamedTuple):
    """An entry, ready to write; rows sort as the lines of a file do."""

    at: datetime
    entry_id: str
    line: bytes
    log_time: str


class ExportWriter:
    """Writes one window of one connector.

    In memory at any time: ``entries_per_file`` entries as text, and one page.

    :param destination: where to.
    :param connector_identifier: whose logs.
    :param team_id: whose connector.
    :param window: which time.
    :param file_format: as what.
    :param entries_per_file: entries in each object but the last.
    """

    def __init__(
        self,
        destination: Destination,
        connector_identifier: str,
        team_id: int,
        window: Window,
        file_format: JsonLines,
        entries_per_file: int,
    ) -> None:
        self._destination = destination
        self._connector_identifier = connector_identifier
        self._team_id = team_id
        self._window = window
        self._format = file_format
        self._entries_per_file = entries_per_file
        self._prefix = f"{connector_identifier}-{window.slug}-"
        self._rows: list[_Row] = []
        self._objects: list[ExportedObject] = []
        self._has_begun = False

    @property
    def entries(self) -> int:
        """Entries taken so far."""
        return sum(item.entries for item in self._objects) + len(self._rows)

    @property
    def objects(self) -> int:
        """Objects written so far."""
        return len(self._objects)

    def add(self, entries: Iterable[Entry], oldest: datetime | None) -> None:
        """Take further entries; write the parts that are full.

        :param oldest: the oldest time read so far; entries at it may still follow.
        """
        for entry in entries:
            self._rows.append(
                _Row(
                    _entries.log_time(entry).at, str(entry.get("id")), _entries.line(entry), entry["log_time"]
                )
            )
        while len(self._rows) >= self._entries_per_file:
            self._rows.sort()
            incomplete = next(
                (i for i, row in enumerate(self._rows) if oldest is None or row.at > oldest), None
            )
            if incomplete is None or len(self._rows) - incomplete < self._entries_per_file:
                break
            self._write_part(self._rows[-self._entries_per_file :])
            del self._rows[-self._entries_per_file :]

    def finish(self, requests: int) -> Receipt:
        """Write what is left, remove what an earlier export of this window left over, and write the receipt.

        :param requests: how many requests it took.
        """
        self._rows.sort()
        while self._rows:
            self._write_part(self._rows[-self._entries_per_file :])
            del self._rows[-self._entries_per_file :]
        self._begin()
        self._remove_stale()
        receipt = Receipt(
            self._connector_identifier,
            self._team_id,
            self._window,
            self._format.format,
            self._format.compression,
            requests,
            self._objects,
        )
        with tempfile.TemporaryDirectory(prefix="supermetrics-") as folder:
            local = Path(folder, receipt.name)
            local.write_bytes(receipt.to_json())
            self._destination.put(local, receipt.name)
        return receipt

    def _write_part(self, rows: list[_Row]) -> None:
        name = f"{self._prefix}{len(self._objects):05d}{self._format.suffix}"
        with tempfile.TemporaryDirectory(prefix="supermetrics-") as folder:
            local = Path(folder, name)
            with local.open("wb") as raw, self._format.open(raw) as file:
                for i in range(0, len(rows), _LINES_PER_WRITE):
                    file.write(b"".join(row.line + b"\n" for row in rows[i : i + _LINES_PER_WRITE]))
            item = ExportedObject(
                name, len(rows), local.stat().st_size, _sha256(local), rows[0].log_time, rows[-1].log_time
            )
            self._begin()
            self._destination.put(local, name)
        self._objects.append(item)
        log.info("Wrote %s: %s entries, %s bytes", name, f"{item.entries:,}", f"{item.bytes:,}")

    def _begin(self) -> None:
        """Before anything changes, take away the receipt that vouches for what is there."""
        if not self._has_begun:
            receipt = receipt_name(self._connector_identifier, self._window)
            self._destination.remove(receipt)
            for prefix in (self._prefix, receipt):
                self._destination.remove_leftovers(prefix)
            self._has_begun = True

    def _remove_stale(self) -> None:
        written = {item.name for item in self._objects}
        part = re.compile(re.escape(self._prefix) + r"\d{5,}\..+")
        for name in self._destination.names(self._prefix):
            if name not in written and part.fullmatch(name):
                log.info("Removing %s, which an earlier export of this window left", name)
                self._destination.remove(name)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
