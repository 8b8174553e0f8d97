"""The sensor's result, message and names, and its rolling threshold, in each mode."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import SupermetricsError, SupermetricsValidationError
from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor
from dev.simulator import Connector, Fault
from tests.conftest import CONNECTOR, HOUR, START, TEAM
from tests.support.compat import DAG, AirflowSensorTimeout, BaseOperator
from tests.support.export import context
from tests.support.sensors import MODES, Simulate, Wait, at, keep_first_start, quiet

pytestmark = pytest.mark.airflow_2

MINUTE = 60


@pytest.fixture
def virtual(simulate: Simulate, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> Simulate:
    """Start simulators that use the virtual clock."""
    keep_first_start(monkeypatch)
    return lambda *args, **kwargs: simulate(*args, clock=lambda: time.monotonic(), **kwargs)


@pytest.mark.parametrize("team_id", [None, "", TEAM, str(TEAM)])
@pytest.mark.parametrize("mode", MODES)
def test_the_result_says_who_fails_and_how(
    virtual: Simulate, waits: list[float], logged: Callable[[], list[str]], mode: str, team_id: Any
) -> None:
    """Connector, effective team and message; the log has the message, too."""
    errors = [at(second, request=f"GET /orders/{second}", request_id="r") for second in (5, 6)]
    virtual(quiet(), arrivals={3: [(CONNECTOR, errors)]})
    result = Wait(mode, waits, team_id=team_id).run()
    assert set(result) == {
        *("connector_identifier", "team_id", "matches", "entries", "since", "until", "message")
    }
    assert (result["connector_identifier"], result["team_id"]) == (CONNECTOR, TEAM)
    assert result["message"].splitlines() == [
        "T3S70: 2 errors from 2026-01-01T00:00:00Z to 2026-01-01T00:00:06Z",
        "Most frequent:",
        "  2 x 500 GET /orders/…",
        "Newest: log entry at-6-500, at 2026-01-01T00:00:06Z, request id r",
    ]
    lines = logged()
    assert any(result["message"].splitlines()[0] in line for line in lines)
    assert any("T3S70: 0 of at least 1 matching entries since 2026-01-01T00:00:00Z" in line for line in lines)


@pytest.mark.parametrize("mode", MODES)
def test_three_errors_before_the_hour_and_three_after_it(
    virtual: Simulate, waits: list[float], mode: str
) -> None:
    """Six within an hour, of which three were logged before the time from which the run counts."""
    before = [at(-2 * MINUTE + second) for second in range(3)]
    after = [at(2 * MINUTE + second) for second in range(3)]
    old = [at(-HOUR.total_seconds() - 5), at(-HOUR.total_seconds() + 5)]
    virtual([*quiet(), *old, *before], arrivals={4: [(CONNECTOR, after)]})
    result = Wait(mode, waits, min_matches=6, within=HOUR).run()
    assert result["matches"] == 6
    assert [entry["id"] for entry in result["entries"]] == [
        f"at-{float(second) if second < -MINUTE else second}-500".replace(".0", "")
        for second in (122, 121, 120, -118, -119, -120)
    ]
    assert result["since"] == "2025-12-31T23:58:00Z"
    assert result["message"].startswith("T3S70: 6 errors from 2025-12-31T23:58:00Z to 2026-01-01T00:02:02Z\n")


@pytest.mark.parametrize("mode", MODES)
def test_enough_errors_but_not_close_enough(virtual: Simulate, waits: list[float], mode: str) -> None:
    """Neither six before the time that counts, nor six that are further apart."""
    before = [at(-MINUTE - second) for second in range(6)]
    after = [at(20 * MINUTE * number) for number in range(1, 9)]
    virtual([*quiet(), *before, *after])
    wait = Wait(mode, waits, min_matches=6, within=timedelta(minutes=15), timeout=300)
    few = "T3S70 has not logged 6 matching entries in any 0:15:00 within the sensor's timeout of 300 s"
    with pytest.raises(AirflowSensorTimeout, match=f"^{few}$"):
        wait.run()


@pytest.mark.parametrize("mode", MODES)
def test_a_rolling_threshold_costs_no_more_requests(virtual: Simulate, waits: list[float], mode: str) -> None:
    """One request for each poll while nothing is new."""
    errors = [at(second) for second in range(6)]
    sim = virtual(quiet(), arrivals={31: [(CONNECTOR, errors)]})
    assert Wait(mode, waits, min_matches=6, within=HOUR).run()["matches"] == 6
    assert len(sim.requests) <= 32


# Names


@pytest.mark.parametrize("mode", MODES)
def test_a_mapped_sensor_is_named_after_its_connector(
    virtual: Simulate, waits: list[float], mode: str
) -> None:
    """Also where the task resumes from a deferral, in another process with another context."""
    virtual([*quiet(), at(5)], arrivals={4: [(CONNECTOR, [at(6)])]})
    wait = Wait(mode, waits, min_matches=2)
    wait.context["ti"].map_index = 3
    wait.run()
    assert wait.context["map_index_template"] == "{{ task.connector_identifier }}"


@pytest.mark.parametrize(("map_index", "named"), [(3, {"map_index_template": "mine"}), (-1, {})])
def test_other_names_stay(virtual: Simulate, map_index: int, named: dict[str, str]) -> None:
    """The DAG's own template, and a task that is not mapped."""
    virtual([*quiet(), at(5)])
    sensor = SupermetricsErrorLogSensor(task_id="t", connector_identifier=CONNECTOR)
    run = context(ti=SimpleNamespace(map_index=map_index), **named)
    sensor.execute(run)
    assert run.get("map_index_template") == named.get("map_index_template")
    result = {"matches": 1, "entries": [], "message": "m"}
    resumed = context(ti=SimpleNamespace(map_index=map_index), **named)
    sensor.resume_execution("execute_complete", {"event": {"status": "success", "result": result}}, resumed)
    assert resumed.get("map_index_template") == named.get("map_index_template")


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
def test_log_lines_name_the_connector(
    virtual: Simulate, waits: list[float], logged: Callable[[], list[str]], mode: str
) -> None:
    """Where many sensors write into one triggerer's log, each line says whose it is."""
    entries = [*quiet(), at(5)]
    virtual(
        connectors=[Connector("K2M41", entries, team_id=TEAM)],
        faults=[None, *[Fault(500)] * 2, Fault(429, headers={"Retry-After": "86400"})],
    )
    arguments = {"min_matches": 2, "timeout": 600, "wait_policy": {"max_attempts": 1}}
    with pytest.raises(AirflowSensorTimeout, match=r"^K2M41 has not logged 2 matching entries"):
        Wait(mode, waits, connector_identifier="K2M41", **arguments).run()
    lines = [line for line in logged() if "oll" in line or "matching" in line or "No request" in line]
    ours = [line for line in lines if "Poll of" in line or "matching entries" in line]
    assert len([line for line in ours if "Poll of connector K2M41 failed, next one in " in line]) >= 2
    assert all("K2M41" in line for line in ours)


