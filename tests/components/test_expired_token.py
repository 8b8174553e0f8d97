"""A token that expires while tasks run, and may have been renewed at the next attempt."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_supermetrics import exceptions
from airflow_provider_supermetrics.exceptions import (
    SupermetricsError,
    SupermetricsRequestError,
    SupermetricsTokenError,
)
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsListConnectorsOperator
from airflow_provider_supermetrics.triggers.supermetrics import error_event, error_of
from dev.simulator import Fault, Simulator
from tests.conftest import CONNECTOR, HOUR, START
from tests.support.compat import AirflowFailException
from tests.support.export import CHECKPOINT, Exported, Task, context, log_of
from tests.support.sensors import MODES, Wait, at, keep_first_start, quiet

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]
EXPIRED = Fault(401, code="ACCESS_TOKEN_EXPIRED", message="The access token has expired.")


def test_an_expired_token_in_the_middle_of_an_export_loses_no_page(
    simulate: Simulate, exported: Exported, waits: list[float]
) -> None:
    """The attempt fails, and Airflow retries; with a renewed token it resumes from the checkpoint."""
    sim = simulate(log_of(4000), faults=[None, None, EXPIRED])
    task = Task(exported.folder, waits, deferrable=True)
    with pytest.raises(SupermetricsTokenError) as failed:
        task.step()
    assert not isinstance(failed.value, AirflowFailException)
    assert CHECKPOINT in exported.names
    assert task.step() is not None
    before = [request.params["before"] for request in sim.requests if request.status == 200]
    assert len(before) == len(set(before))
    assert len(exported.entries()) == len(sim.truth(CONNECTOR, START, START + HOUR))


def test_an_expired_token_while_connectors_are_listed(simulate: Simulate, waits: list[float]) -> None:
    """An expired token raises an error that Airflow retries."""
    simulate(faults=[EXPIRED])
    with pytest.raises(SupermetricsTokenError):
        SupermetricsListConnectorsOperator(task_id="list", deferrable=True).execute(context())


@pytest.fixture
def virtual(simulate: Simulate, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> Simulate:
    """Start simulators that use the virtual clock."""
    keep_first_start(monkeypatch)
    return lambda *args, **kwargs: simulate(*args, clock=lambda: time.monotonic(), **kwargs)


@pytest.mark.parametrize("mode", ["poke", "reschedule with memory", "deferrable"])
def test_a_sensor_survives_an_expired_token(virtual: Simulate, waits: list[float], mode: str) -> None:
    """An expired token is a failed poll; each poll reads the Connection again and finds the renewed token."""
    sim = virtual(quiet(), faults=[None, EXPIRED, EXPIRED], arrivals={4: [(CONNECTOR, [at(5)])]})
    assert Wait(mode, waits).run()["matches"] == 1
    assert len(sim.requests) == 4


@pytest.mark.parametrize(
    ("mode", "polls"), [("poke", 3), ("reschedule", 1), ("reschedule with memory", 3), ("deferrable", 3)]
)
def test_a_token_that_nobody_renews_ends_a_sensor(
    virtual: Simulate, waits: list[float], mode: str, polls: int
) -> None:
    """Without renewal, the sensor fails after the allowed failed polls, with the same error in every mode."""
    sim = virtual(quiet(), faults=[EXPIRED] * 9)
    with pytest.raises(SupermetricsTokenError, match=r"ACCESS_TOKEN_EXPIRED.*renew") as failed:
        Wait(mode, waits, max_consecutive_failures=3).run()
    assert not isinstance(failed.value, AirflowFailException)
    assert (failed.value.status_code, failed.value.code) == (401, "ACCESS_TOKEN_EXPIRED")
    assert len(sim.requests) == polls


@pytest.mark.parametrize("mode", MODES)
def test_another_401_ends_a_sensor_at_once(virtual: Simulate, waits: list[float], mode: str) -> None:
    """A wrong key fails the sensor at the first poll."""
    sim = virtual(quiet(), faults=[Fault(401)] * 9)
    with pytest.raises(SupermetricsRequestError):
        Wait(mode, waits).run()
    assert len(sim.requests) == 1


def kinds() -> list[type[SupermetricsError]]:
    """Return all public errors."""
    public = [value for value in vars(exceptions).values() if isinstance(value, type)]
    return [kind for kind in public if issubclass(kind, SupermetricsError)]


@pytest.mark.parametrize("kind", kinds())
def test_an_error_survives_the_way_from_a_trigger(kind: type[SupermetricsError]) -> None:
    """An error passed through a trigger's event keeps its class and its attributes."""
    facts: dict[str, Any] = {
        "status_code": 401,
        "code": "X",
        "description": "d",
        "details": '{"a": 1}',
        "request_id": "r",
        "retry_after": 3.0,
    }
    again = error_of(error_event(kind("what happened", **facts)))
    assert type(again) is kind
    assert str(again) == "what happened"
    assert {name: getattr(again, name) for name in facts} == facts


def test_what_may_be_retried() -> None:
    """Every error has `retryable`, which is False if Airflow never retries the error."""
    for kind in kinds():
        assert isinstance(kind("x").retryable, bool)
        assert not (kind("x").retryable and issubclass(kind, AirflowFailException)), kind
