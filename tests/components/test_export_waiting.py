"""Exports that have to wait, in virtual time: deferral, retries and checkpoints."""

from __future__ import annotations

import gzip
import json
import logging
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.exceptions import AirflowRescheduleException
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics.exceptions import (
    SupermetricsConflictError,
    SupermetricsConnectionError,
    SupermetricsError,
    SupermetricsPaginationError,
    SupermetricsRateLimitError,
    SupermetricsRequestError,
    SupermetricsResponseError,
    SupermetricsServerError,
    SupermetricsValidationError,
)
from airflow_provider_supermetrics.operators.supermetrics import (
    SupermetricsExportLogsOperator,
    SupermetricsListConnectorsOperator,
)
from dev.simulator import Fault, RateLimitWindow, Simulator
from tests.conftest import CONNECTOR, HOUR, KEY, START
from tests.support.compat import TaskDeferred
from tests.support.export import BASE, CHECKPOINT, Exported, Task, context, log_of

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]


@pytest.fixture
def virtual(simulate: Simulate, waits: list[float]) -> Simulate:
    """Start simulators that use the clock of the virtual waits."""
    return lambda *args, **kwargs: simulate(*args, clock=lambda: time.monotonic() + sum(waits), **kwargs)


def objects(exported: Exported) -> dict[str, bytes]:
    """Return the bytes of the parts."""
    return {name: data for name, data in exported.bytes().items() if name in exported.parts}


def lines(exported: Exported) -> dict[str, bytes]:
    """Return the lines of the parts; isal does not always compress the same lines to the same bytes."""
    return {name: gzip.decompress(data) for name, data in objects(exported).items()}


def test_an_export_through_a_limit(
    virtual: Simulate, exported: Exported, tmp_path: Path, waits: list[float]
) -> None:
    """An export of more pages than an hour has requests defers repeatedly, and writes the same objects."""
    entries = log_of(20_000)
    free = virtual(entries)
    expected = Task(tmp_path / "free", waits, entries_per_file=4000).run()
    sim = virtual(entries, rate_limit=RateLimitWindow(requests=4, seconds=3600))
    task = Task(exported.folder, waits, entries_per_file=4000, deferrable=True)
    result = task.run()
    assert len(task.away) >= 4
    assert lines(exported) == lines(Exported(tmp_path / "free"))
    assert len(exported.entries()) == len(sim.truth(CONNECTOR, START, START + HOUR)) == expected["entries"]
    assert len(sim.requests) == len(free.requests) + len(task.away) == result["requests"]
    assert CHECKPOINT not in exported.names
    assert [r["rate_limit"] for r in exported.manifests] == [result["rate_limit"]]
    assert result["rate_limit"]["limit"] == 4
    refused = [request for request in sim.requests if request.status == 429]
    assert len(refused) == len(task.away)
    for request, away in zip(refused, task.away, strict=True):
        following = sim.requests[request.number]
        assert following.status == 200
        named = float(int(3600 - (request.time - sim.requests[request.number - 5].time)))
        assert following.time - request.time >= named
        assert named <= away <= named + 62


def test_pages_are_not_fetched_twice(virtual: Simulate, exported: Exported, waits: list[float]) -> None:
    """The page before a wait is not requested again after it."""
    sim = virtual(log_of(9000), rate_limit=RateLimitWindow(requests=2, seconds=3600))
    Task(exported.folder, waits, deferrable=True).run()
    requested = [request.params.get("before") for request in sim.requests if request.status == 200]
    assert len(requested) == len(set(requested))


def test_what_the_trigger_holds(virtual: Simulate, exported: Exported, waits: list[float]) -> None:
    """The trigger holds a time, but no credential and no state that dag.test() would drop."""
    virtual(log_of(500), faults=[Fault(429, headers={"Retry-After": "3600"})])
    task = Task(exported.folder, waits, deferrable=True)
    assert task.step() is None
    [deferred] = task.deferrals
    path, kwargs = deferred.trigger.serialize()
    assert path.endswith(".DateTimeTrigger")
    assert KEY not in str(kwargs)
    assert not deferred.kwargs
    assert task.away[0] >= 3599
    assert task.step("execute_complete")


