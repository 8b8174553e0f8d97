"""`make demo-ui`: leave Airflow and a simulator with live logs running, everything set up."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, TypeVar

import requests

from dev.demo.airflow import AIRFLOW, EXAMPLE_DAGS, KEY, ROOT, TEAM_ID, connection, environment
from dev.demo.processes import Failed, own_folder, running

_PREFERRED_PORT: Final = 8080
_SECONDS: Final = 180.0
# Not `airflow standalone`, whose log servers would listen on all interfaces.
_SERVICES: Final = (
    ("api-server",),
    ("dag-processor",),
    ("scheduler", "--skip-serve-logs"),
    ("triggerer", "--skip-serve-logs"),
)

_Found = TypeVar("_Found")


def serve() -> int:
    """Start everything, set it up, and stay until a signal comes."""
    with own_folder(ROOT / ".demo" / "ui") as folder, ExitStack() as stack:
        logs, exported = folder / "logs", folder / "export"
        logs.mkdir()
        print(f"Starting Airflow, which takes about a minute. Its logs: {logs.relative_to(ROOT)}/")
        port, simulator_port = _free_port(_PREFERRED_PORT), _free_port()
        variables = _environment(folder, port)
        processes: dict[str, subprocess.Popen[str]] = {}

        def start(name: str, *command: str | Path) -> subprocess.Popen[str]:
            log = stack.enter_context((logs / f"{name}.log").open("w"))
            processes[name] = stack.enter_context(running(command, variables, log))
            return processes[name]

        def check() -> None:
            for name, process in processes.items():
                if process.poll() not in (None, 0):
                    raise Failed(f"{name} has ended by itself; see {logs / name}.log")

        start(
            "simulator", sys.executable, "-m", "dev.simulator", "--live", *_simulator_options(simulator_port)
        )
        start("db-migrate", AIRFLOW, "db", "migrate").wait()
        for service in _SERVICES:
            start(service[0], AIRFLOW, *service)
        site = _Site(f"http://127.0.0.1:{port}", check)
        site.log_in()
        site.set_up(connection(f"http://127.0.0.1:{simulator_port}"), exported)
        for dag_id in sorted(file.stem for file in EXAMPLE_DAGS.glob("*.py")):
            print(f"The first run of {dag_id}: {site.first_run(dag_id)}")
        _tell(site.url, exported)
        while True:
            check()
            sleep(1)


class _Site:
    """Airflow's REST API at `url`. `check` raises when there is no sense in waiting any longer."""

    def __init__(self, url: str, check: Callable[[], None]) -> None:
        self.url = url
        self._check = check
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, no .netrc

    def log_in(self) -> None:
        """Wait until Airflow answers, and take a token, which everyone gets here."""
        token = self._wait("an answer", lambda: self._get("/auth/token"))
        self._session.headers["Authorization"] = f"Bearer {token['access_token']}"

    def set_up(self, connection: Mapping[str, Any], exported: Path) -> None:
        """Store the Connection and the Variable, where they can be seen and changed."""
        self._send("POST", "/api/v2/connections", {"connection_id": "supermetrics_default", **connection})
        self._send(
            "POST", "/api/v2/variables", {"key": "supermetrics_log_path", "value": f"file://{exported}"}
        )

    def first_run(self, dag_id: str) -> str:
        """Unpause a DAG; Airflow then runs it for the hour that ended last. Return how that ended."""
        dag = f"/api/v2/dags/{dag_id}"
        self._wait(dag_id, lambda: self._get(dag))
        self._send("PATCH", dag, {"is_paused": False})

        def ended() -> str | None:
            runs = (self._get(f"{dag}/dagRuns") or {"dag_runs": []})["dag_runs"]
            return next((run["state"] for run in runs if run["state"] in ("success", "failed")), None)

        return self._wait(f"the end of the first run of {dag_id}", ended)

    def _get(self, path: str) -> dict[str, Any] | None:
        with suppress(requests.ConnectionError):
            response = self._session.get(self.url + path, timeout=30)
            if response.ok:
                return dict(response.json())
        return None

    def _send(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        response = self._session.request(method, self.url + path, json=body, timeout=60)
        if not response.ok:
            raise Failed(f"{method} {path}: {response.status_code} {response.text[:500]}")

    def _wait(self, what: str, look: Callable[[], _Found | None]) -> _Found:
        deadline = monotonic() + _SECONDS
        while monotonic() < deadline:
            if found := look():
                return found
            self._check()
            sleep(0.5)
        raise Failed(f"Waited {_SECONDS:.0f} s for {what}, in vain. Airflow's logs may say why.")


def _environment(folder: Path, port: int) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    return environment(
        folder,
        AIRFLOW__API__HOST="127.0.0.1",
        AIRFLOW__API__PORT=str(port),
        AIRFLOW__API__BASE_URL=url,
        AIRFLOW__API__WORKERS="1",
        AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"{url}/execution/",
        AIRFLOW__CORE__PARALLELISM="4",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
        AIRFLOW__CORE__TEST_CONNECTION="Enabled",
    )


def _simulator_options(port: int) -> tuple[str, ...]:
    return ("--port", str(port), "--key", KEY, "--team-id", str(TEAM_ID))


def _free_port(preferred: int = 0) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise Failed("There is no free port on 127.0.0.1.")


def _tell(url: str, exported: Path) -> None:
    print(
        f"""
Airflow is up, for everyone on this machine, without login: {url}

  {url}/dags
      The two example DAGs run every hour from now on; the simulated API goes on logging.
  {url}/connections
      supermetrics_default: edit it to see its form and to test it.
  {exported.relative_to(ROOT)}/
      What they export.

Ctrl-C ends it."""
    )
