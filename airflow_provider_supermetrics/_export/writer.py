"""From a walk's entries to parts in storage, and the receipt at the end.

The walk brings entries newest first and in any order within one time; a file has them oldest first
and in one order. So entries wait until no page can bring more of their time, are sorted by time and line, and
each part takes the newest that are left: the same log gives the same bytes, wherever the pages were cut.
"""

from __future__ import annotations

import hashlib
import logging
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from io import BytesIO
from operator import itemgetter

from airflow_provider_supermetrics._api.entry import LogEntry, decode, read_line
from airflow_provider_supermetrics._api.pager import PagerState
from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics._export.checkpoint import Checkpoint, Written
from airflow_provider_supermetrics._export.plan import ExportPlan
from airflow_provider_supermetrics._export.receipt import ExportedObject, Receipt, objects_of
from airflow_provider_supermetrics._export.storage import Destination
from airflow_provider_supermetrics.exceptions import SupermetricsConflictError

log = logging.getLogger(__name__)


class ExportWriter:
    """Writes one window of one connector.

    In memory at any time: ``entries_per_file`` lines, the bytes of their object, and one page.

    :param destination: where to.
    :param plan: what.
    :param checkpoint: what to go on from.
    """

    def __init__(
        self, destination: Destination, plan: ExportPlan, checkpoint: Checkpoint | None = None
    ) -> None:
        self._destination = destination
        self._plan = plan
        # Entries whose time may still get more: (log_time, line), in any order.
        self._open: list[tuple[datetime, bytes]] = []
        # The part that is being filled: runs of lines, each oldest first, the newest run first.
        self._runs: list[bytes] = []
        self._lines = 0
        self._written: list[Written] = []
        # What an earlier export of this window says is there, while nothing of that has been changed.
        self._earlier: Sequence[ExportedObject] | None = None
        # The digest of the manifest that is there.
        self._manifest: str | None = None
        self._has_looked = self._has_begun = False
        if checkpoint is not None:
            self._open = [(read_line(line).time, line) for line in checkpoint.open]
            if checkpoint.pending:
                self._runs = [b"\n".join(checkpoint.pending) + b"\n"]
            self._lines = len(checkpoint.pending)
            self._written = list(checkpoint.written)

    @property
    def entries(self) -> int:
        """Entries taken so far."""
        return sum(part.item.entries for part in self._written) + self._lines + len(self._open)

    @property
    def objects(self) -> int:
        """Objects written so far."""
        return len(self._written)

    def add(self, entries: Sequence[LogEntry], repeated: datetime | None) -> None:
        """Take further entries, older than those before; write the parts that are full.

        :param repeated: entries up to this time may still follow, or None when all have come.
        """
        # Plain tuples of plain values: the garbage collector does not visit them again and again.
        self._open += [(entry.time, entry.line) for entry in entries]
        self._open.sort()
        complete = 0 if repeated is None else bisect_right(self._open, repeated, key=itemgetter(0))
        lines = [line for _, line in self._open[complete:]]
        del self._open[complete:]
        while lines:
            run = lines[-(self._plan.entries_per_file - self._lines) :]
            del lines[-len(run) :]
            self._runs.append(b"\n".join(run) + b"\n")
            self._lines += len(run)
            if self._lines == self._plan.entries_per_file:
                self._write_part()

    def checkpoint(self, pager: PagerState, requests: int, waits: int = 0) -> Checkpoint:
        """How far this is, for a later writer to go on from.

        :param pager: the pager whose entries these are, all of which were added.
        :param requests: how many requests it took so far.
        :param waits: see :class:`Checkpoint`.
        """
        self._unchanged()
        return Checkpoint(
            pager=pager,
            written=self._written,
            pending=b"".join(reversed(self._runs)).split(b"\n")[:-1],
            open=[line for _, line in self._open],
            requests=requests,
            waits=waits,
            manifest=self._manifest,
        )

    def finish(self, requests: int, rate_limit: RateLimit | None) -> Receipt:
        """Write what is left, remove what an earlier export of this window left over, and write the receipt.

        Where that earlier export wrote the very same, its receipt stays as it is.

        :param requests: how many requests it took.
        :param rate_limit: the budget as last told.
        """
        self.add([], None)
        if self._runs:
            self._write_part()
        objects = [part.item for part in self._written]
        receipt = Receipt(self._plan, objects, requests, rate_limit)
        is_as_before = self._unchanged() == objects
        if not is_as_before:
            self._begin()
        if self._remove_stale(self._check()):
            # That took time, in which another export may have begun.
            self._check()
        if is_as_before:
            self._destination.remove(self._plan.checkpoint_name)
            if self._destination.stamp(self._plan.receipt_name) is None:
                raise self._conflict(self._plan.receipt_name)
            return receipt
        self._destination.write(receipt.to_json(), self._plan.receipt_name)
        try:
            self._destination.remove(self._plan.checkpoint_name)
        except OSError as error:
            log.warning("%s. The window is complete, and no export resumes from it", error)
        return receipt

    def _write_part(self) -> None:
        name = self._plan.part_name(len(self._written))
        buffer = BytesIO()
        self._plan.file_format.write(buffer, reversed(self._runs))
        data = buffer.getvalue()
        item = ExportedObject(
            name,
            self._lines,
            len(data),
            hashlib.sha256(data).hexdigest(),
            first_log_time=_log_time(self._runs[-1][: self._runs[-1].index(b"\n")]),
            last_log_time=_log_time(self._runs[0][self._runs[0].rfind(b"\n", 0, -1) + 1 :]),
        )
        self._look()
        stamp = self._stamp_if_there(item)
        if stamp is None:
            self._begin()
            stamp = self._destination.put(data, name)
            # Another export may have written its own since: it would vouch for what is there no more.
            self._destination.remove(self._plan.receipt_name)
            log.info("Wrote %s: %s entries, %s bytes", name, f"{item.entries:,}", f"{item.bytes:,}")
        else:
            log.info("Left %s as it was: the same %s entries", name, f"{item.entries:,}")
        self._runs, self._lines = [], 0
        self._written.append(Written(item, stamp))

    def _look(self) -> None:
        """See that what was written last is still there.

        :raises SupermetricsConflictError: when another export has begun to replace ours meanwhile.
        """
        if self._written:
            last = self._written[-1]
            if self._destination.stamp(last.item.name) != last.stamp:
                raise self._conflict(last.item.name)

    def _unchanged(self) -> Sequence[ExportedObject] | None:
        """What an earlier export of this plan has left, while its receipt still vouches for it."""
        if not self._has_looked:
            self._has_looked = True
            manifest = self._destination.read(self._plan.receipt_name)
            if manifest is not None:
                self._manifest = hashlib.sha256(manifest).hexdigest()
                self._earlier = objects_of(manifest, self._plan)
        return self._earlier

    def _stamp_if_there(self, item: ExportedObject) -> str | None:
        """The stamp of the object that the earlier export wrote, if it is the same."""
        if item not in (self._unchanged() or ()):
            return None
        stamp = self._destination.stamp(item.name)
        return stamp if self._destination.sha256(item.name) == item.sha256 else None

    def _begin(self) -> None:
        """Before anything changes, take away the receipt that vouches for what is there."""
        if not self._has_begun:
            self._destination.remove(self._plan.receipt_name)
            self._earlier, self._manifest = None, None
            self._has_looked = self._has_begun = True

    def _check(self) -> Iterable[str]:
        """See that all that was written is there; return the names of all parts of this window.

        :raises SupermetricsConflictError: when another export has replaced a part of ours.
        """
        found = self._destination.stamps(self._plan.prefix)
        for name, stamp in ((part.item.name, part.stamp) for part in self._written):
            # A listing may be behind.
            if stamp != found.get(name) and stamp != self._destination.stamp(name):
                # Two exports have written; a receipt, whosever it is, would vouch for a mixture.
                self._destination.remove(self._plan.receipt_name)
                raise self._conflict(name)
        return found

    def _remove_stale(self, found: Iterable[str]) -> bool:
        """Remove what an earlier export of this window left over; return whether there was anything."""
        part = re.compile(re.escape(self._plan.prefix) + r"\d{5,}\..+")
        ours = {part.item.name for part in self._written}
        stale = [name for name in found if name not in ours and part.fullmatch(name)]
        for name in stale:
            log.info("Removing %s, which an earlier export of this window left", name)
            self._destination.remove(name)
        for prefix in (self._plan.prefix, self._plan.receipt_name, self._plan.checkpoint_name):
            self._destination.remove_leftovers(prefix)
        return bool(stale)

    def _conflict(self, name: str) -> SupermetricsConflictError:
        return SupermetricsConflictError(
            f"{name} was replaced while this export ran: another export of the same window is running, or an "
            "earlier try of this task still was. Run it once more, alone"
        )


def _log_time(line: bytes) -> str:
    text: str = decode(line)["log_time"]
    return text