@pytest.mark.parametrize(
    ("fault", "away"),
    [
        (Fault(429, headers={"Retry-After": "61"}), (61, 67)),
        (Fault(503, headers={"Retry-After": "7200"}), (7200, 7261)),
        (Fault(429, headers={"Retry-After": "86400"}), (86400, 86461)),
        (Fault(429), (300, 316)),
    ],
    ids=lambda value: str(getattr(value, "status", value)),
)
def test_the_length_of_a_deferral(
    virtual: Simulate, exported: Exported, waits: list[float], fault: Fault, away: tuple[float, float]
) -> None:
    """A deferral lasts Retry-After plus jitter, so that refused tasks do not all return at once."""
    sim = virtual(log_of(500), faults=[fault])
    task = Task(exported.folder, waits, deferrable=True)
    task.run()
    assert len(task.away) == 1
    assert away[0] - 1 <= task.away[0] <= away[1]
    assert len(exported.entries()) == len(sim.truth(CONNECTOR, START, START + HOUR))


def test_waits_without_retry_after_grow_and_shrink_again(
    virtual: Simulate, exported: Exported, waits: list[float]
) -> None:
    """Each refusal without Retry-After makes the wait longer; an attempt that makes progress resets it."""
    refused = [Fault(429)]
    sim = virtual(log_of(9000), faults=[*refused * 3, None, *refused, None, None, None, *refused])
    task = Task(exported.folder, waits, deferrable=True)
    task.run()
    assert [round(seconds / 310) for seconds in task.away] == [1, 2, 4, 8, 1]
    assert len(exported.entries()) == len(sim.truth(CONNECTOR, START, START + HOUR))


@pytest.mark.parametrize("retry_after", ["86401", "31536000000000", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_an_absurd_time_fails(
    virtual: Simulate, exported: Exported, waits: list[float], retry_after: str
) -> None:
    """A Retry-After of more than the documented day fails the task, without an early request."""
    sim = virtual(log_of(500), faults=[Fault(429, headers={"Retry-After": retry_after})])
    with pytest.raises(SupermetricsRateLimitError):
        Task(exported.folder, waits, deferrable=True).run()
    assert len(sim.requests) == 1
    assert exported.manifests == []


def test_the_reserve_ends_a_try(virtual: Simulate, exported: Exported, waits: list[float]) -> None:
    """A deferrable export leaves the reserve to others, tries at growing intervals, and ends complete."""
    sim = virtual(log_of(9000), rate_limit=RateLimitWindow(requests=20, seconds=7200))
    task = Task(
        exported.folder, waits, deferrable=True, wait_policy={"rate_limit_reserve": 15, "max_attempts": 1}
    )
    task.run()
    assert {request.status for request in sim.requests} == {200}
    assert [round(seconds / 310) for seconds in task.away] == [1, 2, 4, 8][: len(task.away)]
    assert len(task.away) >= 3
    assert len(exported.entries()) == len(sim.truth(CONNECTOR, START, START + HOUR))


def test_short_waits_add_up_to_a_deferral(virtual: Simulate, exported: Exported, waits: list[float]) -> None:
    """When the waits inside requests have used up their cap, the task defers, for at least 15 s."""
    sim = virtual(log_of(9000), faults=[Fault(429, headers={"Retry-After": "5"}), None] * 9)
    task = Task(exported.folder, waits, deferrable=True, wait_policy={"max_total_wait": 11})
    task.run()
    assert len(task.away) >= 2
    assert all(15 - 1 <= seconds <= 20 for seconds in task.away)
    assert len(exported.entries()) == len(sim.truth(CONNECTOR, START, START + HOUR))


# Tries


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(429, headers={"Retry-After": "3600"}), SupermetricsRateLimitError),
        (Fault(500), SupermetricsServerError),
        (Fault(kind="reset"), SupermetricsConnectionError),
        (Fault(401), SupermetricsRequestError),
    ],
    ids=lambda value: str(getattr(value, "status", "")),
)
def test_a_retry_resumes_where_the_attempt_failed(
    virtual: Simulate,
    exported: Exported,
    tmp_path: Path,
    waits: list[float],
    fault: Fault,
    kind: type[SupermetricsError],
) -> None:
    """A retry does not request again what the first attempt has read, whatever ended it between two pages."""
    entries = log_of(9000)
    free = virtual(entries)
    Task(tmp_path / "free", waits).run()
    sim = virtual(entries, faults=[None] * 4 + [fault])
    task = Task(exported.folder, waits, wait_policy={"max_attempts": 1})
    with pytest.raises(kind):
        task.run()
    assert exported.names == [CHECKPOINT]
    waits.append(3700)
    result = task.run()
    assert len(sim.requests) == len(free.requests) + 1 == result["requests"]
    assert lines(exported) == lines(Exported(tmp_path / "free"))
    assert CHECKPOINT not in exported.names


