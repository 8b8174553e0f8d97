"""Read the manifests under paths: each version once, the newest first, no more than is wanted."""

from __future__ import annotations

import logging
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import nlargest
from sys import intern
from time import monotonic
from traceback import format_exception
from typing import Final, TypeVar

from airflow_provider_supermetrics._api.entry import MAX_DURATION, Number
from airflow_provider_supermetrics._api.text import counted, one_line, without_credentials
from airflow_provider_supermetrics._api.times import parse_log_time
from airflow_provider_supermetrics._export.catalog import (
    REMOVED,
    Catalog,
    ManifestName,
    Place,
    Unreadable,
    are_of_several_teams,
)
from airflow_provider_supermetrics._export.manifest import Manifest
from airflow_provider_supermetrics._export.path import valid_path
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
MOST_MANIFESTS: Final = 100_000
#: After so many failures in a row, the store is given up.
MOST_FAILURES: Final = 20
# What else is wrong has the same cause, mostly.
_MOST_NOTES: Final = 5
_LONGEST_NOTE: Final = 600
# The largest number of things that is still one.
_MOST_ENTRIES: Final = 2**63 - 1
# "0" to "999", "none" and "other".
_MOST_STATUSES: Final = 1002
_LONGEST_STATUS: Final = 20
_HOUR: Final = timedelta(hours=1)

_Key = tuple[str, str]
_T = TypeVar("_T")


@dataclass
class _Known:
    """What is kept of the manifests under a path, by their own paths and versions.

    :param windows: those that have been read.
    :param faults: why some of these say nothing.
    :param failures: why the store refused others, the one that was tried last at the end.
    """

    windows: dict[_Key, ExportedWindow] = field(default_factory=dict)
    faults: dict[_Key, str] = field(default_factory=dict)
    failures: dict[_Key, str] = field(default_factory=dict)

    def of(self, keys: Set[_Key]) -> _Known:
        """The part of it that is about these manifests."""
        return _Known(_of(self.windows, keys), _of(self.faults, keys), _of(self.failures, keys))


@dataclass(frozen=True)
class _Listing:
    """The manifests of a report.

    :param names: by their paths and versions, the newest first.
    :param shared: the connectors that several teams may have. Of these, the manifests before the report are
        read, too, because a team may have no other.
    """

    names: dict[_Key, ManifestName]
    shared: set[str]


