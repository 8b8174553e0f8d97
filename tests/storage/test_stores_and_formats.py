"""An export to each store in each format: the entries, their types, a true manifest, the same bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from dev.simulator import Simulator
from tests.conftest import CONNECTOR, HOUR, START, TEAM
from tests.support.export import context
from tests.support.stores import STORES, Bucket, writes
from tests.support.table import COLUMNS, KINDS, SOURCE, decompressed, entries_of, exact, odd_log

pytestmark = pytest.mark.airflow_2

BASE = f"{CONNECTOR}-20260101T000000Z-20260101T010000Z"
MANIFEST = f"_manifest-{BASE}.json"
# As docs/formats.md has them.
TYPES = {
    "team_id": pyarrow.int64(),
    "connector_identifier": pyarrow.string(),
    "id": pyarrow.string(),
    "log_time": pyarrow.timestamp("us", tz="UTC"),
    "status": pyarrow.int16(),
    "event": pyarrow.string(),
    "request": pyarrow.string(),
    "duration_ms": pyarrow.int64(),
    "request_id": pyarrow.string(),
    "extra": pyarrow.string(),
}


class Disk:
    """A folder of this machine, as a store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = self._stamps()
        self.url = f"file://{folder}"

    @property
    def objects(self) -> dict[str, bytes]:
        """Every file's bytes."""
        files = [path for path in self._folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self._folder)): path.read_bytes() for path in files}

    def writes(self) -> int:
        """How many files were written since the last call, and are still there."""
        before, self._seen = self._seen, self._stamps()
        return len(self._seen - before)

    def _stamps(self) -> set[tuple[str, int, int]]:
        files = [path for path in self._folder.rglob("*") if path.is_file()]
        return {(path.name, path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


class Remote:
    """A bucket, as a store."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self.url = bucket.url

    @property
    def objects(self) -> dict[str, bytes]:
        """Every object's bytes."""
        return self._bucket.objects

    def writes(self) -> int:
        """How many objects were written since the last call, those that are gone again included."""
        count = sum(map(writes, self._bucket.requests))
        self._bucket.requests.clear()
        return count


@pytest.fixture(params=["file", *STORES])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, new_bucket: Callable[[str], Bucket]
) -> Disk | Remote:
    """A folder or a bucket, empty."""
    return Disk(tmp_path) if request.param == "file" else Remote(new_bucket(request.param))


def check_types(data: bytes, suffix: str) -> None:
    """The columns of the object are those of the docs, whatever is in it."""
    if suffix == ".parquet":
        schema = pyarrow.parquet.read_schema(io.BytesIO(data))
        assert {name: schema.field(name).type for name in schema.names} == TYPES
        assert schema.names == COLUMNS
        source = pyarrow.parquet.read_table(io.BytesIO(data), columns=SOURCE)
        assert [column.unique().to_pylist() for column in source.columns] == [[TEAM], [CONNECTOR]]
    elif suffix.startswith(".csv"):
        header, *rows = csv.reader(io.StringIO(decompressed(data, suffix).decode(), newline=""))
        assert header == COLUMNS
        for row in rows:
            typed = dict(zip(header, row, strict=True))
            assert (typed["team_id"], typed["connector_identifier"]) == (str(TEAM), CONNECTOR)
            assert not typed["status"] or -(2**15) <= int(typed["status"]) < 2**15
            assert not typed["duration_ms"] or -(2**63) <= int(typed["duration_ms"]) < 2**63
            assert typed["log_time"].endswith("Z")
            assert not typed["extra"] or isinstance(json.loads(typed["extra"]), dict)


@pytest.mark.parametrize(
    ("format", "compression", "suffix", "named"), [kind for kind in KINDS if kind[1] != "auto"]
)
def test_an_export(
    simulate: Callable[..., Simulator],
    store: Disk | Remote,
    format: str,
    compression: str | None,
    suffix: str,
    named: str | None,
) -> None:
    """Written set, types, manifest, rerun."""
    sim = simulate(odd_log())

    def export() -> dict[str, Any]:
        operator = SupermetricsExportLogsOperator(
            task_id="export",
            connector_identifier=CONNECTOR,
            path=f"{store.url}/logs",
            format=format,
            compression=compression,
            entries_per_file=400,
        )
        result: dict[str, Any] = operator.execute(context())
        return result

    result = export()
    objects = {name.removeprefix("logs/"): data for name, data in store.objects.items()}
    manifest = json.loads(objects[MANIFEST])
    truth = sim.truth(CONNECTOR, START, START + HOUR)
    back = []
    for number, item in enumerate(manifest["objects"]):
        assert item["name"] == f"{BASE}-{number:05d}{suffix}"
        data = objects[item["name"]]
        assert (item["bytes"], item["sha256"]) == (len(data), sha256(data).hexdigest())
        check_types(data, suffix)
        entries = entries_of(data, suffix)
        assert len(entries) == item["entries"]
        assert (entries[0]["log_time"], entries[-1]["log_time"]) == (
            item["first_log_time"],
            item["last_log_time"],
        )
        back += entries
    assert sorted(map(exact, back)) == sorted(map(exact, truth))
    assert len(manifest["objects"]) > 2
    assert set(objects) == {item["name"] for item in manifest["objects"]} | {MANIFEST}
    assert (manifest["format"], manifest["compression"]) == (format, named)
    assert manifest["complete"] is True
    assert manifest["entries"] == result["entries"] == len(truth)
    assert manifest["bytes"] == result["bytes"] == sum(item["bytes"] for item in manifest["objects"])

    first = store.writes()
    assert {**export(), "rate_limit": result["rate_limit"]} == result
    assert {name.removeprefix("logs/"): data for name, data in store.objects.items()} == objects
    # Of all that the first one has written, the rerun writes the checkpoints again.
    assert store.writes() == first - len(objects)
