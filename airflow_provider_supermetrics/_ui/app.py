"""The page about the connectors' health, as Airflow's API server sends it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from threading import Lock
from typing import Final

from airflow.api_fastapi.core_api.security import requires_access_asset
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse

from airflow_provider_supermetrics._health.model import Report, floor
from airflow_provider_supermetrics._health.page import render, render_body
from airflow_provider_supermetrics._health.reader import HealthReader
from airflow_provider_supermetrics._schedule import Window
from airflow_provider_supermetrics._wait import utcnow

# A picture is shown again for so long, because listing a store costs time and money.
_KEPT: Final = timedelta(seconds=60)
# A page that takes longer to appear looks broken; the next view reads on.
_SECONDS_TO_READ: Final = 20.0
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(paths: Sequence[str], days: int) -> FastAPI:
    """Return the application, all of whose pages need the right to read assets.

    :param paths: the paths of the exports.
    :param days: how many days the page shows.
    """
    app = FastAPI(
        title="Supermetrics",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(requires_access_asset("GET"))],
    )
    picture = Picture(paths, days)

    # Not async, because it reads from stores: FastAPI runs it in a thread.
    @app.get("/health")
    def health() -> HTMLResponse:
        return HTMLResponse(picture.html(), headers=_HEADERS)

    return app


class Picture:
    """The page, read again when it is too old.

    :param paths: the paths of the exports.
    :param days: how many days it shows.
    """

    def __init__(self, paths: Sequence[str], days: int) -> None:
        self._reader = HealthReader(paths, seconds=_SECONDS_TO_READ, tolerant=True)
        self._length = timedelta(days=days)
        self._reading = Lock()
        self._last: tuple[Report, str] | None = None

    def html(self) -> str:
        """The page. While one view reads, others show the picture before, where there is one."""
        if self._is_old() and self._reading.acquire(blocking=self._last is None):
            try:
                # Another view may have read while this one waited.
                if self._is_old():
                    self._read()
            finally:
                self._reading.release()
        assert self._last is not None
        report, body = self._last
        return render(report, body, age=utcnow() - report.now)

    def _is_old(self) -> bool:
        return self._last is None or not timedelta() <= utcnow() - self._last[0].now < _KEPT

    def _read(self) -> None:
        now = utcnow()
        window = Window(floor(now, timedelta(hours=1)) - self._length, now)
        report = self._reader.report(window, now)
        # A browser cannot open the folders of a store.
        self._last = report, render_body(report, folder_link=lambda *_: None)
