"""The manifests of a folder and those below it, found by their names, on disks and in stores."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_supermetrics._export import catalog, storage
from airflow_provider_supermetrics._export.catalog import REMOVED, Catalog, Unreadable
from airflow_provider_supermetrics._export.manifest import Manifest
from airflow_provider_supermetrics._export.storage import Destination
from airflow_provider_supermetrics._health.reader import HealthReader
from airflow_provider_supermetrics._schedule import Window
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from dev.simulator import Simulator
from tests.conftest import CONNECTOR, HOUR, START
from tests.support.export import BASE, context
from tests.support.stores import STORES, Bucket

pytestmark = pytest.mark.airflow_2

MANIFEST = f"_manifest-{BASE}.json"


@pytest.fixture(params=["file", *STORES])
def url(request: pytest.FixtureRequest, tmp_path: Path, new_bucket: Callable[[str], Bucket]) -> str:
    """A folder that does not exist yet."""
    return f"{f'file://{tmp_path}' if request.param == 'file' else new_bucket(request.param).url}/a/b"


def export(path: str, **arguments: Any) -> dict[str, Any]:
    """Export the first hour, or as the arguments say."""
    result: dict[str, Any] = SupermetricsExportLogsOperator(
        **{"task_id": "export", "connector_identifier": CONNECTOR, "path": path, **arguments}
    ).execute(context())
    return result


def test_a_folder_that_does_not_exist(url: str) -> None:
    """It has no manifests; only a bucket has to exist. Azure's library takes a missing one for empty."""
    assert list(Catalog(Destination.at(url)).names()) == []
    if url.startswith(("s3:", "gs:")):
        with pytest.raises(FileNotFoundError, match=r"No such bucket or container: .*bucket-gone"):
            list(Catalog(Destination.at(url.replace("bucket-", "bucket-gone"))).names())


def test_manifests_of_a_folder_and_those_below(simulate: Callable[..., Simulator], url: str) -> None:
    """With what their names say, a version that a rewrite changes, and the sizes of what is beside them."""
    simulate()
    export(url)
    export(f"{url}/date=2026-01-01/T3S70", end=START + HOUR / 2)
    found = Catalog(Destination.at(url))
    names = {name.path: name for name in found.names()}
    half = f"date=2026-01-01/T3S70/_manifest-{CONNECTOR}-20260101T000000Z-20260101T003000Z.json"
    assert set(names) == {MANIFEST, half}
    assert {name.connector_identifier for name in names.values()} == {CONNECTOR}
    assert names[half].window == Window(START, START + HOUR / 2)
    assert names[half].beside("x") == "date=2026-01-01/T3S70/x"
    assert names[MANIFEST].beside("x") == "x"

    for name, manifest in found.read(names.values()):
        assert isinstance(manifest, Manifest)
        assert manifest.objects
        [sizes] = [folder.sizes for folder in found.folders() if name in folder.manifests]
        for item in manifest.objects:
            assert sizes[name.beside(item.name)] == item.bytes

    export(url, compression="none")
    again = {name.path: name for name in found.names()}
    assert again[half] == names[half]
    assert again[MANIFEST].version != names[MANIFEST].version


def test_a_digest_in_pieces(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of objects that are longer than a piece, as long as some, and shorter; of none that is not there."""
    monkeypatch.setattr(storage, "_PIECE", 4)
    destination = Destination.at(url)
    for data in (b"abcdefghij", b"abcdefgh", b"abc"):
        destination.write(data, "object")
        assert destination.digest("object", len(data)) == sha256(data).hexdigest()
    assert destination.digest("absent", 3) is None


def test_many_manifests_are_read_in_their_order(
    simulate: Callable[..., Simulator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of the next batch."""
    simulate()
    monkeypatch.setattr(catalog, "_BATCH", 3)
    for number in range(10):
        export(f"file://{tmp_path}", start=START, end=START + timedelta(minutes=number + 1))
    found = Catalog(Destination.at(tmp_path))
    names = sorted(found.names(), key=lambda name: name.window.end, reverse=True)
    read = list(found.read(names))
    assert [name for name, _ in read] == names
    for name, manifest in read:
        assert isinstance(manifest, Manifest)
        assert manifest.end in (name.window.end.isoformat().replace("+00:00", "Z"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: b"", "is damaged"),
        (lambda data: data[:-10], "is damaged"),
        (lambda data: b"\xff" + data, "is damaged"),
        (lambda data: data.replace(b'"complete": true', b'"complete": false'), "is not complete"),
        (lambda data: data.replace(b'"objects"', b'"files"'), "another version of this package"),
        (lambda data: data.replace(b'"T3S70",', b'"K2M41",'), "is of another window: K2M41"),
        (lambda data: data.replace(b"T01:00:00Z", b"T02:00:00Z"), "is of another window: T3S70"),
    ],
)
def test_a_manifest_that_says_nothing(
    simulate: Callable[..., Simulator], tmp_path: Path, change: Callable[[bytes], bytes], reason: str
) -> None:
    """One that is cut, of another version, of an unfinished export, or a copy under another name."""
    simulate()
    export(f"file://{tmp_path}")
    path = tmp_path / MANIFEST
    path.write_bytes(change(path.read_bytes()))
    found = Catalog(Destination.at(tmp_path))
    [(_, manifest)] = found.read(found.names())
    assert isinstance(manifest, Unreadable)
    assert reason in manifest.reason


def test_a_manifest_that_is_gone(simulate: Callable[..., Simulator], tmp_path: Path) -> None:
    """A rerun has removed it since the listing."""
    simulate()
    export(f"file://{tmp_path}")
    found = Catalog(Destination.at(tmp_path))
    names = list(found.names())
    (tmp_path / MANIFEST).unlink()
    assert list(found.read(names)) == [(names[0], REMOVED)]


