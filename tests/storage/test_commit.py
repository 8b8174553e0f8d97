"""Failures between the first page and the manifest lose no progress and cause no needless request."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import SupermetricsRateLimitError
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from dev.simulator import Fault, Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, START
from tests.support.compat import TaskDeferred
from tests.support.export import BASE, context
from tests.support.proxy import Request
from tests.support.stores import STORES, Bucket, lines, writes

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]
CHECKPOINT = f"_checkpoint-{BASE}.gz"
MANIFEST = f"_manifest-{BASE}.json"
WAIT = Fault(429, headers={"Retry-After": "3600"})


def log_of(count: int) -> list[dict[str, Any]]:
    """A log whose first hour has half of these entries."""
    return generate_entries(count=count, start=START, end=START + 2 * HOUR, seed=5)


def operator(path: str, **arguments: Any) -> SupermetricsExportLogsOperator:
    """An export of the first hour, on a worker without any state."""
    return SupermetricsExportLogsOperator(
        **{
            "task_id": "export",
            "connector_identifier": CONNECTOR,
            "path": path,
            "entries_per_file": 600,
            "wait_policy": {"max_attempts": 1},
            **arguments,
        }
    )


def run(bucket: Bucket, method: str = "execute", **arguments: Any) -> Any:
    """Run one step of an export to the bucket."""
    return getattr(operator(f"{bucket.url}/logs", **arguments), method)(context())


def names(bucket: Bucket) -> list[str]:
    """The names in the export's folder."""
    return sorted(name.removeprefix("logs/") for name in bucket.objects)


def parts_of(bucket: Bucket) -> list[str]:
    """The names of the export's parts."""
    return [name for name in names(bucket) if name.startswith(f"{BASE}-")]


def check_complete(bucket: Bucket, sim: Simulator) -> None:
    """The hour is there, each entry once, and nothing but its parts and its manifest."""
    parts = parts_of(bucket)
    assert names(bucket) == sorted([*parts, MANIFEST])
    entries = lines(bucket.objects, [f"logs/{part}" for part in parts])
    truth = sim.truth(CONNECTOR, START, START + HOUR)
    assert sorted(e["id"] for e in entries) == sorted(e["id"] for e in truth)


# The worker's temporary folder


@pytest.mark.parametrize("store", ["file", *STORES])
def test_a_full_temporary_folder_stops_no_export(
    simulate: Simulate,
    new_bucket: Callable[[str], Bucket],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    store: str,
) -> None:
    """Neither the parts nor the checkpoint before a deferral need it, so nothing read is read again."""
    sim = simulate(log_of(6000), faults=[None, None, WAIT])
    path = str(tmp_path / "logs") if store == "file" else f"{new_bucket(store).url}/logs"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no" / "space"))
    with pytest.raises(TaskDeferred):
        operator(path, deferrable=True).execute(context())
    result = operator(path, deferrable=True).execute_complete(context())
    assert result["entries"] == len(sim.truth(CONNECTOR, START, START + HOUR)) > 2000
    requested = [request.params.get("before") for request in sim.requests if request.status == 200]
    assert len(requested) == len(set(requested))


# A checkpoint that cannot be written


def later_writes(bucket: Bucket, name: str) -> Callable[[Request], bool]:
    """Holds for each write of this object but the first: that one only tries the store."""
    seen = 0

    def is_later(request: Request) -> bool:
        nonlocal seen
        seen += is_write_of(bucket, name, request)
        return seen > 1 and is_write_of(bucket, name, request)

    return is_later


def is_write_of(bucket: Bucket, name: str, request: Request) -> bool:
    """Whether a request writes this object."""
    return writes(request) and bucket.emulator.name(request) == f"logs/{name}"


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_checkpoint_that_cannot_be_written_hides_no_rate_limit(
    simulate: Simulate,
    bucket: Bucket,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    deferrable: bool,
) -> None:
    """The task waits as the API requires, or fails with its error; the log says what is lost."""
    caplog.set_level(logging.ERROR)
    sim = simulate(log_of(6000), faults=[None, WAIT])
    bucket.respond(403, times=99, when=later_writes(bucket, CHECKPOINT))
    with pytest.raises(TaskDeferred if deferrable else SupermetricsRateLimitError):
        run(bucket, deferrable=deferrable, entries_per_file=100_000)
    assert re.search(f"Access denied: cannot write .*/logs/{CHECKPOINT}: ", caplog.text)
    assert len(sim.requests) == 2
    bucket.proxy.clear()
    run(bucket, "execute_complete", deferrable=deferrable, entries_per_file=100_000)
    check_complete(bucket, sim)


