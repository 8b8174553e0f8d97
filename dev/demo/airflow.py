"""Airflow as the demo runs it: whatever the user has set up elsewhere, in a folder of its own."""

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
# The one beside this interpreter, which has the package installed.
AIRFLOW: Final = Path(sys.executable).with_name("airflow")

_UNWANTED: Final = ("AIRFLOW", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Environment variables for an Airflow that keeps to `folder` and knows the example DAGs.

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
        # Nobody who watches wants to wait the usual five minutes.
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "2",
        **settings,
    }


def connection(url: str, key: str = KEY, team_id: int = TEAM_ID) -> dict[str, Any]:
    """The Connection to a simulator, in Airflow's JSON form."""
    return {
        "conn_type": "supermetrics",
        "host": url,
        # Airflow 3.3.2 refuses to test a stored Connection that has no port; 0 means none to us.
        "port": 0,
        "password": key,
        # Fields that an extra lacks are not shown when the Connection is edited.
        "extra": json.dumps({"team_id": str(team_id), "timeout": None}),
    }


def variables(connection: Mapping[str, Any], exported: Path) -> dict[str, str]:
    """What the example DAGs need to know, as environment variables."""
    return {
        "AIRFLOW_CONN_SUPERMETRICS_DEFAULT": json.dumps(connection),
        "AIRFLOW_VAR_SUPERMETRICS_LOG_PATH": f"file://{exported}",
    }
