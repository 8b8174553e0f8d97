"""Both hooks with an empty history of an unknown connector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import SupermetricsRequestError
from dev.simulator import Connector, Simulator
from tests.conftest import CONNECTOR, START, TEAM
from tests.support.connectors import MISTYPED, lists
from tests.support.responses import HOSTILE

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]


@pytest.mark.parametrize(
    ("names", "shown", "hidden"),
    [
        (
            {"X1": "a", "T3S70": "b", "T3S77": "c", "7S3T": "d", "T3570": "e"},
            ["T3S70 (b)", "T3S77 (c)"],
            ["X1"],
        ),
        ({"A1": "T3S7O", "B2": "Invoices"}, ["A1 (T3S7O)"], []),
        ({"A1": HOSTILE, "B2": "x" * 10**5}, ["A1 ("], []),
        ({}, ["none"], []),
    ],
    ids=["close", "the name instead", "hostile", "none"],
)
def test_the_error_names_the_closest_connectors(
    simulate: Simulate, hook: Any, names: dict[str, str], shown: list[str], hidden: list[str]
) -> None:
    """Three at most, in one short line."""
    simulate(
        connectors=[Connector(identifier, name=name, team_id=TEAM) for identifier, name in names.items()],
        unknown_connector="empty",
    )
    with pytest.raises(SupermetricsRequestError) as failed:
        hook.iter_logs(MISTYPED)
    message = str(failed.value)
    assert message.isprintable()
    assert len(message) < 600
    assert [text for text in shown if text not in message] == []
    assert [text for text in hidden if text in message] == []
    assert message.count(" (") <= 3


def test_a_mistyped_connector_from_python(simulate: Simulate, hook: Any) -> None:
    """A quality gate must not pass because of a typing error."""
    sim = simulate([], unknown_connector="empty")
    with pytest.raises(SupermetricsRequestError, match=MISTYPED):
        hook.iter_logs(MISTYPED, start=START)
    assert (len(sim.requests), lists(sim)) == (2, 1)


def test_an_idle_connector_from_python_is_looked_up_once(simulate: Simulate, hook: Any) -> None:
    """A hook looks up an idle connector once, however often it reads the log."""
    sim = simulate([], unknown_connector="empty")
    for _ in range(3):
        assert hook.iter_logs(CONNECTOR, start=START) == []
    assert (len(sim.requests), lists(sim)) == (4, 1)
