"""What the entries of a window say in numbers: errors, statuses, durations, hours.

Counts are exact. Memory is bounded, whatever the entries contain: durations are counted in buckets, each 1 %
wider than the one before, so that a percentile is within 0.5 % of the exact one, and half a millisecond that
rounding adds: within 1 %, or within 1 ms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import compress, repeat
from math import ceil, expm1, log1p
from operator import mul
from typing import Any, Final

from airflow_provider_supermetrics._api.entry import LogEntry, read_status
from airflow_provider_supermetrics._api.times import format_time

# msgspec reads an integer as one, for which float alone would not do.
Number = int | float

#: The lowest status of an error.
ERROR_STATUS: Final = 400
#: Hours are counted in windows longer than the one and not longer than the other.
_SHORTEST, _LONGEST = timedelta(hours=2), timedelta(days=400)
# For each e-fold.
_BUCKETS = 102.0
_TOO_LONG = 2**63
_INTEGER = {int}
_USUAL_STATUSES = {int, type(None)}
_LABELLED = range(1000)


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
    :param durations: entries by bucket.
    :param longest: the longest duration.
    :param hours: entries and errors by the hour's first time.
    """

    by_hour: bool
    errors: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    durations: list[int] = field(default_factory=list)
    longest: Number | None = None
    hours: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, length: timedelta) -> Statistics:
        """Begin to count the entries of a window of this length."""
        return cls(_SHORTEST < length <= _LONGEST)

    def add(self, entries: Sequence[LogEntry]) -> None:
        """Count these, too."""
        statuses = [entry.status for entry in entries]
        if not _USUAL_STATUSES.issuperset(map(type, statuses)):
            statuses = list(map(read_status, statuses))
        errors = 0
        for status, count in Counter(statuses).items():
            label = _label(status)
            self.statuses[label] = self.statuses.get(label, 0) + count
            errors += count if _is_error(status) else 0
        self.errors += errors
        self._add_durations(durations(entries))
        if self.by_hour and entries:
            self._add_hours([entry.time for entry in entries], statuses, errors)

    def summary(self) -> LogStatistics:
        """What was counted so far."""
        return LogStatistics(
            errors=self.errors,
            statuses=dict(sorted(self.statuses.items())),
            duration_ms=DurationStatistics(
                sum(self.durations), self._percentile(50), self._percentile(95), self.longest
            ),
            hours=[HourStatistics(hour, *numbers) for hour, numbers in sorted(self.hours.items())],
        )

    def _add_durations(self, durations: Sequence[Number]) -> None:
        if not durations:
            return
        # All of it in C: this runs for each entry.
        buckets = Counter(map(int, map(mul, map(log1p, durations), repeat(_BUCKETS))))
        self.durations += [0] * (max(buckets) + 1 - len(self.durations))
        for bucket, count in buckets.items():
            self.durations[bucket] += count
        self.longest = max(durations if self.longest is None else (self.longest, *durations))

    def _add_hours(self, times: Sequence[datetime], statuses: Sequence[Any], errors: int) -> None:
        newest, oldest = _hour(max(times)), _hour(min(times))
        if newest == oldest:
            counts = {newest: (len(times), errors)}
        else:
            hours = list(map(_hour, times))
            failed = Counter(compress(hours, map(_is_error, statuses)))
            counts = {hour: (count, failed[hour]) for hour, count in Counter(hours).items()}
        for hour, (count, failures) in counts.items():
            earlier = self.hours.get(key := format_time(hour), (0, 0))
            self.hours[key] = earlier[0] + count, earlier[1] + failures

    def _percentile(self, percent: int) -> Number | None:
        """The duration at this rank, rounded to milliseconds."""
        if self.longest is None:
            return None
        left = rank(sum(self.durations), percent)
        for bucket, count in enumerate(self.durations):
            left -= count
            if left <= 0:
                return min(round(expm1((bucket + 0.5) / _BUCKETS)), self.longest)
        raise AssertionError("the ranks add up")


def durations(entries: Sequence[LogEntry]) -> Sequence[Number]:
    """The durations of the entries that have one."""
    found: list[Any] = [entry.duration_ms for entry in entries]
    if _INTEGER.issuperset(map(type, found)) and _are_in_range(found):
        return found
    return [d for d in found if type(d) in (int, float) and 0 <= d < _TOO_LONG]


def rank(number: int, percent: int) -> int:
    """Which of so many values, the smallest first, is the one at this percentile; the first is 1."""
    return ceil(number * percent / 100)


def _are_in_range(durations: Sequence[int]) -> bool:
    return bool(durations) and min(durations) >= 0 and max(durations) < _TOO_LONG


def _is_error(status: Number | None) -> bool:
    return status is not None and status >= ERROR_STATUS


def _label(status: Number | None) -> str:
    if status is None:
        return "none"
    return str(int(status)) if status in _LABELLED else "other"


def _hour(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)
