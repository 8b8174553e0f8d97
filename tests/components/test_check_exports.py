"""The check of exports: real ones, of which something is removed or altered."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import (
    SupermetricsCheckError,
    SupermetricsValidationError,
)
from airflow_provider_supermetrics.operators.supermetrics import (
    SupermetricsCheckExportsOperator,
)
from dev.simulator import Connector, Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, START, TEAM
from tests.support.airflow import stored
from tests.support.compat import AirflowFailException
from tests.support.export import Exported, a_dag, context, manual_run, utc
from tests.support.manifests import write_manifest

pytestmark = pytest.mark.airflow_2

OTHER = "K2M41"
DAY = timedelta(days=1)
NOON = START + 12 * HOUR
Export = Callable[..., dict[str, Any]]
Check = Callable[..., dict[str, Any]]


@pytest.fixture
def two(simulate: Callable[..., Simulator]) -> Simulator:
    """Two connectors with a day of entries."""
    entries = generate_entries(count=200, start=START - DAY, end=START + DAY, seed=3, error_rate=0.2)
    return simulate(connectors=[Connector(name, entries, team_id=TEAM) for name in (CONNECTOR, OTHER)])


@pytest.fixture
def hours(two: Simulator, exported: Exported, export: Export) -> Callable[..., None]:
    """Export windows of a connector: hours, by their numbers on January 1, each one long or as given."""

    def run(*numbers: int, connector: str = CONNECTOR, length: int = 1, **arguments: Any) -> None:
        for number in numbers:
            start = START + number * HOUR
            export(connector_identifier=connector, start=start, end=start + length * HOUR, **arguments)

    return run


@pytest.fixture
def check(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Check from midnight until noon, or as the arguments say; return the result."""

    def run(run_context: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
        span = {} if "window" in arguments else {"start": START, "end": NOON}
        task = SupermetricsCheckExportsOperator(
            **{"task_id": "check", "path": f"file://{exported.folder}", **span, **arguments}
        )
        with monkeypatch.context() as without_connection:
            without_connection.delenv("AIRFLOW_CONN_SUPERMETRICS_DEFAULT", raising=False)
            result: dict[str, Any] = task.execute(run_context or pushing([]))
        assert stored(result) == result
        return result

    return run


def pushing(pushed: list[dict[str, Any]], **parts: Any) -> dict[str, Any]:
    """The context of a run, which keeps what the task pushes."""
    ti = SimpleNamespace(map_index=-1, xcom_push=lambda **pair: pushed.append(pair))
    return context(ti=ti, **parts)


def of(result: dict[str, Any], connector: str = CONNECTOR) -> dict[str, Any]:
    """What a result says of a connector."""
    [found] = [each for each in result["connectors"] if each["connector_identifier"] == connector]
    return dict(found)


def spans(ranges: list[dict[str, str]]) -> list[tuple[int, int]]:
    """Ranges of a result, in hours of January 1."""
    return [
        tuple(round((utc(each[name].rstrip("Z")) - START) / HOUR) for name in ("start", "end"))
        for each in ranges
    ]


def manifest(folder: Path, number: int, connector: str = CONNECTOR) -> Path:
    """The manifest of an hour."""
    [path] = folder.rglob(f"_manifest-{connector}-20260101T{number:02d}0000Z-*.json")
    return path


def test_all_is_there(
    hours: Callable[..., None], check: Check, two: Simulator, logged: Callable[[], list[str]]
) -> None:
    """Hours, a longer window and one by hand that reaches over both ends: no failure, no request."""
    hours(*range(4), -1)
    hours(4, length=6)
    hours(10, length=5)
    sent = len(two.requests)
    logged()
    result = check()
    assert len(two.requests) == sent
    entries = two.truth(CONNECTOR, START, START + 15 * HOUR)
    errors = sum((entry.get("status") or 0) >= 400 for entry in entries)
    assert (result["complete"], result["incomplete_connectors"]) == (True, 0)
    assert of(result) == {
        "connector_identifier": CONNECTOR,
        "team_id": TEAM,
        "expected_from": "2026-01-01T00:00:00Z",
        "windows": 6,
        "entries": len(entries),
        "errors": errors,
        "missing": [],
        "more_missing": 0,
        "overlapping": [],
        "more_overlapping": 0,
        "faults": [],
        "more_faults": 0,
    }
    assert (result["start"], result["end"]) == ("2026-01-01T00:00:00Z", "2026-01-01T12:00:00Z")
    assert (result["windows"], result["entries"], result["errors"]) == (6, len(entries), errors)
    assert f"{CONNECTOR}: 6 windows with {len(entries)} entries, of which {errors} errors" in "\n".join(
        logged()
    )


def test_a_run_that_never_was(
    hours: Callable[..., None], check: Check, exported: Exported, logged: Callable[[], list[str]]
) -> None:
    """The message begins with who misses what; each range is a line of the log; the result is stored."""
    hours(0, 1, 3, 4, 5, 8, 9, 10, 11)
    pushed: list[dict[str, Any]] = []
    with pytest.raises(SupermetricsCheckError) as failed:
        check(pushing(pushed))
    message = str(failed.value)
    first = f"{CONNECTOR} has no export of [2026-01-01T02:00:00Z, 2026-01-01T03:00:00Z), and 1 more; "
    assert message.startswith(first)
    assert len(f"{CONNECTOR} has no export of [2026-01-01T02:00:00Z, 2026-01-01T03:00:00Z)") < 90
    assert isinstance(failed.value, AirflowFailException)
    [stored_result] = pushed
    assert stored_result == {"key": "return_value", "value": failed.value.result}
    found = failed.value.result
    assert (found["complete"], found["incomplete_connectors"]) == (False, 1)
    assert spans(of(found)["missing"]) == [(2, 3), (6, 8)]
    lines = "\n".join(logged())
    assert f"{CONNECTOR}: [2026-01-01T02:00:00Z, 2026-01-01T03:00:00Z) is in no export" in lines
    assert f"{CONNECTOR}: [2026-01-01T06:00:00Z, 2026-01-01T08:00:00Z) is in no export" in lines
    assert "Clear the runs of these windows, or backfill them" in lines

    hours(2)
    hours(6, length=2)
    assert spans(of(check())["missing"]) == []


def test_overlaps_are_no_failure(
    hours: Callable[..., None], check: Check, logged: Callable[[], list[str]]
) -> None:
    """They are in the log and in the result."""
    hours(0, length=12)
    hours(3, 4, 8)
    assert spans(of(check())["overlapping"]) == [(3, 5), (8, 9)]
    assert f"{CONNECTOR}: [2026-01-01T08:00:00Z, 2026-01-01T09:00:00Z) is in several exports" in "\n".join(
        logged()
    )


def test_every_connector_has_to_cover_the_time(hours: Callable[..., None], check: Check) -> None:
    """By default all that have a manifest; else those that are named, whether or not they have any."""
    hours(0, length=12)
    hours(0, length=11, connector=OTHER)
    with pytest.raises(SupermetricsCheckError, match=f"^{OTHER} has no export") as failed:
        check()
    result = failed.value.result
    # Those that miss something come first.
    assert [each["connector_identifier"] for each in result["connectors"]] == [OTHER, CONNECTOR]
    assert check(connector_identifiers=[CONNECTOR])["complete"]
    with pytest.raises(SupermetricsCheckError, match=r"^ABSENT has no export") as failed:
        check(connector_identifiers=[CONNECTOR, "ABSENT"])
    assert of(failed.value.result, "ABSENT")["team_id"] is None


def test_a_new_connector_is_expected_from_its_first_manifest_on(
    hours: Callable[..., None], check: Check
) -> None:
    """If others have earlier ones. A connector that is named has to cover all of the time."""
    hours(0, length=12)
    hours(5, length=7, connector=OTHER)
    # The folder does not reach further back, so nothing says that the connector is new.
    with pytest.raises(SupermetricsCheckError, match=f"^{OTHER} has no export"):
        check()
    hours(-3)
    result = check()
    assert of(result, OTHER)["expected_from"] == "2026-01-01T05:00:00Z"
    with pytest.raises(SupermetricsCheckError, match=f"^{OTHER} has no export"):
        check(connector_identifiers=[CONNECTOR, OTHER])
    # One that is younger than the time that is checked.
    assert of(check(end=START + 4 * HOUR), OTHER)["expected_from"] is None


def test_a_connector_whose_exports_have_ended_is_missing(hours: Callable[..., None], check: Check) -> None:
    """Nothing but its older manifests says that there is such a connector."""
    hours(0, length=12)
    hours(-3, connector=OTHER)
    with pytest.raises(SupermetricsCheckError, match=f"^{OTHER} has no export of .*T00:00:00Z, .*T12:00:00Z"):
        check()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-20], "is damaged"),
        (lambda data: data.replace(b'"complete": true', b'"complete": false'), "is not complete"),
        (lambda data: data.replace(b'"statistics"', b'"numbers"'), "another version of this package"),
    ],
)
def test_a_damaged_manifest_does_not_count(
    hours: Callable[..., None],
    check: Check,
    exported: Exported,
    logged: Callable[[], list[str]],
    change: Callable[[bytes], bytes],
    reason: str,
) -> None:
    """It is named, with the reason."""
    hours(*range(12))
    path = manifest(exported.folder, 7)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(SupermetricsCheckError) as failed:
        check()
    found = of(failed.value.result)
    assert spans(found["missing"]) == [(7, 8)]
    assert found["windows"] == 11
    [fault] = found["faults"]
    assert path.name in fault
    assert reason in fault
    assert f"does not count: file://{path}" in "\n".join(logged())