class HealthReader:
    """Reads the manifests under paths for one report after another, and keeps what it has read.

    :param paths: URLs of folders, as the export operator's ``path``.
    :param most_manifests: the most manifests of a report, for each path; the newest count.
    :param seconds: for how long a report may read manifests, besides listing them; the next one continues.
        By default, to the end.
    :param tolerant: whether a path that cannot be read, or a folder below it, is a note in the report instead
        of an error. A folder below it that the store refuses to list always is.
    :param clock: returns seconds.
    """

    def __init__(
        self,
        paths: Sequence[object],
        *,
        most_manifests: int = MOST_MANIFESTS,
        seconds: float = float("inf"),
        tolerant: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._paths = paths
        self._most_manifests = most_manifests
        self._seconds = seconds
        self._tolerant = tolerant
        self._clock = clock
        self._known = [_Known() for _ in paths]
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
        left = self._seconds
        for index, path in enumerate(self._paths):
            # A path that is refused may contain a credential.
            label = f"path {index + 1} of health_paths"
            try:
                label = valid_path(path)
                catalog = Catalog(Destination.at(path))
                listing = self._names(catalog, label, window, notes)
                begun = self._clock()
                exports.append((label, self._windows(index, catalog, listing, window, notes, left)))
                left -= self._clock() - begun
            except Exception as error:
                if not self._tolerant:
                    raise
                trace = without_credentials("".join(format_exception(error)))
                log.warning("Cannot read the manifests under %s:\n%s", label, textwrap.indent(trace, "  "))
                notes.append(f"{label} could not be read, so its connectors are not shown: {_text(error)}")
        return report(exports, window, now, notes, self._memo)

    def _names(self, catalog: Catalog, label: str, window: Window, notes: list[str]) -> _Listing:
        """List the manifests of the report, the newest first."""
        failed: list[OSError] = []

        def leave_out(error: OSError) -> None:
            failed.append(error)
            # What a store refuses, it will refuse again. What fails now would be missing in the report.
            if not isinstance(error, PermissionError):
                failures = sum(not isinstance(each, PermissionError) for each in failed)
                if not self._tolerant or failures == MOST_FAILURES:
                    raise error

        names, shared = _of_report(catalog.names(leave_out), window)
        if failed and not names and not self._tolerant:
            raise failed[0]
        notes += [
            f"A folder could not be listed, so its exports are not shown: {_text(error)}"
            for error in failed[:_MOST_NOTES]
        ]
        if len(failed) > _MOST_NOTES:
            notes.append(f"{counted(len(failed) - _MOST_NOTES, 'other folder')} could not be listed, either")
        if len(names) > self._most_manifests:
            names = nlargest(self._most_manifests, names, key=lambda name: name.window.end)
            notes.append(
                f"{label} has more than {counted(self._most_manifests, 'manifest')} of this time: the report "
                f"has the newest, which end after {moment(names[-1].window.end)}"
            )
        names.sort(key=lambda name: name.window.end, reverse=True)
        return _Listing({(name.path, name.version): name for name in names}, shared)

    def _windows(
        self,
        index: int,
        catalog: Catalog,
        listing: _Listing,
        window: Window,
        notes: list[str],
        seconds: float,
    ) -> list[ExportedWindow]:
        """Read manifests for so long, and return the windows of all."""
        names = listing.names
        # What is not there any more need not be kept.
        known = self._known[index] = self._known[index].of(names.keys())
        unread = [
            name
            for key, name in names.items()
            if key not in known.windows
            and key not in known.failures
            and (is_within(name.window, window) or name.connector_identifier in listing.shared)
        ]
        # Last, and the one that was tried last at the end: so the others are read at some time.
        unread += [names[key] for key in known.failures]
        problems: dict[_Key, str] = {}
        read = in_a_row = 0
        end = self._clock() + seconds
        with closing(catalog.attempt(unread)) as attempts:
            for name, found in attempts:
                key = name.path, name.version
                read += 1
                known.failures.pop(key, None)
                if isinstance(found, OSError):
                    in_a_row += 1
                    known.failures[key] = _text(found)
                    is_nothing = in_a_row == len(unread) and not known.windows
                    if not self._tolerant and (in_a_row == MOST_FAILURES or is_nothing):
                        raise found
                else:
                    in_a_row = 0
                    said = _said(name, found)
                    if said == REMOVED:
                        problems[key] = f"{catalog.url(name)} {REMOVED.reason}"
                    elif isinstance(said, Unreadable):
                        known.windows[key] = _exported(name, None)
                        known.faults[key] = f"{catalog.url(name)} {said.reason}"
                    else:
                        known.windows[key] = _exported(name, said)
                if in_a_row == MOST_FAILURES or self._clock() >= end:
                    break
        problems |= known.faults | known.failures
        texts = [problems[key] for key in names if key in problems]
        notes += texts[:_MOST_NOTES]
        if len(texts) > _MOST_NOTES:
            notes.append(f"{counted(len(texts) - _MOST_NOTES, 'other manifest')} cannot be read, too")
        if left := len(unread) - read:
            who = f"{counted(left, 'manifest')} under {catalog.destination}"
            notes.append(
                f"{who} not read, because {in_a_row} in a row could not be: their windows are shown as "
                "exported, without their entries"
                if in_a_row == MOST_FAILURES
                else f"{who} not read yet: their windows are shown as exported, without their entries. "
                "Load the page again to read more"
            )
        return [known.windows.get(key) or _exported(name, None) for key, name in names.items()]


def _of(values: dict[_Key, _T], keys: Set[_Key]) -> dict[_Key, _T]:
    if values.keys() <= keys:  # mostly, and at a tenth of the cost
        return values
    return {key: value for key, value in values.items() if key in keys}


def _of_report(names: Iterable[ManifestName], window: Window) -> tuple[list[ManifestName], set[str]]:
    """The manifests of a time, and each connector's last one before it: so it is known to be missing.

    Where several teams may have a connector, it is the last one in each folder. Returns these connectors,
    too.
    """
    found = []
    before: dict[str, dict[str, Place]] = defaultdict(dict)
    for name in names:
        if is_within(name.window, window):
            found.append(name)
        if name.window.start < window.start:
            folders = before[name.connector_identifier]
            folder = name.path.rpartition("/")[0]
            place = folders.get(folder)
            if place is None:
                place = folders[folder] = Place(name.window.start, name.window.end)
            place.add(name.window)
            if name.window.end <= window.start:
                place.keep_last(name)
    shared = set()
    for identifier, folders in before.items():
        last = [place.last for place in folders.values() if place.last]
        if are_of_several_teams(folders.values()):
            shared.add(identifier)
            found += last
        elif last:
            found.append(max(last, key=lambda name: name.window.end))
    return found, shared


def _exported(name: ManifestName, facts: WindowFacts | None) -> ExportedWindow:
    folder = intern(name.path.rpartition("/")[0])
    return ExportedWindow(intern(name.connector_identifier), name.window, folder, facts)


def _text(error: Exception) -> str:
    return one_line(without_credentials(str(error)), _LONGEST_NOTE)


def _said(name: ManifestName, found: Manifest | Unreadable) -> WindowFacts | Unreadable:
    """What the page needs of a manifest, unless its numbers cannot be true."""
    if isinstance(found, Unreadable):
        return found
    fault = _fault(found, name.window)
    return Unreadable(f"has {fault}") if fault else _facts(found)


def _fault(manifest: Manifest, window: Window) -> str | None:
    """What no export writes: plots and sums would fail, or be wrong."""
    statistics = manifest.statistics
    durations = statistics.duration_ms
    faults = {
        "a team that cannot be": not 0 <= manifest.team_id <= _MOST_ENTRIES,
        "a number of entries or errors that cannot be": not (
            0 <= statistics.errors <= manifest.entries <= _MOST_ENTRIES
        ),
        "a duration that cannot be": not (
            0 <= durations.entries <= manifest.entries
            and all(map(_is_duration, (durations.p50, durations.p95, durations.max)))
        ),
        "statuses that cannot be": not (
            len(statistics.statuses) <= _MOST_STATUSES
            and all(
                len(status) <= _LONGEST_STATUS and 0 <= number <= manifest.entries
                for status, number in statistics.statuses.items()
            )
        ),
        "an hour that cannot be": not all(
            0 <= hour.errors <= hour.entries <= manifest.entries and _is_hour_of(hour.start, window)
            for hour in statistics.hours
        ),
    }
    return next((fault for fault, is_there in faults.items() if is_there), None)


def _is_duration(number: Number | None) -> bool:
    return number is None or 0 <= number <= MAX_DURATION


def _is_hour_of(text: str, window: Window) -> bool:
    """Whether an hour begins at this time, and some of it is in the window."""
    try:
        start = parse_log_time(text).at
    except (ValueError, OverflowError):
        return False
    return window.start - start < _HOUR and start < window.end


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
