"""Run Airflow's services as processes, and call Airflow's REST API."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, TypeVar

import psutil
import requests

from dev.demo.airflow import AIRFLOW
from dev.demo.processes import Failed, running

# Not `airflow standalone`, whose log servers would listen on all interfaces.
COMMANDS: Final = {
    "api-server": (AIRFLOW, "api-server"),
    "dag-processor": (AIRFLOW, "dag-processor"),
    "scheduler": (AIRFLOW, "scheduler", "--skip-serve-logs"),
    "triggerer": (AIRFLOW, "triggerer", "--skip-serve-logs"),
}
SECONDS: Final = 180.0
_SECONDS_BETWEEN_POLLS: Final = 0.25

Found = TypeVar("Found")


def free_port(preferred: int = 0) -> int:
    """Return a free port on the loopback interface, the preferred one if possible."""
    for port in (preferred, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise Failed("There is no free port on 127.0.0.1.")


def api_settings(port: int) -> dict[str, str]:
    """Return settings for an API server that all users of this machine, and nobody else, can use."""
    url = f"http://127.0.0.1:{port}"
    return {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    }


def wait(
    what: str, find: Callable[[], Found | None], check: Callable[[], None], seconds: float = SECONDS
) -> Found:
    """Poll until `find` returns something. `check` raises when waiting longer is useless."""
    deadline = monotonic() + seconds
    while True:
        if found := find():
            return found
        check()
        if monotonic() > deadline:
            raise Failed(
                f"Waited {seconds:.0f} s for {what} without success. Airflow's logs may show the reason."
            )
        sleep(_SECONDS_BETWEEN_POLLS)


class Processes:
    """Named processes, each in its own session, stopped at the end of the block, the last one first.

    :param logs: the folder for their output.
    :param environment: their complete environment variables.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self.logs = logs
        self.environment = environment
        self._running: dict[str, tuple[subprocess.Popen[str], ExitStack]] = {}

    def __enter__(self) -> Processes:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with ExitStack() as all_of_them:
            for _, stack in self._running.values():
                all_of_them.push(stack)
            self._running.clear()

    def start(self, name: str, *command: str | Path) -> subprocess.Popen[str]:
        """Start a process; its name can be reused when it has ended."""
        assert name not in self._running, f"{name} is running"
        with ExitStack() as stack:
            log = stack.enter_context((self.logs / f"{name}.log").open("a", encoding="utf-8"))
            process = stack.enter_context(running(command, self.environment, log))
            self._running[name] = process, stack.pop_all()
        return process

    def run(self, name: str, *command: str | Path) -> None:
        """Run a process to its end, and raise if it fails."""
        code = self.start(name, *command).wait()
        self._running.pop(name)[1].close()
        if code != 0:
            raise Failed(f"{name} has failed; see {self.logs / name}.log")

    def kill(self, name: str) -> None:
        """Kill a process and all processes that it started, without a chance to clean up."""
        process, stack = self._running.pop(name)
        with stack, suppress(psutil.NoSuchProcess):
            first = psutil.Process(process.pid)
            first.suspend()  # so that it starts no other process meanwhile
            for each in (*first.children(recursive=True), first):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            process.wait()

    def check(self) -> None:
        """Raise if a process has ended on its own."""
        for name, (process, _) in self._running.items():
            if process.poll() is not None:
                raise Failed(f"{name} has ended on its own; see {self.logs / name}.log")


class Site:
    """Airflow's REST API at `url`. `check` raises when waiting longer is useless."""

    def __init__(self, url: str, check: Callable[[], None]) -> None:
        self.url = url
        self._check = check
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, no .netrc

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def log_in(self) -> None:
        """Wait until Airflow responds, and get a token, which needs no password here."""
        token = self.wait("a response", lambda: self.get("/auth/token"))
        self._session.headers["Authorization"] = f"Bearer {token['access_token']}"

    def unpause(self, dag_id: str) -> None:
        """Wait until Airflow has parsed a DAG, and unpause it."""
        dag = f"/api/v2/dags/{dag_id}"
        self.wait(dag_id, lambda: self.get(dag))
        self.send("PATCH", dag, {"is_paused": False})

    def get(self, path: str) -> Any | None:
        """Return the JSON of the response, or None if there is no successful one."""
        with suppress(requests.ConnectionError):
            response = self._session.get(self.url + path, timeout=30)
            if response.ok:
                return response.json()
        return None

    def send(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        """Send a change to Airflow, and raise if it is refused."""
        response = self._session.request(method, self.url + path, json=body, timeout=60)
        if not response.ok:
            raise Failed(f"{method} {path}: {response.status_code} {response.text[:500]}")

    def wait(self, what: str, find: Callable[[], Found | None]) -> Found:
        """Poll until `find` returns something."""
        return wait(what, find, self._check)
