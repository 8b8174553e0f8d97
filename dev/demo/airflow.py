"""The environment of the demo's Airflow, in its own folder, independent of any other Airflow of the user."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
EXAMPLE_DAGS: Final = ROOT / "example_dags"
KEY: Final = "demo-key"
TEAM_ID: Final = 936506
# The command next to this interpreter, in whose environment the package is installed.
AIRFLOW: Final = Path(sys.executable).with_name("airflow")

_UNWANTED: Final = ("AIRFLOW", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Return environment variables for an Airflow that uses only `folder` and has the example DAGs.

    :param settings: further variables.
    """
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(_UNWANTED)},
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "TMPDIR": str(temporary),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLE_DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # The default of five minutes is too long for a demo.
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "2",
        **settings,
    }


def connection(url: str, key: str = KEY, team_id: int = TEAM_ID) -> dict[str, Any]:
    """Return the Connection to a simulator in Airflow's JSON format."""
    return {
        "conn_type": "supermetrics",
        "host": url,
        # Airflow 3.3.2 refuses to test a stored Connection without a port; this package ignores port 0.
        "port": 0,
        "password": key,
        # The form shows only the fields that the extra has.
        "extra": json.dumps({"team_id": str(team_id), "timeout": None}),
    }


def variables(connection: Mapping[str, Any], exported: Path) -> dict[str, str]:
    """Return the Connection and the Variable of the example DAGs as environment variables."""
    return {
        "AIRFLOW_CONN_SUPERMETRICS_DEFAULT": json.dumps(connection),
        "AIRFLOW_VAR_SUPERMETRICS_LOG_PATH": f"file://{exported}",
    }
