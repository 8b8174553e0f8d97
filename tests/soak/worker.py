"""What runs in the processes of a soak: an attempt of a task, a trigger, a triggerer that follows a log.

Nothing survives such a process but what it has sent through `send`, or written to the store: it can be killed
at any moment.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import logging
import os
import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

from airflow.exceptions import AirflowRescheduleException
from airflow.triggers.shared_stream import SharedStreamManager

from airflow_provider_supermetrics._compat import AirflowException
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor
from airflow_provider_supermetrics.triggers.supermetrics import SupermetricsErrorLogEventTrigger
from tests.soak.clock import Clock
from tests.support.airflow import restored_trigger, stored, stored_trigger
from tests.support.compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

Job = dict[str, Any]
Send = Callable[[dict[str, Any]], None]

_OPERATORS: dict[str, Any] = {
    "export": SupermetricsExportLogsOperator,
    "sensor": SupermetricsErrorLogSensor,
}
_FILE_STEPS = {"open", "os.rename", "os.remove", "os.mkdir"}


def main(job: Job, messages: Connection, output: Connection) -> None:
    """Run a job in this process.

    :param messages: what counts: each message arrives whole, or not at all.
    :param output: what the process prints.
    """
    # A collection would copy all of Airflow's memory, which is shared with the process that forked this one.
    gc.freeze()
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    os.environ.update(job["environment"])
    Clock(**job["clock"]).install()
    random.seed(job["seed"])
    logging.getLogger().setLevel(logging.INFO)
    if job.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest_file"], resource.RLIM_INFINITY))
    if job.get("file_steps"):
        _die_at_file_step(job["file_steps"], job["folder"])
    if job.get("raises_on_term"):
        signal.signal(signal.SIGTERM, _raise)

    def send(message: dict[str, Any]) -> None:
        messages.send_bytes(json.dumps(message).encode())

    try:
        _JOBS[job["do"]](job, send)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()


def _raise(*_: Any) -> None:
    """Do what Airflow 2 does in a task that is to stop."""
    raise AirflowException("Task received SIGTERM signal")


def _die_at_file_step(steps: int, folder: str) -> None:
    left = steps

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in _FILE_STEPS and str(arguments[0]).startswith(folder):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


class TaskStateStore:
    """The task state store of Airflow 3.3, as far as a worker sees it."""

    def __init__(self, values: dict[str, Any], send: Send) -> None:
        self._values, self._send = values, send

    def get(self, key: str, default: Any = None) -> Any:
        """The value, a copy."""
        return copy.deepcopy(self._values[key]) if key in self._values else default

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self._values[key] = stored(value)
        self._send({"set": key, "value": self._values[key]})

    def delete(self, key: str) -> None:
        """Delete a value."""
        self._values.pop(key, None)
        self._send({"delete": key})


def run_task(job: Job, send: Send) -> None:
    """Run one attempt of a task, from its beginning or after a deferral, as Airflow's task runner does."""
    arguments = dict(job["arguments"])
    for name in ("start", "end"):
        if name in arguments:
            arguments[name] = datetime.fromisoformat(arguments[name])
    arguments = {name: _time(value) for name, value in arguments.items()}
    operator = _OPERATORS[job["operator"]](task_id="soak", **arguments)
    context = {
        "ti": SimpleNamespace(
            map_index=-1,
            dag_id="soak",
            task_id="soak",
            run_id=job["run"],
            max_tries=0,
            get_first_reschedule_date=lambda _: _moment(job.get("first_start")),
        ),
        "dag_run": SimpleNamespace(run_after=_moment(job["run_after"])),
        "outlet_events": {},
    }
    if job.get("state") is not None:
        context["task_state_store"] = TaskStateStore(job["state"], send)
    try:
        if "event" in job:
            result = operator.resume_execution(
                job["method"], {**job["kwargs"], "event": job["event"]}, context
            )
        else:
            result = operator.execute(context)
    except TaskDeferred as deferred:
        path, text = stored_trigger(deferred.trigger)
        kwargs = stored(deferred.kwargs or {})
        send({"state": "deferred", "trigger": [path, text], "method": deferred.method_name, "kwargs": kwargs})
    except AirflowRescheduleException as later:
        send({"state": "rescheduled", "at": later.reschedule_date.isoformat()})
    except AirflowSkipException as skip:
        send({"state": "skipped", "why": str(skip)})
    except Exception as error:
        traceback.print_exc()
        decision = operator.retry_policy.evaluate(error, job["try_number"], 100, None)
        delay = decision.retry_delay.total_seconds() if decision.retry_delay else None
        is_final = isinstance(error, (AirflowFailException, AirflowSensorTimeout))
        send(
            {
                "state": "failed",
                "error": type(error).__name__,
                "why": str(error)[:500],
                "is_final": is_final or decision.action.name == "FAIL",
                "delay": delay,
            }
        )
    else:
        send({"state": "success", "result": stored(result)})


