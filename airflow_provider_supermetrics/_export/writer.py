"""From the pager's entries to parts in storage, and to the manifest.

The pager returns entries newest first, and in any order within one time; a part has them oldest first, and
in one order. So entries wait until no page can bring more of their time, are sorted by time and line, and
each part takes the newest that are left: the same log gives the same bytes, wherever the pages were cut.
"""

from __future__ import annotations

import hashlib
import logging
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from functools import cached_property
from io import BytesIO
from operator import itemgetter
from typing import Any

from airflow_provider_supermetrics._api.calls import MAX_LIMIT
from airflow_provider_supermetrics._api.entry import LogEntry, decode, read_line
from airflow_provider_supermetrics._api.pager import PagerState
from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics._api.statistics import Statistics
from airflow_provider_supermetrics._export.checkpoint import Checkpoint, Written
from airflow_provider_supermetrics._export.manifest import (
    ExportedObject,
    ExportPlan,
    Manifest,
    listed_objects,
)
from airflow_provider_supermetrics._export.storage import Destination
from airflow_provider_supermetrics.exceptions import SupermetricsConflictError

log = logging.getLogger(__name__)


class ExportWriter:
    """Writes the parts and the manifest of one export.

    In memory at any time: ``entries_per_file`` lines, the bytes of their object, and one page.

    :param destination: the folder.
    :param plan: what to write, and under which names.
    :param checkpoint: what to resume from, or None to start from scratch.
    """

    def __init__(
        self, destination: Destination, plan: ExportPlan, checkpoint: Checkpoint | None = None
    ) -> None:
        self._destination = destination
        self._plan = plan
        # Entries at whose time more can follow: (log_time, line), in any order.
        self._open: list[tuple[datetime, bytes]] = []
        # The part that is being filled: runs of lines, each oldest first, the newest run first.
        self._runs: list[bytes] = []
        self._lines = 0
        self._written: list[Written] = []
        self._has_invalidated_manifest = False
        self._statistics = Statistics.of(plan.window.end - plan.window.start)
        if checkpoint is not None:
            self._open = [(read_line(line).time, line) for line in checkpoint.open]
            # Of a page's length, because a format may decode a run at once.
            starts = range(0, len(checkpoint.pending), MAX_LIMIT)
            runs = (checkpoint.pending[start : start + MAX_LIMIT] for start in starts)
            self._runs = [b"\n".join(run) + b"\n" for run in runs][::-1]
            self._lines = len(checkpoint.pending)
            self._written = list(checkpoint.written)
            self._statistics = checkpoint.statistics

    @property
    def entries(self) -> int:
        """Entries added so far."""
        return sum(part.item.entries for part in self._written) + self._lines + len(self._open)

    @property
    def objects(self) -> int:
        """Objects written so far."""
        return len(self._written)

    def add(self, entries: Sequence[LogEntry], repeated: datetime | None) -> None:
        """Add entries, none newer than those before; write the parts that are full.

        :param repeated: entries up to this time can still follow; None when there are no more.
        """
        # Plain tuples of plain values, which the garbage collector does not track.
        self._open += [(entry.time, entry.line) for entry in entries]
        self._open.sort()
        if entries:
            self._statistics.add(entries, oldest=self._open[0][0], newest=self._open[-1][0])
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
        """The state of the export, once all entries of the pager have been added."""
        self._statistics.fold()
        return Checkpoint(
            pager=pager,
            written=self._written,
            pending=b"".join(reversed(self._runs)).split(b"\n")[:-1],
            open=[line for _, line in self._open],
            statistics=self._statistics,
            requests=requests,
            waits=waits,
            manifest=self._previous_export[1],
            saved_at=datetime.now(timezone.utc),
        )

    def finish(self, requests: int, rate_limit: RateLimit | None) -> Manifest:
        """Write the last part, remove stale parts of an earlier export of the window, and write the manifest.

        Where that earlier export wrote exactly the same, its manifest stays unchanged.
        """
        self.add([], None)
        if self._runs:
            self._write_part()
        objects = [part.item for part in self._written]
        manifest = Manifest.of(self._plan, objects, self._statistics.summary(), requests, rate_limit)
        is_unchanged = self._previous_export[0] == objects
        if not is_unchanged:
            self._invalidate_manifest()
        if self._remove_stale_parts(self._require_own_parts()):
            # That took time, in which another export may have begun.
            self._require_own_parts()
        if is_unchanged:
            self._destination.remove(self._plan.checkpoint_name)
            if self._destination.version(self._plan.manifest_name) is None:
                raise self._conflict(self._plan.manifest_name)
            return manifest
        self._destination.write(manifest.to_json(), self._plan.manifest_name)
        try:
            self._destination.remove(self._plan.checkpoint_name)
        except OSError as error:
            log.warning("%s. The window is complete, and no export resumes from it", error)
        return manifest

    def _write_part(self) -> None:
        lines = hashlib.sha256()
        for run in reversed(self._runs):
            lines.update(run)
        content = {
            "name": self._plan.part_name(len(self._written)),
            "entries": self._lines,
            "lines_sha256": lines.hexdigest(),
            "first_log_time": _log_time(self._runs[-1][: self._runs[-1].index(b"\n")]),
            "last_log_time": _log_time(self._runs[0][self._runs[0].rfind(b"\n", 0, -1) + 1 :]),
        }
        self._require_own_part()
        part = self._already_exported(content) or self._write_object(content)
        self._written.append(part)
        self._runs, self._lines = [], 0

    def _write_object(self, content: dict[str, Any]) -> Written:
        buffer = BytesIO()
        self._plan.file_format.write(buffer, reversed(self._runs), self._plan.source)
        data = buffer.getvalue()
        item = ExportedObject(**content, bytes=len(data), sha256=_sha256(data))
        name = item.name
        self._invalidate_manifest()
        version = self._destination.write_versioned(data, name)
        # Another export may have written its manifest meanwhile, which would list an object that is gone.
        self._destination.remove(self._plan.manifest_name)
        log.info("Wrote %s: %s entries, %s bytes", name, f"{item.entries:,}", f"{item.bytes:,}")
        return Written(item, version)

    @cached_property
    def _previous_export(self) -> tuple[Sequence[ExportedObject] | None, str | None]:
        """The objects of an earlier export of this plan, and its manifest's digest, while that is valid."""
        manifest = self._destination.read(self._plan.manifest_name)
        if manifest is None:
            return None, None
        return listed_objects(manifest, self._plan), hashlib.sha256(manifest).hexdigest()

    def _already_exported(self, content: dict[str, Any]) -> Written | None:
        """The part that an earlier export wrote from the same lines, where it is still there."""
        for item in self._previous_export[0] or ():
            if all(getattr(item, field) == value for field, value in content.items()):
                version, data = self._destination.version(item.name), self._destination.read(item.name)
                found = ExportedObject(**content, bytes=len(data), sha256=_sha256(data)) if data else None
                if version is not None and found == item:
                    log.info("%s unchanged (%s entries), not rewritten", item.name, f"{item.entries:,}")
                    return Written(item, version)
        return None

    def _invalidate_manifest(self) -> None:
        """Remove the previous manifest, before the first of the objects that it lists is changed."""
        if not self._has_invalidated_manifest:
            self._destination.remove(self._plan.manifest_name)
            self._previous_export = None, None
            self._has_invalidated_manifest = True

    def _require_own_part(self) -> None:
        """Raise an error where another export has replaced the last part."""
        if self._written:
            last = self._written[-1]
            if self._destination.version(last.item.name) != last.version:
                raise self._conflict(last.item.name)

    def _require_own_parts(self) -> Iterable[str]:
        """Check all parts likewise; return the names of all objects whose names begin as theirs."""
        found = self._destination.versions(self._plan.prefix)
        for name, version in ((part.item.name, part.version) for part in self._written):
            # A listing may be out of date.
            if version != found.get(name) and version != self._destination.version(name):
                # The parts are a mixture of two exports, for which no manifest is valid, whichever wrote it.
                self._destination.remove(self._plan.manifest_name)
                raise self._conflict(name)
        return found

    def _remove_stale_parts(self, found: Iterable[str]) -> bool:
        """Remove the parts that an earlier export of this window left; return whether there were any."""
        part = re.compile(re.escape(self._plan.prefix) + r"\d{5,}\..+")
        own = {part.item.name for part in self._written}
        stale = [name for name in found if name not in own and part.fullmatch(name)]
        for name in stale:
            log.info("Removing %s, which an earlier export of this window left", name)
            self._destination.remove(name)
        for prefix in (self._plan.prefix, self._plan.manifest_name, self._plan.checkpoint_name):
            self._destination.remove_leftovers(prefix)
        return bool(stale)

    def _conflict(self, name: str) -> SupermetricsConflictError:
        return SupermetricsConflictError(
            f"another export of the same window is running: it replaced {name}. It may be an earlier attempt "
            "of this task. Run this task again when no other one runs"
        )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _log_time(line: bytes) -> str:
    text: str = decode(line)["log_time"]
    return text
