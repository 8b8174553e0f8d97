"""What the simulator's tests share: a running simulator with a client, and a way to build entries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from dev.simulator import Connector, Simulator
from tests.simulator.client import START, TEAM, Client


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Callable[..., tuple[Simulator, Client]]:
    """Start a simulator with the given entries and switches; it and its client end with the test."""

    def start(entries: list[dict[str, Any]] | None = None, **switches: Any) -> tuple[Simulator, Client]:
        switches.setdefault("connectors", [Connector("T3S70", entries or [], name="Orders", team_id=TEAM)])
        switches.setdefault("tokens", {"good-key": {TEAM}})
        simulator = Simulator(**switches)
        simulator.__enter__()
        request.addfinalizer(lambda: simulator.__exit__(None, None, None))
        client = Client(simulator)
        request.addfinalizer(client.connection.close)
        return simulator, client

    return start


@pytest.fixture
def at() -> Callable[..., dict[str, Any]]:
    """Make an entry so many seconds after START, named by its id."""

    def entry(entry_id: str, seconds: float, **more: Any) -> dict[str, Any]:
        return {"id": entry_id, "log_time": START + timedelta(seconds=seconds), "status": 200, **more}

    return entry