@pytest.mark.parametrize("pages_after", [0, 2])
def test_a_task_that_is_to_be_killed_saves_what_it_has_read(
    simulate: Simulate, exported: Exported, pages_after: int
) -> None:
    """SIGTERM may precede SIGKILL by minutes: what was read until either is not requested again."""
    entries = log_of(9000)
    arguments = {"task_id": "export", "connector_identifier": CONNECTOR, "path": f"file://{exported.folder}"}
    killed = SupermetricsExportLogsOperator(**arguments)
    left: dict[str, bytes] = {}

    def respond(limit: int, number: int) -> int:
        if number == 3:
            killed.on_kill()
        if number == 3 + pages_after:
            left.update(exported.bytes())
        return limit

    first = simulate(entries, max_page=respond)
    killed.execute(context())
    assert list(left) == [CHECKPOINT]
    for name in exported.names:
        (exported.folder / name).unlink()
    (exported.folder / CHECKPOINT).write_bytes(left[CHECKPOINT])
    second = simulate(entries)
    SupermetricsExportLogsOperator(**arguments).execute(context())
    pages = [[request.params["before"] for request in sim.requests] for sim in (first, second)]
    assert pages[1] == pages[0][2 + pages_after :]
    exported.require_complete(second.truth(CONNECTOR, START, START + HOUR))


def test_nothing_read_leaves_nothing(virtual: Simulate, exported: Exported, waits: list[float]) -> None:
    """An attempt whose first request fails leaves no checkpoint."""
    virtual(log_of(10), faults=[Fault(401)])
    with pytest.raises(SupermetricsRequestError):
        Task(exported.folder, waits).run()
    assert exported.names == []


def test_after_a_failed_part_the_export_resumes_from_the_last_one(
    virtual: Simulate, exported: Exported, tmp_path: Path, waits: list[float]
) -> None:
    """After a response that ends the attempt, the retry resumes from the checkpoint of the last part."""
    entries = log_of(20_000)
    virtual(entries)
    Task(tmp_path / "free", waits, entries_per_file=4000).run()
    sim = virtual(entries, faults=[None] * 10 + [Fault(kind="no_logs")])
    task = Task(exported.folder, waits, entries_per_file=4000)
    with pytest.raises(SupermetricsResponseError):
        task.run()
    parts = len(exported.parts)
    assert parts == 2
    first = len(sim.requests)
    task.run()
    assert lines(exported) == lines(Exported(tmp_path / "free"))
    requested = [request.params.get("before") for request in sim.requests]
    again = set(requested[:first]) & set(requested[first:])
    assert 0 < len(again) <= 4000 / 1000


