"""Read the manifests under paths: each version once, the newest first, no more than is wanted."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from heapq import nlargest
from sys import intern
from time import monotonic

from airflow_provider_supermetrics._api.text import counted, one_line
from airflow_provider_supermetrics._export.catalog import Catalog, ManifestName
from airflow_provider_supermetrics._export.manifest import Manifest
from airflow_provider_supermetrics._export.storage import Destination
from airflow_provider_supermetrics._health.model import (
    Durations,
    ExportedWindow,
    Hour,
    Memo,
    Report,
    WindowFacts,
    WindowStatistics,
    is_within,
    report,
)
from airflow_provider_supermetrics._health.words import moment
from airflow_provider_supermetrics._schedule import Window

log = logging.getLogger(__name__)

#: A hundred connectors' hours of six weeks.
MOST_MANIFESTS = 100_000
# What is read before the clock is looked at.
_BATCH = 256
# What else is wrong has the same cause, mostly.
_MOST_NOTES = 5


class HealthReader:
    """Reads the manifests under paths for one report after another, and keeps what it has read.

    :param paths: URLs of folders, as the export operator's ``path``.
    :param most_manifests: the most manifests of a report, for each path; the newest count.
    :param seconds: for how long a report may read manifests; the next one continues. By default, to the end.
    :param tolerant: whether a path that cannot be read is a note in the report instead of an error.
    """

    def __init__(
        self,
        paths: Sequence[object],
        *,
        most_manifests: int = MOST_MANIFESTS,
        seconds: float | None = None,
        tolerant: bool = False,
    ) -> None:
        self._paths = paths
        self._most_manifests = most_manifests
        self._seconds = seconds
        self._tolerant = tolerant
        # By path, then by the manifest's own path and version.
        self._known: list[dict[tuple[str, str], ExportedWindow]] = [{} for _ in paths]

        self._memo: Memo = {}

    def report(self, window: Window, now: datetime) -> Report:
        """Read what is not known yet, and make the report.

        :param window: the time that the report is about.
        :param now: the time of the report.
        :raises SupermetricsError: for a path that cannot be used, unless this reader is tolerant.
        :raises OSError: where a store refuses or fails, likewise.
        """
        notes: list[str] = []
        exports = []
        deadline = None if self._seconds is None else monotonic() + self._seconds
        for index, path in enumerate(self._paths):
            try:
                exports.append((str(path), self._windows(index, window, notes, deadline)))
            except Exception as error:
                if not self._tolerant:
                    raise
                log.warning("Cannot read the manifests under %s", path, exc_info=True)
                notes.append(
                    f"{path} could not be read, so its connectors are not shown: {one_line(str(error))}"
                )
        return report(exports, window, now, notes, self._memo)

    def _windows(
        self, index: int, window: Window, notes: list[str], deadline: float | None
    ) -> list[ExportedWindow]:
        catalog = Catalog(Destination.at(self._paths[index]))
        names = _of_report(catalog.names(), window)
        if len(names) > self._most_manifests:
            names = nlargest(self._most_manifests, names, key=lambda name: name.window.end)
            notes.append(
                f"{self._paths[index]} has more than {counted(self._most_manifests, 'manifest')} of this "
                f"time: the report has the newest, which end after {moment(names[-1].window.end)}"
            )
        known = self._known[index]
        keys = [(name.path, name.version) for name in names]
        found = {key: known[key] for key in keys if key in known}
        # What is not there any more need not be kept.
        self._known[index] = found
        unread = [
            name for name, key in zip(names, keys) if key not in found and is_within(name.window, window)
        ]
        unread.sort(key=lambda name: name.window.end, reverse=True)
        problems = []
        read = 0
        while read < len(unread) and (deadline is None or not read or monotonic() < deadline):
            batch = unread[read : read + _BATCH]
            read += len(batch)
            for name, manifest in catalog.read(batch):
                facts = _facts(manifest) if isinstance(manifest, Manifest) else None
                found[name.path, name.version] = _exported(name, facts)
                if not isinstance(manifest, Manifest):
                    problems.append(f"{catalog.destination.url(name.path)} {manifest.reason}")
        notes += problems[:_MOST_NOTES]
        if len(problems) > _MOST_NOTES:
            notes.append(f"So {counted(len(problems) - _MOST_NOTES, 'other manifest')}")
        if left := len(unread) - read:
            notes.append(
                f"{counted(left, 'manifest')} under {self._paths[index]} not read yet: their windows are "
                "shown as exported, without their entries. Load the page again to read more"
            )
        return [found.get(key) or _exported(name, None) for name, key in zip(names, keys)]


def _of_report(names: Iterable[ManifestName], window: Window) -> list[ManifestName]:
    """The manifests of a time, and each connector's last one before it: so it is known to be missing."""
    found = []
    before: dict[str, ManifestName] = {}
    for name in names:
        if is_within(name.window, window):
            found.append(name)
        elif name.window.end <= window.start:
            last = before.get(name.connector_identifier)
            if last is None or name.window.end > last.window.end:
                before[name.connector_identifier] = name
    return found + list(before.values())


def _exported(name: ManifestName, facts: WindowFacts | None) -> ExportedWindow:
    folder = intern(name.path.rpartition("/")[0])
    return ExportedWindow(intern(name.connector_identifier), name.window, folder, facts)


def _facts(manifest: Manifest) -> WindowFacts:
    statistics = manifest.statistics
    durations = statistics.duration_ms
    return WindowFacts(
        manifest.team_id,
        manifest.entries,
        WindowStatistics(
            statistics.errors,
            {intern(status): number for status, number in statistics.statuses.items()},
            Durations(durations.entries, durations.p50, durations.p95, durations.max),
            tuple(Hour(hour.start, hour.entries, hour.errors) for hour in statistics.hours),
        ),
    )
