"""The page about the connectors' health in Airflow's UI: in a browser, and without the right to see it."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
import requests

from airflow_provider_supermetrics._export.storage import Destination
from dev.demo.airflow import AIRFLOW, environment
from dev.demo.services import Processes, Site, api_settings, free_port
from tests.conftest import HOUR
from tests.support.browser import Browser
from tests.support.emulators import S3
from tests.support.manifests import manifest_of, write_manifest
from tests.support.release import RELEASE

pytestmark = pytest.mark.skipif(RELEASE < (3, 1), reason="before Airflow 3.1 no plugin has a page in the UI")

LINK = "document.querySelector('a[href$=\"plugin/supermetrics\"]')"
PAGE = "document.querySelector('iframe').contentDocument"
HOSTILE_FOLDER = "<img src=x onerror=alert(1)>"
MISSING = 20


class Server:
    """An API server whose users have roles: ``viewer`` may read, ``nobody`` has no role.

    :param paths: the configured paths; None leaves the configuration out.
    :param variables: further environment variables.
    """

    def __init__(self, folder: Path, paths: str | None, **variables: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        passwords = folder / "passwords.json"
        folder.mkdir(parents=True, exist_ok=True)
        passwords.write_text(json.dumps({"viewer": "secret", "nobody": "secret"}))
        settings = {
            **api_settings(port),
            "AIRFLOW__API_AUTH__JWT_SECRET": "0" * 64,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "viewer:viewer,nobody:",
            **variables,
        }
        if paths is not None:
            settings["AIRFLOW__SUPERMETRICS__HEALTH_PATHS"] = paths
        self._processes = Processes(folder / "logs", environment(folder, **settings))

    def __enter__(self) -> Server:
        self._processes.__enter__()
        try:
            self._processes.run("db-migrate", AIRFLOW, "db", "migrate")
            self._processes.start("api-server", AIRFLOW, "api-server")
            Site(self.url, self._processes.check).wait("a response", self._is_up)
        except BaseException:
            self._processes.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._processes.__exit__(None, None, None)

    def token(self, user: str) -> str:
        """Log in."""
        response = requests.post(
            f"{self.url}/auth/token", json={"username": user, "password": "secret"}, timeout=60
        )
        return str(response.json()["access_token"])

    def get(self, path: str, user: str | None = None) -> requests.Response:
        """Request a page as a user."""
        headers = {"Authorization": f"Bearer {self.token(user)}"} if user else {}
        return requests.get(self.url + path, headers=headers, timeout=60)

    def page(self) -> requests.Response:
        """The page as ``viewer`` sees it, as soon as the manifests have been read."""

        def find() -> requests.Response | None:
            response = self.get("/supermetrics/health", "viewer")
            return None if "The manifests are being read" in response.text else response

        return Site(self.url, self._processes.check).wait("a picture", find)

    def _is_up(self) -> bool:
        try:
            return requests.get(f"{self.url}/api/v2/version", timeout=30).ok
        except requests.ConnectionError:
            return False


@pytest.fixture(scope="module")
def now() -> datetime:
    """The last full hour."""
    return datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, now: datetime) -> Iterator[Server]:
    """A server with a folder of three days without one hour, a bucket, and a store that is not there."""
    folder = tmp_path_factory.mktemp("health")
    for hour in range(72, 0, -1):
        write_manifest(folder / "logs" / HOSTILE_FOLDER, now - hour * HOUR, connector="K2M41")
        if hour != MISSING:
            write_manifest(folder / "logs", now - hour * HOUR, errors=70 if hour <= 6 else 0)
    with S3.run() as store:
        bucket = f"bucket-{uuid.uuid4().hex}"
        store.create(bucket)
        connection = {"AIRFLOW_CONN_STORE": json.dumps(store.connection(store.url))}
        name, data = manifest_of(now - HOUR, connector="IN-S3")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIRFLOW_CONN_STORE", connection["AIRFLOW_CONN_STORE"])
            Destination.at(f"s3://store@{bucket}/logs").write(data, name)
        paths = f"{folder / 'logs'}, s3://nowhere@bucket/logs, s3://store@{bucket}/logs"
        with Server(folder / "server", paths, **connection) as running:
            running.page()
            yield running


def test_without_the_right_there_is_no_page(server: Server) -> None:
    """401 without a login or with a wrong one, 403 for a user who may not read assets."""
    assert server.get("/supermetrics/health").status_code == 401
    wrong = {"Authorization": "Bearer wrong"}
    refused = requests.get(f"{server.url}/supermetrics/health", headers=wrong, timeout=60)
    assert refused.status_code in (401, 403)
    nobody = server.get("/supermetrics/health", "nobody")
    assert nobody.status_code == 403
    assert not any("K2M41" in response.text for response in (refused, nobody))
    assert server.get("/supermetrics/health", "viewer").status_code == 200
    for path in ("/docs", "/openapi.json", "/redoc"):
        assert server.get(f"/supermetrics{path}", "viewer").status_code == 404


def test_a_store_that_cannot_be_read_is_a_sentence(server: Server) -> None:
    """The others are shown, and no traceback."""
    response = server.get("/supermetrics/health", "viewer")
    assert "s3://nowhere@bucket/logs could not be read" in response.text
    assert "Traceback" not in response.text
    assert "T3S70" in response.text
    assert "script-src" not in response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_stores_are_read_with_airflow_s_connections(server: Server) -> None:
    """A bucket of a store with a key."""
    assert ">IN-S3</a>" in server.get("/supermetrics/health", "viewer").text


def test_the_page_opens_from_the_navigation(server: Server, now: datetime) -> None:
    """It shows the connectors, the gap and since when; the console has no error, and nothing is markup."""

    async def look() -> tuple[str, int, int, list[str]]:
        async with Browser(height=1200) as browser:
            await browser.call(
                "Network.setCookie", name="_token", value=server.token("viewer"), url=server.url
            )
            await browser.open(server.url)
            await browser.wait(f"!!{LINK}")
            browser.errors.clear()  # of Airflow's own pages
            await browser.evaluate(f"{LINK}.click()")
            await browser.wait(f"!!document.querySelector('iframe') && !!{PAGE}.querySelector('section')")
            text = await browser.evaluate(f"{PAGE}.body.innerText")
            images = await browser.evaluate(f"{PAGE}.querySelectorAll('img, script').length")
            sections = await browser.evaluate(f"{PAGE}.querySelectorAll('section').length")
            if folder := os.environ.get("HEALTH_SCREENSHOT"):
                await browser.screenshot(Path(folder))
            return text, images, sections, browser.errors

    text, images, sections, errors = asyncio.run(look())
    gap = now - MISSING * HOUR
    assert f"1 hour missing: {gap:%Y-%m-%d %H:%M}" in text
    assert f"errors, since {now - 6 * HOUR:%Y-%m-%d %H:%M}" in text
    assert text.index("T3S70") < text.index("K2M41")
    assert (images, sections) == (0, 3)
    assert errors == []


def test_without_paths_nothing_is_shown(tmp_path: Path) -> None:
    """Neither an entry in the navigation nor a page; tests/health/test_ui.py has what is imported."""
    with Server(tmp_path, None) as server:
        plugins = server.get("/api/v2/plugins", "viewer").json()["plugins"]
        [ours] = [plugin for plugin in plugins if plugin["name"] == "supermetrics"]
        assert (ours["external_views"], ours["fastapi_apps"]) == ([], [])
        assert server.get("/supermetrics/health", "viewer").headers.get("Content-Security-Policy") is None
