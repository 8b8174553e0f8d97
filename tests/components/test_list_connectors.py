"""The operator that lists connectors, and its log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsListConnectorsOperator
from dev.simulator import Connector, Fault, Simulator
from tests.conftest import TEAM
from tests.support.export import context
from tests.support.responses import HOSTILE

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]


def list_connectors() -> list[str]:
    """Run the operator and return its result."""
    return SupermetricsListConnectorsOperator(task_id="list").execute(context())


def test_control_characters_of_names_do_not_reach_the_log(
    simulate: Simulate, logged: Callable[[], list[str]]
) -> None:
    """Anybody can choose a connector's name: it must not clear a screen or forge a line."""
    simulate(connectors=[Connector("T3S70", name=HOSTILE, team_id=TEAM), Connector(HOSTILE, team_id=TEAM)])
    assert list_connectors() == ["T3S70", HOSTILE]
    lines = logged()
    assert len([line for line in lines if "[INFO] d" in line]) == 2
    assert [line for line in lines if not line.isprintable()] == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [("x" * 10**6, 99 * "x" + "…"), ({"en": "y"}, None), (None, None), ("", None), (7, None)],
    ids=["long", "object", "null", "empty", "number"],
)
def test_odd_names_are_logged_short_or_left_out(
    simulate: Simulate, logged: Callable[[], list[str]], name: Any, shown: str | None
) -> None:
    """Missing or odd names of connectors do not fail the operator."""
    simulate(
        faults=[
            Fault(200, body={"connectors": [{"connector_identifier": "T3S70", "name": name}], "count": 1})
        ]
    )
    assert list_connectors() == ["T3S70"]
    [line] = [line for line in logged() if "T3S70" in line]
    assert ("T3S70 (" in line) == (shown is not None)
    assert f"({shown})" in line or shown is None
    assert len(line) < 500
