"""The page in Airflow's UI: who reads, what views get meanwhile, and what the plugin loads."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from airflow_provider_supermetrics._health.model import Report
from airflow_provider_supermetrics._health.model import report as report_of
from airflow_provider_supermetrics._schedule import Window
from airflow_provider_supermetrics._ui.picture import KEPT, Picture, reading
from airflow_provider_supermetrics._ui.plugin import SupermetricsPlugin, health_paths
from airflow_provider_supermetrics._wait import utcnow
from tests.conftest import CONNECTOR, HOUR, START
from tests.support.html import parsed
from tests.support.manifests import write_manifest
from tests.support.release import RELEASE

pytestmark = pytest.mark.airflow_2

WAITING = "The manifests are being read"
NEW = "A new picture is being read"


class Desk:
    """A picture whose clock, manifests and thread the test has in its hands.

    :param seconds: how long reading takes.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.now = 1000.0
        self.seconds = seconds
        self.reads = 0
        self.error: Exception | None = None
        self.pending: list[Callable[[], None]] = []
        self.picture = Picture(self._read, clock=lambda: self.now, patience=0, start=self.pending.append)

    def _read(self) -> tuple[Report, str]:
        self.now += self.seconds
        self.reads += 1
        if self.error:
            raise self.error
        return report_of([], Window(START, START + HOUR), START + HOUR, ["a note"]), f"read {self.reads}"

    def finish(self) -> None:
        """Let the thread run to its end."""
        self.pending.pop()()

    def view(self) -> str:
        """What a view shows."""
        return parsed(self.picture.html()).text


def test_the_first_view_says_that_it_is_read() -> None:
    """One thread reads, for however many views, and later views get what it has read."""
    desk = Desk()
    for _ in range(3):
        assert WAITING in desk.view()
    assert 'http-equiv="refresh"' in desk.picture.html()
    assert len(desk.pending) == 1
    desk.finish()
    shown = desk.view()
    assert "read 1" in shown
    assert "a note" in shown
    assert WAITING not in shown
    assert (desk.reads, desk.pending) == (1, [])


def test_a_view_waits_for_the_first_picture() -> None:
    """With a real thread."""
    assert "read 1" in Picture(Desk()._read, patience=60).html()


def test_a_picture_is_kept_for_a_minute_after_it_was_read() -> None:
    """However long reading takes: what has just been read is not old."""
    desk = Desk(seconds=10 * KEPT)
    desk.view()
    desk.finish()
    assert "10 minutes ago" in desk.view()
    desk.now += KEPT - 1
    assert NEW not in desk.view()
    assert desk.pending == []
    desk.now += 1
    shown = desk.view()
    assert "read 1" in shown
    assert "11 minutes ago" in shown
    assert NEW in shown
    desk.view()
    assert len(desk.pending) == 1
    desk.seconds = 1
    desk.finish()
    shown = desk.view()
    assert "read 2" in shown
    assert "1 second ago" in shown
    assert NEW not in shown


def test_what_cannot_be_read_leaves_the_last_picture(caplog: pytest.LogCaptureFixture) -> None:
    """It says so, and is read again a minute later."""
    desk = Desk()
    desk.view()
    desk.finish()
    desk.now += KEPT
    desk.view()
    desk.error = ValueError("odd")
    desk.finish()
    shown = desk.view()
    assert "read 1" in shown
    assert "could not be read again: the log of the API server says why" in shown
    assert "ValueError: odd" in caplog.text
    assert desk.pending == []
    desk.now += KEPT
    desk.view()
    desk.error = None
    desk.finish()
    shown = desk.view()
    assert "read 3" in shown
    assert "could not be read" not in shown


def test_where_nothing_could_be_read() -> None:
    """There is a sentence, and no traceback."""
    desk = Desk()
    desk.error = ValueError("odd")
    desk.view()
    desk.finish()
    page = desk.picture.html()
    assert "The manifests could not be read: the log of the API server says why" in parsed(page).text
    assert "odd" not in page
    assert 'http-equiv="refresh"' not in page
    assert desk.pending == []


