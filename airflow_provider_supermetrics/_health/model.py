"""From the windows of exports to the health of their connectors: pure, and the same for the same input."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from enum import IntEnum
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import Final

import msgspec

from airflow_provider_supermetrics._api.entry import Number
from airflow_provider_supermetrics._api.text import counted
from airflow_provider_supermetrics._api.times import parse_log_time
from airflow_provider_supermetrics._coverage import Coverage
from airflow_provider_supermetrics._health.words import length, milliseconds, moment, percent, period
from airflow_provider_supermetrics._schedule import Window

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
# So many bars are legible beside each other.
_MOST_BARS: Final = 192
_BARS: Final = (*(timedelta(hours=hours) for hours in (1, 2, 3, 4, 6, 12)), _DAY, timedelta(days=7))
# Connectors that a note names.
_MOST_NAMES: Final = 5
# The next window is written after its end: until another one would be due, nothing is missing.
_WINDOWS_AWAITED: Final = 2
_FAILING_RATE: Final = 0.2
_NOTABLE_RATE: Final = 0.05
# A rate that has risen is notable earlier.
_RISEN_RATE, _RISEN_TIMES = 0.01, 3
_SLOW_TIMES: Final = 2
# Fewer entries a day say nothing by their absence; fewer durations, nothing by their change.
_FEWEST_A_DAY: Final = 10
_FEWEST_DURATIONS: Final = 100


class Durations(msgspec.Struct, frozen=True, gc=False):
    """See :class:`DurationStatistics`."""

    entries: int = 0
    p50: Number | None = None
    p95: Number | None = None
    max: Number | None = None


class Hour(msgspec.Struct, frozen=True, gc=False):
    """See :class:`HourStatistics`."""

    start: str
    entries: int
    errors: int


class WindowStatistics(msgspec.Struct, frozen=True, gc=False):
    """See :class:`LogStatistics`; smaller in memory, because a page keeps tens of thousands.

    ``gc=False``: none of them is part of a cycle, and the collector need not look for one.
    """

    errors: int
    statuses: dict[str, int]
    duration_ms: Durations
    hours: tuple[Hour, ...] = ()


class WindowFacts(msgspec.Struct, frozen=True, gc=False):
    """What the page needs of a manifest's content."""

    team_id: int
    entries: int
    statistics: WindowStatistics


class ExportedWindow(msgspec.Struct, frozen=True, gc=False):
    """A window whose manifest exists.

    :param folder: the folder of its objects, below the path of the exports; "" is that path itself.
    :param facts: None where the manifest was not read.
    """

    connector_identifier: str
    window: Window
    folder: str = ""
    facts: WindowFacts | None = None


class Level(IntEnum):
    """How much attention something needs."""

    HEALTHY = 0
    NOTICE = 1
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True)
class Finding:
    """What needs attention, and how much.

    :param kind: ``errors``, ``stopped``, ``missing``, ``silent``, ``slow`` or ``overlapping``.
    :param since: from when on, where that is known.
    """

    level: Level
    kind: str
    text: str
    since: datetime | None = None


@dataclass(frozen=True)
class Numbers:
    """What the entries of some time say.

    :param timed: how many of the entries have a duration; of a part of a window, its share of them.
    :param p50: half of the durations are not longer. Where several windows are in the time, the mean of
        theirs, weighted by their entries.
    :param p95: likewise.
    :param max: the longest duration of the windows that begin in the time; for the first of the report, of
        those that begin before it, too.
    :param is_read: whether a manifest of some of the time was read; without one, the numbers say nothing.
    """

    start: datetime
    entries: int
    errors: int
    timed: float
    p50: float | None
    p95: float | None
    max: Number | None
    is_read: bool

    @property
    def rate(self) -> float | None:
        """Errors by entries."""
        return self.errors / self.entries if self.entries else None


@dataclass(frozen=True)
class ConnectorCoverage:
    """Which of a connector's time has been exported.

    :param expected: from the first window on, at the earliest from the report's start.
    :param awaited: the time at the end whose window is not due yet, if any.
    """

    expected: Window
    complete: tuple[Window, ...]
    missing: tuple[Window, ...]
    overlapping: tuple[Window, ...]
    awaited: Window | None

    @property
    def missing_time(self) -> timedelta:
        """How much is missing."""
        return total(self.missing)

    @property
    def share(self) -> float:
        """How much of the time that should be there is, from 0 to 1."""
        there = total(self.complete)
        return there / (there + self.missing_time) if there + self.missing_time else 1.0


