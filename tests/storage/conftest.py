"""Object stores on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from airflow_provider_supermetrics._export.storage import Destination
from tests.storage.emulators import S3, Azure, Emulator, Gcs
from tests.storage.proxy import Fault, FaultProxy, Request

# gcsfs would ask Google's gRPC service for the kind of the bucket, a minute long and before every request:
# the emulator has none. It reads this when it is imported.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

STORES: dict[str, type[S3 | Azure | Gcs]] = {"s3": S3, "azure": Azure, "gcs": Gcs}


class Bucket:
    """A fresh bucket. An Airflow Connection leads there, through a proxy; all else here goes past it."""

    def __init__(self, emulator: Emulator, proxy: FaultProxy, conn_id: str) -> None:
        self.emulator = emulator
        self.proxy = proxy
        self.conn_id = conn_id
        self.name = f"bucket-{uuid.uuid4().hex}"
        emulator.create(self.name)

    @property
    def url(self) -> str:
        """What ObjectStoragePath calls it."""
        return f"{self.emulator.scheme}://{self.conn_id}@{self.name}"

    @property
    def destination(self) -> Destination:
        """A folder in it."""
        return Destination.at(f"{self.url}/a/b")

    @property
    def objects(self) -> dict[str, bytes]:
        """Every object's bytes."""
        return self.emulator.objects(self.name)

    @property
    def unfinished(self) -> list[str]:
        """The objects of which the store holds parts that no reader sees."""
        return self.emulator.unfinished(self.name)

    @property
    def requests(self) -> list[Request]:
        """What came through the proxy."""
        return self.proxy.requests

    def answer(self, status: int, *, times: int, when: Callable[[Request], bool]) -> None:
        """Let the proxy answer as the store would, to the first requests of a kind."""
        headers, body = self.emulator.error(status)
        self.proxy.faults.append(
            Fault("answer", status=status, headers=headers, body=body, times=times, when=when)
        )


def writes(request: Request) -> bool:
    """Whether a request puts bytes into the store."""
    return request.method in ("PUT", "POST")


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[[str], tuple[Emulator, FaultProxy]]]:
    """Start a store and a proxy, or find them started."""
    with ExitStack() as stack:

        @cache
        def run(store: str) -> tuple[Emulator, FaultProxy]:
            emulator = stack.enter_context(STORES[store].run())
            return emulator, stack.enter_context(FaultProxy(emulator.url))

        yield run


@pytest.fixture
def new_bucket(
    start: Callable[[str], tuple[Emulator, FaultProxy]], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Bucket]:
    """Create a bucket in one of the stores."""

    def create(store: str) -> Bucket:
        emulator, proxy = start(store)
        # Airflow keeps the file system of a Connection for the life of the process.
        conn_id = f"{store}_local"
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(emulator.connection(proxy.url)))
        bucket = Bucket(emulator, proxy, conn_id)
        proxy.clear()
        return bucket

    return create


@pytest.fixture(params=STORES)
def bucket(request: pytest.FixtureRequest, new_bucket: Callable[[str], Bucket]) -> Bucket:
    """A bucket in each of the stores."""
    return new_bucket(request.param)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The libraries try again at once; the list tells, in seconds, how long each wait would have been."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float, *result: Any) -> Any:
        if seconds:
            waits.append(seconds)
        return await sleep(0, *result)

    monkeypatch.setattr(asyncio, "sleep", note)
    return waits