def test_no_page_is_requested_while_a_checkpoint_cannot_be_written(
    simulate: Simulate, bucket: Bucket, waits: list[float]
) -> None:
    """A resume or a retry tries the store first, also where an earlier checkpoint is there to be read."""
    sim = simulate(log_of(6000), faults=[None, None, WAIT])
    with pytest.raises(SupermetricsRateLimitError):
        run(bucket)
    assert names(bucket) == [*sorted(parts_of(bucket)), CHECKPOINT]
    before = bucket.objects
    bucket.respond(403, times=999, when=writes)
    for method in ("execute_complete", "execute", "execute"):
        with pytest.raises(PermissionError, match=f"cannot write .*/{CHECKPOINT}: "):
            run(bucket, method)
    assert len(sim.requests) == 3
    assert bucket.objects == before
    bucket.proxy.clear()
    run(bucket)
    check_complete(bucket, sim)
    requested = [request.params.get("before") for request in sim.requests if request.status == 200]
    assert len(requested) == len(set(requested))


# A store without the right to delete


@pytest.mark.parametrize("is_rerun", [False, True])
def test_a_store_that_denies_deletion_costs_no_request_on_any_try(
    simulate: Simulate, bucket: Bucket, waits: list[float], is_rerun: bool
) -> None:
    """A store that denies deletion fails each attempt before a request, whatever earlier attempts left."""
    if is_rerun:
        simulate(log_of(6000))
        run(bucket)
    sim = simulate(log_of(6000))
    bucket.respond(403, times=999, when=lambda request: request.method == "DELETE")
    for _ in range(4):
        with pytest.raises(PermissionError, match=f"cannot remove .*/{CHECKPOINT}: .* and delete there"):
            run(bucket)
    assert sim.requests == []
    bucket.proxy.clear()
    run(bucket)
    check_complete(bucket, sim)


# Every step from the first part to the manifest


def changes(request: Request) -> bool:
    """Whether a request changes the store."""
    return writes(request) or request.method == "DELETE"


def from_the(number: int) -> Callable[[Request], bool]:
    """Holds from the n-th request on that changes the store."""
    seen = 0

    def is_due(request: Request) -> bool:
        nonlocal seen
        seen += changes(request)
        return changes(request) and seen >= number

    return is_due


def check_manifest(bucket: Bucket) -> None:
    """If there is a manifest, all that it lists is there."""
    objects = bucket.objects
    if manifest := objects.get(f"logs/{MANIFEST}"):
        for item in json.loads(manifest)["objects"]:
            assert sha256(objects[f"logs/{item['name']}"]).hexdigest() == item["sha256"]


@pytest.mark.parametrize(("is_rerun", "times"), [(False, 1), (True, 999)])
def test_whatever_step_fails_the_next_try_repeats_hardly_a_page(
    simulate: Simulate, new_bucket: Callable[[str], Bucket], waits: list[float], is_rerun: bool, times: int
) -> None:
    """Parts, checkpoints, stale parts and the manifest: what a checkpoint says is true, and none is lost."""
    entries = log_of(3000)
    late = {"id": "late", "log_time": START + HOUR - timedelta(seconds=1)}
    requests: list[int] = []
    has_failed = True
    while has_failed:
        bucket = new_bucket("s3")
        if is_rerun:
            simulate(entries)
            run(bucket, entries_per_file=300)
        sim = simulate([late, *entries])
        bucket.respond(403, times=times, when=from_the(len(requests) + 1))
        try:
            run(bucket)
            is_complete = True
        except PermissionError:
            is_complete = False
        has_failed = any(request.status == 403 for request in bucket.requests)
        bucket.proxy.clear()
        check_manifest(bucket)
        if not is_complete:
            run(bucket)
        requests.append(len(sim.requests))
        if CHECKPOINT in names(bucket):
            # Its removal has failed, at the very end: no rerun resumes from it.
            run(bucket)
            assert len(sim.requests) == 2 * requests[-1]
        check_complete(bucket, sim)
        check_manifest(bucket)
    assert len(requests) > 10
    # In the last one nothing has failed.
    assert max(requests) <= requests[-1] + 2


def test_the_manifest_is_removed_before_a_stale_part(
    simulate: Simulate, bucket: Bucket, waits: list[float]
) -> None:
    """Where the log has lost its oldest entries, no part changes; a part fewer is no longer what it lists."""
    entries = [{"id": str(i), "log_time": START + timedelta(seconds=i)} for i in range(1500)]
    simulate(entries)
    run(bucket, entries_per_file=300)
    sim = simulate(entries[300:])
    stale = parts_of(bucket)[-1]

    def is_stale(request: Request) -> bool:
        return request.method == "DELETE" and bucket.emulator.name(request) == f"logs/{stale}"

    bucket.respond(403, times=99, when=is_stale)
    with pytest.raises(PermissionError, match=f"cannot remove .*/{stale}: "):
        run(bucket, entries_per_file=300)
    assert MANIFEST not in names(bucket)
    bucket.proxy.clear()
    run(bucket, entries_per_file=300)
    check_complete(bucket, sim)
