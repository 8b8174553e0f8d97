"""Many deferred sensors in one event loop: do they block it, how much memory does each take?

The triggers run as in Airflow's triggerer, all in one loop, against the simulator in another process. Busy
connectors have something new at each poll.

Usage: python -m benchmarks.triggers [--sensors 200] [--connectors 50] [--polls 5]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import psutil

from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsAsyncHook
from airflow_provider_supermetrics.triggers.supermetrics import SupermetricsErrorLogTrigger
from benchmarks.log import KEY, TEAM_ID, Simulator, simulating
from benchmarks.table import table

_INTERVAL = 5.0


@dataclass(frozen=True)
class Result:
    """What the triggers cost: CPU and wall seconds of the longest callback, bytes, requests."""

    sensors: int
    connectors: int
    requests: int
    longest_cpu: float
    longest_wall: float
    memory_per_sensor: int


class _Callbacks:
    """How long the callbacks of an event loop take, each one."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure those that run in this block."""
        run = asyncio.Handle._run

        def timed(handle: asyncio.Handle) -> None:
            cpu, wall = time.thread_time(), time.perf_counter()
            run(handle)
            self.cpu = max(self.cpu, time.thread_time() - cpu)
            self.wall = max(self.wall, time.perf_counter() - wall)

        # As asyncio's own debug mode does.
        asyncio.Handle._run = timed  # type: ignore[method-assign, assignment]  # the stub has `self` twice
        try:
            yield
        finally:
            asyncio.Handle._run = run  # type: ignore[method-assign]  # likewise put back


def measure(sensors: int, connectors: int, polls: int) -> Result:
    """Let so many sensors poll the logs of so many connectors, each so many times."""
    logs = ("--connectors", str(connectors), "--hours", "1", "--entries-per-hour", "400", "--live")
    with simulating("--port", "0", "--key", KEY, "--team-id", str(TEAM_ID), *logs) as simulator:
        os.environ["AIRFLOW_CONN_SUPERMETRICS_DEFAULT"] = json.dumps(
            {
                "conn_type": "supermetrics",
                "host": simulator.url,
                "password": KEY,
                "extra": {"team_id": TEAM_ID},
            }
        )
        return asyncio.run(_run(simulator, sensors, polls))


async def _run(simulator: Simulator, sensors: int, polls: int) -> Result:
    async with SupermetricsAsyncHook() as hook:
        identifiers = [item["connector_identifier"] for item in await hook.list_connectors()]
    await _watch(identifiers[:1], polls=1)  # loads what is loaded once
    simulator.reset()
    gc.collect()
    gc.freeze()  # what Airflow has loaded is not what is measured
    process, callbacks = psutil.Process(), _Callbacks()
    before = process.memory_info().rss
    with callbacks.measured():
        watched = [identifiers[number % len(identifiers)] for number in range(sensors)]
        after = await _watch(watched, polls)
    return Result(
        sensors,
        len(identifiers),
        simulator.requests()["count"],
        callbacks.cpu,
        callbacks.wall,
        (after - before) // sensors,
    )


async def _watch(identifiers: list[str], polls: int) -> int:
    """Run a trigger for each until all have polled so often; return the memory that the process has then."""
    begun = datetime.now(timezone.utc)

    async def wait(number: int, identifier: str) -> None:
        trigger = SupermetricsErrorLogTrigger(
            connector_identifier=identifier,
            since=(begun - timedelta(minutes=30)).isoformat(),
            deadline=(begun + timedelta(seconds=polls * _INTERVAL)).isoformat(),
            # As sensors that began at different times.
            not_before=(begun + timedelta(seconds=number * _INTERVAL / len(identifiers))).isoformat(),
            error_filter={},
            min_matches=10**9,
            poke_interval=_INTERVAL,
        )
        async for event in trigger.run():
            assert event.payload["status"] == "timeout", event.payload

    waiting = [asyncio.create_task(wait(number, name)) for number, name in enumerate(identifiers)]
    await asyncio.sleep((polls - 0.5) * _INTERVAL)
    memory = int(psutil.Process().memory_info().rss)
    await asyncio.gather(*waiting)
    return memory


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.triggers", description=__doc__)
    parser.add_argument("--sensors", type=int, default=200)
    parser.add_argument("--connectors", type=int, default=50)
    parser.add_argument("--polls", type=int, default=5)
    result = measure(**vars(parser.parse_args()))
    print(
        table(
            [
                ("deferred sensors in one event loop", ""),
                ("sensors, connectors", f"{result.sensors}, {result.connectors}"),
                ("requests", f"{result.requests:,}"),
                ("longest callback, CPU", f"{1000 * result.longest_cpu:.0f} ms"),
                ("longest callback, wall", f"{1000 * result.longest_wall:.0f} ms"),
                ("memory for each sensor", f"{result.memory_per_sensor / 1000:.0f} kB"),
            ]
        )
    )


if __name__ == "__main__":
    main()
