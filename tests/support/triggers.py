"""An event trigger run in virtual time and without a triggerer."""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timezone
from typing import Any

from airflow_provider_supermetrics.triggers.supermetrics import SupermetricsErrorLogEventTrigger
from tests.conftest import CONNECTOR
from tests.support.airflow import stored


class Store:
    """An asset's state store; it may fail for a while, with these errors one after the other."""

    def __init__(self, *, get_errors: Iterable[Exception] = (), set_errors: Iterable[Exception] = ()) -> None:
        self.values: dict[str, Any] = {}
        self.writes = 0
        self.get_errors, self.set_errors = list(get_errors), list(set_errors)

    async def aget(self, key: str, default: Any = None) -> Any:
        """The value, a copy."""
        if self.get_errors:
            raise self.get_errors.pop(0)
        return copy.deepcopy(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        """Keep a value."""
        if self.set_errors:
            raise self.set_errors.pop(0)
        self.writes += 1
        self.values[key] = stored(value)


def error(name: str, ago: float = 0, status: int = 500) -> dict[str, Any]:
    """An error logged so many virtual seconds ago."""
    at = datetime.fromtimestamp(int(time.time() - ago), timezone.utc)
    return {"id": name, "log_time": at, "status": status, "event": "data.fetch", "request": f"GET /{name}"}


class Triggerer:
    """Runs one trigger until it has polled so many times more, or fired so many times."""

    def __init__(self, waits: list[float], store: Store | None = None, **arguments: Any) -> None:
        self.waits = waits
        self.store = store
        self.arguments = {"connector_identifier": CONNECTOR, **arguments}
        self.fired: list[dict[str, Any]] = []

    def run(self, polls: int, between: Callable[[int], None] = lambda _: None) -> list[dict[str, Any]]:
        """The payloads of the events; `between` is called before each poll with its number, from 1."""
        return asyncio.run(self._run(polls, between))

    async def _run(self, polls: int, between: Callable[[int], None]) -> list[dict[str, Any]]:
        trigger = SupermetricsErrorLogEventTrigger(**self.arguments)
        if self.store is not None:
            trigger.asset_state_store = self.store
        _, kwargs = json.loads(json.dumps(trigger.serialize()))

        async def counted() -> AsyncIterator[Any]:
            number = 1
            between(number)
            async for batch in SupermetricsErrorLogEventTrigger.open_shared_stream(kwargs):
                yield batch
                if number == polls:
                    return
                number += 1
                between(number)

        return [stored(e.payload) async for e in trigger.filter_shared_stream(counted())]


def ids(payloads: list[dict[str, Any]]) -> list[list[str]]:
    """The entries of each event."""
    return [[entry["id"] for entry in payload["entries"]] for payload in payloads]