@dataclass(frozen=True)
class Day:
    """One line of the tables: a day of UTC.

    :param missing: what of it is missing.
    :param folders: where its objects are.
    """

    date: date
    numbers: Numbers
    complete: timedelta
    missing: timedelta
    overlapping: timedelta
    folders: tuple[str, ...]


@dataclass(frozen=True)
class ConnectorHealth:
    """What is known of a connector.

    :param path: the path of its exports.
    :param team_id: its team, or None where no manifest was read.
    :param label: both as a name, the team only where several have such a connector.
    :param findings: what needs attention, most of it first.
    :param bars: the numbers over time, each of the report's ``bar`` long.
    :param days: the latest first, by UTC, from the first window on.
    :param recent: the numbers of the last day that has been exported.
    :param last_error: the shortest time that is known to contain the last error.
    :param unread: how many manifests were not read.
    """

    path: str
    connector_identifier: str
    team_id: int | None
    label: str
    findings: tuple[Finding, ...]
    coverage: ConnectorCoverage
    numbers: Numbers
    recent: Numbers
    bars: tuple[Numbers, ...]
    days: tuple[Day, ...]
    statuses: tuple[tuple[str, int], ...]
    last_error: Window | None
    windows: int
    unread: int

    @property
    def level(self) -> Level:
        """That of the gravest finding."""
        return self.findings[0].level if self.findings else Level.HEALTHY


@dataclass(frozen=True)
class Report:
    """The page's content.

    :param window: the time that it is about.
    :param now: when the manifests were listed.
    :param bar: the time that each bar of the plots stands for.
    :param connectors: what needs attention first.
    :param notes: what the reader should know of how the report came about.
    """

    window: Window
    now: datetime
    bar: timedelta
    connectors: tuple[ConnectorHealth, ...]
    notes: tuple[str, ...] = ()

    @property
    def numbers(self) -> dict[str, object]:
        """The report as a small JSON value."""
        attention = [each for each in self.connectors if each.level > Level.NOTICE]
        return {
            "connectors": len(self.connectors),
            "attention": [each.label for each in attention],
            "entries": sum(each.numbers.entries for each in self.connectors),
            "errors": sum(each.numbers.errors for each in self.connectors),
            "missing_hours": round(
                sum((each.coverage.missing_time for each in self.connectors), timedelta()) / _HOUR, 3
            ),
        }


def report(
    exports: Iterable[tuple[str, Iterable[ExportedWindow]]],
    window: Window,
    now: datetime,
    notes: Sequence[str] = (),
    memo: Memo | None = None,
) -> Report:
    """Make the report of the windows under some paths.

    :param exports: the paths, and the windows whose manifests are there, in any order.
    :param window: the time that the report is about.
    :param now: when the manifests were listed.
    :param memo: what an earlier report has counted, which is used again where nothing has changed, and
        replaced.
    """
    bar = next((bar for bar in _BARS if window.end - window.start <= _MOST_BARS * bar), _BARS[-1])
    scale = _Scale(window, bar)
    connectors = []
    retired = []
    known: Memo = {}
    for path, windows in exports:
        by_connector = defaultdict(list)
        for each in windows:
            by_connector[each.connector_identifier].append(each)
        for name, of_name in by_connector.items():
            by_team = _by_team(of_name)
            for team, found in by_team.items():
                label = f"{name} of team {team}" if len(by_team) > 1 else name
                newest = max(each.window.end for each in found)
                if window.start - newest >= window.end - window.start:
                    retired.append(label)
                    continue
                series = (memo or {}).get((path, name, team))
                if series is None or not series.is_of(scale, found):
                    series = _Series(scale, found)
                known[path, name, team] = series
                connectors.append(_health(path, name, team, label, series, scale, now))
    if memo is not None:
        memo.clear()
        memo.update(known)
    connectors.sort(key=_urgency)
    if retired:
        notes = [*notes, _of_retired(sorted(retired), window)]
    return Report(window, now, bar, tuple(connectors), tuple(notes))


