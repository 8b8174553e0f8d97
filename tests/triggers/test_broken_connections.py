"""Connections that cannot be used: they end no event trigger, and fail a deferred task with one message."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import SupermetricsError
from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor
from airflow_provider_supermetrics.triggers.supermetrics import (
    SupermetricsErrorLogEventTrigger,
    SupermetricsErrorLogTrigger,
)
from dev.simulator import Simulator
from tests.conftest import CONNECTOR, KEY, TEAM
from tests.support.airflow import stored
from tests.support.export import context
from tests.support.release import AIRFLOW_2

CONN_ID = "supermetrics_default"
VARIABLE = f"AIRFLOW_CONN_{CONN_ID.upper()}"

Break = Callable[[str], None]


def not_pem(folder: Path) -> str:
    """A file that is there and holds no certificate."""
    path = folder / "not.pem"
    path.write_text("a note, not a certificate")
    return str(path)


def unreadable(folder: Path) -> str:
    """A path that exists and that nobody can open, not even root."""
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    return str(path)


EXTRAS: dict[str, Callable[[Path], Any]] = {
    "cert is no PEM": lambda folder: {"team_id": TEAM, "cert": not_pem(folder)},
    "cert is a folder": lambda folder: {"team_id": TEAM, "cert": str(folder)},
    "cert cannot be read": lambda folder: {"team_id": TEAM, "cert": unreadable(folder)},
    "verify is no PEM": lambda folder: {"team_id": TEAM, "verify": not_pem(folder)},
    "extra is a list": lambda _: [1],
    "extra is a number": lambda _: "5",
    "extra is a string": lambda _: '"text"',
}
PARTS: dict[str, dict[str, Any]] = {
    "host has an empty label": {"url": "https://api..supermetrics.com"},
    "password is empty": {"password": ""},
}
# What Airflow makes of these fails while it fetches the Connection.
VALUES = {"Connection is no JSON": "{", "Connection is a list": "[1]", "Connection is missing": None}
BROKEN = [*EXTRAS, *PARTS, *VALUES, "REQUESTS_CA_BUNDLE is no PEM"]


def named_by(way: str) -> str:
    """What a message has to name, beside the Connection."""
    if way in VALUES:
        return "conn_type|could not be read|was not found"
    if way.startswith("extra"):
        return "extra|was not found"  # which is what Airflow 2.11 makes of an extra that is no object
    return way.split()[0]


@pytest.fixture
def break_connection(
    connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Simulator, str], None]:
    """Make the Connection one that cannot be used, in one of these ways."""

    def make(sim: Simulator, way: str) -> None:
        if way in EXTRAS:
            connection(sim.url, extra=EXTRAS[way](tmp_path))
        elif way in PARTS:
            connection(**{"url": sim.url, **PARTS[way]})
        elif way.startswith("REQUESTS_CA_BUNDLE"):
            connection(sim.url.replace("http://", "https://"))
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", not_pem(tmp_path))
            connection(sim.url.replace("http:", "https:"))  # plain HTTP needs none
        elif VALUES[way] is None:
            monkeypatch.delenv(VARIABLE)
        else:
            monkeypatch.setenv(VARIABLE, VALUES[way])

    return make


@pytest.fixture
def after_naps(
    monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> Callable[[int, Callable[[], None]], None]:
    """Do something when so many sleeps of a minute or more have passed."""
    sleep = asyncio.sleep
    plans: list[tuple[int, Callable[[], None]]] = []

    async def sleep_async(seconds: float, result: Any = None) -> Any:
        result = await sleep(seconds, result)
        for plan in [plan for plan in plans if plan[0] <= sum(nap >= 60 for nap in waits)]:
            plans.remove(plan)
            plan[1]()
        return result

    monkeypatch.setattr(asyncio, "sleep", sleep_async)
    return lambda count, action: plans.append((count, action))


def error_now(name: str) -> dict[str, Any]:
    """An error logged at this virtual moment."""
    return {"id": name, "log_time": datetime.fromtimestamp(int(time.time()), timezone.utc), "status": 500}


def deferred_trigger() -> SupermetricsErrorLogTrigger:
    """The trigger of a sensor that waits for an hour."""
    now = datetime.now(timezone.utc)
    return SupermetricsErrorLogTrigger(
        connector_identifier=CONNECTOR,
        since=now.isoformat(),
        deadline=(now + timedelta(hours=1)).isoformat(),
        not_before=now.isoformat(),
        error_filter={"min_status": 400},
    )


def fired(trigger: SupermetricsErrorLogTrigger) -> Any:
    """The payload of the only event."""

    async def fire() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    [event] = asyncio.run(fire())
    return stored(event)


@pytest.mark.skipif(AIRFLOW_2, reason="events came with Airflow 3")
@pytest.mark.parametrize("way", BROKEN)
def test_no_broken_connection_ends_the_event_trigger(
    simulate: Callable[..., Simulator],
    connection: Callable[..., None],
    break_connection: Callable[[Simulator, str], None],
    after_naps: Callable[[int, Callable[[], None]], None],
    monkeypatch: pytest.MonkeyPatch,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    """Polls fail, minutes apart, and name the Connection; when that is right again, errors are found."""
    sim = simulate([error_now("meanwhile")], clock=lambda: time.monotonic())
    break_connection(sim, way)

    def repair() -> None:
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        connection(sim.url)

    after_naps(3, repair)

    async def first() -> Any:
        trigger = SupermetricsErrorLogEventTrigger(connector_identifier=CONNECTOR, lookback=3600)
        return (await anext(aiter(trigger.run()))).payload

    assert [entry["id"] for entry in asyncio.run(first())["entries"]] == ["meanwhile"]
    # Airflow 3 may write a trigger's log past logging.
    complaint = re.compile("Poll of connector .*")
    complaints = complaint.findall(caplog.text) or complaint.findall(capsys.readouterr().out)
    assert len(complaints) == 3
    for text in complaints:
        assert text.startswith(f"Poll of connector {CONNECTOR} failed, next one in 300 s: ")
        assert re.search(
            rf" s: .*Connection '{CONN_ID}':? .*\b({named_by(way)})\b.*It used Connection '{CONN_ID}'", text
        )
    assert sum(nap >= 300 for nap in waits) == 3
    assert len(sim.requests) <= 2


@pytest.mark.skipif(AIRFLOW_2, reason="events came with Airflow 3")
def test_an_unexpected_error_does_not_end_the_event_trigger(
    simulate: Callable[..., Simulator],
    after_naps: Callable[[int, Callable[[], None]], None],
    monkeypatch: pytest.MonkeyPatch,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its traceback is in the log once, however often the poll fails with it."""
    simulate([error_now("meanwhile")], clock=lambda: time.monotonic())
    with monkeypatch.context() as broken:
        broken.setattr("aiohttp.ClientSession._request", defect)
        after_naps(3, broken.undo)

        async def first() -> Any:
            trigger = SupermetricsErrorLogEventTrigger(connector_identifier=CONNECTOR, lookback=3600)
            return (await anext(aiter(trigger.run()))).payload

        assert asyncio.run(first())["matches"] == 1
    # Airflow 3 may write a trigger's log past logging.
    log = caplog.text if "Poll of" in caplog.text else capsys.readouterr().out
    failed = f"Poll of connector {CONNECTOR} failed, next one in 300 s: Unexpected ZeroDivisionError"
    assert log.count(failed) == 3
    assert log.count("Traceback") == 1