def test_one_manifest_that_the_store_refuses(
    simulate: Callable[..., Simulator], new_bucket: Callable[[str], Bucket]
) -> None:
    """A check of the exports fails; a reader who wants the others gets them, and the error in its place."""
    simulate()
    bucket = new_bucket("s3")
    for minutes in (10, 20, 30):
        export(f"{bucket.url}/logs", start=START, end=START + timedelta(minutes=minutes))
    found = Catalog(Destination.at(f"{bucket.url}/logs"))
    names = sorted(found.names(), key=lambda name: name.window.end)
    bucket.respond(403, times=99, when=lambda request: "T002000Z.json" in request.path)
    assert [type(each) for _, each in found.attempt(names)] == [Manifest, PermissionError, Manifest]
    with pytest.raises(PermissionError, match=r"Access denied: cannot read .*T002000Z\.json"):
        list(found.read(names))


def test_one_folder_that_the_store_refuses(
    simulate: Callable[..., Simulator], new_bucket: Callable[[str], Bucket]
) -> None:
    """A check of the exports fails, and names it; the page has a note of it, and all else."""
    simulate()
    bucket = new_bucket("s3")
    for folder in ("a", "lost+found", "z"):
        export(f"{bucket.url}/logs/{folder}")
    found = Catalog(Destination.at(f"{bucket.url}/logs"))
    bucket.respond(403, times=99, when=lambda request: "lost" in request.params.get("prefix", ""))
    refused = r"Access denied: cannot list s3://.*/logs/lost\+found: "
    with pytest.raises(PermissionError, match=refused):
        list(found.folders())
    with pytest.raises(PermissionError, match=refused):
        list(found.names())
    day = Window(START, START + 24 * HOUR)
    for is_tolerant in (True, False):
        report = HealthReader([f"{bucket.url}/logs"], tolerant=is_tolerant).report(day, day.end)
        assert {folder for each in report.connectors[0].days for folder in each.folders} == {"a", "z"}
        [note] = report.notes
        assert re.match(f"A folder could not be listed, so its exports are not shown: {refused}", note)

    bucket.respond(403, times=99, when=lambda request: request.params.get("prefix") in ("logs/a/", "logs/z/"))
    assert len(HealthReader([f"{bucket.url}/logs"], tolerant=True).report(day, day.end).notes) == 3
    with pytest.raises(PermissionError, match="cannot list"):
        HealthReader([f"{bucket.url}/logs"]).report(day, day.end)


def test_a_manifest_that_is_too_large(
    simulate: Callable[..., Simulator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listing says its size, so it is not read."""
    simulate()
    export(f"file://{tmp_path}")
    size = (tmp_path / MANIFEST).stat().st_size
    monkeypatch.setattr(catalog, "MOST_BYTES", size - 1)
    found = Catalog(Destination.at(tmp_path))
    [(name, manifest)] = found.read(found.names())
    assert name.size == size
    assert manifest == Unreadable(f"is not read, because it has {size:,} bytes")


def test_other_objects_are_no_manifests(tmp_path: Path) -> None:
    """Nor are those whose names say no window."""
    names = [
        "_manifest-A-20260101T000000Z-20260101T010000Z.json",
        "_manifest-20260101T000000Z-20260101T010000Z-20260101T000000.250000Z-20260101T010000Z.json",
    ]
    for name in (
        *names,
        "_manifest-A-20260101T010000Z-20260101T000000Z.json",
        "_manifest-A-20260101T000000Z-20260101T000000Z.json",
        "_manifest-A-20260101T000000Z-20261301T000000Z.json",
        "_manifest-A-20260101T000000Z.json",
        "_manifest-A-20260101T000000Z-20260101T010000Z.json.tmp",
        "_manifest--20260101T000000Z-20260101T010000Z.json",
        "_checkpoint-A-20260101T000000Z-20260101T010000Z.gz",
        "A-20260101T000000Z-20260101T010000Z-00000.jsonl.gz",
    ):
        (tmp_path / name).write_text(json.dumps({}))
    found = list(Catalog(Destination.at(tmp_path)).names())
    assert sorted(name.path for name in found) == sorted(names)
    assert {name.connector_identifier for name in found} == {"A", "20260101T000000Z-20260101T010000Z"}


def test_a_link_to_a_folder_above_does_not_keep_it_going(tmp_path: Path) -> None:
    """Folders that are links are left out."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").symlink_to(tmp_path)
    assert len(list(Catalog(Destination.at(tmp_path)).folders())) == 3


@pytest.mark.parametrize("target", ["link", "nothing", "file/below"])
def test_a_link_that_leads_nowhere(tmp_path: Path, target: str) -> None:
    """It is left out, also where it is named as an object."""
    (tmp_path / "file").touch()
    (tmp_path / MANIFEST).touch()
    (tmp_path / "link").symlink_to(target)
    destination = Destination.at(tmp_path)
    assert {item.name for item in destination.listing()} == {"file", MANIFEST}
    assert list(destination.versions("li")) == []
    assert [name.path for name in Catalog(destination).names()] == [MANIFEST]


def test_too_many_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listing is bounded, and says what to write."""
    monkeypatch.setattr(catalog, "MOST_FOLDERS", 2)
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(SupermetricsValidationError, match=r"more than 2 folders.*nearer to the manifests"):
        list(Catalog(Destination.at(tmp_path)).names())


@given(
    st.tuples(*[st.datetimes(timezones=st.just(START.tzinfo))] * 2).filter(lambda times: times[0] < times[1])
)
def test_a_window_comes_back_from_its_slug(times: tuple[Any, Any]) -> None:
    """Any two times, to the microsecond."""
    window = Window(*times)
    assert Window.of_slug(window.slug) == window