def _of_retired(labels: list[str], window: Window) -> str:
    """The note of the connectors that were retired."""
    was, are = ("was", "is") if len(labels) == 1 else ("were", "are")
    shown = labels[:_MOST_NAMES]
    if more := len(labels) - len(shown):
        shown.append(f"and {more:,} more")
    return (
        f"{counted(len(labels), 'connector')} {was} last exported before "
        f"{moment(window.start - (window.end - window.start))} and {are} not shown: {', '.join(shown)}"
    )


def _by_team(windows: list[ExportedWindow]) -> dict[int | None, list[ExportedWindow]]:
    """Divide the windows of one identifier by team.

    Without facts, a window belongs to the first team of its folder, or of the nearest folder above it that
    has one.
    """
    teams = {each.facts.team_id for each in windows if each.facts is not None}
    if len(teams) < 2:
        return {next(iter(teams), None): windows}
    first: dict[str, int] = {}
    for folder, team in {(each.folder, each.facts.team_id) for each in windows if each.facts is not None}:
        for above in _upwards(folder):
            first[above] = min(team, first.get(above, team))
    found: dict[int | None, list[ExportedWindow]] = defaultdict(list)
    for each in windows:
        if each.facts is not None:
            found[each.facts.team_id].append(each)
        else:
            found[next(first[above] for above in _upwards(each.folder) if above in first)].append(each)
    return found


def _upwards(folder: str) -> Iterator[str]:
    """The folder, and those above it up to the path of the exports."""
    yield folder
    while folder:
        folder = folder.rpartition("/")[0]
        yield folder


