"""A rolling threshold, by counting all times at each half second."""

from __future__ import annotations

from collections.abc import Sequence

#: No time is later, in seconds.
LAST = 120


def hot(times: Sequence[int], least: int, within: int) -> set[float]:
    """Each half second at which the span that ends then holds enough, by counting all of them."""
    moments = [half / 2 for half in range(2 * (LAST + within) + 1)]
    return {moment for moment in moments if sum(moment - within <= time <= moment for time in times) >= least}


def episodes(moments: set[float]) -> list[list[float]]:
    """The moments, divided where one is missing."""
    found: list[list[float]] = []
    for moment in sorted(moments):
        if found and moment - found[-1][-1] <= 0.5:
            found[-1].append(moment)
        else:
            found.append([moment])
    return found


def first_of(episode: list[float], times: Sequence[int], within: int, least: int) -> int:
    """The first match of the first span of an episode."""
    ended = sorted(time for time in times if time <= episode[0])
    # Of those that end then, the shortest one that holds enough.
    return next(time for time in ended if time >= episode[0] - within and count(ended, time) >= least)


def count(times: Sequence[int], since: float) -> int:
    """How many there are from a time on."""
    return sum(time >= since for time in times)
