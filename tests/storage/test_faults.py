"""Writes through faults of stores and networks: the object is whole or absent, and errors name a cause."""

from __future__ import annotations

import resource
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_supermetrics._export.storage import Destination
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from dev.simulator import Simulator
from tests.conftest import CONNECTOR
from tests.support.export import context
from tests.support.proxy import Fault, FaultKind, Request
from tests.support.stores import Bucket, run_export, writes

pytestmark = pytest.mark.airflow_2

sends_large_bodies = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # gcsfs does

DATA = bytes(range(256)) * 40


def test_one_request_puts_an_object(bucket: Bucket) -> None:
    """Every byte value arrives, in one request; another one returns the version."""
    version = bucket.destination.write_versioned(DATA, "x")
    assert bucket.objects == {"a/b/x": DATA}
    assert [request for request in bucket.requests if writes(request)] == [bucket.requests[0]]
    bucket.requests.clear()
    assert bucket.destination.version("x") == version


@pytest.mark.parametrize("status", [500, 503])
def test_a_store_that_fails_twice(bucket: Bucket, waits: list[float], status: int) -> None:
    """The store's library retries with pauses."""
    bucket.respond(status, times=2, when=writes)
    bucket.destination.write_versioned(DATA, "x")
    assert bucket.objects == {"a/b/x": DATA}
    assert [request.status == status for request in bucket.requests if writes(request)] == [True, True, False]
    assert waits


def test_a_store_that_keeps_failing(bucket: Bucket, waits: list[float]) -> None:
    """The write fails, with the store's own message, and no object is there."""
    bucket.respond(500, times=99, when=writes)
    with pytest.raises(Exception, match="said by the test"):
        bucket.destination.write_versioned(DATA, "x")
    assert 3 <= len(bucket.requests) <= 10
    assert bucket.objects == {}


@pytest.mark.parametrize("kind", ["cut", "lost"])
def test_a_connection_that_breaks_once(bucket: Bucket, waits: list[float], kind: FaultKind) -> None:
    """After a connection breaks in or after the body, the object is whole and has the returned version."""
    bucket.proxy.faults.append(Fault(kind, when=writes))
    version = bucket.destination.write_versioned(DATA, "x")
    assert bucket.objects == {"a/b/x": DATA}
    assert bucket.destination.version("x") == version


def test_connections_that_keep_breaking(bucket: Bucket, waits: list[float]) -> None:
    """The write fails, and the object that was there before is still there."""
    bucket.destination.write_versioned(b"before", "x")
    bucket.proxy.faults.append(Fault("cut", times=99, when=writes))
    with pytest.raises(Exception, match=r"(?i)connect"):
        bucket.destination.write_versioned(DATA, "x")
    assert bucket.objects == {"a/b/x": b"before"}


@pytest.mark.parametrize("action", ["write", "read", "sha256", "version", "versions", "remove"])
def test_a_store_that_denies(bucket: Bucket, waits: list[float], action: str) -> None:
    """A denial is not taken for a missing object or retried; the error names the object and the remedy."""
    destination = bucket.destination
    destination.write_versioned(DATA, "x")
    bucket.requests.clear()
    bucket.respond(403, times=99, when=lambda _: True)
    calls: dict[str, Callable[[], object]] = {
        "write": lambda: destination.write_versioned(b"other", "x"),
        "read": lambda: destination.read("x"),
        "sha256": lambda: destination.sha256("x"),
        "version": lambda: destination.version("x"),
        "versions": lambda: destination.versions("x"),
        "remove": lambda: destination.remove("x"),
    }
    verb = {"sha256": "read", "version": "check", "versions": "list"}.get(action, action)
    named = str(destination) if action == "versions" else f"{destination}/x"
    with pytest.raises(
        PermissionError, match=f"^Access denied: cannot {verb} {named}: .* Airflow connection may list,"
    ) as raised:
        calls[action]()
    remedy = "Check the key, and that the Airflow connection may list, read, write and delete there"
    assert raised.value.remedy == remedy
    assert str(raised.value).endswith(f". {remedy}")
    assert "sig=" not in "".join(traceback.format_exception(raised.value))
    assert waits == []
    # gcsfs looks up one object in several ways at once, and not always in as many.
    assert len(bucket.requests) <= 6
    assert bucket.objects == {"a/b/x": DATA}


def test_a_missing_bucket(bucket: Bucket) -> None:
    """A missing bucket contains no objects, and cannot be written."""
    bucket.name = "no-such-bucket"
    destination = bucket.destination
    assert destination.read("x") is destination.version("x") is destination.sha256("x") is None
    with pytest.raises(
        FileNotFoundError,
        match=f"^No such bucket or container: cannot write {destination}/x: .* that the bucket",
    ) as raised:
        destination.write_versioned(DATA, "x")
    assert raised.value.__cause__ is not None


def test_a_store_that_cannot_be_written_costs_no_request(
    simulate: Callable[..., Simulator], bucket: Bucket, waits: list[float]
) -> None:
    """The store is tested before any request to the API; also a bucket that is read-only."""
    sim = simulate()
    bucket.respond(403, times=99, when=writes)
    with pytest.raises(PermissionError, match=r"^Access denied: cannot write"):
        run_export(bucket)
    bucket.proxy.clear()
    bucket.name = "no-such-bucket"
    with pytest.raises(FileNotFoundError, match="that the bucket"):
        run_export(bucket)
    assert sim.requests == []


