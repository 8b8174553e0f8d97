"""When to report what matches: when enough is new, or when a rolling count reaches its threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_supermetrics._api.entry import LogEntry
from airflow_provider_supermetrics._api.filter import ErrorFilter, Matches, newest_since
from airflow_provider_supermetrics._api.spans import Cells, RollingCount, Threshold, begin_of_spans
from airflow_provider_supermetrics._api.tail import TailState
from airflow_provider_supermetrics._api.times import AwareTime, format_time


@dataclass(frozen=True)
class AlarmState:
    """What has matched and may be reported later; msgspec makes JSON of it.

    :param matches: what no report has had; where the threshold rolls, the newest entries of the last spans.
    :param since: the watermark when the first of them was found, or None.
    :param cells: the times of the matches, where the threshold rolls.
    """

    matches: Matches = field(default_factory=Matches)
    since: AwareTime | None = None
    cells: Cells = ()


class Alarm:
    """Decides after each poll whether to report.

    Without ``within``, matches add up until there are ``min_matches``; a report has them all, and the next
    one begins with none. With ``within``, a report follows when a span holds ``min_matches``, and none until
    the count has been below that again.

    :param state: what has matched so far.
    :param error_filter: which entries count.
    :param threshold: how many must match.
    :param max_entries: how many of them a report has.
    """

    def __init__(
        self, state: AlarmState, error_filter: ErrorFilter, threshold: Threshold, max_entries: int
    ) -> None:
        self.state = state
        self.filter = error_filter
        self.threshold = threshold
        self.max_entries = max_entries

    def take(self, entries: Sequence[LogEntry], before: TailState, after: TailState) -> dict[str, Any] | None:
        """Take what is new since the last poll; return what to report as plain JSON values, or None.

        :param before: how far the log had been read before the poll.
        :param after: how far it has been read.
        """
        matching = [(entry, fields) for entry in entries if self.filter.matches(fields := entry.fields)]
        if not matching:
            return None
        since = self.state.since if self.state.matches.count else before.watermark
        matches = self.state.matches.plus([fields for _, fields in matching], self.max_entries)
        self.state = replace(self.state, matches=matches, since=since)
        if self.threshold.within is not None:
            times = [entry.time for entry, _ in matching]
            rolling = RollingCount(self.threshold.min_matches, self.threshold.within, after.since)
            return self._rolled(rolling, rolling.plus(self.state.cells, times), after)
        if matches.count < self.threshold.min_matches:
            return None
        self.state = AlarmState()
        return _counted(matches, format_time(since or before.since), after)

    def _rolled(self, rolling: RollingCount, cells: Cells, after: TailState) -> dict[str, Any] | None:
        entries = self.state.matches.entries
        episode = rolling.first_new(self.state.cells, cells)
        # All further entries are from then on, and a span that holds one of them begins at most this earlier.
        lowest = after.reread_from
        kept = newest_since(entries, begin_of_spans(lowest, rolling.within), self.max_entries)
        self.state = AlarmState(Matches(len(kept), kept), cells=rolling.since(cells, lowest))
        if episode is None:
            return None
        entries = newest_since(entries, episode.first, episode.matches)
        return _counted(Matches(episode.matches, entries), format_time(episode.first), after)


def _counted(matches: Matches, since: str, after: TailState) -> dict[str, Any]:
    return {
        "matches": matches.count,
        "entries": list(matches.entries),
        "since": since,
        "until": after.watermark and format_time(after.watermark),
    }
