"""What pip makes of the package: with the constraints of each release of Airflow, and without any."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from dev.demo.airflow import ROOT
from dev.matrix import PYTHONS

pytestmark = pytest.mark.install

EXTRAS = ("", "[s3]", "[gcs]", "[azure]", "[parquet]", "[zstd]")
# Without constraints pip finds nothing for 3.0.6 in ten minutes; what it finds for 3.2.2 does not start.
UNCONSTRAINED = ("3.1.8", "3.2.2", "3.3.2")


def resolve(
    folder: Path, release: str, package: str, *options: str | Path, timeout: float = 900
) -> dict[str, str]:
    """Let the newest pip resolve the package for an environment of a release, and return version by name."""
    report = folder / "report.json"
    python = ROOT / ".venv" / f"release-{release}" / "bin" / "python"
    pip = [ROOT / ".venv/uv/bin/uv", "tool", "run", "--quiet", "pip", "--python", python]
    install = ["install", "--quiet", "--dry-run", "--ignore-installed", "--report", report, *options]
    done = subprocess.run(
        [*pip, *install, f"apache-airflow=={release}", package],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())["install"]
    return {item["metadata"]["name"]: item["metadata"]["version"] for item in found}


@pytest.mark.parametrize("release", PYTHONS)
def test_with_constraints(tmp_path: Path, release: str) -> None:
    """All extras together, so each one alone, too."""
    constraints = ROOT / "constraints" / "releases" / f"airflow-{release}.txt"
    extras = ["s3", "gcs", "parquet", "zstd"]
    # A wheel of 3.0.6's azure-kusto-data that was added later needs a newer msal. uv uses the first wheel.
    if release != "3.0.6":
        extras.append("azure")
    resolved = resolve(tmp_path, release, f".[{','.join(extras)}]", "--constraint", constraints)
    assert resolved["apache-airflow"] == release
    assert {"airflow-provider-supermetrics", "gcsfs", "pyarrow", "s3fs", "zstandard"} <= set(resolved)


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("release", UNCONSTRAINED)
def test_without_constraints(tmp_path: Path, release: str, extra: str) -> None:
    """Each extra alone, in minutes: pip tries versions one by one where bounds are too wide."""
    resolved = resolve(tmp_path, release, f".{extra}", timeout=180)
    assert resolved["apache-airflow"] == release
    assert "airflow-provider-supermetrics" in resolved
