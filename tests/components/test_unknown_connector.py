"""An empty history of an unknown connector is not taken for that of an idle one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import (
    SupermetricsRateLimitError,
    SupermetricsRequestError,
    SupermetricsServerError,
)
from dev.simulator import Connector, Fault, Simulator
from tests.conftest import CONNECTOR, TEAM
from tests.support.compat import AirflowFailException, AirflowSensorTimeout
from tests.support.connectors import MISTYPED, lists
from tests.support.export import CHECKPOINT, Exported, Task
from tests.support.release import AIRFLOW_2
from tests.support.responses import listed
from tests.support.sensors import MODES, Wait, at, keep_first_start

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]
Export = Callable[..., dict[str, Any]]


@pytest.fixture
def api(simulate: Simulate) -> Simulate:
    """Start simulators that return an empty log for every connector."""

    def start(*connectors: Connector, **switches: Any) -> Simulator:
        known = connectors or (Connector(CONNECTOR, name="Orders", team_id=TEAM),)
        return simulate(connectors=known, unknown_connector="empty", **switches)

    return start


# Exports


def test_an_export_of_a_mistyped_connector_fails(api: Simulate, export: Export, exported: Exported) -> None:
    """An export of a mistyped connector fails without retries, and the error names existing connectors."""
    sim = api()
    with pytest.raises(
        SupermetricsRequestError, match=rf"has no connector {MISTYPED} .*{CONNECTOR} \(Orders\)"
    ) as failed:
        export(connector_identifier=MISTYPED)
    assert isinstance(failed.value, AirflowFailException)
    assert exported.names == []
    assert lists(sim) == 1
    assert len(sim.requests) <= 3


def test_an_export_of_an_idle_connector_is_complete(
    api: Simulate, export: Export, exported: Exported
) -> None:
    """An export of a connector that has never logged anything is complete, and takes one more request."""
    sim = api()
    assert export()["entries"] == 0
    assert exported.manifests[0]["complete"] is True
    assert lists(sim) == 1
    assert exported.manifests[0]["requests"] == len(sim.requests)


@pytest.mark.parametrize(
    "seconds", [-86_400, 1800, 7200], ids=["before", "within", "after the end, same day"]
)
def test_a_connector_with_entries_is_not_looked_up(
    api: Simulate, export: Export, exported: Exported, seconds: int
) -> None:
    """Any entry, in the window or not, proves that the connector exists."""
    sim = api(Connector(CONNECTOR, [at(seconds)], team_id=TEAM))
    export()
    assert lists(sim) == 0
    assert len(exported.manifests) == 1


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (Fault(403), "403 FORBIDDEN"),
        (Fault(404, body="html"), "404"),
        (Fault(kind="not_json"), "is not JSON"),
        (listed(3, 4), "lists 3 of 4"),
        (listed(1000, None), "lists 1,000"),
        (listed(1000, 1001), "lists 1,000 of 1,001"),
    ],
    ids=["403", "404", "broken", "partial", "full", "cut"],
)
def test_the_export_warns_where_the_list_proves_nothing(
    api: Simulate,
    export: Export,
    exported: Exported,
    logged: Callable[[], list[str]],
    response: Fault,
    why: str,
) -> None:
    """If connectors cannot be listed, or the list is not complete, the export warns and does not fail."""
    sim = api(faults=[None, None, response])
    export(connector_identifier=MISTYPED)
    assert len(exported.manifests) == 1
    assert len(sim.requests) == 3
    [line] = [line for line in logged() if f"log of {MISTYPED} is empty" in line]
    assert why in line


def test_a_partial_list_that_has_the_connector_is_enough(
    api: Simulate, export: Export, logged: Callable[[], list[str]]
) -> None:
    """A partial list that contains the connector is sufficient."""
    connectors = [{"connector_identifier": CONNECTOR}]
    api(faults=[None, None, Fault(200, body={"connectors": connectors, "count": 9})])
    export()
    assert not [line for line in logged() if "is empty" in line]


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_rate_limited_list_is_waited_for(
    api: Simulate, exported: Exported, waits: list[float], deferrable: bool
) -> None:
    """A rate-limited list is waited for, and no manifest is written before the connector is found."""
    limited = Fault(429, headers={"Retry-After": "3600"})
    sim = api(faults=[None, None, limited], clock=lambda: time.monotonic())
    task = Task(exported.folder, waits, deferrable=deferrable, connector_identifier=MISTYPED)
    if deferrable:
        assert task.step() is None
    else:
        with pytest.raises(SupermetricsRateLimitError):
            task.step()
        waits.append(3600)
    assert exported.manifests == []
    with pytest.raises(SupermetricsRequestError, match=MISTYPED):
        task.step("execute_complete")
    assert exported.manifests == []
    assert [request.status for request in sim.requests][-1] == 200
    assert lists(sim) == 2


def test_a_failing_list_fails_the_try_and_leaves_nothing(
    api: Simulate, exported: Exported, waits: list[float]
) -> None:
    """A retry of Airflow's begins from scratch, which costs two requests; there is nothing to keep."""
    api(faults=[None, None, *[Fault(500)] * 5])
    with pytest.raises(SupermetricsServerError):
        Task(exported.folder, waits).step()
    assert CHECKPOINT not in exported.names
    assert Task(exported.folder, waits).step() is not None


