"""A sensor that continues after what the other runs of its task have reported."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.reports import Report
from airflow_provider_supermetrics._reports import ReportStore
from airflow_provider_supermetrics.exceptions import SupermetricsServerError, SupermetricsValidationError
from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor
from dev.simulator import Fault
from tests.conftest import CONNECTOR, HOUR, START
from tests.support.airflow import stored
from tests.support.compat import AirflowSensorTimeout, AirflowSkipException
from tests.support.release import RELEASE
from tests.support.selection import examples
from tests.support.sensors import MODES, Simulate, Wait, at, quiet

pytestmark = pytest.mark.skipif(
    RELEASE < (3, 2),
    reason="a task that can ask for runs asks for its Connection, too: tests/e2e/test_since_last_run.py",
)

#: The seconds from START to the time when the runs are due.
DUE = HOUR.total_seconds()


class Runs:
    """Airflow's record of a task's runs, as the Task SDK asks for it."""

    def __init__(self) -> None:
        self.xcoms: dict[tuple[str, int, str], Any] = {}
        self.states: dict[tuple[str, int], str | None] = {}
        self.dates: dict[str, Any] = {}
        self.due: dict[str, Any] = {}
        self.began = 0
        self.listed = 0
        self.order = 1

    def send(self, msg: Any) -> Any:
        """Answer a task's question."""
        if type(msg).__name__ == "GetPreviousDagRun":
            dated = [(date, run_id) for run_id, date in self.dates.items() if date is not None]
            newest = max(dated, default=None)
            return SimpleNamespace(
                dag_run=newest and SimpleNamespace(run_id=newest[1], logical_date=newest[0])
            )
        if type(msg).__name__ == "GetXComSequenceSlice":
            from airflow.sdk.execution_time.comms import XComSequenceSliceResult

            values = [
                value
                for (run_id, _, key), value in self.xcoms.items()
                if key == msg.key
                and (run_id == msg.run_id or (msg.include_prior_dates and self.is_prior(run_id, msg.run_id)))
            ]
            self.order = -self.order  # all runs' values are equal in Airflow's order
            return XComSequenceSliceResult(root=values[:: self.order])
        raise AssertionError(f"unexpected {msg!r}")

    def is_prior(self, run_id: str, other: str) -> bool:
        """Whether a run is not later than another one; those without a date count by the time when due."""
        date, last = ((self.dates[each] or self.due[each]) for each in (run_id, other))
        return bool(date <= last)

    def task_states(
        self, *, run_ids: list[str] | None = None, map_index: int | None = None, **_: Any
    ) -> dict[str, dict[str, Any]]:
        """The states of the task in these runs."""
        self.listed += run_ids is None
        found: dict[str, dict[str, Any]] = {}
        for (run_id, index), state in self.states.items():
            if (run_ids is None or run_id in run_ids) and map_index in (None, index):
                found.setdefault(run_id, {})["errors" if index < 0 else f"errors_{index}"] = state
        return found

    def run(
        self,
        wait: Wait,
        run_id: str,
        state: str = "success",
        map_index: int = -1,
        date: Any = START,
        due: Any = None,
    ) -> Any:
        """Run the task as Airflow does: its XComs of an earlier try are gone.

        :param due: by default at its date, or else when it starts, which each run does an hour after another.
        """
        self.began += 1
        self.begin(wait.context, run_id, map_index, date, due, START + (1 + self.began) * HOUR)
        try:
            result = wait.run()
        except AirflowSkipException:
            state, result = "skipped", None
        except Exception:
            self.states[run_id, map_index] = "failed"
            raise
        self.states[run_id, map_index] = state
        return result

    def begin(
        self, context: dict[str, Any], run_id: str, map_index: int, date: Any, due: Any, started: Any
    ) -> None:
        """Give a run its context."""
        ti = context["ti"]
        ti.dag_id, ti.task_id, ti.run_id, ti.map_index = "d", "errors", run_id, map_index
        ti.xcom_push = lambda key, value: self.xcoms.update({(run_id, map_index, key): stored(value)})
        ti.get_task_states = self.task_states
        ti.task = SimpleNamespace(retries=0)
        ti.max_tries = int(run_id in self.dates)
        context["logical_date"] = date
        self.dates.setdefault(run_id, date)
        self.due.setdefault(run_id, due or date or started)
        context["dag_run"] = SimpleNamespace(run_after=self.due[run_id], start_date=started)
        self.xcoms = {at: value for at, value in self.xcoms.items() if at[:2] != (run_id, map_index)}
        self.states[run_id, map_index] = "running"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """No run so far."""
    found = Runs()
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", found, raising=False)
    return found


def ids(result: dict[str, Any]) -> list[str]:
    """The ids of the entries of a result, the oldest first."""
    return [entry["id"] for entry in reversed(result["entries"])]


