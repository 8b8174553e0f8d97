"""Which parts of a time are covered by windows: by none of them, or by several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from airflow_provider_supermetrics._schedule import Window


@dataclass(frozen=True)
class Coverage:
    """How windows cover a span of time. Ranges are as long as possible, the earliest first.

    :param missing: the ranges that no window covers.
    :param overlapping: the ranges that two or more windows cover.
    """

    missing: tuple[Window, ...]
    overlapping: tuple[Window, ...]

    @classmethod
    def of(cls, span: Window, windows: Iterable[Window]) -> Coverage:
        """How the windows cover the span; parts of them outside of it do not count."""
        # How many windows more, or less, cover the time from here on.
        changes: Counter[datetime] = Counter()
        for window in windows:
            start, end = max(window.start, span.start), min(window.end, span.end)
            if start < end:
                changes[start] += 1
                changes[end] -= 1
        missing: list[Window] = []
        overlapping: list[Window] = []
        covering, time = 0, span.start
        for later in sorted({*changes, span.end}):
            if covering == 0:
                _extend(missing, time, later)
            elif covering > 1:
                _extend(overlapping, time, later)
            covering += changes[later]
            time = later
        return cls(tuple(missing), tuple(overlapping))


def _extend(ranges: list[Window], start: datetime, end: datetime) -> None:
    """Add a range, as a part of the last one where that ends at its start."""
    if ranges and ranges[-1].end == start:
        start = ranges.pop().start
    if start < end:
        ranges.append(Window(start, end))