def test_a_local_disk_that_is_full(tmp_path: Path) -> None:
    """The error names the file; nothing of it is left, and what was there before stays."""
    destination = Destination.at(f"file://{tmp_path}/logs")
    destination.write_versioned(b"before", "x")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, hard))
    try:
        with pytest.raises(OSError, match=f"^File too large: cannot write file://{tmp_path}/logs/x. Free"):
            destination.write_versioned(bytes(1 << 20), "x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.read_bytes() for path in (tmp_path / "logs").iterdir()] == [b"before"]


@pytest.mark.parametrize(
    ("action", "verb"),
    [
        ("write_versioned", "write"),
        ("write", "write"),
        ("read", "read"),
        ("sha256", "read"),
        ("version", "check"),
        ("versions", "list"),
        ("remove", "remove"),
        ("remove_leftovers", "list"),
    ],
)
@pytest.mark.parametrize("damage", ["loop", "file"])
def test_a_local_disk_that_fails(tmp_path: Path, action: str, verb: str, damage: str) -> None:
    """Any operation on a failing disk raises an error that names the object and the remedy once."""
    folder = tmp_path / "logs"
    if damage == "loop":
        folder.symlink_to(folder)
    else:
        folder.write_bytes(b"")
    destination = Destination.at(str(folder))
    arguments = (DATA, "x") if "write" in action else ("x",)
    named = str(folder) if verb == "list" else f"{folder}/x"
    with pytest.raises(
        OSError, match=rf"^[A-Z][^\[\]:]*: cannot {verb} {named}\. Check that path names a folder"
    ) as raised:
        getattr(destination, action)(*arguments)
    assert isinstance(raised.value.__cause__, OSError)


def test_an_export_to_a_local_disk_that_fails_costs_no_request(
    simulate: Callable[..., Simulator], tmp_path: Path
) -> None:
    """The export fails before any request, and the error names the object and what to check."""
    sim = simulate()
    (tmp_path / "logs").write_bytes(b"")
    operator = SupermetricsExportLogsOperator(
        task_id="e", connector_identifier=CONNECTOR, path=f"file://{tmp_path}/logs"
    )
    with pytest.raises(
        NotADirectoryError,
        match=rf"^Not a directory: cannot read file://{tmp_path}/logs/_checkpoint-.*\.gz\. ",
    ):
        operator.execute(context())
    assert sim.requests == []


def large(bucket: Bucket) -> bytes:
    """More bytes than the store's library sends in one request."""
    return bytes(bucket.emulator.whole) + DATA


@sends_large_bodies
def test_a_large_object_appears_at_the_end(bucket: Bucket) -> None:
    """A large object is uploaded in parts, and appears after the last one."""
    seen: list[bool] = []

    def observe(request: Request) -> bool:
        if writes(request):
            seen.append("a/b/x" in bucket.objects)
        return False

    bucket.proxy.faults.append(Fault(when=observe))
    large_data = large(bucket)
    bucket.destination.write_versioned(large_data, "x")
    assert len(seen) > 2
    assert not any(seen)
    assert bucket.objects["a/b/x"] == large_data
    assert bucket.unfinished == []


@sends_large_bodies
def test_a_large_object_through_faults(bucket: Bucket, waits: list[float]) -> None:
    """Failures of the store and of the connection in its middle: it is whole in the end, and not before."""
    bucket.destination.write_versioned(b"before", "x")
    bucket.requests.clear()
    seen: list[bytes | None] = []

    def late(request: Request) -> bool:
        if is_late := sum(map(writes, bucket.requests)) > 2 and writes(request):
            seen.append(bucket.emulator.get(bucket.name, "a/b/x"))
        return is_late

    bucket.respond(500, times=2, when=late)
    bucket.proxy.faults.append(Fault("cut", when=late))
    large_data = large(bucket)
    bucket.destination.write_versioned(large_data, "x")
    assert seen == [b"before"] * 3
    assert bucket.objects["a/b/x"] == large_data


@sends_large_bodies
def test_a_large_object_that_is_denied(bucket: Bucket, waits: list[float]) -> None:
    """A denial in the middle of an upload keeps the earlier object, and leaves no parts in S3."""
    bucket.destination.write_versioned(b"before", "x")
    bucket.requests.clear()
    bucket.respond(
        403, times=99, when=lambda request: sum(map(writes, bucket.requests)) > 2 and request.size > 1000
    )
    large_data = large(bucket)
    with pytest.raises(PermissionError, match=r"^Access denied: cannot write .*/a/b/x: ") as raised:
        bucket.destination.write_versioned(large_data, "x")
    check_traceback(bucket, raised.value)
    assert bucket.objects == {"a/b/x": b"before"}
    # The two others drop what is not finished after a week.
    assert bucket.emulator.scheme != "s3" or bucket.unfinished == []


@sends_large_bodies
def test_a_large_object_that_is_not_finished(bucket: Bucket, waits: list[float]) -> None:
    """The object that was there before is still there; the store may keep parts that nobody sees."""
    bucket.destination.write_versioned(b"before", "x")
    bucket.requests.clear()

    def late(request: Request) -> bool:
        return sum(map(writes, bucket.requests)) > 2

    bucket.proxy.faults.append(Fault("cut", times=999, when=late))
    large_data = large(bucket)
    with pytest.raises(Exception, match=r"(?i)connect") as raised:
        bucket.destination.write_versioned(large_data, "x")
    assert bucket.objects == {"a/b/x": b"before"}
    check_traceback(bucket, raised.value)


def check_traceback(bucket: Bucket, error: BaseException) -> None:
    """A task's log shows nothing of a URL's query, such as a signature or the name of an upload."""
    text = "".join(traceback.format_exception(error))
    values = {value for request in bucket.requests for value in request.params.values()}
    assert [value for value in values if len(value) > 12 and value in text] == []