@pytest.mark.parametrize("mode", MODES)
def test_each_run_reports_what_is_new(simulate: Simulate, waits: list[float], runs: Runs, mode: str) -> None:
    """The first run goes back by max_lookback; each other one finds what the ones before have not."""
    errors = [at(DUE - seconds, n=seconds) for seconds in (90_000, 3_000, 5)]
    sim = simulate([*quiet(), *errors])

    def wait() -> Wait:
        return Wait(mode, waits, since_last_run=True, timeout=600, soft_fail=True)

    first = runs.run(wait(), "first")
    assert ids(first) == [errors[1]["id"], errors[2]["id"]]
    assert first["message"].startswith("T3S70: 2 errors from ")
    same_second = {**errors[2], "id": "same second"}
    late = {**errors[2], "id": "late", "log_time": errors[2]["log_time"] - timedelta(seconds=40)}
    sim.append(CONNECTOR, [same_second, late])
    second = runs.run(wait(), "second", date=START + HOUR)
    assert ids(second) == ["late", "same second"]
    assert second["message"].startswith("T3S70: 2 new errors from ")
    before = len(sim.requests)
    assert runs.run(wait(), "third", date=START + 2 * HOUR) is None
    assert len(sim.requests) - before == 11, "one request for each poll"


def test_the_trigger_calls_errors_new_as_the_sensor_does(
    simulate: Simulate, waits: list[float], runs: Runs
) -> None:
    """It finds them where the poll before the deferral has failed."""
    failures = [0]

    def fails(_: object) -> Fault | None:
        failures[0] -= 1
        return Fault(status=503) if failures[0] >= 0 else None

    sim = simulate([*quiet(), at(DUE - 5, n=1)], faults=fails)
    runs.run(Wait("deferrable", waits, since_last_run=True), "first")
    sim.append(CONNECTOR, [at(DUE - 4, n=2)])
    failures[0] = 5
    wait = Wait("deferrable", waits, since_last_run=True)
    found = runs.run(wait, "second", date=START + HOUR)
    assert len(wait.serialized) == 1
    assert found["message"].startswith("T3S70: 1 new error from ")


@pytest.mark.parametrize(
    "dates", [(START, START + HOUR), (None, None), (START, None), (None, START)], ids=str
)
def test_a_cleared_run_reports_its_own_again(
    simulate: Simulate, waits: list[float], runs: Runs, dates: tuple[Any, Any]
) -> None:
    """What a run has reported stays out of the others' results, whichever of them runs again, and when."""
    sim = simulate([*quiet(), at(DUE - 500)])

    def wait(**arguments: Any) -> Wait:
        return Wait("poke", waits, since_last_run=True, timeout=60, soft_fail=True, **arguments)

    first = ids(runs.run(wait(), "1", date=dates[0]))
    sim.append(CONNECTOR, [at(DUE - 100)])
    second = ids(runs.run(wait(), "2", date=dates[1]))
    for _ in range(2):
        assert ids(runs.run(wait(), "1", date=dates[0])) == first
    assert ids(runs.run(wait(), "2", date=dates[1])) == second
    assert runs.run(wait(), "3", date=None) is None, "nothing is left"


@pytest.mark.parametrize("undated", ["manual__2026-01-01T01:30:00+00:00_x7Qa", "by hand"])
def test_a_run_without_a_date_within_the_interval_of_the_next(
    simulate: Simulate, waits: list[float], runs: Runs, undated: str
) -> None:
    """A run counts by its logical date, the start of its interval, and one without a date by its due time."""
    sim = simulate([*quiet(), at(DUE - 500)])

    def wait() -> Wait:
        return Wait("poke", waits, since_last_run=True, timeout=60, soft_fail=True)

    first, second = "scheduled__2026-01-01T01:00:00+00:00", "scheduled__2026-01-01T02:00:00+00:00"
    assert runs.run(wait(), first, date=START, due=START + HOUR)["matches"] == 1
    sim.append(CONNECTOR, [at(DUE - 100)])
    assert runs.run(wait(), undated, date=None, due=START + 1.5 * HOUR)["matches"] == 1
    assert runs.run(wait(), second, date=START + HOUR, due=START + 2 * HOUR) is None


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, Any, datetime, datetime]]:
    """Draw what runs there are, one after the other: names, logical dates, when they are due and started."""
    found: list[tuple[str, Any, datetime, datetime]] = []
    now = START
    for number in range(draw(st.integers(1, 8))):
        now += draw(st.sampled_from([timedelta(minutes=1), timedelta(minutes=31), 7 * HOUR]))
        if found and draw(st.integers(0, 3)) == 0:
            run_id, date, due, _ = draw(st.sampled_from(found))
            found.append((run_id, date, due, now))  # it is cleared
            continue
        due = now - draw(st.sampled_from([timedelta(), timedelta(minutes=3), 5 * HOUR, 50 * HOUR]))
        kind = draw(st.sampled_from(["scheduled", "manual", "asset_triggered"]))
        before = draw(st.sampled_from([None, timedelta(), HOUR, 24 * HOUR]))
        date = None if before is None else due - before
        name = f"{kind}__{due.isoformat()}" if date else f"{kind}__{due.isoformat()}_{number}"
        found.append((draw(st.sampled_from([name, name, f"by hand {number}"])), date, due, now))
    return found