def test_an_object_that_is_gone_or_shorter(
    hours: Callable[..., None], check: Check, exported: Exported
) -> None:
    """The listing says so: no object is read."""
    hours(0, 1, length=6)
    hours(7, length=6)
    gone, short = (
        exported.folder / json.loads(manifest(exported.folder, number).read_text())["objects"][0]["name"]
        for number in (0, 7)
    )
    gone.unlink()
    short.write_bytes(short.read_bytes()[:-1])
    with pytest.raises(SupermetricsCheckError) as failed:
        check()
    found = of(failed.value.result)
    assert spans(found["missing"]) == [(0, 1), (7, 12)]
    assert any(f"{gone.name}, which is not there" in fault for fault in found["faults"])
    assert any(f"{short.name} with" in fault and "but it has" in fault for fault in found["faults"])


def test_verify_compares_the_digests(hours: Callable[..., None], check: Check, exported: Exported) -> None:
    """Bytes that have changed behind the same size are found by reading them."""
    hours(0, 6, length=6)
    [item] = json.loads(manifest(exported.folder, 6).read_text())["objects"]
    part = exported.folder / item["name"]
    assert check(verify=True)["complete"]
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    assert check()["complete"]
    with pytest.raises(SupermetricsCheckError, match=r"^T3S70 has no export of .*T06:00:00Z") as failed:
        check(verify=True)
    [fault] = of(failed.value.result)["faults"]
    assert f"{part.name} with another digest" in fault


