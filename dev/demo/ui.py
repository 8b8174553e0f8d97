"""`make demo-ui`: set up Airflow and a simulator with live logs, and leave them running."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from time import sleep
from typing import Any, Final

from dev.demo.airflow import AIRFLOW, EXAMPLE_DAGS, KEY, ROOT, TEAM_ID, connection, environment, variables
from dev.demo.processes import own_folder
from dev.demo.services import COMMANDS, Processes, Site, api_settings, free_port

_PREFERRED_PORT: Final = 8080
# As far back as the simulator's logs reach.
_HOURS: Final = 48


def serve() -> int:
    """Start and set up everything, and run until a signal is received."""
    with own_folder(ROOT / ".demo" / "ui") as folder:
        logs, exported = folder / "logs", folder / "export"
        print(f"Starting Airflow, which takes about a minute. Its logs: {logs.relative_to(ROOT)}/")
        port, simulator_port = free_port(_PREFERRED_PORT), free_port()
        with Processes(logs, _environment(folder, port, exported)) as processes:
            processes.start(
                "simulator",
                sys.executable,
                "-m",
                "dev.simulator",
                "--live",
                *_simulator_options(simulator_port),
            )
            processes.run("db-migrate", AIRFLOW, "db", "migrate")
            for name, command in COMMANDS.items():
                processes.start(name, *command)
            site = Site(f"http://127.0.0.1:{port}", processes.check)
            site.log_in()
            to_simulator = connection(f"http://127.0.0.1:{simulator_port}")
            _set_up(site, to_simulator, exported)
            print(f"Exporting the {_HOURS - 1} hours before the last one, so that the health page is filled")
            filling = {**processes.environment, **variables(to_simulator, exported)}
            fill = (sys.executable, "-m", "dev.demo.fill", f"file://{exported}", str(_HOURS))
            with Processes(logs, filling) as once:
                once.run("fill", *fill)
            for dag_id in sorted(file.stem for file in EXAMPLE_DAGS.glob("*.py")):
                if dag_id in _WITHOUT_FIRST_RUN:
                    site.unpause(dag_id)
                else:
                    print(f"The first run of {dag_id}: {_first_run(site, dag_id)}")
            _print_addresses(site.url, exported)
            while True:
                processes.check()
                sleep(1)


def _set_up(site: Site, connection: Mapping[str, Any], exported: Path) -> None:
    """Store the Connection, the Variable and the pool in Airflow, where users can see and change them."""
    site.send("POST", "/api/v2/connections", {"connection_id": "supermetrics_default", **connection})
    site.send("POST", "/api/v2/variables", {"key": "supermetrics_log_path", "value": f"file://{exported}"})
    # Without the pool, the tasks of supermetrics_team_export would stay queued.
    site.send("POST", "/api/v2/pools", {"name": "supermetrics_api", "slots": 4, "include_deferred": True})


# These DAGs run when an error is logged, not on a schedule.
_WITHOUT_FIRST_RUN = ("supermetrics_error_events",)


def _first_run(site: Site, dag_id: str) -> str:
    """Unpause a DAG, which Airflow then runs for the last full hour, and return the state of that run."""
    site.unpause(dag_id)

    def ended() -> str | None:
        runs = (site.get(f"/api/v2/dags/{dag_id}/dagRuns") or {"dag_runs": []})["dag_runs"]
        return next((run["state"] for run in runs if run["state"] in ("success", "failed")), None)

    return site.wait(f"the end of the first run of {dag_id}", ended)


def _environment(folder: Path, port: int, exported: Path) -> dict[str, str]:
    return environment(
        folder,
        AIRFLOW__CORE__PARALLELISM="4",
        AIRFLOW__CORE__TEST_CONNECTION="Enabled",
        AIRFLOW__SUPERMETRICS__HEALTH_PATHS=f"file://{exported}",
        **api_settings(port),
    )


def _simulator_options(port: int) -> tuple[str, ...]:
    return ("--port", str(port), "--key", KEY, "--team-id", str(TEAM_ID))


def _print_addresses(url: str, exported: Path) -> None:
    print(
        f"""
Airflow is up, for everyone on this machine, without login: {url}

  {url}/dags
      The example DAGs run every hour, or when errors are logged; the simulated API keeps logging.
  {url}/plugin/supermetrics
      The health of the connectors, "Supermetrics" in the navigation; an hour is missing on purpose.
  {url}/connections
      Edit supermetrics_default to see its form and to test it.
  {exported.relative_to(ROOT)}/
      The files that the DAGs export.

Press Ctrl-C to stop."""
    )
