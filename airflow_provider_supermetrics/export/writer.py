"""From a walk's entries to parts in storage, and the receipt at the end.

The walk brings entries newest first and in any order within one time; a file has them oldest first
and in one order. So entries wait until no page can bring more of their time, are sorted by time and line, and
each part takes the newest that are left: the same log gives the same bytes, wherever the pages were cut.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import tempfile
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from pathlib import Path

from airflow_provider_supermetrics.exceptions import SupermetricsConflictError
from airflow_provider_supermetrics.export.formats import JsonLines
from airflow_provider_supermetrics.export.receipt import ExportedObject, Receipt, receipt_name
from airflow_provider_supermetrics.export.storage import Destination
from airflow_provider_supermetrics.export.window import Window
from airflow_provider_supermetrics.protocol import entries as _entries
from airflow_provider_supermetrics.protocol.entries import Entry

log = logging.getLogger(__name__)


class ExportWriter:
    """Writes one window of one connector.

    In memory at any time: ``entries_per_file`` lines, and one page.

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
        # Entries whose time may still get more: (log_time, line), in any order.
        self._open: list[tuple[datetime, bytes]] = []
        # The part that is being filled: runs of lines, each oldest first, the newest run first.
        self._runs: list[bytes] = []
        self._lines = 0
        self._objects: list[ExportedObject] = []
        self._stamps: dict[str, str] = {}
        self._has_begun = False

    @property
    def entries(self) -> int:
        """Entries taken so far."""
        return sum(item.entries for item in self._objects) + self._lines + len(self._open)

    @property
    def objects(self) -> int:
        """Objects written so far."""
        return len(self._objects)

    def add(self, entries: Sequence[Entry], repeated: datetime | None) -> None:
        """Take further entries, older than those before; write the parts that are full.

        :param repeated: entries up to this time may still follow, or None when all have come.
        """
        # Plain tuples of plain values: the garbage collector does not look at them again and again.
        times = [time.at for time in _entries.log_times(entries)]
        self._open += zip(times, _entries.lines(entries), strict=True)
        self._open.sort()
        complete = 0 if repeated is None else bisect_right(self._open, repeated, key=itemgetter(0))
        lines = [line for _, line in self._open[complete:]]
        del self._open[complete:]
        while lines:
            run = lines[-(self._entries_per_file - self._lines) :]
            del lines[-len(run) :]
            self._runs.append(b"\n".join(run) + b"\n")
            self._lines += len(run)
            if self._lines == self._entries_per_file:
                self._write_part()

    def finish(self, requests: int) -> Receipt:
        """Write what is left, remove what an earlier export of this window left over, and write the receipt.

        :param requests: how many requests it took.
        """
        self.add([], None)
        if self._runs:
            self._write_part()
        self._begin()
        self._settle()
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

    def _write_part(self) -> None:
        name = f"{self._prefix}{len(self._objects):05d}{self._format.suffix}"
        with tempfile.TemporaryDirectory(prefix="supermetrics-") as folder:
            local = Path(folder, name)
            with local.open("wb") as raw, self._format.open(raw) as file:
                for run in reversed(self._runs):
                    file.write(run)
            item = ExportedObject(
                name,
                self._lines,
                local.stat().st_size,
                _sha256(local),
                first_log_time=_log_time(self._runs[-1][: self._runs[-1].index(b"\n")]),
                last_log_time=_log_time(self._runs[0][self._runs[0].rfind(b"\n", 0, -1) + 1 :]),
            )
            self._begin()
            self._stamps[name] = self._destination.put(local, name)
        self._runs, self._lines = [], 0
        self._objects.append(item)
        log.info("Wrote %s: %s entries, %s bytes", name, f"{item.entries:,}", f"{item.bytes:,}")

    def _begin(self) -> None:
        """Before anything changes, take away the receipt that vouches for what is there.

        :raises SupermetricsConflictError: when another export has begun to replace ours meanwhile.
        """
        if self._objects and self._destination.stamp(last := self._objects[-1].name) != self._stamps[last]:
            raise self._conflict(last)
        if not self._has_begun:
            receipt = receipt_name(self._connector_identifier, self._window)
            self._destination.remove(receipt)
            for prefix in (self._prefix, receipt):
                self._destination.remove_leftovers(prefix)
            self._has_begun = True

    def _settle(self) -> None:
        """See that all that was written is there, and remove what an earlier export of this window left over.

        :raises SupermetricsConflictError: when another export has replaced a part of ours.
        """
        part = re.compile(re.escape(self._prefix) + r"\d{5,}\..+")
        found = self._destination.stamps(self._prefix)
        for name, stamp in self._stamps.items():
            if found.get(name) != stamp:
                # Two exports have written; a receipt, whosever it is, would vouch for a mixture.
                self._destination.remove(receipt_name(self._connector_identifier, self._window))
                raise self._conflict(name)
        for name in found:
            if name not in self._stamps and part.fullmatch(name):
                log.info("Removing %s, which an earlier export of this window left", name)
                self._destination.remove(name)

    def _conflict(self, name: str) -> SupermetricsConflictError:
        return SupermetricsConflictError(
            f"{name} was replaced while this export ran: another export of the same window is running, or an "
            "earlier try of this task still was. Run it once more, alone"
        )


def _log_time(line: bytes) -> str:
    text: str = json.loads(line)["log_time"]
    return text


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