# Arguments


TEMPLATES = {
    "connector_identifier": "{{ params.connector }}",
    "team_id": "{{ params.team }}",
    "since": "{{ params.since }}",
    "min_status": "{{ params.status }}",
    "statuses": ["{{ params.status }}", 500],
    "events": "{% if params.events %}a{% endif %}",
    "request_contains": "{{ params.text }}",
    "min_matches": "{{ params.least }}",
    "within": "{{ params.within }}",
    "max_entries": "{{ params.most }}",
    "supermetrics_conn_id": "{{ params.conn_id }}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_are_left_to_the_run(name: str) -> None:
    """An argument with a template in it, or another task's output, is not checked when the DAG is read."""
    arguments = {"connector_identifier": CONNECTOR, name: TEMPLATES[name]}
    assert SupermetricsErrorLogSensor(task_id="t", **arguments)
    with DAG("d", schedule=None, start_date=START):
        other = BaseOperator(task_id="other")
        sensor = SupermetricsErrorLogSensor(task_id="t", **{**arguments, name: other.output})
    assert sensor.upstream_task_ids == {"other"}
    assert set(TEMPLATES) == set(SupermetricsErrorLogSensor.template_fields)


@pytest.mark.parametrize(
    ("rendered", "matches"),
    [
        ({"min_matches": "2"}, 3),
        ({"min_status": " 500 "}, 2),
        ({"min_matches": "2", "within": "3600"}, 3),
        ({"min_matches": 2, "within": 3600}, 3),
        ({"min_matches": "2", "within": timedelta(hours=1)}, 3),
        ({"min_matches": "2", "within": "None"}, 3),
        ({"max_entries": "1"}, 3),
    ],
    ids=str,
)
def test_templates_give_integers(
    virtual: Simulate, waits: list[float], rendered: dict[str, Any], matches: int
) -> None:
    """Strings of digits become integers; a span may be a number of seconds, or a timedelta."""
    for mode in ("poke", "deferrable"):
        entries = [at(1, 404), at(2), at(3)]
        virtual(quiet(), arrivals={3: [(CONNECTOR, entries)]})

        class Rendered(SupermetricsErrorLogSensor):
            """Templates that Airflow has rendered."""

            def __init__(self, **arguments: Any) -> None:
                super().__init__(**{**arguments, **dict.fromkeys(rendered, "{{ x }}")})
                for name, value in rendered.items():
                    setattr(self, name, value)

        result = Wait(mode, waits, kind=Rendered).run()
        assert result["matches"] == matches
        assert len(result["entries"]) == (1 if "max_entries" in rendered else matches)


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"min_matches": 0}, "min_matches must be an integer of 1 or more, not 0"),
    ({"min_matches": "six"}, "min_matches must be an integer of 1 or more, not 'six'"),
    ({"min_matches": 1001, "within": HOUR}, "min_matches must be at most 1,000 together with within"),
    ({"within": timedelta()}, r"within must be a timedelta .*such as timedelta\(hours=1\)"),
    ({"within": timedelta(days=-1)}, "within must be a timedelta of more than 0 and up to 31 days"),
    ({"within": timedelta(days=32)}, "within must be a timedelta of more than 0 and up to 31 days"),
    ({"within": "1 hour"}, "within must be a timedelta"),
    ({"within": True}, "within must be a timedelta"),
    ({"max_entries": "-1"}, "max_entries must be an integer of 0 or more"),
    ({"min_status": 1000}, "min_status must be an integer from 0 to 999, such as 400, not 1000"),
    ({"min_status": "5xx"}, "min_status must be an integer from 0 to 999"),
    ({"statuses": []}, "statuses must be a list of integers"),
    ({"statuses": [5000]}, "statuses must be a list of integers from 0 to 999"),
    ({"events": []}, "events must be a list of strings"),
    ({"request_contains": 5}, "request_contains must be a string"),
    ({"connector_identifier": "../x"}, "connector_identifier must be"),
    ({"team_id": "T7"}, "team_id must be"),
    ({"since": "2026-01-01"}, "since 2026-01-01 has no time zone"),
]


