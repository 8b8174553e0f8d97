"""Exports through faults, while a reader reads the store continuously."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType

import pytest

from dev.simulator import Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, START
from tests.support.export import BASE
from tests.support.proxy import Fault, FaultKind, Request
from tests.support.stores import Bucket, lines, run_export, writes

pytestmark = pytest.mark.airflow_2

PARTS = [f"logs/{BASE}-{number:05d}.jsonl.gz" for number in range(4)]
CHECKPOINT = f"logs/_checkpoint-{BASE}.gz"
MANIFEST = f"logs/_manifest-{BASE}.json"


class Reader(Thread):
    """Reads every object as soon and as often as it can, past the proxy, and requires each to be complete."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(name="reader")
        self.bucket = bucket
        #: Every name that was seen, and every defect.
        self.seen: set[str] = set()
        self.wrong: list[str] = []
        self._done = Event()

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        """Read until the end, and once more then."""
        is_last = False
        while not is_last:
            is_last = self._done.is_set()
            for name in self.bucket.emulator.names(self.bucket.name):
                try:
                    self._read(name)
                except Exception as error:
                    self.wrong.append(f"{name}: {error!r}")

    def _read(self, name: str) -> None:
        data = self.bucket.emulator.get(self.bucket.name, name)
        if data is None:
            return  # removed meanwhile
        self.seen.add(name)
        if name in PARTS:
            assert [json.loads(line) for line in gzip.decompress(data).splitlines()]
        elif name == CHECKPOINT:
            head, *rest = gzip.decompress(data).split(b"\n")
            facts = json.loads(head)
            assert len(rest) == facts["pending"] + facts["open"]
        elif name == MANIFEST:
            manifest = json.loads(data)
            assert manifest["complete"]
            for item in manifest["objects"]:
                part = self.bucket.emulator.get(self.bucket.name, f"logs/{item['name']}")
                assert part is not None
                assert hashlib.sha256(part).hexdigest() == item["sha256"]
        else:
            raise AssertionError("what is that?")


@pytest.fixture
def sim(simulate: Callable[..., Simulator]) -> Simulator:
    """A log whose first hour makes four parts of 600."""
    return simulate(generate_entries(count=4000, start=START, end=START + 2 * HOUR, seed=5))


def is_complete(bucket: Bucket, sim: Simulator) -> bool:
    """Whether the hour is there, each entry once, with its manifest and nothing else."""
    objects = bucket.objects
    truth = sim.truth(CONNECTOR, START, START + HOUR)
    return sorted(objects) == [*PARTS, MANIFEST] and sorted(
        entry["id"] for entry in lines(objects, PARTS)
    ) == sorted(entry["id"] for entry in truth)


def first_uploads(bucket: Bucket) -> Callable[[Request], bool]:
    """Holds for the first upload of each object, checkpoints and the manifest included."""
    begun: set[str] = set()

    def is_first(request: Request) -> bool:
        name = bucket.emulator.name(request)
        if not writes(request) or name in begun:
            return False
        begun.add(name)
        return True

    return is_first


@pytest.mark.parametrize("kind", ["response", "cut", "lost"])
def test_an_export_gets_through(sim: Simulator, bucket: Bucket, waits: list[float], kind: FaultKind) -> None:
    """Each object's first upload breaks, or its first two get a 500; no reader sees anything of that."""
    if kind == "response":
        bucket.respond(500, times=99, when=first_uploads(bucket))
        bucket.respond(500, times=99, when=first_uploads(bucket))
    else:
        bucket.proxy.faults.append(Fault(kind, times=99, when=first_uploads(bucket)))
    with Reader(bucket) as reader:
        run_export(bucket, entries_per_file=600)
    assert reader.wrong == []
    assert {PARTS[0], MANIFEST} <= reader.seen
    assert len([request for request in bucket.requests if writes(request)]) >= 2 * len(PARTS)
    assert is_complete(bucket, sim)


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        pytest.param(
            403, PermissionError, "cannot write {}: .*Airflow connection may list, read, write", id="denied"
        ),
        # The last one: aiohttp before 3.14.4, see the proxy.
        pytest.param(
            None, OSError, r"([Cc]onnect|[Tt]imeout).*: cannot write {}\. Check the Airflow", id="cut"
        ),
    ],
)
@pytest.mark.parametrize("victim", [PARTS[2], CHECKPOINT, MANIFEST], ids=["part", "checkpoint", "manifest"])
def test_an_export_fails_and_the_next_completes_it(
    sim: Simulator,
    bucket: Bucket,
    waits: list[float],
    victim: str,
    status: int | None,
    error: type[OSError],
    said: str,
) -> None:
    """The error names the object; neither then nor during the next try do readers see anything partial."""

    def fails(request: Request) -> bool:
        return writes(request) and bucket.emulator.name(request) == victim

    with Reader(bucket) as reader:
        if status:
            bucket.respond(status, times=999, when=fails)
        else:
            bucket.proxy.faults.append(Fault("cut", times=999, when=fails))
        with pytest.raises(error, match=said.format(f"{bucket.url}/{victim}")):
            run_export(bucket, entries_per_file=600)
        assert MANIFEST not in bucket.objects
        assert victim not in bucket.objects
        bucket.proxy.clear()
        run_export(bucket, entries_per_file=600)
    assert reader.wrong == []
    assert {*PARTS[:2], MANIFEST} <= reader.seen
    assert is_complete(bucket, sim)
