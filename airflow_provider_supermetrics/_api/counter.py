"""Count the entries of a log that match a filter, poll after poll, and keep the newest of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_supermetrics._api.entry import LogEntry
from airflow_provider_supermetrics._api.filter import ErrorFilter, Matches, newest_since
from airflow_provider_supermetrics._api.pager import PageRequest
from airflow_provider_supermetrics._api.reports import Range, Report, short_key, unreported
from airflow_provider_supermetrics._api.spans import Cells, Episode, RollingCount, Threshold
from airflow_provider_supermetrics._api.tail import LogTail, TailState
from airflow_provider_supermetrics._api.times import AwareTime, format_time


@dataclass(frozen=True)
class CounterState:
    """Everything that a counter knows; msgspec makes JSON of it.

    :param tail: how far the log has been read.
    :param matches: what has matched in the polls that have ended.
    :param pending: what has matched in the poll that has not.
    :param cells: the times of the matches, where a threshold rolls.
    :param pending_cells: those of the poll that has not ended.
    :param reports: what other runs have reported, which does not count; None where each run counts all.
    :param reported: the entries that count and that another run may meet, by their short keys.
    :param pending_reported: those of the poll that has not ended.
    :param others: short keys of the entries that do not count for being among the ``keys`` of a report.
    """

    tail: TailState
    matches: Matches = field(default_factory=Matches)
    pending: Matches = field(default_factory=Matches)
    cells: Cells = ()
    pending_cells: Cells = ()
    reports: tuple[Report, ...] | None = None
    reported: dict[str, AwareTime] = field(default_factory=dict, repr=False)
    pending_reported: dict[str, AwareTime] = field(default_factory=dict, repr=False)
    others: frozenset[str] = frozenset()


class ErrorCounter:
    """A tail whose entries are filtered and counted; driven as a :class:`LogTail` is.

    :param state: how far it is.
    :param error_filter: which entries count.
    :param max_entries: how many of them to keep.
    :param threshold: how many must match.
    :param since: where the threshold rolls, spans that end earlier do not count. It must be a multiple of
        ``within`` after the tail's ``since``, which is the default.
    """

    def __init__(
        self,
        state: CounterState,
        error_filter: ErrorFilter,
        max_entries: int,
        threshold: Threshold | None = None,
        since: datetime | None = None,
    ) -> None:
        self.filter = error_filter
        self.max_entries = max_entries
        self.threshold = threshold or Threshold()
        self.since = since or state.tail.since
        #: What has matched in the polls that have ended.
        self.matches = state.matches
        self._tail = LogTail(state.tail)
        self._pending = state.pending
        self._cells, self._pending_cells = state.cells, state.pending_cells
        self._rolling: RollingCount | None = None
        if self.threshold.within is not None:
            self._rolling = RollingCount(self.threshold.min_matches, self.threshold.within, state.tail.since)
        self._reports = state.reports
        self._reported: Mapping[str, datetime] = state.reported
        self._pending_reported: Mapping[str, datetime] = state.pending_reported
        self._others = state.others

    @property
    def state(self) -> CounterState:
        """How far it is, for a later one to resume from."""
        return CounterState(
            self._tail.state,
            self.matches,
            self._pending,
            self._cells,
            self._pending_cells,
            self._reports,
            dict(self._reported),
            dict(self._pending_reported),
            self._others,
        )

    @property
    def next(self) -> PageRequest | None:
        """The page to request next, or None when the poll has read all."""
        return self._tail.next

    @property
    def is_known(self) -> bool:
        """See :attr:`LogTail.is_known`."""
        return self._tail.is_known

    def begin_poll(self, now: datetime) -> None:
        """See :meth:`LogTail.begin_poll`."""
        self._tail.begin_poll(now)

    def receive(self, page: Sequence[LogEntry]) -> list[LogEntry]:
        """Take the page that was requested; return what is new in it.

        :raises ContractViolation: see :meth:`LogTail.receive`.
        """
        new = self._tail.receive(page)
        matching = [(entry, fields) for entry in new if self.filter.matches(fields := entry.fields)]
        if (reports := self._reports) is not None:
            keys = {short_key(entry) for entry, _ in matching}
            self._others |= keys & frozenset().union(*(report.keys for report in reports))
            matching = [pair for pair in matching if not any(report.has(pair[0]) for report in reports)]
            times = {short_key(entry): entry.time for entry, _ in matching}
            self._pending_reported = {**self._pending_reported, **times}
        self._pending = self._pending.plus([fields for _, fields in matching], self.max_entries)
        if self._rolling is not None:
            self._pending_cells = self._rolling.plus(
                self._pending_cells, [entry.time for entry, _ in matching]
            )
        return new

    def finish_poll(self, now: datetime) -> None:
        """See :meth:`LogTail.finish_poll`; what has matched counts from now on."""
        self._tail.finish_poll(now)
        self.matches = self.matches.merged(self._pending, self.max_entries)
        self._pending = Matches()
        if self._rolling is not None:
            self._cells = self._rolling.merged(self._cells, self._pending_cells)
            self._pending_cells = ()
            if not self.is_reached:
                self._cells = self._rolling.since(self._cells, self._tail.state.reread_from)
        self._forget_what_is_covered()

    def abandon_poll(self) -> None:
        """See :meth:`LogTail.abandon_poll`; what has matched in the poll does not count."""
        self._tail.abandon_poll()
        self._pending, self._pending_reported = Matches(), {}
        self._pending_cells = ()

    @property
    def is_reached(self) -> bool:
        """Whether as many have matched as the threshold says, in the polls that have ended."""
        if self._rolling is not None:
            return self._first_episode() is not None
        return self.matches.count >= self.threshold.min_matches

    @property
    def count(self) -> int:
        """How many have matched; where the threshold rolls, the most that a span holds."""
        if self._rolling is not None:
            return self._rolling.most(self._cells, self.since)
        return self.matches.count

    @property
    def is_rest(self) -> bool:
        """Whether other runs may have reported errors of the same time, which are not counted again."""
        return bool(self._reports)

    def report(self) -> Report | None:
        """What has been counted, for other runs; None where nothing has been read, or each run counts all."""
        tail = self._tail.state
        if self._reports is None or tail.watermark is None:
            return None
        return Report(tuple(self._covered()), frozenset(self._reported), self._others)

    def _covered(self) -> Sequence[Range]:
        """The times of which this counter has counted all that no report has."""
        tail = self._tail.state
        assert tail.watermark is not None, "something was read"
        return unreported(self._reports or (), tail.since, tail.watermark - tail.overlap)

    def _forget_what_is_covered(self) -> None:
        reported = {**self._reported, **self._pending_reported}
        if reported:
            # An entry in none of these ranges may lie in one of another report, among its ``others``.
            ranges = self._covered()
            reported = {
                key: time
                for key, time in reported.items()
                if not any(start <= time < end for start, end in ranges)
            }
        self._reported, self._pending_reported = reported, {}

    def result(self) -> dict[str, Any]:
        """What has matched, as plain JSON values; ``until`` is the newest time read, or None.

        Where the threshold rolls, that is what has matched from the beginning of the first span that reached
        it; nothing before.
        """
        tail = self._tail.state
        since, count, entries = self.since, self.matches.count, self.matches.entries
        if self._rolling is not None:
            first = self._first_episode()
            since, count = (first.first, first.matches) if first else (since, 0)
            entries = newest_since(entries, since, count)
        return {
            "matches": count,
            "entries": list(entries),
            "since": format_time(since),
            "until": tail.watermark and format_time(tail.watermark),
        }

    def _first_episode(self) -> Episode | None:
        assert self._rolling is not None
        return next(iter(self._rolling.episodes(self._cells, self.since)), None)
