"""The async hook with several coroutines, and with loops that stop early."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from airflow_provider_supermetrics.exceptions import SupermetricsResponseError
from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsAsyncHook
from dev.simulator import Fault, Simulator, generate_entries
from dev.simulator.raw import bomb
from tests.conftest import CONNECTOR, HOUR, START

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]
ENTRIES = generate_entries(count=2500, start=START, end=START + HOUR, seed=3)


@pytest.mark.parametrize("within", [True, False], ids=["within async with", "without"])
def test_several_at_once(simulate: Simulate, within: bool) -> None:
    """Logs read in parallel with one hook are all complete, and every request is counted."""
    sim = simulate(ENTRIES)
    hook = SupermetricsAsyncHook()

    async def count() -> int:
        return len([entry async for entry in hook.iter_logs(CONNECTOR)])

    async def run() -> list[int]:
        if within:
            async with hook:
                return list(await asyncio.gather(*(count() for _ in range(4))))
        return list(await asyncio.gather(*(count() for _ in range(4))))

    assert asyncio.run(run()) == [2500] * 4
    assert hook.requests_sent == len(sim.requests)


def test_nested(simulate: Simulate) -> None:
    """An inner `async with` shares the outer session and leaves it open."""
    sim = simulate(ENTRIES)

    async def run() -> None:
        async with SupermetricsAsyncHook() as hook:
            async with hook:
                await hook.list_connectors()
            await hook.list_connectors()
            assert [entry async for entry in hook.iter_logs(CONNECTOR)]

    asyncio.run(run())
    assert sim.connections == 1


def test_an_iteration_that_is_left(simulate: Simulate) -> None:
    """A loop that stops early leaves the hook usable, and no session open."""
    simulate(ENTRIES)

    async def run() -> None:
        hook = SupermetricsAsyncHook()
        async for _ in hook.iter_logs(CONNECTOR):
            break
        assert len(await hook.list_connectors()) == 1
        async with hook:
            async for _ in hook.iter_logs(CONNECTOR):
                break
            assert len(await hook.list_connectors()) == 1

    asyncio.run(run())
    gc.collect()  # an open session would warn now, and warnings are errors


def test_the_event_loop_is_not_blocked(
    simulate: Simulate, connection: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """Asyncio's own debug mode sees no step of 100 ms, the Connection and its certificates included."""
    import certifi

    sim = simulate(ENTRIES)
    connection(sim.url, extra=json.dumps({"team_id": 936506, "verify": certifi.where()}))

    async def run() -> int:
        return len([entry async for entry in SupermetricsAsyncHook().iter_logs(CONNECTOR)])

    assert asyncio.run(run(), debug=True) == 2500
    assert not [record for record in caplog.records if "took" in record.getMessage()]


def test_a_connection_that_is_fetched_through_the_event_loop(simulate: Simulate) -> None:
    """As in the triggerer of Airflow 3.0 and 3.1, which calls its supervisor on the waiting loop."""
    simulate(ENTRIES)
    loops: list[asyncio.AbstractEventLoop] = []

    async def call_supervisor() -> None:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())

    class Hook(SupermetricsAsyncHook):
        @classmethod
        def get_connection(cls, conn_id: str) -> Any:
            async_to_sync(call_supervisor)()
            return super().get_connection(conn_id)

    async def run() -> None:
        assert len(await Hook().list_connectors()) == 1
        assert loops == [asyncio.get_running_loop()]

    asyncio.run(asyncio.wait_for(run(), timeout=30))


def test_a_bomb_leaves_the_event_loop_to_others(simulate: Simulate) -> None:
    """Other coroutines run between the pieces of a large compressed body."""
    simulate(faults=[Fault(raw=bomb(200, ["gzip"], 1 << 30))])
    turns: list[float] = []

    async def others() -> None:
        while True:
            turns.append(time.thread_time())
            await asyncio.sleep(0)

    async def run() -> None:
        hook = SupermetricsAsyncHook()
        await hook.resolve_team_id()
        task = asyncio.create_task(others())
        with pytest.raises(SupermetricsResponseError):
            await hook.list_logs(CONNECTOR)
        task.cancel()

    begun = time.thread_time()
    asyncio.run(run())
    assert max(late - early for early, late in pairwise(turns)) < (time.thread_time() - begun) / 2
