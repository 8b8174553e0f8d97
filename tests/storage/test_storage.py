"""Whole objects or none, on local disks and on S3."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_supermetrics.export.storage import Destination
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from dev.simulator import Simulator, generate_entries
from tests.components.conftest import context
from tests.conftest import CONNECTOR, HOUR, START
from tests.storage.conftest import Bucket

BASE = f"{CONNECTOR}-20260101T000000Z-20260101T010000Z"


@pytest.fixture(params=["file", "s3"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Destination:
    """A folder that does not exist yet."""
    if request.param == "file":
        return Destination(ObjectStoragePath(f"file://{tmp_path}/a/b"))
    bucket: Bucket = request.getfixturevalue("bucket")
    return Destination(ObjectStoragePath(f"s3://aws_local@{bucket.name}/a/b"))


def content(destination: Destination, name: str) -> bytes:
    """An object's bytes."""
    data: bytes = (destination.path / name).read_bytes()
    return data


def spool(folder: Path, data: bytes) -> Path:
    """A local file with these bytes."""
    path = folder / "spool"
    path.write_bytes(data)
    return path


def test_put_and_put_again(destination: Destination, tmp_path: Path) -> None:
    """An object appears, and a second one of its name takes its place."""
    destination.put(spool(tmp_path, b"one"), "x.txt")
    assert content(destination, "x.txt") == b"one"
    destination.put(spool(tmp_path, b"second"), "x.txt")
    assert content(destination, "x.txt") == b"second"
    assert list(destination.stamps("")) == ["x.txt"]


def test_a_stamp_tells_one_object_from_another(destination: Destination, tmp_path: Path) -> None:
    """As long as an object stays, its stamp does; when other bytes take its place, it changes."""
    assert destination.stamp("x.txt") is None
    first = destination.put(spool(tmp_path, b"one"), "x.txt")
    assert destination.stamp("x.txt") == destination.stamps("x")["x.txt"] == first
    second = destination.put(spool(tmp_path, b"two"), "x.txt")
    assert destination.stamp("x.txt") == destination.stamps("x")["x.txt"] == second != first


def test_names_by_prefix(destination: Destination, tmp_path: Path) -> None:
    """Only this folder's own objects with the prefix, however special its characters."""
    assert destination.stamps("a") == {}
    for name in ("a-1", "a-2", "ab", "b-1", "[a]*-1"):
        destination.put(spool(tmp_path, b""), name)
    deeper = Destination(destination.path / "a-sub")
    deeper.put(spool(tmp_path, b""), "a-3")
    assert list(destination.stamps("a-")) == ["a-1", "a-2"]
    assert list(destination.stamps("[a]*")) == ["[a]*-1"]


def test_remove(destination: Destination, tmp_path: Path) -> None:
    """What is there goes; what is not there is no error."""
    destination.remove("x.txt")
    destination.put(spool(tmp_path, b"one"), "x.txt")
    destination.remove("x.txt")
    destination.remove("x.txt")
    assert destination.stamps("") == {}


def test_a_failed_copy_leaves_nothing(tmp_path: Path) -> None:
    """An object that could not be written whole is not there, nor is its temporary file."""
    folder = tmp_path / "folder"
    destination = Destination(ObjectStoragePath(f"file://{folder}"))
    with pytest.raises(FileNotFoundError):
        destination.put(tmp_path / "absent", "x.txt")
    assert list(folder.iterdir()) == []


def requested(bucket: Bucket, call: Callable[[], Any]) -> list[tuple[str, str]]:
    """The names of the S3 operations that ``call`` makes, with their keys, from botocore's own events."""
    import aiobotocore.client

    seen: list[tuple[str, str]] = []
    original = aiobotocore.client.AioBaseClient._make_api_call

    async def record(self: Any, operation: str, parameters: dict[str, Any]) -> Any:
        seen.append((operation, parameters.get("Key") or parameters.get("Prefix") or ""))
        return await original(self, operation, parameters)

    aiobotocore.client.AioBaseClient._make_api_call = record
    try:
        call()
    finally:
        aiobotocore.client.AioBaseClient._make_api_call = original
    return seen


def run_export(bucket: Bucket, **arguments: Any) -> dict[str, Any]:
    """Export the first hour to the bucket."""
    operator = SupermetricsExportLogsOperator(
        task_id="export",
        connector_identifier=CONNECTOR,
        path=f"s3://aws_local@{bucket.name}/logs",
        **arguments,
    )
    result: dict[str, Any] = operator.execute(context())
    return result


def lines(objects: dict[str, bytes], names: Iterable[str]) -> list[dict[str, Any]]:
    """The entries in these objects."""
    return [json.loads(line) for name in names for line in gzip.decompress(objects[name]).splitlines()]


def test_an_export_to_s3(simulate: Callable[..., Simulator], bucket: Bucket) -> None:
    """Complete, one PUT an object, the receipt last, and a rerun changes no byte."""
    sim = simulate(generate_entries(count=4000, start=START, end=START + 2 * HOUR, seed=5))
    calls = requested(bucket, lambda: run_export(bucket, entries_per_file=700))
    objects = bucket.objects
    parts = [name for name in objects if name.endswith(".jsonl.gz")]
    receipt = json.loads(objects[f"logs/_manifest-{BASE}.json"])
    assert [item["name"] for item in receipt["objects"]] == [name.removeprefix("logs/") for name in parts]
    truth = sim.truth(CONNECTOR, START, START + HOUR)
    assert sorted(entry["id"] for entry in lines(objects, parts)) == sorted(entry["id"] for entry in truth)
    puts = [key for operation, key in calls if operation == "PutObject"]
    # After each part but the last, how far it is; in place of the one before.
    checkpoint = f"logs/_checkpoint-{BASE}.gz"
    between = [name for part in parts[:-1] for name in (part, checkpoint)]
    assert puts == [*between, parts[-1], f"logs/_manifest-{BASE}.json"]
    assert {operation for operation, _ in calls} <= {
        "PutObject",
        "DeleteObject",
        "ListObjectsV2",
        "HeadObject",
        "GetObject",
    }
    # One listing of this window's parts; s3fs makes one more of each name that is not there, once.
    assert [key for operation, key in calls if operation == "ListObjectsV2"] == [
        f"{checkpoint}/",
        f"logs/_manifest-{BASE}.json/",
        f"logs/{BASE}-",
    ]
    run_export(bucket, entries_per_file=700)
    assert bucket.objects == objects


def test_stale_parts_go_from_s3(simulate: Callable[..., Simulator], bucket: Bucket) -> None:
    """A rerun with larger parts removes the smaller ones, and nothing else."""
    simulate(generate_entries(count=2000, start=START, end=START + 2 * HOUR, seed=5))
    run_export(bucket, entries_per_file=100)
    bucket.client.put_object(Bucket=bucket.name, Key="logs/other.txt", Body=b"stays")
    assert len(bucket.objects) > 5
    run_export(bucket)
    assert set(bucket.objects) == {
        f"logs/{BASE}-00000.jsonl.gz",
        f"logs/_manifest-{BASE}.json",
        "logs/other.txt",
    }


def test_a_missing_bucket_is_said(simulate: Callable[..., Simulator], bucket: Bucket) -> None:
    """The error names what is missing."""
    simulate()
    bucket.name = "no-such-bucket"
    with pytest.raises(FileNotFoundError, match=r"(?i)bucket"):
        run_export(bucket)