def test_folders_below(hours: Callable[..., None], check: Check, exported: Exported) -> None:
    """A folder for each day, or each team, is found; teams do not cover each other's time."""
    hours(0, length=6, path=f"file://{exported.folder}/date=2026-01-01")
    hours(6, length=6, path=f"file://{exported.folder}/date=2026-01-02/more")
    assert check()["complete"]
    other = manifest(exported.folder, 6)
    other.write_text(other.read_text().replace(f'"team_id": {TEAM}', '"team_id": 7'))
    with pytest.raises(
        SupermetricsCheckError,
        match=rf"^T3S70 of team 7 has no export .*T06:00:00Z\); T3S70 of team {TEAM} has no",
    ):
        check()


def test_a_team_whose_exports_are_all_missing(check: Check, exported: Exported) -> None:
    """Its older manifests say that there is such a team, whether or not the connector is named."""
    for hour in range(-12, 12):
        write_manifest(exported.folder / "team=1", START + hour * HOUR, team=1)
    for hour in range(-12, 0):
        write_manifest(exported.folder / "team=2", START + hour * HOUR, team=2)
    for names in (None, [CONNECTOR]):
        with pytest.raises(SupermetricsCheckError, match=r"^T3S70 of team 2 .*T00:.*T12:00:00Z\);") as failed:
            check(connector_identifiers=names)
        teams = failed.value.result["connectors"]
        assert [(each["team_id"], each["windows"]) for each in teams] == [(2, 0), (1, 12)]