def test_the_log_of_a_wait(
    virtual: Simulate,
    exported: Exported,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The log has the reason and end of the wait, the checkpoint's content, and where the export resumes."""
    caplog.set_level(logging.INFO)
    virtual(log_of(9000), rate_limit=RateLimitWindow(requests=4, seconds=3600))
    Task(exported.folder, waits, deferrable=True).run()
    text = caplog.text + capfd.readouterr().out
    for said in (
        "429 TOO_MANY_REQUESTS",
        "retry in 3600 s",
        "without a worker slot",
        f"Saved checkpoint file://{exported.folder}/{CHECKPOINT} after ",
        "; the next attempt resumes from it",
        "Resuming from the checkpoint saved at 20",
        " entries and 5 requests so far",
    ):
        assert said in text
    assert KEY not in text


# Checkpoints that do not fit


def test_a_checkpoint_of_another_plan_is_not_used(
    virtual: Simulate,
    exported: Exported,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A checkpoint for other objects is removed, and the log says why."""
    caplog.set_level(logging.WARNING)
    sim = virtual(log_of(9000), faults=[None] * 4 + [Fault(400)])
    with pytest.raises(SupermetricsRequestError):
        Task(exported.folder, waits).run()
    result = Task(exported.folder, waits, compression="none", entries_per_file=7).run()
    assert "another compression and entries_per_file" in caplog.text
    assert result["entries"] == len(sim.truth(CONNECTOR, START, START + HOUR))
    assert result["requests"] == len(sim.requests) - 5
    assert CHECKPOINT not in exported.names


@pytest.mark.parametrize(
    "damage", ["empty", "cut", "bits", "text", "old", "age", "state", "lines", "part", "gone", "pager"]
)
def test_an_invalid_checkpoint(
    virtual: Simulate,
    exported: Exported,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    """A checkpoint that is damaged, of another version or about changed parts is not used."""
    caplog.set_level(logging.WARNING)
    sim = virtual(log_of(9000), faults=[None] * 4 + [Fault(400)])
    task = Task(exported.folder, waits, entries_per_file=1500)
    with pytest.raises(SupermetricsRequestError):
        task.run()
    file = exported.folder / CHECKPOINT
    data = file.read_bytes()
    head, _, lines = gzip.decompress(data).partition(b"\n")
    document = json.loads(head)
    if damage == "empty":
        data = b""
    elif damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "bits":
        data = data[:20] + b"\xff" * 20 + data[40:]  # no block of deflate
        with pytest.raises(zlib.error):
            gzip.decompress(data)
    elif damage == "text":
        data = b"{}"
    elif damage == "part":
        part = exported.folder / exported.parts[0]
        part.write_bytes(part.read_bytes() + b"x")
    elif damage == "gone":
        (exported.folder / exported.parts[0]).unlink()
    else:
        if damage == "old":
            document["version"] = 0
        elif damage == "age":
            document["state"]["saved_at"] = (datetime.now(timezone.utc) - timedelta(days=4)).isoformat()
        elif damage == "state":
            del document["state"]["pager"]["step"]
        elif damage == "pager":
            document["state"]["pager"] = None
        else:
            lines = lines.rpartition(b"\n")[0]
        data = gzip.compress(json.dumps(document).encode() + b"\n" + lines)
    if damage not in ("part", "gone"):
        file.write_bytes(data)
    result = task.run()
    assert "; starting over" in caplog.text
    assert result["requests"] == len(sim.requests) - 5
    assert len(exported.entries()) == len(sim.truth(CONNECTOR, START, START + HOUR))
    assert CHECKPOINT not in exported.names


@pytest.mark.parametrize(
    ("age", "is_used"), [(timedelta(days=2, hours=23), True), (timedelta(days=3), False)]
)
def test_the_age_of_a_checkpoint(
    virtual: Simulate, exported: Exported, waits: list[float], age: timedelta, is_used: bool
) -> None:
    """A checkpoint is used for three days, as documented: an older one may lack late entries."""
    sim = virtual(log_of(9000), faults=[None] * 4 + [Fault(400)])
    task = Task(exported.folder, waits, entries_per_file=1500)
    with pytest.raises(SupermetricsRequestError):
        task.run()
    file = exported.folder / CHECKPOINT
    head, _, lines = gzip.decompress(file.read_bytes()).partition(b"\n")
    document = json.loads(head)
    document["state"]["saved_at"] = (datetime.now(timezone.utc) - age).isoformat()
    file.write_bytes(gzip.compress(json.dumps(document).encode() + b"\n" + lines))
    assert task.run()["requests"] == len(sim.requests) - (0 if is_used else 5)


def test_waits_are_counted_from_the_last_part(
    virtual: Simulate, exported: Exported, waits: list[float]
) -> None:
    """After a page of progress the next wait is the first one again: short, not doubled."""
    wait = Fault(503, headers={"Retry-After": "1"})
    # Two attempts without progress, one with progress, and another one without.
    virtual(log_of(9000), faults=[wait] * 10 + [None] * 4 + [wait] * 5)
    Task(exported.folder, waits, entries_per_file=1500, deferrable=True).run()
    away = [seconds for seconds in waits if seconds > 10]
    assert len(away) == 3
    assert away[1] > 28
    assert away[2] < 22


def test_parts_that_look_different_from_elsewhere(
    virtual: Simulate, exported: Exported, waits: list[float]
) -> None:
    """Parts with other inodes, as on some network disks, are recognized by their bytes and kept."""
    sim = virtual(log_of(9000), faults=[None] * 4 + [Fault(400)])
    task = Task(exported.folder, waits, entries_per_file=1500)
    with pytest.raises(SupermetricsRequestError):
        task.run()
    for name in exported.parts:
        data = (exported.folder / name).read_bytes()
        (exported.folder / name).unlink()
        (exported.folder / name).write_bytes(data)
    task.run()
    requested = [request.params.get("before") for request in sim.requests if request.status == 200]
    assert len(requested) == len(set(requested))
    assert len(exported.entries()) == len(sim.truth(CONNECTOR, START, START + HOUR))


def test_a_short_retry_after_again_and_again(
    virtual: Simulate, exported: Exported, waits: list[float]
) -> None:
    """An API that sends a Retry-After of a second each time receives fewer and fewer requests."""
    sim = virtual(log_of(100), faults=[Fault(503, headers={"Retry-After": "1"})] * 40)
    Task(exported.folder, waits, deferrable=True).run()
    away = [seconds for seconds in waits if seconds > 10]
    assert len(away) > 5
    for number, seconds in enumerate(away[:5]):
        assert -1 <= seconds - 15 * 2**number <= 15
    assert sim.requests[-1].status == 200


def test_a_log_without_the_last_entry_of_the_checkpoint(
    virtual: Simulate, exported: Exported, waits: list[float]
) -> None:
    """If the API has dropped the last entry read, the next attempt starts over."""
    entries = log_of(9000)
    sim = virtual(entries, faults=[None] * 4 + [Fault(400)])
    task = Task(exported.folder, waits)
    with pytest.raises(SupermetricsRequestError):
        task.run()
    oldest_read = sim.requests[3].params["before"]
    kept = [
        {**entry, "id": f"new-{i}"} if entry["log_time"].isoformat() <= oldest_read else entry
        for i, entry in enumerate(entries)
    ]
    sim = virtual(kept)
    with pytest.raises((SupermetricsResponseError, SupermetricsPaginationError)):
        task.run()
    assert exported.names == []
    task.run()
    assert len(exported.entries()) == len(sim.truth(CONNECTOR, START, START + HOUR))


# Reruns


def test_a_rerun_of_the_same_changes_no_byte(
    virtual: Simulate, exported: Exported, waits: list[float]
) -> None:
    """A rerun of an unchanged log does not touch the objects or the manifest."""
    virtual(log_of(9000))
    task = Task(exported.folder, waits, entries_per_file=2000)
    task.run()
    before = {path.name: (path.stat().st_ino, path.read_bytes()) for path in exported.folder.iterdir()}
    assert task.run()["entries"] == sum(item["entries"] for item in exported.manifests)
    assert {p.name: (p.stat().st_ino, p.read_bytes()) for p in exported.folder.iterdir()} == before


def test_a_manifest_that_vanishes_during_an_identical_rerun(
    virtual: Simulate, exported: Exported, waits: list[float]
) -> None:
    """A rerun whose manifest is removed meanwhile fails, and the next one writes the manifest."""

    def remove() -> Iterator[tuple[str, list[dict[str, Any]]]]:
        (exported.folder / f"_manifest-{BASE}.json").unlink()
        yield from ()

    entries = log_of(4000)
    virtual(entries)
    task = Task(exported.folder, waits, entries_per_file=2000)
    task.run()
    before, names = lines(exported), exported.names
    virtual(entries, arrivals={2: remove()})
    with pytest.raises(SupermetricsConflictError, match=f"another export .* replaced _manifest-{BASE}.json"):
        task.run()
    assert exported.manifests == []
    task.run()
    assert len(exported.manifests) == 1
    assert lines(exported) == before
    assert exported.names == names


def test_a_rerun_replaces_a_damaged_object(virtual: Simulate, exported: Exported, waits: list[float]) -> None:
    """A rerun compares the object's bytes instead of relying on the manifest."""
    virtual(log_of(9000))
    task = Task(exported.folder, waits, entries_per_file=2000)
    task.run()
    before, names = lines(exported), exported.names
    damaged = exported.folder / exported.parts[1]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"X")
    task.run()
    assert exported.names == names
    assert lines(exported) == before


def test_a_rate_limited_rerun_resumes(virtual: Simulate, exported: Exported, waits: list[float]) -> None:
    """A rerun that waits resumes from its checkpoint, although the earlier manifest is still there."""
    entries = log_of(9000)
    virtual(entries)
    Task(exported.folder, waits, entries_per_file=2000).run()
    before = objects(exported)
    sim = virtual(entries, rate_limit=RateLimitWindow(requests=3, seconds=3600))
    task = Task(exported.folder, waits, entries_per_file=2000, deferrable=True)
    task.run()
    requested = [request.params.get("before") for request in sim.requests if request.status == 200]
    assert len(requested) == len(set(requested))
    assert objects(exported) == before
    assert len(exported.manifests) == 1


# Anything


FAULT = st.one_of(
    st.none(),
    st.sampled_from([429, 429, 503]).flatmap(
        lambda status: st.sampled_from(["1", "40", "61", "3600", "86400", "90000", "x"]).map(
            lambda after: Fault(status, headers={"Retry-After": after})
        )
    ),
    st.sampled_from(
        [
            Fault(429),
            Fault(500),
            Fault(502, body="html"),
            Fault(kind="reset"),
            Fault(kind="reset_in_body"),
            Fault(kind="truncated_json"),
            Fault(kind="no_logs"),
            Fault(404),
        ]
    ),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    faults=st.lists(FAULT, max_size=25),
    limit=st.none() | st.integers(1, 6),
    seconds=st.sampled_from([10, 100, 3600]),
    entries_per_file=st.sampled_from([300, 1500, 100_000]),
    deferrable=st.booleans(),
    tries=st.integers(1, 6),
    most=st.sampled_from([0.0, 30.0, 200.0]),
)
@example(
    faults=[None, Fault(429)] * 5,
    limit=2,
    seconds=3600,
    entries_per_file=300,
    deferrable=True,
    tries=2,
    most=30,
)
def test_complete_or_failed(
    virtual: Simulate,
    tmp_path_factory: pytest.TempPathFactory,
    waits: list[float],
    faults: list[Fault | None],
    limit: int | None,
    seconds: int,
    entries_per_file: int,
    deferrable: bool,
    tries: int,
    most: float,
) -> None:
    """With any faults and limits, the export is complete or has no manifest, and waits have a cap."""
    exported = Exported(tmp_path_factory.mktemp("any"))
    window = None if limit is None else RateLimitWindow(requests=limit, seconds=seconds)
    sim = virtual(log_of(4000), faults=faults, rate_limit=window)
    task = Task(
        exported.folder,
        waits,
        entries_per_file=entries_per_file,
        deferrable=deferrable,
        wait_policy={"max_total_wait": most},
    )
    result, method = None, "execute"
    for _ in range(tries):
        try:
            waited = sum(waits)
            while result is None:
                result = task.step(method)
                inline = sum(waits) - waited - (task.away[-1] if result is None else 0)
                assert inline <= most + 0.001
                waited, method = sum(waits), "execute_complete"
            break
        except SupermetricsError:
            assert sum(waits) - waited <= most + 0.001
            assert exported.manifests == []
            waits.append(4000)  # Airflow's retry_delay
            method = "execute"
    if result is not None:
        truth = sim.truth(CONNECTOR, START, START + HOUR)
        assert sorted(e["id"] for e in exported.entries()) == sorted(e["id"] for e in truth)
        assert [manifest["requests"] for manifest in exported.manifests] == [result["requests"]]
        assert CHECKPOINT not in exported.names
    for request in sim.requests:
        if request.status == 429 and request.number < len(sim.requests):
            fault = faults[request.number - 1] if request.number <= len(faults) else None
            named = fault.headers.get("Retry-After", "0") if fault else "0"
            if named.isdigit() and int(named) <= 4000:
                assert sim.requests[request.number].time - request.time >= int(named) - 0.1


# Late entries


@pytest.mark.parametrize("deferrable", [True, False])
def test_it_waits_until_the_window_has_settled(
    virtual: Simulate, exported: Exported, waits: list[float], deferrable: bool
) -> None:
    """No request is sent before the window has settled, and the wait occupies no worker slot."""
    sim = virtual(log_of(500))
    end = datetime.now(timezone.utc) - timedelta(minutes=5)
    times = {"start": START, "end": end, "settle": timedelta(minutes=10)}
    task = Task(exported.folder, waits, deferrable=deferrable, **times)
    if deferrable:
        assert task.step() is None
        [seconds] = task.away
    else:
        with pytest.raises(AirflowRescheduleException) as later:
            task.step()
        seconds = (later.value.reschedule_date - datetime.now(timezone.utc)).total_seconds()
    assert 295 <= seconds <= 300
    assert sim.requests == []
    assert exported.names == []


def test_a_window_that_has_settled_is_read_at_once(
    virtual: Simulate, exported: Exported, waits: list[float]
) -> None:
    """An export of a window that has settled, as in a backfill, does not wait."""
    virtual(log_of(500))
    assert Task(exported.folder, waits, settle=timedelta(minutes=10)).step()
    assert waits == []


def test_the_last_seconds_are_slept(virtual: Simulate, exported: Exported, waits: list[float]) -> None:
    """A task sleeps instead of deferring for less than a heartbeat."""
    virtual(log_of(500))
    end = datetime.now(timezone.utc)
    task = Task(exported.folder, waits, start=START, end=end, settle=timedelta(milliseconds=300))
    assert task.step()
    assert datetime.fromtimestamp(time.time(), timezone.utc) >= end + timedelta(milliseconds=300)


# The other operator


def test_a_list_of_connectors_waits_too(virtual: Simulate, waits: list[float]) -> None:
    """Listing connectors defers without a worker slot, and the stored trigger contains no credential."""
    sim = virtual(log_of(1), faults=[Fault(429), Fault(429)])
    with pytest.raises(SupermetricsRateLimitError):
        SupermetricsListConnectorsOperator(task_id="list").execute(context())
    operator = SupermetricsListConnectorsOperator(task_id="list", deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context())
    assert deferred.value.method_name == "execute_complete"
    assert deferred.value.kwargs == {"waits": 1}
    waits.append(400)
    assert operator.execute_complete(context(), None, **deferred.value.kwargs) == [CONNECTOR]
    assert len(sim.requests) == 3


def test_a_wait_policy_is_checked_when_the_dag_is_read() -> None:
    """An invalid wait policy is refused when the DAG is read."""
    for kind in (SupermetricsExportLogsOperator, SupermetricsListConnectorsOperator):
        arguments = {"connector_identifier": "A", "path": "file:///x"} if "Export" in kind.__name__ else {}
        with pytest.raises(SupermetricsValidationError, match="no 'patience' in a wait policy"):
            kind(task_id="t", wait_policy={"patience": 1}, **arguments)
