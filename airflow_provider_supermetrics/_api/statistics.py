"""What the entries of a window say in numbers: errors, statuses, durations, hours.

Counts are exact. Memory is bounded, whatever the entries contain: durations are counted in buckets, each 1 %
wider than the one before, so that a percentile is within 1 % of the exact one, or within 1 ms.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate, repeat
from math import ceil, expm1, log1p
from operator import mul
from typing import Final

from airflow_provider_supermetrics._api.entry import LogEntry, Number

#: The lowest status of an error.
ERROR_STATUS: Final = 400
#: Hours are counted in windows longer than the one and not longer than the other.
_SHORTEST, _LONGEST = timedelta(hours=2), timedelta(days=400)
# For each e-fold. A middle is within half of a bucket's 1 %, and rounding adds half of a millisecond.
_BUCKETS = 102.0
# Durations wait until they are so many, because most repeat: then a logarithm serves several.
_AT_ONCE = 50_000
_LABELLED = range(1000)
# Of most entries: to count only the others takes half of the time.
_USUAL_STATUS: Final = 200


@dataclass(frozen=True)
class DurationStatistics:
    """The durations of the entries that have one, in milliseconds.

    :param entries: how many have one.
    :param p50: half of them are not longer; None where there are none.
    :param p95: 95 % of them are not longer.
    :param max: the longest.
    """

    entries: int
    p50: Number | None
    p95: Number | None
    max: Number | None


@dataclass(frozen=True)
class HourStatistics:
    """The entries of one hour; those without any are left out.

    :param start: its first time.
    :param errors: entries with a status of 400 or more.
    """

    start: str
    entries: int
    errors: int


@dataclass(frozen=True)
class LogStatistics:
    """What a manifest says of its entries.

    :param errors: entries with a status of 400 or more.
    :param statuses: entries by status; ``"none"`` for those without one, ``"other"`` for those that are no
        integer from 0 to 999.
    :param hours: the earliest first; empty where the window is at most two hours or more than 400 days long.
    """

    errors: int
    statuses: dict[str, int]
    duration_ms: DurationStatistics
    hours: list[HourStatistics]


@dataclass
class Statistics:
    """Counts entries as they are read, in any order; msgspec converts it to JSON.

    :param by_hour: whether hours are counted.
    :param errors: entries with a status of 400 or more.
    :param statuses: entries by status.
    :param durations: entries by bucket of their duration.
    :param recent: durations that are in no bucket yet, None for entries without one.
    :param longest: the longest of the others.
    :param hours: entries and errors by the hour's first time.
    """

    by_hour: bool
    errors: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    durations: list[int] = field(default_factory=list)
    recent: list[Number | None] = field(default_factory=list)
    longest: Number | None = None
    hours: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, length: timedelta) -> Statistics:
        """Begin to count the entries of a window of this length."""
        return cls(_SHORTEST < length <= _LONGEST)

    def add(
        self, entries: Sequence[LogEntry], oldest: datetime | None = None, newest: datetime | None = None
    ) -> None:
        """Count these, too.

        :param oldest: a time that none of them is before, where the caller knows one.
        :param newest: likewise, a time that none is after.
        """
        counts: dict[Number | None, int] = {}
        for entry in entries:
            # By identity, which is quick: one that is equal and not the same is counted here.
            if (status := entry.status) is not _USUAL_STATUS:
                counts[status] = counts.get(status, 0) + 1
        if usual := len(entries) - sum(counts.values()):
            counts[_USUAL_STATUS] = counts.get(_USUAL_STATUS, 0) + usual
        for status, count in counts.items():
            label = _label(status)
            self.statuses[label] = self.statuses.get(label, 0) + count
        of_errors = {status for status in counts if status is not None and status >= ERROR_STATUS}
        errors = sum([counts[status] for status in of_errors])
        self.errors += errors
        self.recent += [entry.duration_ms for entry in entries]
        if len(self.recent) >= _AT_ONCE:
            self.fold()
        if self.by_hour and entries:
            if oldest is not None and newest is not None and _hour(oldest) == _hour(newest):
                self._add_hour(oldest, len(entries), errors)
            else:
                # Pages are newest first, and what is in order is sorted in one pass.
                times = sorted([entry.time for entry in reversed(entries)])
                self._add_hours(times, sorted([e.time for e in entries if e.status in of_errors]))

    def summary(self) -> LogStatistics:
        """What was counted so far."""
        self.fold()
        return LogStatistics(
            errors=self.errors,
            statuses=dict(sorted(self.statuses.items())),
            duration_ms=DurationStatistics(
                sum(self.durations), self._percentile(50), self._percentile(95), self.longest
            ),
            hours=[HourStatistics(hour, *numbers) for hour, numbers in sorted(self.hours.items())],
        )

    def fold(self) -> None:
        """Put all durations into buckets, which take less room than they do."""
        counts = {duration: n for duration, n in Counter(self.recent).items() if duration is not None}
        self.recent = []
        if not counts:
            return
        buckets = list(map(int, map(mul, map(log1p, counts), repeat(_BUCKETS))))
        self.durations += [0] * (max(buckets) + 1 - len(self.durations))
        for bucket, count in zip(buckets, counts.values(), strict=True):
            self.durations[bucket] += count
        self.longest = max(counts if self.longest is None else (self.longest, *counts))

    def _add_hours(self, times: Sequence[datetime], failed: Sequence[datetime]) -> None:
        """Count sorted times of all entries, and of the errors among them."""
        begin = failed_begin = 0
        while begin < len(times):
            last = times[begin].replace(minute=59, second=59, microsecond=999_999)
            end, failed_end = bisect_right(times, last, begin), bisect_right(failed, last, failed_begin)
            self._add_hour(last, end - begin, failed_end - failed_begin)
            begin, failed_begin = end, failed_end

    def _add_hour(self, time: datetime, entries: int, errors: int) -> None:
        key = _hour(time)
        earlier = self.hours.get(key, (0, 0))
        self.hours[key] = earlier[0] + entries, earlier[1] + errors

    def _percentile(self, percent: int) -> Number | None:
        """The duration at this rank, rounded to milliseconds."""
        if self.longest is None:
            return None
        counts = list(accumulate(self.durations))
        bucket = bisect_left(counts, rank(counts[-1], percent))
        return min(round(expm1((bucket + 0.5) / _BUCKETS)), self.longest)


def rank(number: int, percent: int) -> int:
    """Which of so many values, the smallest first, is the one at this percentile; the first is 1."""
    return ceil(number * percent / 100)


def _label(status: Number | None) -> str:
    if status is None:
        return "none"
    return str(int(status)) if status in _LABELLED else "other"


def _hour(time: datetime) -> str:
    """The first time of its hour, as `format_time` prints it, but at a tenth of the cost."""
    return f"{time.isoformat()[:13]}:00:00Z"