def test_a_team_whose_exports_do_not_count(check: Check, exported: Exported) -> None:
    """Damaged ones do not say the team, so an older one does; altered ones say it themselves."""
    for hour in range(-1, 12):
        write_manifest(exported.folder / "team=1", START + hour * HOUR, team=1)
        path = write_manifest(exported.folder / "team=2", START + hour * HOUR, team=2)
        if hour >= 0:
            path.write_bytes(b"{")
    with pytest.raises(SupermetricsCheckError, match=r"^T3S70 of team 2 has no .*T00:.*T12:00:00Z\);"):
        check()


def test_a_new_team_is_expected_from_its_first_manifest_on(check: Check, exported: Exported) -> None:
    """As a connector is, whatever the other team has; the other team's time is not made shorter by that."""
    for hour in range(-12, 12):
        write_manifest(exported.folder / "team=1", START + hour * HOUR, team=1)
    for hour in range(5, 12):
        write_manifest(exported.folder / "team=2", START + hour * HOUR, team=2)
    starts = [each["expected_from"] for each in check()["connectors"]]
    assert starts == ["2026-01-01T00:00:00Z", "2026-01-01T05:00:00Z"]
    manifest(exported.folder / "team=1", 0).unlink()
    with pytest.raises(SupermetricsCheckError, match=r"^T3S70 of team 1 has no .*T00:.*T01:00:00Z\);"):
        check()


def test_folders_that_follow_each_other(check: Check, exported: Exported) -> None:
    """Of those of other days nothing is read: this manifest cannot be."""
    old = write_manifest(exported.folder / "date=2025-12-31", START - 24 * HOUR, 24 * HOUR)
    old.unlink()
    old.symlink_to("/proc/self/mem")
    for hour in range(2, 12):
        write_manifest(exported.folder / "date=2026-01-01", START + hour * HOUR)
    with pytest.raises(SupermetricsCheckError, match=r"^T3S70 has no .*T00:.*T02:00:00Z\);"):
        check()
    write_manifest(exported.folder / "again", START - 12 * HOUR, 14 * HOUR)
    with pytest.raises(OSError, match=r"cannot read .*date=2025-12-31/_manifest"):
        check()


def test_nothing_at_all(check: Check, exported: Exported) -> None:
    """A path without any manifest is no complete one."""
    with pytest.raises(SupermetricsCheckError, match=r"^no export of any connector is in file://"):
        check()


def test_a_store_that_cannot_be_read(
    hours: Callable[..., None], check: Check, exported: Exported, logged: Callable[[], list[str]]
) -> None:
    """Its error is that of an export, which Airflow retries."""
    hours(0)
    manifest(exported.folder, 0).unlink()
    (exported.folder / "_manifest-T3S70-20260101T000000Z-20260101T010000Z.json").symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match=r"cannot read file://.*_manifest-T3S70.*Check that path"):
        check()
    assert "Check that path names a folder that the worker can reach" in "\n".join(logged())


