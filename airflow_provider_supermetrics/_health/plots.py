"""The shapes of the plots, as attributes of SVG elements: numbers only, so nothing in them can be markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from math import ceil, floor, log10
from typing import Final

from airflow_provider_supermetrics._health.model import Numbers
from airflow_provider_supermetrics._schedule import Window

#: The size of a plot's coordinates; the page stretches it to its width.
WIDTH: Final = 1000
HEIGHT: Final = 100
_TICKS: Final = 6
# What is written at a tick would be cut off further to the right.
_LAST_TICK: Final = 0.9
_STEPS: Final = tuple(
    timedelta(hours=hours) for hours in (1, 2, 3, 6, 12, 24, 48, 72, 120, 168, 240, 360, 720, 1440, 2160)
)


@dataclass(frozen=True)
class Stretch:
    """A piece of a strip.

    :param x: where it begins, from 0 to :data:`WIDTH`.
    :param windows: what it stands for; what is between them only looks like a part of it.
    """

    x: float
    width: float
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Tick:
    """A time to write below a plot.

    :param share: where, from 0 to 1.
    """

    share: float
    time: datetime


@dataclass(frozen=True)
class Plot:
    """Numbers over time.

    :param paths: by their names, as the ``d`` of a path.
    :param top: the number at the plot's upper edge.
    """

    paths: dict[str, str]
    top: float


def stretches(windows: Iterable[Window], of: Window, narrowest: float) -> list[Stretch]:
    """Windows as pieces of a strip; neighbours that cannot be distinguished are one.

    :param narrowest: how wide a piece is at least.
    """
    found: list[tuple[float, float, list[Window]]] = []
    scale = WIDTH / ((of.end - of.start) / timedelta(seconds=1))
    for window in windows:
        x = (window.start - of.start).total_seconds() * scale
        width = max((window.end - window.start).total_seconds() * scale, narrowest)
        x = max(0.0, min(x, WIDTH - width))
        if found and x < found[-1][0] + found[-1][1]:
            begin, before, joined = found.pop()
            joined.append(window)
            found.append((begin, max(before, x + width - begin), joined))
        else:
            found.append((x, width, [window]))
    return [Stretch(round(x, 1), round(width, 1), tuple(joined)) for x, width, joined in found]


def ticks(of: Window) -> list[Tick]:
    """Some round times of a window."""
    step = next((step for step in _STEPS if (of.end - of.start) / step <= _TICKS), _STEPS[-1])
    midnight = of.start.replace(hour=0, minute=0, second=0, microsecond=0)
    time = midnight + ceil((of.start - midnight) / step) * step
    found = []
    while (share := (time - of.start) / (of.end - of.start)) < _LAST_TICK:
        found.append(Tick(share, time))
        time += step
    return found


def bars(values: Sequence[float | None], top: float | None = None) -> Plot:
    """Numbers as bars; None is a gap.

    :param top: the least number at the upper edge.
    """
    top = _round_up(max([top or 0, *(value for value in values if value)]))
    width = _short(0.86 * WIDTH / max(len(values), 1))
    pieces = []
    for x, value in zip(_edges(len(values)), values, strict=True):
        if value:
            y = HEIGHT - max(value / top * HEIGHT, 1.5)
            pieces.append(f"M{x} {HEIGHT}V{_short(y)}h{width}V{HEIGHT}z")
    return Plot({"bars": "".join(pieces)}, top)


def lines(bars: Sequence[Numbers]) -> Plot:
    """The durations as two lines of steps, broken where there are none."""
    top = _round_up(max((each.p95 or 0 for each in bars), default=0))
    width = _short(WIDTH / max(len(bars), 1))
    paths = {}
    for name in ("p50", "p95"):
        pieces, is_drawn = [], False
        for x, each in zip(_edges(len(bars)), bars, strict=True):
            value = getattr(each, name)
            if value is not None:
                y = _short(HEIGHT - value / top * HEIGHT)
                pieces.append(f"{'L' if is_drawn else 'M'}{x} {y}h{width}")
            is_drawn = value is not None
        paths[name] = "".join(pieces)
    return Plot(paths, top)


def _round_up(number: float) -> float:
    """The next number that is easy to read, at least one."""
    if number <= 0:
        return 1.0
    magnitude = 10.0 ** floor(log10(number))
    return float(
        next(
            step * magnitude
            for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
            if number <= step * magnitude * (1 + 1e-9)
        )
    )


@lru_cache
def _edges(number: int) -> tuple[str, ...]:
    """Where each of so many bars begins; the same for all connectors."""
    return tuple(_short(index * WIDTH / number) for index in range(number))


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