class _Scale:
    """A report's time in the hours by which it counts, so that the last day is one of any 24 hours.

    :param window: the time.
    :param bar: the length of a bar.
    """

    def __init__(self, window: Window, bar: timedelta) -> None:
        self.window = window
        first = floor(window.start, _HOUR)
        number = -((first - window.end) // _HOUR)
        self.starts = [first + index * _HOUR for index in range(number)]
        self.bars = self._ranges(bar)
        self.days = self._ranges(_DAY)
        self.day_of = [day for day, (first, end) in enumerate(self.days) for _ in range(first, end)]
        self._indices = {start: index for index, start in enumerate(self.starts)}

    def index(self, time: datetime) -> int:
        """The hour of a time, which may be beyond the report."""
        index = self._indices.get(time)
        return (time - self.starts[0]) // _HOUR if index is None else index

    def hours(self, window: Window) -> tuple[int, int]:
        """The first hour of a window, and the one after its last, which may be beyond the report."""
        first, end = self._indices.get(window.start), self._indices.get(window.end)
        if first is None:
            first = (window.start - self.starts[0]) // _HOUR
        if end is None:
            end = -((self.starts[0] - window.end) // _HOUR)
        return first, end

    def first_after(self, time: datetime) -> int:
        """The first hour that begins at a time or later, at most one beyond the report."""
        return bisect_left(self.starts, time)

    def _ranges(self, length: timedelta) -> list[tuple[int, int]]:
        """The hours of each longer time: the first one, and the one after the last."""
        groups = groupby(range(len(self.starts)), lambda index: floor(self.starts[index], length))
        ranges = [list(group) for _, group in groups]
        return [(group[0], group[-1] + 1) for group in ranges]


class _Series:
    """A connector's numbers by hour, and the folders of each day.

    :param scale: the report's time.
    :param windows: the connector's windows, in any order.
    """

    def __init__(self, scale: _Scale, windows: list[ExportedWindow]) -> None:
        self._scale = scale
        self._listed = windows
        # The earliest first, of those the longest; the folder, so that the order of the listing is no matter.
        self.windows = sorted(windows, key=attrgetter("folder"))
        self.windows.sort(key=attrgetter("window.end"), reverse=True)
        self.windows.sort(key=attrgetter("window.start"))
        self.folders = self._folders()
        size = len(scale.starts)
        self.entries = [0] * size
        self.errors = [0] * size
        # A year has so many hours that a list's objects would be most of the memory.
        self._timed, self._p50, self._p95 = (array("d", bytes(8 * size)) for _ in range(3))
        self._max: list[Number | None] = [None] * size
        self.statuses: dict[str, int] = {}
        self.last_error: Window | None = None
        self._read = bytearray(size)
        for window, facts in _counted_once(self.windows):
            self._count(window, facts)

    def is_of(self, scale: _Scale, windows: list[ExportedWindow]) -> bool:
        """Whether it would be the same for these."""
        return scale.starts == self._scale.starts and windows == self._listed

    def _count(self, window: Window, facts: WindowFacts) -> None:
        """Count the entries of a window."""
        first, end = self._scale.hours(window)
        size = len(self.entries)
        statistics = facts.statistics
        for index in range(max(first, 0), min(end, size)):
            self._read[index] = True
        if statistics.hours:
            for hour in statistics.hours:
                start = parse_log_time(hour.start).at
                index = self._scale.index(start)
                if 0 <= index < size:
                    part = Window(max(start, window.start), min(start + _HOUR, window.end))
                    self._add(index, part, hour.entries, hour.errors)
        elif 0 <= first < size:
            self._add(first, window, facts.entries, statistics.errors)
        if first < size and end > 0:
            statuses = self.statuses
            for status, number in statistics.statuses.items():
                statuses[status] = statuses.get(status, 0) + number
            longest = statistics.duration_ms.max
            begin = max(first, 0)
            earlier = self._max[begin]
            if longest is not None and (earlier is None or longest > earlier):
                self._max[begin] = longest
        durations = statistics.duration_ms
        if durations.entries and durations.p50 is not None and durations.p95 is not None:
            # All hours that the window covers, because the manifest does not divide them.
            timed = durations.entries / (end - first)
            for index in range(max(first, 0), min(end, size)):
                self._timed[index] += timed
                self._p50[index] += timed * durations.p50
                self._p95[index] += timed * durations.p95

    def _add(self, index: int, window: Window, entries: int, errors: int) -> None:
        self.entries[index] += entries
        if errors:
            self.errors[index] += errors
            if self.last_error is None or window.end > self.last_error.end:
                self.last_error = window

    def numbers(self, first: int, end: int) -> Numbers:
        """Those of the hours from ``first`` on, up to ``end``."""
        timed = sum(self._timed[first:end])
        return Numbers(
            start=self._scale.starts[min(first, len(self.entries) - 1)],
            entries=sum(self.entries[first:end]),
            errors=sum(self.errors[first:end]),
            timed=timed,
            p50=sum(self._p50[first:end]) / timed if timed else None,
            p95=sum(self._p95[first:end]) / timed if timed else None,
            max=max((longest for longest in self._max[first:end] if longest is not None), default=None),
            is_read=any(self._read[first:end]),
        )

    def days_read(self, end: int) -> float:
        """How many days of the hours up to ``end`` are in a manifest that was read."""
        return self._read.count(True, 0, end) * _HOUR / _DAY

    @cached_property
    def bars(self) -> tuple[Numbers, ...]:
        """Those of each bar."""
        return tuple(self.numbers(*hours) for hours in self._scale.bars)

    @cached_property
    def days(self) -> tuple[Numbers, ...]:
        """Those of each day, the earliest first."""
        return tuple(self.numbers(*hours) for hours in self._scale.days)

    def _folders(self) -> list[set[str]]:
        """The folders of the windows of each day."""
        scale, size = self._scale, len(self._scale.starts)
        folders: list[set[str]] = [set() for _ in scale.days]
        for each in self.windows:
            first, end = scale.hours(each.window)
            if end > 0 and first < size:
                for day in range(scale.day_of[max(first, 0)], scale.day_of[min(end, size) - 1] + 1):
                    folders[day].add(each.folder)
        return folders

    def first_with_entries(self) -> int:
        """The first hour that has any; without one, 0."""
        return next((index for index, entries in enumerate(self.entries) if entries), 0)


Memo = dict[tuple[str, str, int | None], _Series]


def _health(
    path: str,
    connector_identifier: str,
    team_id: int | None,
    label: str,
    series: _Series,
    scale: _Scale,
    now: datetime,
) -> ConnectorHealth:
    windows = series.windows
    coverage = _coverage([each.window for each in windows], scale.window, now)
    of_report = [each for each in windows if is_within(each.window, scale.window)]
    newest = max(each.window.end for each in windows)
    end = scale.first_after(min(newest, scale.window.end))
    day = scale.first_after(min(newest, scale.window.end) - _DAY)
    recent, before = series.numbers(day, end), series.numbers(0, day)
    findings = [
        *_errors(recent, before, series, scale),
        *_missing(coverage, newest, now),
        *_silent(recent, before, series.days_read(day), series, scale),
        *_slow(recent, before),
        *_overlapping(coverage),
    ]
    findings.sort(key=lambda finding: -finding.level)
    return ConnectorHealth(
        path=path,
        connector_identifier=connector_identifier,
        team_id=team_id,
        label=label,
        findings=tuple(findings),
        coverage=coverage,
        numbers=series.numbers(0, len(scale.starts)),
        recent=recent,
        bars=series.bars,
        days=tuple(_days(series, coverage)),
        statuses=tuple(sorted(series.statuses.items())),
        last_error=series.last_error,
        windows=len(of_report),
        unread=sum(each.facts is None for each in of_report),
    )


def _counted_once(windows: Sequence[ExportedWindow]) -> Iterator[tuple[Window, WindowFacts]]:
    """Leave out windows whose time others contain: an hour of a day that was exported again as a whole.

    :param windows: the earliest first, of those the longest.
    """
    end = datetime.min.replace(tzinfo=timezone.utc)
    for each in windows:
        facts = each.facts
        if facts is not None and each.window.end > end:
            end = each.window.end
            yield each.window, facts


def _coverage(windows: Sequence[Window], of: Window, now: datetime) -> ConnectorCoverage:
    """Which of the time is covered.

    :param windows: the earliest first; at least one.
    """
    expected = Window(min(max(of.start, windows[0].start), of.end), of.end)
    found = Coverage.of(expected, _joined(windows))
    missing, awaited = list(found.missing), None
    if missing and missing[-1].end == expected.end:
        # The shortest of those that end last: hours, also where all of them were exported again as one.
        newest = max(windows, key=attrgetter("end", "start"))
        step = newest.end - newest.start
        due, gap = (now - newest.end) // step, missing.pop()
        end = newest.end + due * step if due >= _WINDOWS_AWAITED else gap.start
        if end > gap.start:
            missing.append(Window(gap.start, min(end, gap.end)))
        if end < gap.end:
            awaited = Window(max(end, gap.start), gap.end)
    # What is between the ranges that none covers.
    bounds = [expected.start, *(time for gap in found.missing for time in (gap.start, gap.end)), expected.end]
    complete = (Window(start, end) for start, end in zip(bounds[::2], bounds[1::2]) if start < end)
    return ConnectorCoverage(expected, tuple(complete), tuple(missing), found.overlapping, awaited)


def _joined(windows: Iterable[Window]) -> Iterator[Window]:
    """Join windows that follow each other: the same coverage, in fewer pieces."""
    start = end = None
    for window in windows:
        if window.start == end:
            end = window.end
            continue
        if start is not None and end is not None:
            yield Window(start, end)
        start, end = window.start, window.end
    if start is not None and end is not None:
        yield Window(start, end)


def _errors(recent: Numbers, before: Numbers, series: _Series, scale: _Scale) -> Iterator[Finding]:
    if not recent.errors or recent.rate is None:
        return
    # Of a connector that is new, nobody knows what is usual.
    is_known = before.rate is not None and recent.rate >= _RISEN_TIMES * before.rate
    has_risen = is_known and recent.rate >= _RISEN_RATE
    if recent.rate < _NOTABLE_RATE and not has_risen:
        return
    level = Level.CRITICAL if recent.rate >= _FAILING_RATE else Level.WARNING
    index = _since(series, recent.rate / 2, scale.first_after(recent.start))
    since = scale.starts[index]
    earlier = series.numbers(max(index - _DAY // _HOUR, 0), index)
    if earlier.rate is None:
        earlier = series.numbers(0, index)
    when = f"since {moment(since)}; before, {percent(earlier.rate)}"
    if index == series.first_with_entries():
        when = "since the first entries of this report"
    yield Finding(
        level, "errors", f"{percent(recent.rate)} of the last day's entries are errors, {when}", since
    )


def _since(series: _Series, rate: float, last_day: int) -> int:
    """The hour from which on errors exceed this rate the most: a quiet hour after it changes nothing.

    What is before a day below the rate is another matter, and so is what is before so many entries without
    an error that they outweigh all that follows.

    :param last_day: the first hour of the last day.
    """
    excess = most = 0.0
    since = len(series.entries) - 1
    day: deque[float] = deque(maxlen=_DAY // _HOUR)
    for index in range(since, -1, -1):
        entries = series.entries[index]
        if not entries:
            continue
        day.append(series.errors[index] - rate * entries)
        excess += day[-1]
        if excess > most:
            most, since = excess, index
        if index < last_day and (excess < 0 or (len(day) == day.maxlen and sum(day) < 0)):
            break
    return since


def _missing(coverage: ConnectorCoverage, newest: datetime, now: datetime) -> Iterator[Finding]:
    gaps = list(coverage.missing)
    if gaps and gaps[-1].start >= newest:
        since = gaps.pop().start
        text = f"No export since {moment(newest)}, {length(now - newest)} ago"
        yield Finding(Level.CRITICAL, "stopped", text, since)
    if gaps:
        where = f": {period(gaps[-1])}"
        if len(gaps) > 1:
            where = f" in {counted(len(gaps), 'gap')}, the last one {period(gaps[-1])}"
        yield Finding(Level.WARNING, "missing", f"{length(total(gaps))} missing{where}", gaps[-1].start)


def _silent(
    recent: Numbers, before: Numbers, days: float, series: _Series, scale: _Scale
) -> Iterator[Finding]:
    """Whether nothing comes.

    :param days: how many days before were read.
    """
    if recent.entries or days < 1 or before.entries < days * _FEWEST_A_DAY:
        return
    last = max(index for index, entries in enumerate(series.entries) if entries)
    # Nobody knows what a window contains that was not read.
    unread = [each.window.end for each in series.windows if each.facts is None]
    since = max([scale.starts[last] + _HOUR, *unread])
    if since > recent.start:
        return
    usual = counted(round(before.entries / days), "entry", "entries")
    yield Finding(Level.WARNING, "silent", f"No entries since {moment(since)}; before, {usual} a day", since)


def _slow(recent: Numbers, before: Numbers) -> Iterator[Finding]:
    if min(recent.timed, before.timed) < _FEWEST_DURATIONS or not recent.p95 or not before.p95:
        return
    times = recent.p95 / before.p95
    if times >= _SLOW_TIMES:
        text = (
            f"p95 of the last day is {milliseconds(recent.p95)}, "
            f"{times:.1f} times the {milliseconds(before.p95)} before"
        )
        yield Finding(Level.NOTICE, "slow", text)


def _overlapping(coverage: ConnectorCoverage) -> Iterator[Finding]:
    if coverage.overlapping:
        first = coverage.overlapping[-1]
        text = f"{length(total(coverage.overlapping))} exported more than once, the last time {period(first)}"
        yield Finding(Level.NOTICE, "overlapping", text, first.start)


def _urgency(health: ConnectorHealth) -> tuple[float | str, ...]:
    """Sorts by how much attention a connector needs."""
    nothing_comes = any(finding.kind in ("stopped", "silent") for finding in health.findings)
    score = (health.recent.rate or 0.0) + (1 - health.coverage.share) + nothing_comes
    return (-health.level, -score, health.connector_identifier, health.path, health.team_id or 0)


def _days(series: _Series, coverage: ConnectorCoverage) -> Iterator[Day]:
    complete, missing, overlapping = (
        _by_day(spans) for spans in (coverage.complete, coverage.missing, coverage.overlapping)
    )
    for numbers, folders in zip(reversed(series.days), reversed(series.folders), strict=True):
        start = floor(numbers.start, _DAY)
        # Before its first window a connector has nothing to show.
        if start + _DAY <= coverage.expected.start:
            break
        yield Day(
            date=start.date(),
            numbers=numbers,
            complete=complete.get(start, timedelta()),
            missing=missing.get(start, timedelta()),
            overlapping=overlapping.get(start, timedelta()),
            folders=tuple(sorted(folders)),
        )


def _by_day(windows: Iterable[Window]) -> dict[datetime, timedelta]:
    found: dict[datetime, timedelta] = defaultdict(timedelta)
    for window in windows:
        start = window.start
        while start < window.end:
            day = floor(start, _DAY)
            end = min(window.end, day + _DAY)
            found[day] += end - start
            start = end
    return found


def is_within(window: Window, other: Window) -> bool:
    """Whether some of the window is in the other one."""
    return window.start < other.end and window.end > other.start


def total(windows: Iterable[Window]) -> timedelta:
    """How long windows are together."""
    return sum((window.end - window.start for window in windows), timedelta())


_MIDNIGHT: Final = datetime(1970, 1, 5, tzinfo=timezone.utc)


def floor(time: datetime, unit: timedelta) -> datetime:
    """The last whole ``unit`` up to a time; weeks begin on Monday."""
    return time - (time - _MIDNIGHT) % unit
