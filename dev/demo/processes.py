"""Processes that are stopped at the end of a block, with all processes that they started."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Final

import psutil

_SECONDS_TO_END: Final = 10.0


class Failed(Exception):
    """The demo cannot continue; the message is for the person who runs it."""


@contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder, and lock it against a second demo."""
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed("This demo is running already, in another terminal.") from None
        shutil.rmtree(folder)
        folder.mkdir()
        yield folder


@contextmanager
def running(
    command: Sequence[str | Path], environment: Mapping[str, str], output: int | IO[str]
) -> Iterator[subprocess.Popen[str]]:
    """Run a command in its own session."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    # Airflow's tasks have their own process groups, so only the session finds all processes.
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _session(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = monotonic() + _SECONDS_TO_END
        while monotonic() < deadline:
            if not _session(process.pid):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_SECONDS_TO_END)  # reaps the process, which has just ended
                return
            sleep(0.1)


def _session(session: int) -> list[int]:
    """Return the running processes of a session, which keeps its number as long as it has processes."""
    members = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            # In a container, zombies may never be reaped.
            if os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                members.append(pid)
    return members