def test_a_long_list_is_cut(
    hours: Callable[..., None], check: Check, logged: Callable[[], list[str]]
) -> None:
    """Of the ranges, and of the connectors; how many more there are is said."""
    hours(*range(-1, 12, 2))
    names = [f"NAME{number}" for number in range(60)]
    with pytest.raises(SupermetricsCheckError) as failed:
        check(connector_identifiers=[*names, CONNECTOR])
    result = failed.value.result
    assert len(result["connectors"]) == 50
    assert (result["more_connectors"], result["incomplete_connectors"]) == (11, 61)
    assert "; NAME10 has no export of" in str(failed.value)
    assert "; and 58 more; clear the runs" in str(failed.value).lower()
    with pytest.raises(SupermetricsCheckError) as failed:
        check(connector_identifiers=[CONNECTOR])
    found = of(failed.value.result)
    assert (spans(found["missing"]), found["more_missing"]) == ([(n, n + 1) for n in (0, 2, 4, 6, 8)], 1)


@pytest.mark.parametrize(
    ("schedule", "zone", "due", "window", "start", "end"),
    [
        ("0 2 * * *", "UTC", "2026-01-02T02:00", DAY, "2026-01-01T00:00", "2026-01-02T00:00"),
        ("@daily", "UTC", "2026-01-02T00:00", DAY, "2026-01-01T00:00", "2026-01-02T00:00"),
        ("0 2 * * *", "Europe/Berlin", "2026-03-30T00:00", DAY, "2026-03-28T23:00", "2026-03-29T22:00"),
        ("20 * * * *", "UTC", "2026-01-02T07:20", HOUR, "2026-01-02T06:00", "2026-01-02T07:00"),
        ("0 2 * * *", "UTC", "2026-01-02T02:00", 5 * HOUR, "2026-01-01T21:00", "2026-01-02T02:00"),
    ],
)
@pytest.mark.parametrize("run_type", ["scheduled", "manual"])
def test_a_task_of_one_line(
    hours: Callable[..., None],
    check: Check,
    logged: Callable[[], list[str]],
    schedule: str,
    zone: str,
    due: str,
    window: timedelta,
    start: str,
    end: str,
    run_type: str,
) -> None:
    """The last complete day, also of a run of the schedule that is due some hours later."""
    hours(0)
    run = manual_run(a_dag(schedule, zone), utc(due), run_type) | {
        "ti": SimpleNamespace(xcom_push=lambda **_: None)
    }
    with pytest.raises(SupermetricsCheckError) as failed:
        check(run, window=window, connector_identifiers=["ABSENT"])
    assert [failed.value.result[name] for name in ("start", "end")] == [f"{start}:00Z", f"{end}:00Z"]
    # Which warns of what matters to exports alone.
    assert "This run is not of the schedule" not in "\n".join(logged())


@pytest.mark.parametrize(
    ("hours", "zone", "due", "warns"),
    [
        (6, "Europe/Helsinki", "2026-10-24T21:00", False),
        (6, "Europe/Helsinki", "2026-10-25T04:00", True),
        (6, "Europe/Helsinki", "2026-10-25T10:00", False),
        (6, "Europe/Helsinki", "2026-03-29T03:00", True),
        (1, "Europe/Helsinki", "2026-10-25T01:00", False),
        (24, "Europe/Helsinki", "2026-10-25T22:00", False),
        (6, "UTC", "2026-10-25T06:00", False),
    ],
)
@pytest.mark.parametrize("run_type", ["scheduled", "manual"])
@pytest.mark.parametrize("align", [True, False])
def test_the_log_warns_where_the_clocks_change(
    check: Check,
    logged: Callable[[], list[str]],
    hours: int,
    zone: str,
    due: str,
    warns: bool,
    run_type: str,
    align: bool,
) -> None:
    """As an export's does: the windows of hours then leave out an hour, or overlap."""
    run = manual_run(a_dag(f"0 */{hours} * * *" if hours < 24 else "@daily", zone), utc(due), run_type) | {
        "ti": SimpleNamespace(xcom_push=lambda **_: None)
    }
    with pytest.raises(SupermetricsCheckError):
        check(run, window=hours * HOUR, align=align, connector_identifiers=["ABSENT"])
    assert (f"clocks of {zone} change" in "\n".join(logged())) == warns


