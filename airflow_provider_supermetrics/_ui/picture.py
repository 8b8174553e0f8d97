"""The page as it was read last, and who reads it again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Event, Lock, Thread
from time import monotonic
from typing import Final

from airflow_provider_supermetrics._health.model import Report, floor
from airflow_provider_supermetrics._health.page import render, render_body
from airflow_provider_supermetrics._health.reader import HealthReader
from airflow_provider_supermetrics._schedule import Window
from airflow_provider_supermetrics._wait import utcnow

log = logging.getLogger(__name__)

#: A picture is sent again for so many seconds, because listing a store costs time and money.
KEPT: Final = 60.0
# A page that takes longer to appear looks broken.
_PATIENCE: Final = 5.0
# The first picture is to appear soon; the next one reads on.
_SECONDS_TO_READ: Final = 20.0
_NEW: Final = "A new picture is being read. Load the page again to see it"
_FAILED: Final = "The manifests could not be read again: the log of the API server says why"
_NOTHING_YET: Final = (
    '<p role="status">The manifests are being read for the first time since this process of the API server '
    "has started. This page loads again by itself; if it does not, load it again.</p>"
)
_NOTHING: Final = (
    '<p role="alert">The manifests could not be read: the log of the API server says why. Load the page '
    "again in a minute.</p>"
)
_SMALL_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">{refresh}
<title>Connector health</title>
<style>body {{ margin: 1.25rem; font: 15px/1.45 system-ui, sans-serif; }}</style>
</head>
<body>
<h1>Connector health</h1>
{text}
</body>
</html>
"""
_REFRESH: Final = '\n<meta http-equiv="refresh" content="5">'


def reading(paths: Sequence[str], days: int) -> Callable[[], tuple[Report, str]]:
    """Return a function that reads the manifests, and returns the report and the page's body.

    :param paths: the paths of the exports.
    :param days: how many days the page shows.
    """
    reader = HealthReader(paths, seconds=_SECONDS_TO_READ, tolerant=True)
    length = timedelta(days=days)

    def read() -> tuple[Report, str]:
        now = utcnow()
        window = Window(floor(now, timedelta(hours=1)) - length, now)
        report = reader.report(window, now)
        # A browser cannot open the folders of a store.
        return report, render_body(report, folder_link=lambda *_: None)

    return read


@dataclass(frozen=True)
class _Read:
    """What was read, and when reading began, by the clock that is never set."""

    report: Report
    body: str
    begun: float


def _in_background(work: Callable[[], None]) -> None:
    Thread(target=work, name="supermetrics-health", daemon=True).start()


class Picture:
    """The page, read again by one thread when it is too old; views wait for the first one only.

    :param read: returns a report and the body of its page.
    :param clock: returns seconds.
    :param patience: for how many seconds a view waits for the first picture.
    :param start: runs a function beside the views.
    """

    def __init__(
        self,
        read: Callable[[], tuple[Report, str]],
        *,
        clock: Callable[[], float] = monotonic,
        patience: float = _PATIENCE,
        start: Callable[[Callable[[], None]], None] = _in_background,
    ) -> None:
        self._read = read
        self._clock = clock
        self._patience = patience
        self._start = start
        self._lock = Lock()
        self._last: _Read | None = None
        # When reading ended last, whether it failed, and what is set at the end of one that runs.
        self._ended: float | None = None
        self._has_failed = False
        self._running: Event | None = None

    def html(self) -> str:
        """The page, or a small one where there is no picture yet."""
        with self._lock:
            if self._running is None and self._is_old():
                self._begin()
            first = self._running if self._last is None else None
        if first is not None:
            first.wait(self._patience)
        with self._lock:
            last, is_running, has_failed = self._last, self._running is not None, self._has_failed
        if last is None:
            return _SMALL_PAGE.format(
                refresh=_REFRESH if is_running else "", text=_NOTHING_YET if is_running else _NOTHING
            )
        notes = [note for note, holds in ((_FAILED, has_failed), (_NEW, is_running)) if holds]
        report = replace(last.report, notes=(*notes, *last.report.notes))
        return render(report, last.body, age=timedelta(seconds=max(0.0, self._clock() - last.begun)))

    def _is_old(self) -> bool:
        return self._ended is None or self._clock() - self._ended >= KEPT

    def _begin(self) -> None:
        self._running = Event()
        try:
            self._start(self._renew)
        except BaseException:
            self._running = None
            raise

    def _renew(self) -> None:
        """Read, and show what was read to the views that wait."""
        begun = self._clock()
        found = None
        try:
            found = _Read(*self._read(), begun)
        except Exception:
            log.exception("Cannot read the manifests for the page about the connectors' health")
        finally:
            with self._lock:
                self._last = found or self._last
                self._has_failed = found is None
                self._ended = self._clock()
                running, self._running = self._running, None
            if running is not None:
                running.set()
