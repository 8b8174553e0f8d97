"""The package as Airflow and a package index see it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from email.parser import HeaderParser
from pathlib import Path

import pytest

import airflow_provider_supermetrics
from airflow_provider_supermetrics.provider_info import get_provider_info
from dev.demo.airflow import AIRFLOW, connection, environment, variables
from dev.simulator import Simulator
from tests.conftest import KEY, TEAM

PACKAGE = Path(airflow_provider_supermetrics.__file__).parent


def airflow(home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run an Airflow command in a home of its own."""
    return subprocess.run(
        [AIRFLOW, *arguments], env=environment(home, **settings), capture_output=True, text=True, timeout=300
    )


@pytest.mark.airflow_2
def test_airflow_discovers_the_provider(tmp_path: Path) -> None:
    """`airflow providers get` shows it, and finds nothing to complain about."""
    done = airflow(
        tmp_path, "providers", "get", "airflow-provider-supermetrics", "--full", "--output", "json"
    )
    assert done.returncode == 0, done.stderr
    [info] = json.loads(done.stdout[done.stdout.index("[{") :])
    assert info["package-name"] == "airflow-provider-supermetrics"
    assert info["versions"] == [airflow_provider_supermetrics.__version__]
    assert "supermetrics" not in "".join(line for line in done.stderr.splitlines() if "WARN" in line.upper())


@pytest.mark.airflow_2
def test_airflow_lists_the_connection_type(tmp_path: Path) -> None:
    """`airflow providers hooks` lists the hook: it can be imported and has all that Airflow needs."""
    done = airflow(tmp_path, "providers", "hooks", "--output", "json")
    hooks = json.loads(done.stdout[done.stdout.index("[{") :])
    [hook] = [hook for hook in hooks if hook["connection_type"] == "supermetrics"]
    assert hook["class"] == "airflow_provider_supermetrics.hooks.supermetrics.SupermetricsHook"
    assert hook["conn_id_attribute_name"] == "supermetrics_conn_id"
    assert hook["package_name"] == "airflow-provider-supermetrics"


@pytest.mark.airflow_2
def test_airflow_tests_a_connection(tmp_path: Path) -> None:
    """`airflow connections test` tests one of our type, and says why it fails."""
    settings = {"AIRFLOW__CORE__TEST_CONNECTION": "Enabled", "COLUMNS": "300"}
    with Simulator(connectors=[], tokens={KEY: {TEAM}}) as sim:
        for name, key in (("GOOD", KEY), ("BAD", "another-key")):
            settings[f"AIRFLOW_CONN_{name}"] = json.dumps(
                {"conn_type": "supermetrics", "host": sim.url, "password": key, "extra": {"team_id": TEAM}}
            )
        good = airflow(tmp_path, "connections", "test", "good", **settings)
        bad = airflow(tmp_path, "connections", "test", "bad", **settings)
    assert "Connection success!" in good.stdout, good.stdout + good.stderr
    assert "Connection failed!" in bad.stdout
    assert "401 UNAUTHORIZED" in bad.stdout
    assert "in the password of this Connection" in bad.stdout
    assert len(sim.requests) == 2


def test_the_description_links_to_supermetrics() -> None:
    """Airflow removes the markup of the link, and takes what is left of it up to the next space."""
    shown = re.sub("[`_<>]", "", get_provider_info()["description"].strip(" \n."))
    assert re.findall(r"https?://\S+", shown) == ["https://supermetrics.com/"]


def test_the_wheel(repository: Path, tmp_path: Path) -> None:
    """The wheel has every module and template, the types marker, the licence, entry points; nothing else."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=repository,
        check=True,
        capture_output=True,
    )
    [path] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        [info] = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        metadata = HeaderParser().parsestr(wheel.read(f"{info}/METADATA").decode())
        entry_points = wheel.read(f"{info}/entry_points.txt").decode()
    sources = {
        str(path.relative_to(PACKAGE.parent))
        for kind in ("*.py", "*.html.j2")
        for path in PACKAGE.rglob(kind)
    }
    assert set(names) == sources | {
        "airflow_provider_supermetrics/py.typed",
        f"{info}/METADATA",
        f"{info}/RECORD",
        f"{info}/WHEEL",
        f"{info}/entry_points.txt",
        f"{info}/licenses/LICENSE",
    }
    assert "provider_info = airflow_provider_supermetrics.provider_info:get_provider_info" in entry_points
    assert "supermetrics = airflow_provider_supermetrics._ui.plugin:SupermetricsPlugin" in entry_points
    assert metadata["Name"] == "airflow-provider-supermetrics"
    assert metadata["Version"] == airflow_provider_supermetrics.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("Project-URL") == ["Documentation, https://docs.supermetrics.com/"]
    assert "make demo" in metadata.get_payload()


HOURLY_WITHOUT_WINDOW = """
from datetime import datetime, timezone
from airflow import DAG
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator

with DAG("hourly", schedule="@hourly", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False):
    SupermetricsExportLogsOperator(
        task_id="export", connector_identifier="T3S70", path="file://{folder}", retries=5
    )
"""


def test_hourly_without_a_window_says_what_to_write(
    simulate: Callable[..., Simulator], tmp_path: Path
) -> None:
    """Airflow 3's '@hourly' has intervals of no length: the task fails, sends nothing, and explains."""
    sim = simulate()
    dags = tmp_path / "dags"
    dags.mkdir()
    settings = variables(connection(sim.url, KEY, TEAM), tmp_path) | {"AIRFLOW__CORE__DAGS_FOLDER": str(dags)}
    home = tmp_path / "home"
    assert airflow(home, "db", "migrate", **settings).returncode == 0

    (dags / "hourly.py").write_text(HOURLY_WITHOUT_WINDOW.format(folder=tmp_path / "export"))
    done = airflow(home, "dags", "test", "hourly", "2026-01-01T01:00:00+00:00", **settings)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "the window has no length, so it contains nothing" in said
    assert "Write window=timedelta(hours=1) in the task" in said
    assert sim.requests == []
    assert not (tmp_path / "export").exists()
    assert KEY not in said
