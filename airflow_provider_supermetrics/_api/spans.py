"""A threshold that rolls: whether any span of a certain length holds enough matches, in bounded memory.

Times are kept in cells that are as long as the span, and begin where the log was read first. A span meets the
end of one cell and the beginning of the next at most. So the first and the last ``min_matches`` times of a
cell decide as all of its times would; of the others only the number is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import groupby

from airflow_provider_supermetrics._api.calls import valid_integer
from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._api.text import quoted
from airflow_provider_supermetrics._api.times import AwareTime

LONGEST_SPAN = timedelta(days=31)
#: With ``within``, because times are kept for as many.
MOST_MATCHES = 1000


@dataclass(frozen=True)
class Threshold:
    """How many entries must match, and within which time.

    :param min_matches: how many.
    :param within: the span that must hold them; None where all count, however far apart.
    """

    min_matches: int = 1
    within: timedelta | None = None

    @classmethod
    def of(cls, min_matches: int = 1, within: timedelta | None = None) -> Threshold:
        """A threshold, of values that were checked.

        :raises InvalidRequest: for a value of another type, or out of range.
        """
        if within is not None and not (
            isinstance(within, timedelta) and timedelta() < within <= LONGEST_SPAN
        ):
            raise InvalidRequest(
                f"within must be a timedelta of more than 0 and up to {LONGEST_SPAN.days} days, such as "
                f"timedelta(hours=1), not {quoted(within)}"
            )
        valid_integer("min_matches", min_matches, 1)
        if within is not None and min_matches > MOST_MATCHES:
            raise InvalidRequest(
                f"min_matches must be at most {MOST_MATCHES:,} together with within, not {min_matches:,}"
            )
        return cls(min_matches, within)


@dataclass(frozen=True)
class Cell:
    """The matches in a piece of time as long as the span.

    :param number: which piece.
    :param times: the first and the last of them, in order; all where there are at most twice ``min_matches``.
    :param others: how many there are in between.
    """

    number: int
    times: tuple[AwareTime, ...]
    others: int = 0


#: Cells in the order of time; those without a match are left out.
Cells = tuple[Cell, ...]


@dataclass(frozen=True)
class Episode:
    """A time in which each span that ends then holds enough matches.

    :param begin: when the threshold was reached.
    :param last: the first match of the last such span, so that the episode ends ``within`` later.
    :param first: the first match of the first such span.
    :param matches: how many matches there are from that one on.
    """

    begin: datetime
    last: datetime
    first: datetime
    matches: int


class RollingCount:
    """What to keep of the times of matches, and what follows from them.

    :param min_matches: how many matches a span must hold.
    :param within: the length of the span; two times that far apart are both in it.
    :param origin: where the cells begin; no match is earlier.
    """

    def __init__(self, min_matches: int, within: timedelta, origin: datetime) -> None:
        self.min_matches = min_matches
        self.within = within
        self.origin = origin

    def plus(self, cells: Sequence[Cell], times: Iterable[datetime]) -> Cells:
        """The cells with these times, in any order."""
        return self.merged(cells, [Cell(self._number(time), (time,)) for time in times])

    def merged(self, cells: Sequence[Cell], others: Sequence[Cell]) -> Cells:
        """What all of them hold."""
        if not others:
            return tuple(cells)
        in_order = sorted([*cells, *others], key=lambda cell: cell.number)
        return tuple(
            self._thinned(number, list(same)) for number, same in groupby(in_order, lambda cell: cell.number)
        )

    def since(self, cells: Sequence[Cell], time: datetime) -> Cells:
        """The cells that matter where all further matches are at ``time`` or later."""
        least = self._number(time) - 1
        return tuple(cell for cell in cells if cell.number >= least)

    def episodes(self, cells: Sequence[Cell], since: datetime | None = None) -> list[Episode]:
        """When the threshold was reached, in the order of time.

        :param since: count only spans that end at this time or later. It must be where a cell begins.
        """
        times, most = _times(cells), self.min_matches
        found: list[Episode] = []
        for index in range(len(times) - most + 1):
            first, begin = times[index], times[index + most - 1]
            if begin - first > self.within or (since is not None and begin < since):
                continue
            if found and begin - found[-1].last <= self.within:
                same = found.pop()
                found.append(Episode(same.begin, first, same.first, same.matches))
            else:
                found.append(Episode(begin, first, first, self._matches_from(cells, index)))
        return found

    def most(self, cells: Sequence[Cell], since: datetime | None = None) -> int:
        """The most matches that a span holds, as far as they are kept; ``since`` as in :meth:`episodes`."""
        times, most, index = _times(cells), 0, 0
        for number, time in enumerate(times, 1):
            while time - times[index] > self.within:
                index += 1
            if since is None or time >= since:
                most = max(most, number - index)
        return most

    def first_new(self, before: Sequence[Cell], after: Sequence[Cell]) -> Episode | None:
        """The first episode in ``after`` that continues none in ``before``."""
        known = self.episodes(before)
        return next((e for e in self.episodes(after) if not any(self._meet(e, old) for old in known)), None)

    def _meet(self, one: Episode, other: Episode) -> bool:
        return one.begin - other.last <= self.within and other.begin - one.last <= self.within

    def _number(self, time: datetime) -> int:
        return (time - self.origin) // self.within

    def _thinned(self, number: int, cells: Sequence[Cell]) -> Cell:
        if len(cells) == 1:
            return cells[0]
        times, most = sorted(_times(cells)), self.min_matches
        others = sum(cell.others for cell in cells) + max(0, len(times) - 2 * most)
        if len(times) > 2 * most:
            times = times[:most] + times[-most:]
        return Cell(number, tuple(times), others)

    def _matches_from(self, cells: Sequence[Cell], index: int) -> int:
        """How many matches there are from this one of the kept ones on."""
        matches, position = -index, 0
        for cell in cells:
            matches += len(cell.times)
            # A cell with others is enough for a span of its own, which no episode begins in the midst of.
            if index <= position:
                matches += cell.others
            position += len(cell.times)
        return matches


def begin_of_spans(since: datetime, within: timedelta | None) -> datetime:
    """From when on to read so that a span may end at ``since``."""
    if within is None:
        return since
    earliest = datetime.min.replace(tzinfo=timezone.utc)
    return earliest if since - earliest < within else since - within


def _times(cells: Sequence[Cell]) -> list[datetime]:
    return [time for cell in cells for time in cell.times]