@settings(max_examples=examples(400), deadline=None)
@given(histories())
def test_a_run_finds_the_reports_of_all_before_it(history: list[tuple[str, Any, datetime, datetime]]) -> None:
    """Whatever their dates and names are, and whichever of them is cleared."""
    runs = Runs()
    reports: dict[str, Report] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", runs, raising=False)
        for number, (run_id, date, due, now) in enumerate(history):
            context: dict[str, Any] = {"ti": SimpleNamespace()}
            runs.begin(context, run_id, -1, date, due, now)
            reports.pop(run_id, None)
            store = ReportStore(context, {})
            found = store.of_other_runs(START - HOUR, now)
            assert found == tuple(report for _, report in sorted(reports.items()))
            reports[run_id] = Report(((now, now + timedelta(seconds=number)),))
            store.add(reports[run_id], 0, now)


def test_a_run_on_time_does_not_list_all_others(simulate: Simulate, waits: list[float], runs: Runs) -> None:
    """A list of all runs is long, and there can be no later run; where the run is cleared, there can."""
    simulate(quiet())
    for number in (2, 3, 2):
        wait = Wait("poke", waits, since_last_run=True, timeout=60, soft_fail=True)
        runs.run(wait, str(number), date=START + number * HOUR)
        assert runs.listed == (runs.began == 3)


def test_reports_in_another_order(simulate: Simulate, waits: list[float], runs: Runs) -> None:
    """What is stored between polls, such as the count of failed ones, stays valid."""
    faults: list[Fault | None] = []
    sim = simulate([*quiet(), at(DUE - 500)], faults=lambda _: faults.pop() if faults else None)
    runs.run(Wait("poke", waits, since_last_run=True), "1")
    sim.append(CONNECTOR, [at(DUE - 100)])
    runs.run(Wait("poke", waits, since_last_run=True), "2", date=START + HOUR)
    faults.extend([Fault(status=503)] * 99)
    wait = Wait("reschedule with memory", waits, since_last_run=True, max_consecutive_failures=3)
    with pytest.raises(SupermetricsServerError):
        runs.run(wait, "3", date=START + 2 * HOUR)
    assert wait.wakes == 3


def test_what_a_failed_run_has_found_is_found_again(
    simulate: Simulate, waits: list[float], runs: Runs
) -> None:
    """A run's report counts only if the run has succeeded, or if there was nothing to report."""
    simulate([*quiet(), at(DUE - 500)])

    def wait(**arguments: Any) -> Wait:
        return Wait("poke", waits, since_last_run=True, timeout=60, **arguments)

    assert runs.run(wait(), "1", state="failed")["matches"] == 1
    with pytest.raises(AirflowSensorTimeout):
        runs.run(wait(min_matches=2), "2")
    assert runs.run(wait(), "3")["matches"] == 1


def test_runs_of_another_connector_do_not_count(simulate: Simulate, waits: list[float], runs: Runs) -> None:
    """A mapped task's instances are told apart by what they look for, wherever it stands in the list."""
    simulate([*quiet(), at(DUE - 500), at(DUE - 400, 404)])

    def wait(status: int) -> Wait:
        return Wait("poke", waits, since_last_run=True, timeout=60, soft_fail=True, statuses=[status])

    assert runs.run(wait(500), "1", map_index=0)["matches"] == 1
    assert runs.run(wait(404), "2", map_index=0)["matches"] == 1
    assert runs.run(wait(500), "2", map_index=1) is None


def test_a_retry_counts_from_the_same_time(simulate: Simulate, waits: list[float], runs: Runs) -> None:
    """A try that fails reports nothing, and the next one finds all."""
    simulate([*quiet(), at(DUE - 500)], faults=[Fault(403)])
    with pytest.raises(Exception, match="403"):
        runs.run(Wait("poke", waits, since_last_run=True), "1")
    assert runs.run(Wait("poke", waits, since_last_run=True), "1")["matches"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"since": START}, "give since or since_last_run=True, not both"),
        ({"max_lookback": timedelta()}, "max_lookback must be a timedelta of more than 0, up to 31 days"),
        ({"max_lookback": timedelta(days=32)}, "max_lookback must be a timedelta of more than 0, up to 31"),
        ({"max_lookback": 3600}, "max_lookback must be a timedelta of more than 0, up to 31 days, not 3600"),
    ],
    ids=str,
)
def test_arguments_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    """When the DAG is read."""
    with pytest.raises(SupermetricsValidationError, match=message):
        SupermetricsErrorLogSensor(
            task_id="errors", connector_identifier=CONNECTOR, since_last_run=True, **arguments
        )


def test_several_runs_at_one_time(
    simulate: Simulate, waits: list[float], runs: Runs, logged: Callable[[], list[str]]
) -> None:
    """The log says what to write."""
    simulate([*quiet(), at(DUE - 5)])
    wait = Wait("poke", waits, since_last_run=True)
    wait.context["dag"] = SimpleNamespace(max_active_runs=16)
    runs.run(wait, "1")
    assert "give the DAG max_active_runs=1" in "".join(logged())