def _time(value: Any) -> Any:
    """Return a timedelta for ``{"seconds": ...}``, any other value unchanged."""
    return timedelta(**value) if isinstance(value, dict) and set(value) == {"seconds"} else value


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def run_trigger(job: Job, send: Send) -> None:
    """Run the trigger of a deferred task until it fires, as the triggerer does."""
    trigger = restored_trigger(*job["trigger"])

    async def first_event() -> Any:
        async for event in trigger.run():
            return event.payload
        return None

    payload = asyncio.run(first_event())
    send({"state": "fired", "event": stored(payload) if isinstance(payload, dict) else None})


class AssetStateStore:
    """The state store of an asset, which may fail, also after it has done what it was asked to do."""

    def __init__(
        self, name: str, values: dict[str, Any], send: Send, draw: random.Random, share: float
    ) -> None:
        self._name, self._values, self._send, self._draw, self._share = name, values, send, draw, share

    def _fail(self) -> None:
        if self._draw.random() < self._share:
            raise OSError("the API server of Airflow does not respond, says the soak")

    async def aget(self, key: str, default: Any = None) -> Any:
        """The value, a copy."""
        await asyncio.sleep(0.2)
        self._fail()
        return copy.deepcopy(self._values[key]) if key in self._values else default

    async def aset(self, key: str, value: Any) -> None:
        """Keep a value."""
        await asyncio.sleep(0.2)
        self._fail()
        self._values[key] = stored(value)
        self._send({"trigger": self._name, "set": key, "value": self._values[key]})
        self._fail()


def follow(job: Job, send: Send) -> None:
    """Run event triggers as Airflow's triggerer does: with shared polls, events stored once a second."""
    asyncio.run(_triggerer(job, send))


async def _triggerer(job: Job, send: Send) -> None:
    manager = SharedStreamManager()
    fired: list[tuple[str, Any]] = []

    async def run(number: int, name: str, arguments: dict[str, Any]) -> None:
        trigger = SupermetricsErrorLogEventTrigger(**arguments)
        trigger = restored_trigger(*stored_trigger(trigger))
        draw = random.Random(f"{job['seed']}/{name}")
        trigger.asset_state_store = AssetStateStore(
            name, job["stores"].get(name, {}), send, draw, job["store_faults"]
        )
        key = trigger.shared_stream_key()
        stream = manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        async for event in trigger.filter_shared_stream(stream):
            fired.append((name, stored(event.payload)))

    async def store_events() -> None:
        while True:
            await asyncio.sleep(1.0)
            while fired:
                name, payload = fired[0]
                send({"trigger": name, "event": payload})
                del fired[0]

    tasks: list[asyncio.Task[Any]] = [
        asyncio.create_task(run(i, name, kwargs)) for i, (name, kwargs) in enumerate(job["triggers"])
    ]
    tasks.append(asyncio.create_task(store_events()))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    ends: asyncio.Task[Any] = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([*tasks, ends], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await manager.stop_all()
    for name, payload in fired:
        send({"trigger": name, "event": payload})
    for task in done - {ends}:
        task.result()
        raise AssertionError("a trigger ended, which no error may cause")
    send({"state": "stopped"})


_JOBS: dict[str, Callable[[Job, Send], None]] = {"task": run_task, "trigger": run_trigger, "follow": follow}
