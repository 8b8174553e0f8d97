"""A sensor run to its end in virtual time, and logs for it to read."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.exceptions import AirflowRescheduleException

from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor
from dev.simulator import Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, START
from tests.support.airflow import deferred as as_deferred
from tests.support.airflow import stored
from tests.support.compat import TaskDeferred
from tests.support.export import context
from tests.support.release import AIRFLOW_2

Simulate = Callable[..., Simulator]
MODES = ["poke", "reschedule", "reschedule with memory", "deferrable"]


class Store(dict[str, Any]):
    """The task state store of Airflow 3.3."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self[key] = stored(value)

    def get(self, key: str, default: Any = None) -> Any:
        """The value, a copy."""
        return copy.deepcopy(self[key]) if key in self else default

    def delete(self, key: str) -> None:
        """Delete a value."""
        self.pop(key, None)


def virtual_now() -> datetime:
    """The time by the clock that the fixture `waits` advances."""
    return datetime.fromtimestamp(time.time(), timezone.utc)


class Wait:
    """A sensor run to its end as Airflow does it: after each reschedule and each deferral in another process.

    :param waits: the virtual sleeps; reschedules are added to it.
    :param kind: the sensor's class.
    """

    started: datetime

    def __init__(
        self,
        mode: str,
        waits: list[float],
        kind: type[SupermetricsErrorLogSensor] = SupermetricsErrorLogSensor,
        **arguments: Any,
    ) -> None:
        self.mode = mode
        self.kind = kind
        self.waits = waits
        self.arguments = {
            "task_id": "errors",
            "connector_identifier": CONNECTOR,
            "mode": "reschedule" if mode.startswith("reschedule") else "poke",
            "deferrable": mode == "deferrable",
            "poke_interval": 60,
            **arguments,
        }
        self.store = Store()
        self.context = context()
        if mode == "reschedule with memory":
            self.context["task_state_store"] = self.store
        self.wakes = 0
        self.serialized: list[Any] = []
        Wait.started = virtual_now()
        self.context["ti"].get_first_reschedule_date = lambda _: self.started if self.wakes > 1 else None
        self.context["ti"].max_tries = 0
        self.context["ti"].dag_id, self.context["ti"].task_id, self.context["ti"].run_id = "d", "errors", "r"

    def run(self) -> Any:
        """The sensor's result."""
        while True:
            self.wakes += 1
            sensor = self.kind(**self.arguments)
            try:
                return sensor.execute(self.context)
            except AirflowRescheduleException as later:
                wait = (later.reschedule_date - virtual_now()).total_seconds()
                self.waits.append(max(0.0, wait))
            except TaskDeferred as deferred:
                return self._resume(deferred)

    def begin_again(self) -> None:
        """Let the next run be another attempt."""
        self.wakes, Wait.started = 0, virtual_now()

    def _resume(self, deferred: TaskDeferred) -> Any:
        assert deferred.method_name == "execute_complete"
        assert not deferred.kwargs
        self.serialized.append(deferred.trigger.serialize())
        again = self.kind(**self.arguments)
        event = asyncio.run(self._fire(as_deferred(deferred.trigger)))
        return again.resume_execution("execute_complete", {"event": event}, self.context)

    @staticmethod
    async def _fire(trigger: Any) -> Any:
        events = [event.payload async for event in trigger.run()]
        assert len(events) == 1
        return stored(events[0])


def at(seconds: float, status: Any = 500, **parts: Any) -> dict[str, Any]:
    """An entry so many seconds after the start."""
    return {
        "id": f"at-{seconds}-{status}",
        "log_time": START + timedelta(seconds=seconds),
        "status": status,
        **parts,
    }


def quiet(count: int = 300) -> list[dict[str, Any]]:
    """A log without errors, older than the time that counts."""
    return good(generate_entries(count=count, start=START - HOUR, end=START, seed=4))


def good(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries, none of them an error."""
    return [{**entry, "status": 200} for entry in entries]


def keep_first_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give Airflow 2, which looks it up in its database, the first start of the sensor that runs."""
    if AIRFLOW_2:
        monkeypatch.setattr("airflow.sensors.base._orig_start_date", lambda **_: Wait.started)
