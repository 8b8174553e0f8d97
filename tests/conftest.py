"""Shared fixtures. Airflow gets its own home before anything imports it."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

_HOME = tempfile.TemporaryDirectory(prefix="airflow-home-")
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# Airflow 2.11 warns of its own choices.
os.environ["AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY"] = "True"
os.environ["SQLALCHEMY_SILENCE_UBER_WARNING"] = "1"

import pytest  # noqa: E402  # after the environment

from dev.simulator import Connector, Simulator, generate_entries  # noqa: E402  # likewise
from tests.support.release import AIRFLOW_2, RELEASE  # noqa: E402  # likewise
from tests.support.selection import is_full  # noqa: E402  # likewise

KEY = "sm-test-key/with+odd=characters"
TEAM = 936506
CONNECTOR = "T3S70"
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test` leaves to `make test-all`, before pytest selects by marks."""
    for item in items:
        call = getattr(item, "callspec", None)
        if is_full(item.nodeid, call.params.values() if call else ()):
            item.add_marker("full")


@pytest.fixture(scope="session", autouse=True)
def libraries_of_airflow_2() -> None:
    """Load what in Airflow 2.11 warns of its own parts, before that is an error."""
    if AIRFLOW_2:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import openlineage.client  # noqa: F401  # loaded, no more
            from airflow.hooks.filesystem import FSHook

            FSHook.get_connection_form_widgets()


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Define the Connection `supermetrics_default`, by its host and what else it should hold."""

    def define(url: str, *, conn_id: str = "supermetrics_default", **parts: Any) -> None:
        definition = {
            "conn_type": "supermetrics",
            "host": url,
            "password": KEY,
            "extra": {"team_id": TEAM},
            **parts,
        }
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(definition))

    return define


@pytest.fixture
def simulate(connection: Callable[..., None]) -> Iterator[Callable[..., Simulator]]:
    """Start simulators, by their entries and switches, and point the Connection to the latest."""
    running: list[Simulator] = []

    def start(entries: list[dict[str, Any]] | None = None, **switches: Any) -> Simulator:
        connectors = switches.pop("connectors", None)
        if connectors is None:
            if entries is None:
                entries = generate_entries(count=50, start=START, end=START + HOUR, seed=1)
            connectors = [Connector(CONNECTOR, entries, team_id=TEAM)]
        simulator = Simulator(connectors=connectors, tokens={KEY: {TEAM}}, **switches)
        simulator.__enter__()
        running.append(simulator)
        connection(simulator.url)
        return simulator

    yield start
    for simulator in running:
        simulator.__exit__(None, None, None)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """All of time passes at once, by any clock of Python's; the list has each sleep, in seconds."""
    naps: list[float] = []
    wall, steady, yield_ = time.time, time.monotonic, asyncio.sleep

    async def sleep_async(seconds: float, result: Any = None) -> Any:
        naps.append(seconds)
        return await yield_(0, result)

    monkeypatch.setattr(time, "sleep", naps.append)
    monkeypatch.setattr(time, "time", lambda: wall() + sum(naps))
    monkeypatch.setattr(time, "monotonic", lambda: steady() + sum(naps))
    monkeypatch.setattr(asyncio, "sleep", sleep_async)
    return naps


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Return the lines logged since the last call; Airflow 3.1 and later write that of tasks past logging."""
    caplog.set_level("INFO")

    def lines() -> list[str]:
        printed = "".join(capfd.readouterr())
        text = caplog.text + (printed if RELEASE >= (3, 1) else "")
        caplog.clear()
        return text.rstrip("\n").split("\n")

    return lines


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What was reported to Airflow's collector of hook lineage: the URIs of the outputs, or of the inputs."""
    try:
        from airflow.sdk import lineage
    except ImportError:  # Airflow before 3.2
        from airflow.lineage import hook as lineage
    collector = lineage.HookLineageCollector()
    # What Airflow itself gives out where a reader of lineage is installed.
    monkeypatch.setattr(lineage, "get_hook_lineage_collector", lambda: collector)

    def uris(side: str = "outputs") -> list[str]:
        return [item.asset.uri for item in getattr(collector.collected_assets, side)]

    return uris


@pytest.fixture
def repository() -> Path:
    """The folder with pyproject.toml."""
    return Path(__file__).parent.parent
