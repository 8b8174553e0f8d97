"""Connectors that the API does not know."""

from __future__ import annotations

from dev.simulator import Simulator

MISTYPED = "T3S7O"


def lists(sim: Simulator) -> int:
    """How many times the connectors were listed."""
    return sum(request.path.endswith("/connectors") for request in sim.requests)