async def defect(*_: Any, **__: Any) -> Any:
    """Raise an unexpected error in place of a request."""
    return 1 / 0


@pytest.mark.airflow_2
def test_an_unexpected_error_fails_a_deferred_task(
    simulate: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    """An unexpected error fails the deferred task once, and the message names the Connection."""
    simulate([], clock=lambda: time.monotonic())
    monkeypatch.setattr("aiohttp.ClientSession._request", defect)
    event = fired(deferred_trigger())
    sensor = SupermetricsErrorLogSensor(task_id="t", connector_identifier=CONNECTOR)
    with pytest.raises(SupermetricsError, match=f"^Unexpected ZeroDivisionError: .*Connection '{CONN_ID}'"):
        sensor.execute_complete(context(), event)


@pytest.mark.airflow_2
@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_an_unexpected_error_fails_a_task_on_a_worker(
    simulate: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """With the same message as from the trigger."""
    simulate([])
    monkeypatch.setattr("requests.Session.send", lambda *_, **__: 1 / 0)
    sensor = SupermetricsErrorLogSensor(task_id="t", connector_identifier=CONNECTOR, mode=mode)
    running = context()
    with pytest.raises(SupermetricsError, match=f"^Unexpected ZeroDivisionError: .*Connection '{CONN_ID}'"):
        sensor.poke(running)


@pytest.mark.airflow_2
@pytest.mark.parametrize("way", BROKEN)
def test_a_connection_that_breaks_while_a_sensor_is_deferred_fails_its_task(
    simulate: Callable[..., Simulator],
    break_connection: Callable[[Simulator, str], None],
    waits: list[float],
    way: str,
) -> None:
    """The trigger fires one error event; the task's error names the Connection."""
    sim = simulate([], clock=lambda: time.monotonic())
    trigger = deferred_trigger()
    break_connection(sim, way)
    event = fired(trigger)
    assert event["status"] == "error"
    sensor = SupermetricsErrorLogSensor(task_id="t", connector_identifier=CONNECTOR)
    with pytest.raises(
        SupermetricsError, match=rf"Connection '{CONN_ID}':? .*\b({named_by(way)})\b"
    ) as raised:
        sensor.execute_complete(context(), event)
    assert KEY not in str(raised.value)
