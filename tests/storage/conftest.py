"""Object stores on this machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from tests.support.emulators import Emulator
from tests.support.proxy import FaultProxy
from tests.support.stores import STORES, Bucket


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
    """The libraries retry at once; the list has, in seconds, how long each wait would have been."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float, *result: Any) -> Any:
        if seconds:
            waits.append(seconds)
        return await sleep(0, *result)

    monkeypatch.setattr(asyncio, "sleep", note)
    return waits
