"""Whole objects or none, on local disks and on object stores."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_supermetrics._export.storage import Destination
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from dev.simulator import Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, START
from tests.support.emulators import SECRET
from tests.support.export import BASE, context
from tests.support.proxy import Request
from tests.support.stores import STORES, Bucket, export_to, lines, run_export, writes

pytestmark = pytest.mark.airflow_2


@pytest.fixture(params=["file", *STORES])
def destination(
    request: pytest.FixtureRequest, tmp_path: Path, new_bucket: Callable[[str], Bucket]
) -> Destination:
    """A folder that does not exist yet."""
    if request.param == "file":
        return Destination.at(f"file://{tmp_path}/a/b")
    return new_bucket(request.param).destination


def content(destination: Destination, name: str) -> bytes:
    """An object's bytes."""
    data: bytes = destination.path.fs.cat_file(f"{destination.path.path}/{name}")
    return data


@pytest.mark.parametrize(
    ("path", "library", "extra"),
    [
        ("s3://unused@bucket/logs", "s3fs", "s3"),
        ("s3a://unused@bucket/logs", "s3fs", "s3"),
        ("abfs://unused@container/logs", "adlfs", "azure"),
        ("gs://unused@bucket/logs", "gcsfs", "gcs"),
    ],
)
def test_a_library_that_is_missing(
    path: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a missing library names the extra, and is not retryable."""
    monkeypatch.setenv("AIRFLOW_CONN_UNUSED", '{"conn_type": "generic"}')
    monkeypatch.setitem(sys.modules, library, None)  # Python's own way to say that it is not there
    with pytest.raises(SupermetricsValidationError, match=rf"airflow-provider-supermetrics\[{extra}\]"):
        Destination.at(path)


def test_an_unknown_scheme() -> None:
    """The error of an unknown scheme names the scheme, without a remedy."""
    with pytest.raises(SupermetricsValidationError, match=r"cannot write to floppy://a/logs: .*floppy"):
        Destination.at("floppy://a/logs")


def test_a_connection_that_does_not_lead_there() -> None:
    """The error names the Connection to correct, and is not retryable."""
    with pytest.raises(SupermetricsValidationError, match=r"the part before '@': abfs://CONN"):
        Destination.at("abfs://container/logs")


def test_a_connection_with_a_setting_that_its_store_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the Connection to correct, and is not retryable."""
    extra = {"config_kwargs": {"s3_additional_kwargs": {}}}
    monkeypatch.setenv("AIRFLOW_CONN_ODD", json.dumps({"conn_type": "aws", "extra": extra}))
    with pytest.raises(
        SupermetricsValidationError, match=r"s3_additional_kwargs'; check the Airflow connection"
    ):
        Destination.at("s3://odd@bucket/logs")


@pytest.mark.parametrize(
    "path",
    [
        "s3://typo@bucket/logs",
        "s3a://typo@bucket",
        "gs://typo@bucket/logs",
        "abfs://typo@container/logs",
        # URLs in the form of other libraries.
        "abfss://typo@account.dfs.core.windows.net/logs",
    ],
)
def test_a_connection_that_does_not_exist(simulate: Callable[..., Simulator], path: str) -> None:
    """The error names it; the worker's own credentials do not take its place, and no request is sent."""
    sim = simulate()
    operator = SupermetricsExportLogsOperator(task_id="e", connector_identifier=CONNECTOR, path=path)
    with pytest.raises(SupermetricsValidationError, match=r"^Airflow has no connection 'typo', .*before '@'"):
        operator.execute(context())
    assert sim.requests == []


def test_a_path_without_a_connection(
    simulate: Callable[..., Simulator], new_bucket: Callable[[str], Bucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path without a Connection uses the worker's own credentials."""
    sim = simulate()
    bucket = new_bucket("s3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.proxy.url)
    SupermetricsExportLogsOperator(
        task_id="e", connector_identifier=CONNECTOR, path=f"s3://{bucket.name}/logs"
    ).execute(context())
    assert lines(bucket.objects, [f"logs/{BASE}-00000.jsonl.gz"]) == list(
        reversed(sim.truth(CONNECTOR, START, START + HOUR))
    )
    assert "Credential=local-access-key/" in bucket.requests[-1].headers["authorization"]


@pytest.mark.parametrize(
    "path",
    [
        "https://account.blob.core.windows.net/container/x?sv=2024&sig=SECRET",
        "s3://KEY:SECRET@bucket/logs",
        "s3://KEY:SEC/SECRET@bucket/logs",
        "s3:/KEY:SECRET@bucket/logs",
        "KEY:SECRET@bucket/logs",
        "abfs://c@container/x?sig=SECRET",
        "s3://c@bucket/a?versionId=SECRET",
    ],
)
def test_a_path_with_a_credential(path: str) -> None:
    """A path with a credential is refused, and the message does not contain the credential."""
    with pytest.raises(SupermetricsValidationError, match="must not contain a credential") as raised:
        Destination.at(path)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    "path",
    [
        "file:////logs",
        "//logs",
        "local://logs",
        "s3://c@bucket//logs",
        "s3://c@bucket/a//b",
        "s3://c@bucket/../b",
        "s3://c@bucket/a/.",
        "abfs://c@container/a\\b",
    ],
)
def test_a_path_that_would_be_another(path: str) -> None:
    """What Airflow or a library takes for a folder elsewhere is refused."""
    with pytest.raises(
        SupermetricsValidationError, match=r"^path must (be a URL|not contain) .*write a URL such as"
    ):
        Destination.at(path)


@pytest.mark.parametrize(
    "folder", ["", "/", "//", "/a b", "/100%", "/é+=&", "/[a]*", "/a:b", "/dt=1/", "/a#b", "/..a"]
)
def test_a_path_that_is_odd(bucket: Bucket, folder: str) -> None:
    """An object at an odd path is found again in the same folder."""
    destination = Destination.at(f"{bucket.url}{folder}")
    version = destination.write_versioned(b"one", "x.txt")
    assert destination.versions("x") == {"x.txt": version}
    assert list(bucket.objects) == [f"{folder.strip('/')}/x.txt".lstrip("/")]


def test_put_and_put_again(destination: Destination) -> None:
    """An object appears, and a second one of its name takes its place."""
    destination.write_versioned(b"one", "x.txt")
    assert content(destination, "x.txt") == b"one"
    destination.write_versioned(b"second", "x.txt")
    assert content(destination, "x.txt") == b"second"
    assert list(destination.versions("")) == ["x.txt"]


def test_the_version_changes_with_the_object(destination: Destination) -> None:
    """As long as an object stays, its version does; when other bytes take its place, it changes."""
    assert destination.version("x.txt") is None
    first = destination.write_versioned(b"one", "x.txt")
    assert destination.version("x.txt") == destination.versions("x")["x.txt"] == first
    second = destination.write_versioned(b"two", "x.txt")
    assert destination.version("x.txt") == destination.versions("x")["x.txt"] == second != first


def test_names_by_prefix(destination: Destination) -> None:
    """Only this folder's own objects with the prefix, however special its characters."""
    assert destination.versions("a") == {}
    for name in ("a-1", "a-2", "ab", "b-1", "[a]*-1"):
        destination.write_versioned(b"", name)
    deeper = Destination.at(f"{destination}/a-sub")
    deeper.write_versioned(b"", "a-3")
    assert list(destination.versions("a-")) == ["a-1", "a-2"]
    assert list(destination.versions("[a]*")) == ["[a]*-1"]


def test_a_new_object_after_a_listing(destination: Destination) -> None:
    """The library's cache of a listing hides nothing."""
    destination.write_versioned(b"one", "a-1")
    assert list(destination.versions("a-")) == ["a-1"]
    version = destination.write_versioned(b"two", "a-2")
    assert destination.version("a-2") == destination.versions("a-")["a-2"] == version
    destination.remove("a-1")
    assert destination.version("a-1") is None
    assert list(destination.versions("a-")) == ["a-2"]


def test_a_listing_of_others_hides_nothing(bucket: Bucket) -> None:
    """Whoever has listed the folder in this process: the store is read, not the library's cache."""
    destination = bucket.destination
    version = destination.write_versioned(b"one", "x")
    destination.path.fs.ls(f"{bucket.name}/a/b")
    bucket.emulator.put(bucket.name, "a/b/x", b"another")
    bucket.emulator.put(bucket.name, "a/b/y", b"new")
    assert destination.version("x") != version
    assert destination.version("y") is not None
    assert list(destination.versions("")) == ["x", "y"]


def test_remove(destination: Destination) -> None:
    """Removing an object deletes it, and removing a missing object is not an error."""
    destination.remove("x.txt")
    destination.write_versioned(b"one", "x.txt")
    destination.remove("x.txt")
    destination.remove("x.txt")
    assert destination.versions("") == {}


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """An object that could not be written whole is not there, nor is its temporary file."""
    folder = tmp_path / "folder"
    (folder / "x.txt").mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match=f"^Is a directory: cannot write file://{folder}/x.txt. "):
        Destination.at(f"file://{folder}").write_versioned(b"one", "x.txt")
    assert list(folder.iterdir()) == [folder / "x.txt"]


def test_an_export(simulate: Callable[..., Simulator], bucket: Bucket) -> None:
    """Complete, one request an object, the manifest last, one listing, and a rerun changes no byte."""
    sim = simulate(generate_entries(count=4000, start=START, end=START + 2 * HOUR, seed=5))
    run_export(bucket, entries_per_file=700)
    requests = list(bucket.requests)
    objects = bucket.objects
    parts = sorted(name for name in objects if name.endswith(".jsonl.gz"))
    manifest = f"logs/_manifest-{BASE}.json"
    listed_objects = json.loads(objects[manifest])["objects"]
    assert [item["name"] for item in listed_objects] == [name.removeprefix("logs/") for name in parts]
    truth = sim.truth(CONNECTOR, START, START + HOUR)
    assert sorted(entry["id"] for entry in lines(objects, parts)) == sorted(entry["id"] for entry in truth)
    # After each part but the last, how far it is; in place of the one before.
    checkpoint = f"logs/_checkpoint-{BASE}.gz"
    between = [name for part in parts[:-1] for name in (part, checkpoint)]
    written = [bucket.emulator.name(request) for request in requests if writes(request)]
    # The first one is there to try the store.
    assert written == [checkpoint, *between, parts[-1], manifest]
    listed = [bucket.emulator.name(request) for request in requests if lists(request)]
    # One listing of this window's parts; s3fs makes one more of each name that is not there, once; gcsfs
    # begins one with each lookup of a name, and drops it when the response comes first.
    assert listed.count(f"logs/{BASE}-") == 1
    listed.remove(f"logs/{BASE}-")
    assert set(listed) <= {f"{name}/" for name in [*parts, checkpoint, manifest]}
    assert len(listed) <= {"s3": 2, "abfs": 0, "gs": 2 * len(parts)}[bucket.emulator.scheme]
    run_export(bucket, entries_per_file=700)
    assert bucket.objects == objects


@pytest.mark.parametrize(
    ("folder", "encoded"), [("logs", "logs"), ("a#b/c?d/100% é", "a%23b/c%3Fd/100%25%20%C3%A9")]
)
def test_what_lineage_reports(
    simulate: Callable[..., Simulator],
    bucket: Bucket,
    collected: Callable[..., list[str]],
    folder: str,
    encoded: str,
) -> None:
    """The objects by the store's own URL, without Airflow's connection; to OpenLineage, bucket and folder."""
    simulate(generate_entries(count=2000, start=START, end=START + 2 * HOUR, seed=5))
    operator = export_to(bucket, path=f"{bucket.url}/{folder}", entries_per_file=600)
    operator.execute(context())
    parts = sorted(name.rpartition("/")[2] for name in bucket.objects if name.endswith(".jsonl.gz"))
    root = f"{bucket.emulator.scheme}://{bucket.name}"
    assert sorted(collected()) == [f"{root}/{encoded}/{part}" for part in parts]
    [dataset] = operator.get_openlineage_facets_on_complete(None).outputs
    assert (dataset.namespace, dataset.name) == (root, folder)


def lists(request: Request) -> bool:
    """Whether a request lists objects."""
    return request.method == "GET" and "prefix" in request.params


def test_stale_parts_go(simulate: Callable[..., Simulator], bucket: Bucket) -> None:
    """A rerun with larger parts removes the smaller ones, and nothing else."""
    simulate(generate_entries(count=2000, start=START, end=START + 2 * HOUR, seed=5))
    run_export(bucket, entries_per_file=100)
    Destination.at(f"{bucket.url}/logs").write_versioned(b"stays", "other.txt")
    assert len(bucket.objects) > 5
    run_export(bucket)
    assert set(bucket.objects) == {
        f"logs/{BASE}-00000.jsonl.gz",
        f"logs/_manifest-{BASE}.json",
        "logs/other.txt",
    }


def test_the_error_names_a_missing_bucket(simulate: Callable[..., Simulator], bucket: Bucket) -> None:
    """The error names the missing bucket."""
    simulate()
    bucket.name = "no-such-bucket"
    with pytest.raises(FileNotFoundError, match=r"(?i)bucket"):
        run_export(bucket)