def test_a_window_that_ends_with_the_run(hours: Callable[..., None], check: Check) -> None:
    """`align=False`, as in an export; and `end` by a template."""
    hours(0, length=12)
    run = manual_run(a_dag("0 7 * * *"), START + 7 * HOUR, "scheduled")
    result = check(run, window=6 * HOUR, align=False)
    assert (result["start"], result["end"]) == ("2026-01-01T01:00:00Z", "2026-01-01T07:00:00Z")
    result = check(run, window=6 * HOUR, end=str(NOON))
    assert (result["start"], result["end"]) == ("2026-01-01T06:00:00Z", "2026-01-01T12:00:00Z")
    interval = context(data_interval_start=START + HOUR, data_interval_end=START + 3 * HOUR)
    result = check(interval, window=None)
    assert (result["start"], result["end"]) == ("2026-01-01T01:00:00Z", "2026-01-01T03:00:00Z")


def test_a_partition(hours: Callable[..., None], check: Check) -> None:
    """A run for one checks it, whenever it is due."""
    hours(6, length=6)
    run = context(partition_date=START + 6 * HOUR, partition_key="6", dag=a_dag("0 * * * *"))
    result = check(run, window=6 * HOUR)
    assert (result["start"], result["end"]) == ("2026-01-01T06:00:00Z", "2026-01-01T12:00:00Z")


def test_templates(hours: Callable[..., None], exported: Exported) -> None:
    """The path, the connectors and the times."""
    hours(0, length=12)
    task = SupermetricsCheckExportsOperator(
        task_id="check",
        path="file://{{ params.folder }}",
        connector_identifiers=["{{ params.connector }}"],
        start="{{ data_interval_start }}",
        end="{{ data_interval_end }}",
    )
    run = context()
    task.render_template_fields(run | {"params": {"folder": str(exported.folder), "connector": CONNECTOR}})
    result = task.execute(run)
    assert (result["complete"], result["start"]) == (True, "2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": None}, "path must be a string or a path object"),
        ({"path": "logs"}, "must be a URL"),
        ({"connector_identifiers": "T3S70"}, r"connector_identifiers must be a list, not 'T3S70'; write \["),
        ({"connector_identifiers": 7}, "connector_identifiers must be a list, not 7"),
        ({"connector_identifiers": []}, "connector_identifiers is empty.*leave it out"),
        ({"connector_identifiers": ["a/b"]}, "connector_identifier must be 1 to 100"),
        ({"start": START, "window": HOUR}, "give start or window, not both"),
        ({"window": 24}, "window must be a timedelta"),
        ({"align": None}, "align must be True or False"),
        ({"verify": "yes"}, "verify must be True or False, not 'yes'"),
    ],
)
def test_arguments_are_checked_when_the_dag_is_read(arguments: dict[str, Any], message: str) -> None:
    """With what to write."""
    with pytest.raises(SupermetricsValidationError, match=message):
        SupermetricsCheckExportsOperator(**{"task_id": "check", "path": "file:///logs", **arguments})


def test_connectors_of_a_template_that_gave_none(check: Check, exported: Exported) -> None:
    """A team without connectors is an error, not a success."""
    task = SupermetricsCheckExportsOperator(
        task_id="check", path="/logs", connector_identifiers="{{ params.connectors }}", start=START, end=NOON
    )
    for rendered, message in (([], "is empty"), ("['T3S70']", "must be a list")):
        task.connector_identifiers = rendered
        with pytest.raises(SupermetricsValidationError, match=message):
            task.execute(context())
