"""What the runs of a sensor have reported, so that together they report each error once.

A run counts an entry unless the report of another run has it. So no run depends on which one came before:
what no report has, because a run failed, was skipped, or was cleared and lost its report, counts in the next
run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from airflow_provider_supermetrics._api.entry import LogEntry
from airflow_provider_supermetrics._api.times import AwareTime

#: From the first time to the second, which is no longer part of it.
Range = tuple[AwareTime, AwareTime]


@dataclass(frozen=True)
class Report:
    """What one run has reported; msgspec makes JSON of it.

    :param ranges: it has reported all entries of these times, apart from ``others``. The last one ends before
        the newest time that was read, by as much as entries may be late.
    :param keys: what it has reported since then, as :func:`short_key` returns it.
    :param others: the entries in ``ranges`` that another run had reported.
    """

    ranges: tuple[Range, ...]
    keys: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    def has(self, entry: LogEntry) -> bool:
        """Whether this run has reported the entry."""
        key = short_key(entry)
        if key in self.keys:
            return True
        return key not in self.others and any(start <= entry.time < end for start, end in self.ranges)


def short_key(entry: LogEntry) -> str:
    """The entry's key, so short that thousands of them can be stored."""
    return blake2b(entry.key.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def unreported(reports: Iterable[Report], start: datetime, end: datetime | None = None) -> Sequence[Range]:
    """The times from ``start`` on that are in no range of a report, up to ``end``, if that is given."""
    last = datetime.max.replace(tzinfo=start.tzinfo) if end is None else end
    found = []
    for first, following in sorted(part for report in reports for part in report.ranges):
        if start < (begin := min(first, last)):
            found.append((start, begin))
        start = max(start, following)
    return [*found, (start, last)] if start < last else found