def test_a_thread_that_cannot_be_started() -> None:
    """The next view tries again."""
    attempts = []

    def start(work: Callable[[], None]) -> None:
        attempts.append(work)
        raise RuntimeError("can't start new thread")

    picture = Picture(Desk()._read, start=start)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            picture.html()
    assert len(attempts) == 2


def test_views_at_once_read_once() -> None:
    """Those that arrive while the first one is read wait for the same picture."""
    desk = Desk()
    may_end = Event()

    def read() -> tuple[Report, str]:
        may_end.wait(60)
        return desk._read()

    picture = Picture(read, patience=60)
    pages: list[str] = []
    views = [Thread(target=lambda: pages.append(picture.html())) for _ in range(8)]
    for view in views:
        view.start()
    may_end.set()
    for view in views:
        view.join()
    assert desk.reads == 1
    assert ["read 1" in page for page in pages] == [True] * 8


def test_what_is_read(tmp_path: Path) -> None:
    """The last days up to now, without links to folders, which a browser could not open."""
    hour = utcnow().replace(minute=0, second=0, microsecond=0)
    write_manifest(tmp_path, hour - HOUR, entries=7)
    write_manifest(tmp_path, hour - 50 * HOUR, entries=70)
    read = reading([str(tmp_path), "s3://KEY:SECRET@bucket"], 1)
    for _ in range(2):
        report, body = read()
        assert report.window.start in (hour - timedelta(days=1), hour - timedelta(days=1) + HOUR)
        assert [each.numbers.entries for each in report.connectors] == [7]
        assert [note.partition(" could")[0] for note in report.notes] == ["path 2 of health_paths"]
        assert CONNECTOR in body
        assert "./" not in body


# The plugin.

PLUGIN = """
from airflow.plugins_manager import AirflowPlugin
from airflow.configuration import conf
import sys
before = set(sys.modules)
from airflow_provider_supermetrics._ui.plugin import SupermetricsPlugin
SupermetricsPlugin.on_load()
apps, views = (getattr(SupermetricsPlugin, name, []) for name in ("fastapi_apps", "external_views"))
print("page:", len(apps), len(views), *(view["href"] for view in views))
ours = (name for name in sys.modules if name.startswith("airflow_provider_supermetrics"))
print("loaded:", *(set(sys.modules) - before), *ours)
"""
#: What only a view needs.
HEAVY = ("fastapi", "jinja2", "msgspec", "pendulum", "fsspec", "upath", "aiohttp", "requests")


@pytest.mark.parametrize("paths", ["", "s3://c@bucket/a, s3://c@bucket/b\ns3://c@bucket/c"])
def test_the_plugin_loads_nothing_that_only_the_page_needs(tmp_path: Path, paths: str) -> None:
    """Whether there is a page or not: the application is imported by the first view."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PLUGIN],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__SUPERMETRICS__HEALTH_PATHS": paths},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.rpartition("loaded:")[2].split())
    ours = {name for name in loaded if name.startswith("airflow_provider_supermetrics")}
    assert ours == {
        "airflow_provider_supermetrics",
        "airflow_provider_supermetrics._ui",
        "airflow_provider_supermetrics._ui.plugin",
        "airflow_provider_supermetrics.provider_info",
    }
    assert {name for name in loaded if name.partition(".")[0] in HEAVY} == set()
    has_page = bool(paths) and RELEASE >= (3, 1)
    assert ("page: 1 1 /supermetrics/health" if has_page else "page: 0 0") in done.stdout
    is_ignored = "health_paths is ignored: a page in the UI needs Airflow 3.1" in done.stderr + done.stdout
    assert is_ignored == (bool(paths) and RELEASE < (3, 1))


@pytest.mark.skipif(RELEASE < (3, 1), reason="before Airflow 3.1 there is no page")
def test_the_range_of_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number beyond it is refused where Airflow loads the plugin."""

    class Plugin(SupermetricsPlugin):
        """Takes what is loaded, in place of the one that Airflow knows."""

    monkeypatch.setenv("AIRFLOW__SUPERMETRICS__HEALTH_PATHS", "/logs")
    for days in ("0", "401", "-5"):
        monkeypatch.setenv("AIRFLOW__SUPERMETRICS__HEALTH_DAYS", days)
        with pytest.raises(ValueError, match=f"health_days must be from 1 to 400, not {days}"):
            Plugin.on_load()
        assert Plugin.fastapi_apps == []
    for days in ("1", "400"):
        monkeypatch.setenv("AIRFLOW__SUPERMETRICS__HEALTH_DAYS", days)
        Plugin.on_load()
        assert [app["url_prefix"] for app in Plugin.fastapi_apps] == ["/supermetrics"]
    assert SupermetricsPlugin.fastapi_apps == []


