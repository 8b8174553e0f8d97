"""Count the entries of a log that match a filter, poll after poll, and keep the newest of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_supermetrics._api.entry import LogEntry
from airflow_provider_supermetrics._api.filter import ErrorFilter, Matches
from airflow_provider_supermetrics._api.pager import PageRequest
from airflow_provider_supermetrics._api.tail import LogTail, TailState
from airflow_provider_supermetrics._api.times import format_time


@dataclass(frozen=True)
class CounterState:
    """Everything that a counter knows; msgspec makes JSON of it.

    :param tail: how far the log has been read.
    :param matches: what has matched in the polls that have ended.
    :param pending: what has matched in the poll that has not.
    """

    tail: TailState
    matches: Matches = field(default_factory=Matches)
    pending: Matches = field(default_factory=Matches)


class ErrorCounter:
    """A tail whose entries are filtered and counted; driven as a :class:`LogTail` is.

    :param state: how far it is.
    :param error_filter: which entries count.
    :param max_entries: how many of them to keep.
    """

    def __init__(self, state: CounterState, error_filter: ErrorFilter, max_entries: int) -> None:
        self.filter = error_filter
        self.max_entries = max_entries
        #: What has matched in the polls that have ended.
        self.matches = state.matches
        self._tail = LogTail(state.tail)
        self._pending = state.pending

    @property
    def state(self) -> CounterState:
        """How far it is, for a later one to resume from."""
        return CounterState(self._tail.state, self.matches, self._pending)

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
        matching = list(filter(self.filter.matches, (entry.fields for entry in new)))
        self._pending = self._pending.plus(matching, self.max_entries)
        return new

    def finish_poll(self, now: datetime) -> None:
        """See :meth:`LogTail.finish_poll`; what has matched counts from now on."""
        self._tail.finish_poll(now)
        self.matches = self.matches.merged(self._pending, self.max_entries)
        self._pending = Matches()

    def abandon_poll(self) -> None:
        """See :meth:`LogTail.abandon_poll`; what has matched in the poll does not count."""
        self._tail.abandon_poll()
        self._pending = Matches()

    def result(self) -> dict[str, Any]:
        """What has matched, as plain JSON values; ``until`` is the newest time read, or None."""
        tail = self._tail.state
        return {
            "matches": self.matches.count,
            "entries": list(self.matches.entries),
            "since": format_time(tail.since),
            "until": tail.watermark and format_time(tail.watermark),
        }
