"""The plugin that adds the page about the connectors' health to Airflow's UI.

Airflow loads it in each of its processes, so it imports nothing that only the page needs.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from airflow import __version__ as airflow_version
from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from airflow_provider_supermetrics.provider_info import DEFAULT_HEALTH_DAYS, MOST_HEALTH_DAYS

log = logging.getLogger(__name__)

_SECTION: Final = "supermetrics"
_PREFIX: Final = "/supermetrics"
# Airflow 3.0 has no such views, and Airflow 2 has another web server.
_HAS_VIEWS: Final = tuple(int(part) for part in airflow_version.split(".")[:2]) >= (3, 1)
_ICON: Final = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' stroke='{}' stroke-width='2'"
    " stroke-linecap='round' stroke-linejoin='round'><path d='M2 12h5l3-8 4 16 3-8h5'/></svg>"
)
_PATH: Final = re.compile(r"/|[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# A comma may be part of a key or a signature, and what follows it look like a path.
_MAY_BE_DIVIDED: Final = re.compile(r"://([^/@,\n]*:|[^,\n]*\?)[^,\n]*,\s*/")

_Message = MutableMapping[str, Any]


class SupermetricsPlugin(AirflowPlugin):
    """Adds "Supermetrics" to the navigation, where ``[supermetrics] health_paths`` names any path."""

    name = "supermetrics"

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:  # noqa: ARG003  # Airflow's call
        """Add the page, if it is configured; called by Airflow."""
        paths = health_paths()
        if not paths:
            return
        if not _HAS_VIEWS:
            log.warning("[supermetrics] health_paths is ignored: a page in the UI needs Airflow 3.1 or later")
            return
        if _MAY_BE_DIVIDED.search(_setting()) or not all(map(_PATH.match, paths)):
            # Without a quotation: a part that is no path may be of a credential.
            raise ValueError(
                "[supermetrics] health_paths must contain URLs and absolute paths, and nothing else: write "
                "each on a line of its own, without a comma, and store a credential in an Airflow connection"
            )
        days = conf.getint(_SECTION, "health_days", fallback=DEFAULT_HEALTH_DAYS)
        if not 1 <= days <= MOST_HEALTH_DAYS:
            raise ValueError(f"[supermetrics] health_days must be from 1 to {MOST_HEALTH_DAYS}, not {days}")
        cls.fastapi_apps = [{"name": "Supermetrics", "url_prefix": _PREFIX, "app": LazyApp(paths, days)}]
        base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
        cls.external_views = [
            {
                "name": "Supermetrics",
                "href": f"{base}{_PREFIX}/health",
                "url_route": "supermetrics",
                "destination": "nav",
                "icon": _data_url(_ICON.format("#51504b")),
                "icon_dark_mode": _data_url(_ICON.format("#dedcd5")),
            }
        ]


class LazyApp:
    """The page's ASGI application, which is imported when the page is opened first.

    :param paths: the paths of the exports.
    :param days: how many days the page shows.
    """

    def __init__(self, paths: list[str], days: int) -> None:
        self._paths = paths
        self._days = days
        self._app: Any = None

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Serve a request."""
        if self._app is None:
            from airflow_provider_supermetrics._ui.app import create_app

            self._app = create_app(self._paths, self._days)
        await self._app(scope, receive, send)


def health_paths() -> list[str]:
    """The configured paths; they are separated by commas or line breaks."""
    return [path.strip() for path in _setting().replace("\n", ",").split(",") if path.strip()]


def _setting() -> str:
    return conf.get(_SECTION, "health_paths", fallback="") or ""


def _data_url(svg: str) -> str:
    return f"data:image/svg+xml,{quote(svg)}"
