"""The processes of a soak's workers: started with Airflow loaded, watched, and killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from threading import Lock
from typing import Any

from tests.soak import worker

_PRELOADED = [
    "tests.soak.worker",
    "airflow_provider_supermetrics.hooks.supermetrics",
    "airflow_provider_supermetrics._export.job",
    "airflow_provider_supermetrics._context",
    "airflow_provider_supermetrics._lineage",
    "airflow.providers.amazon.aws.fs.s3",
    "airflow.providers.standard.triggers.temporal",
    "pyarrow.parquet",
    "s3fs",
]
#: A process that takes longer is stuck, whatever the faults.
_MOST_SECONDS = 300.0

# It forks each worker from a process without threads.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_PRELOADED)
# multiprocessing's list of processes is not made for several threads.
_lock = Lock()


@dataclass
class Ended:
    """A process that has ended. `state` is that of its last message; None if it was killed before that."""

    state: str | None
    last: dict[str, Any]
    output: str
    seconds: float
    exit_code: int | None


class StuckError(Exception):
    """A process that did not end."""


class Worker:
    """A running process.

    :param job: see `tests.soak.worker`.
    :param receive: called with each message.
    """

    def __init__(self, job: worker.Job, receive: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        self._receive = receive
        self._began = time.monotonic()
        messages, to_send = _context.Pipe(duplex=False)
        output, to_print = _context.Pipe(duplex=False)
        self._messages: Connection = messages
        self._output: Connection = output
        self._process = _context.Process(target=worker.main, args=(job, to_send, to_print))
        with _lock:
            self._process.start()
        to_send.close()
        to_print.close()

    def signal(self, number: int) -> bool:
        """Send a signal; return False if the process has ended."""
        with _lock:
            if self._process.pid is None or not self._process.is_alive():
                return False
            os.kill(self._process.pid, number)
            return True

    def kill(self) -> bool:
        """Kill it, as a machine that fails does."""
        return self.signal(signal.SIGKILL)

    def wait(
        self, signals: Mapping[int, float] | None = None, until: Callable[[], bool] | None = None
    ) -> Ended:
        """Wait for its end.

        :param signals: what to send it, and after how many seconds.
        :param until: SIGTERM is sent when this is true.
        """
        due = sorted((seconds, number) for number, seconds in (signals or {}).items())
        chunks: list[bytes] = []
        last: dict[str, Any] = {}
        open_ends: list[Any] = [self._messages, self._output]
        while open_ends:
            elapsed = time.monotonic() - self._began
            if elapsed > _MOST_SECONDS:
                self.kill()
                raise StuckError(b"".join(chunks).decode(errors="replace"))
            while due and due[0][0] <= elapsed:
                self.signal(due.pop(0)[1])
            if until is not None and until():
                self.signal(signal.SIGTERM)
                until = None
            pause = min(0.5, due[0][0] - elapsed) if due else 0.5
            for end in wait(open_ends, timeout=max(0.0, pause)):
                if end is self._output:
                    if chunk := os.read(self._output.fileno(), 1 << 16):
                        chunks.append(chunk)
                    else:
                        open_ends.remove(end)
                    continue
                try:
                    message = json.loads(self._messages.recv_bytes())
                except (EOFError, OSError):
                    open_ends.remove(end)
                    continue
                last = message if "state" in message else last
                self._receive(message)
        wait([self._process.sentinel])
        with _lock:
            self._process.join()
            code = self._process.exitcode
            self._process.close()
        self._messages.close()
        self._output.close()
        text = b"".join(chunks).decode(errors="replace")
        return Ended(last.get("state"), last, text, time.monotonic() - self._began, code)


@dataclass
class Trap:
    """Kills a process at the n-th step that others see of it, such as a request."""

    left: int
    victim: Worker | None = None
    fired: bool = field(default=False)

    def step(self) -> None:
        """Count one step."""
        self.left -= 1
        if self.left < 0 and not self.fired and self.victim is not None:
            self.fired = True
            self.victim.kill()