@pytest.mark.parametrize(("arguments", "message"), INVALID, ids=str)
def test_arguments_are_checked_when_the_dag_is_read(arguments: dict[str, Any], message: str) -> None:
    """The message says what to write."""
    with pytest.raises(SupermetricsValidationError, match=f"^{message}"):
        SupermetricsErrorLogSensor(task_id="t", **{"connector_identifier": CONNECTOR, **arguments})


def test_seconds_are_for_templates() -> None:
    """In a DAG file, a number could be minutes as well."""
    with pytest.raises(SupermetricsValidationError, match=r"such as timedelta\(hours=1\), not 3600"):
        SupermetricsErrorLogSensor(task_id="t", connector_identifier=CONNECTOR, within=3600)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(("arguments", "message"), INVALID, ids=str)
def test_what_templates_give_is_checked_by_the_run(
    virtual: Simulate, arguments: dict[str, Any], message: str
) -> None:
    """In the same words, and before any request."""
    sim = virtual(quiet())
    sensor = SupermetricsErrorLogSensor(task_id="t", connector_identifier=CONNECTOR)
    for name, value in arguments.items():
        setattr(sensor, name, value)
    with pytest.raises(SupermetricsValidationError, match=f"^{message}"):
        sensor.execute(context())
    assert sim.requests == []


def test_a_result_without_a_message_is_refused() -> None:
    """It came from a trigger of another version; the task's retry starts over."""
    sensor = SupermetricsErrorLogSensor(task_id="t", connector_identifier="A")
    with pytest.raises(SupermetricsError, match="without a result"):
        sensor.execute_complete(
            context(), {"status": "success", "result": {"matches": 1, "entries": [], "message": None}}
        )


def test_a_subclass_with_template_fields_of_its_own() -> None:
    """It sets them after the constructor of its base."""

    class Mine(SupermetricsErrorLogSensor):
        template_fields = (*SupermetricsErrorLogSensor.template_fields, "channel")

        def __init__(self, channel: str, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.channel = channel

    assert Mine(task_id="t", connector_identifier=CONNECTOR, channel="#alerts").channel == "#alerts"