def test_the_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are separated by commas or line breaks; what is empty between them is no path."""
    monkeypatch.setenv("AIRFLOW__SUPERMETRICS__HEALTH_PATHS", " s3://c@b/x ,\n/y,,\n\n/z\n")
    assert health_paths() == ["s3://c@b/x", "/y", "/z"]


def with_paths(monkeypatch: pytest.MonkeyPatch, text: str) -> type[SupermetricsPlugin]:
    """A plugin with this setting, in place of the one that Airflow has loaded."""
    monkeypatch.setenv("AIRFLOW__SUPERMETRICS__HEALTH_PATHS", text)
    return type("Plugin", (SupermetricsPlugin,), {})


@pytest.mark.skipif(RELEASE < (3, 1), reason="before Airflow 3.1 there is no page")
@pytest.mark.parametrize(
    "text",
    [
        "s3://KEY:se,cret@bucket/x",
        "s3://KEY:se,/cret@bucket/x",
        "/logs\ns3://KEY:se, /cret@bucket/x",
        "/logs, s3://KEY:se/c,ret@bucket/x",
        "s3://bucket/x?sig=se,cret",
        "s3://bucket/x?sig=se,/cret",
        "/logs, cret@bucket/x",
        "/logs\nlogs",
    ],
)
def test_a_setting_that_a_credential_may_be_divided_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The first part looks like a path, and the last one would be quoted: there is no page instead."""
    plugin = with_paths(monkeypatch, text)
    with pytest.raises(ValueError, match="health_paths must contain URLs and absolute paths") as refused:
        plugin.on_load()
    assert not any(part in str(refused.value) for part in ("KEY", "se,", "cret", "/logs"))
    assert plugin.fastapi_apps == []


@pytest.mark.skipif(RELEASE < (3, 1), reason="before Airflow 3.1 there is no page")
@pytest.mark.parametrize(
    "text",
    [
        "/a, file:///b,s3://c@b/d/e:f, /g",
        "hdfs://host:8020/a, s3://c@b/d",
        "hdfs://host:8020/a\n/b",
        "S3://bucket/x",
    ],
)
def test_settings_that_are_read(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Each path is checked for itself, and a note on the page names one that is not valid."""
    plugin = with_paths(monkeypatch, text)
    plugin.on_load()
    assert len(plugin.fastapi_apps) == 1


def respond(app: Callable[..., Coroutine[Any, Any, None]], path: str) -> list[dict[str, Any]]:
    """The messages of an ASGI application. Starlette's client warns of what releases of Airflow pin."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [],
    }
    asyncio.run(app(scope, receive, send))
    return sent


@pytest.mark.skipif(RELEASE < (3, 1), reason="before Airflow 3.1 there is no page")
@pytest.mark.filterwarnings("ignore:The anyio.abc.BlockingPortal:DeprecationWarning")  # Airflow 3.3.2's
def test_the_application(tmp_path: Path) -> None:
    """It asks for one right, and has one page, whose headers forbid scripts and loading."""
    from airflow_provider_supermetrics._ui.app import create_app

    app = create_app([str(tmp_path)], 30)
    assert respond(app, "/openapi.json")[0]["status"] == 404
    [right] = app.router.dependencies
    assert right.dependency is not None
    app.dependency_overrides[right.dependency] = lambda: None
    start, *body = respond(app, "/health")
    assert start["status"] == 200
    assert b"Connector health" in b"".join(message["body"] for message in body)
    headers = dict(start["headers"])
    assert headers[b"cache-control"] == b"no-store"
    assert b"script-src" not in headers[b"content-security-policy"]
    assert headers[b"content-security-policy"].startswith(b"default-src 'none'")
