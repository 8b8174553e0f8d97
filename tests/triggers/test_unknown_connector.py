"""Polling a connector that does not exist, or that has never logged anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from dev.simulator import Connector, Fault, Simulator
from tests.conftest import CONNECTOR, TEAM
from tests.support.connectors import MISTYPED, lists
from tests.support.triggers import Triggerer, error, ids

Simulate = Callable[..., Simulator]


@pytest.fixture
def virtual(simulate: Simulate, waits: list[float]) -> Simulate:
    """Start simulators that return an empty log for every connector, with the virtual clock."""

    def start(*connectors: Connector, **switches: Any) -> Simulator:
        known = connectors or (Connector(CONNECTOR, team_id=TEAM),)
        return simulate(
            connectors=known, unknown_connector="empty", clock=lambda: time.monotonic(), **switches
        )

    return start


def test_an_event_trigger_of_a_mistyped_connector_logs_it_and_continues(
    virtual: Simulate, waits: list[float], logged: Callable[[], list[str]]
) -> None:
    """Nothing ends it; later entries are found, although the list does not contain the connector."""
    hidden = {"connectors": [{"connector_identifier": CONNECTOR}], "count": 1}
    sim = virtual(
        Connector(CONNECTOR, team_id=TEAM),
        Connector(MISTYPED, team_id=TEAM),
        faults=[None, Fault(200, body=hidden), None, Fault(200, body=hidden)],
        arrivals={5: [(MISTYPED, [error("late")])]},
    )
    assert ids(Triggerer(waits, connector_identifier=MISTYPED).run(1)) == [["late"]]
    assert len([nap for nap in waits if nap >= 300]) == 2
    assert len([line for line in logged() if f"has no connector {MISTYPED}" in line]) == 2
    assert len(sim.requests) == 6  # the entry's page needs a proof that it is all


def test_an_event_trigger_of_an_idle_connector_looks_it_up_once(
    virtual: Simulate, waits: list[float]
) -> None:
    """An event trigger looks up an idle connector once per process."""
    sim = virtual()
    assert Triggerer(waits).run(5) == []
    assert (len(sim.requests), lists(sim)) == (6, 1)
