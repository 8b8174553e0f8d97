"""The page about the connectors' health, as Airflow's API server sends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from airflow.api_fastapi.core_api.security import requires_access_asset
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse

from airflow_provider_supermetrics._ui.picture import Picture, reading

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
    picture = Picture(reading(paths, days))

    # Not async, because it waits for the first picture: FastAPI runs it in a thread.
    @app.get("/health")
    def health() -> HTMLResponse:
        return HTMLResponse(picture.html(), headers=_HEADERS)

    return app
