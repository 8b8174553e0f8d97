"""Check a window of a log against bounds: read no further than it takes to decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from airflow_provider_supermetrics._api.bounds import Bounds, Counts, described
from airflow_provider_supermetrics._api.entry import LogEntry, Number
from airflow_provider_supermetrics._api.filter import ErrorFilter, Matches
from airflow_provider_supermetrics._api.message import failures
from airflow_provider_supermetrics._api.pager import LogPager, PageRequest, PagerState
from airflow_provider_supermetrics._api.statistics import Statistics, rank
from airflow_provider_supermetrics._api.text import counted
from airflow_provider_supermetrics._api.times import AwareTime

#: Of so many of the newest errors a message says which failures are the most frequent.
MOST_ERRORS = 20
_MOST_EXAMPLES = 5


@dataclass(frozen=True)
class CheckState:
    """Everything that a check knows; msgspec makes JSON of it.

    :param pager: how far the window has been read.
    :param entries: how many entries it has brought.
    :param statistics: what they say in numbers.
    :param errors: those that count as errors.
    :param slow: how many durations are longer than the bound.
    :param least_slow: the shortest of these.
    """

    pager: PagerState
    entries: int = 0
    statistics: Statistics = field(default_factory=lambda: Statistics(by_hour=False))
    errors: Matches = field(default_factory=Matches)
    slow: int = 0
    least_slow: Number | None = None

    @classmethod
    def of(cls, start: datetime, end: datetime) -> CheckState:
        """Nothing of the window is read.

        :raises InvalidRequest: for a window that cannot be read.
        """
        return cls(LogPager(start=start, end=end).state)

    def compact(self) -> CheckState:
        """See :meth:`PagerState.compact`."""
        self.statistics.fold()
        return replace(self, pager=self.pager.compact())


@dataclass(frozen=True)
class CheckProgress:
    """What an attempt has read, for the next one; msgspec makes JSON of it.

    :param of: which log, window and errors it is of.
    :param check: how far it is.
    :param requests: how many requests that took.
    :param waits: how many attempts in a row have ended early without getting far.
    :param saved_at: when it was saved.
    """

    of: dict[str, Any]
    check: CheckState
    requests: int
    waits: int
    saved_at: AwareTime


class LogCheck:
    """A pager that ends as soon as it is certain whether the window keeps to the bounds.

    :param state: how far it is.
    :param error_filter: which entries count as errors.
    :param bounds: what the window must keep to.
    """

    def __init__(self, state: CheckState, error_filter: ErrorFilter, bounds: Bounds) -> None:
        self.state = state
        self._filter = error_filter
        self._bounds = bounds
        self._pager = LogPager.resumed(state.pager)

    @property
    def next(self) -> PageRequest | None:
        """The page to request next, or None when the verdict is certain."""
        return None if self._bounds.is_decided(self.counts) else self._pager.next

    @property
    def is_known(self) -> bool:
        """See :attr:`LogPager.is_known`."""
        return self._pager.is_known

    def receive(self, page: Sequence[LogEntry]) -> list[LogEntry]:
        """Take the page that was requested; return what is new in it.

        :raises ContractViolation: see :meth:`LogPager.receive`.
        """
        new = self._pager.receive(page)
        errors = [fields for fields in (entry.fields for entry in new) if self._filter.matches(fields)]
        before, limit = self.state, self._bounds.max_p95_duration_ms
        slow = [] if limit is None else [d for e in new if (d := e.duration_ms) is not None and d > limit]
        before.statistics.add(new)
        self.state = CheckState(
            self._pager.state,
            before.entries + len(new),
            before.statistics,
            before.errors.plus(errors, MOST_ERRORS),
            before.slow + len(slow),
            min([*slow, *([] if before.least_slow is None else [before.least_slow])], default=None),
        )
        return new

    @property
    def counts(self) -> Counts:
        """What was read so far."""
        return Counts(
            entries=self.state.entries,
            errors=self.state.errors.count,
            p95_duration_ms=self._p95,
            is_complete=self._pager.next is None,
        )

    @property
    def _p95(self) -> Number | None:
        """That of the statistics, which is rounded, but on the side of the bound that the exact one is on."""
        found, limit = self.state.statistics.summary().duration_ms, self._bounds.max_p95_duration_ms
        if found.p95 is None or limit is None:
            return found.p95
        if found.entries - self.state.slow >= rank(found.entries, 95):
            return min(found.p95, limit)
        assert self.state.least_slow is not None, "some are slow"
        return max(found.p95, self.state.least_slow)

    def result(self) -> dict[str, Any]:
        """The verdict and what it is based on, as plain JSON values, once :attr:`next` is None."""
        counts, violations = self.counts, self._bounds.violations(self.counts)
        statistics = msgspec.to_builtins(self.state.statistics.summary())
        statistics["duration_ms"]["p95"] = counts.p95_duration_ms
        del statistics["hours"]
        return {
            "verdict": "violated" if violations else "passed",
            "complete": counts.is_complete,
            "violations": msgspec.to_builtins(violations),
            "entries": counts.entries,
            "errors": counts.errors,
            "statistics": statistics,
            "examples": list(self.state.errors.entries[:_MOST_EXAMPLES]),
        }

    def message(self, connector_identifier: str, window: str) -> str:
        """What a person should read: the verdict on a line of its own, then which failures there were.

        :param window: its start and end.
        """
        counts, errors = self.counts, self.state.errors
        violated = [described(violation, counts) for violation in self._bounds.violations(counts)]
        if not violated:
            violated = [f"passed, {counted(counts.errors, 'error')} in {counts.scope}"]
        lines = [f"{connector_identifier}: {', '.join(violated)}, in {window}"]
        if errors.entries:
            lines += failures(errors.entries, errors.count)
        return "\n".join(lines)