# Sensors


@pytest.fixture
def virtual(api: Simulate, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> Simulate:
    """Start such simulators with the virtual clock."""
    keep_first_start(monkeypatch)
    return lambda *args, **kwargs: api(*args, clock=lambda: time.monotonic(), **kwargs)


class Rescheduled(Wait):
    """A sensor whose context contains how often it was rescheduled, as on Airflow 3."""

    def run(self) -> Any:
        """Return the sensor's result."""
        wait = self

        class Context(dict[str, Any]):
            def get(self, key: str, default: Any = None) -> Any:
                return wait.wakes - 1 if key == "task_reschedule_count" else super().get(key, default)

        if not AIRFLOW_2:
            self.context = Context(self.context)
        return super().run()


@pytest.mark.parametrize("mode", MODES)
def test_a_sensor_of_a_mistyped_connector_fails_at_its_first_poll(
    virtual: Simulate, waits: list[float], mode: str
) -> None:
    """A sensor of a mistyped connector fails at once instead of waiting until its timeout."""
    sim = virtual()
    with pytest.raises(
        SupermetricsRequestError, match=rf"has no connector {MISTYPED} .*{CONNECTOR}"
    ) as failed:
        Rescheduled(mode, waits, connector_identifier=MISTYPED).run()
    assert isinstance(failed.value, AirflowFailException)
    assert len(sim.requests) == 2
    assert waits == []


@pytest.mark.parametrize("mode", MODES)
def test_a_sensor_of_an_idle_connector_looks_it_up_once(
    virtual: Simulate, waits: list[float], mode: str
) -> None:
    """A sensor looks up an idle connector once, except on Airflow 2.11, which does not count polls."""
    sim = virtual(arrivals={7: [(CONNECTOR, [at(5)])]})
    assert Rescheduled(mode, waits).run()["matches"] == 1
    if mode == "reschedule" and AIRFLOW_2:
        assert lists(sim) == 3
    else:
        assert (len(sim.requests), lists(sim)) == (8, 1)  # the entry's page needs a proof that it is all


@pytest.mark.parametrize("mode", MODES)
def test_a_sensor_waits_where_connectors_may_not_be_listed(
    virtual: Simulate, waits: list[float], logged: Callable[[], list[str]], mode: str
) -> None:
    """A sensor that may not list connectors waits, with one warning if it knows the number of the poll."""
    forgets = mode == "reschedule" and AIRFLOW_2
    sim = virtual(faults=[None, Fault(403)] * (9 if forgets else 1))
    with pytest.raises(AirflowSensorTimeout):
        Rescheduled(mode, waits, connector_identifier=MISTYPED, timeout=300).run()
    warnings = [line for line in logged() if f"log of {MISTYPED} is empty" in line]
    assert len(warnings) == lists(sim)
    assert forgets or lists(sim) == 1


@pytest.mark.parametrize("mode", ["poke", "reschedule with memory", "deferrable"])
@pytest.mark.parametrize("failing", [0, 1])
def test_a_sensor_whose_first_polls_failed_looks_up_later(
    virtual: Simulate, waits: list[float], mode: str, failing: int
) -> None:
    """The first empty page may come to the trigger, and the list itself may fail first."""
    sim = virtual(faults=[*[None] * failing, Fault(500), None])
    with pytest.raises(SupermetricsRequestError, match=MISTYPED):
        Rescheduled(mode, waits, connector_identifier=MISTYPED, wait_policy={"max_attempts": 1}).run()
    assert len(waits) == 1
    assert len(sim.requests) == 3
