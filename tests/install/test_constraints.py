"""The package and all its extras can be installed with the constraints of each release of Airflow."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = pytest.mark.install

REPOSITORY = Path(__file__).parents[2]
RELEASES = sorted((REPOSITORY / "constraints" / "releases").glob("airflow-*.txt"))
# A Python that the release runs on and its constraints are for.
PYTHON = {"airflow-3.2.2": "3.14"}
OTHERS = "3.12"


@pytest.fixture(scope="module")
def resolutions() -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """Resolve all releases at the same time, because they mostly wait for the package index."""

    def resolve(constraints: Path) -> subprocess.CompletedProcess[str]:
        command = [
            REPOSITORY / ".venv/uv/bin/uv",
            "pip",
            "compile",
            "--quiet",
            "--no-config",
            "--no-header",
            "--no-annotate",
            "--python-version",
            PYTHON.get(constraints.stem, OTHERS),
            "--all-extras",
            "--constraint",
            constraints,
            "pyproject.toml",
            "-",
        ]
        airflow = constraints.stem.replace("airflow-", "apache-airflow==")
        return subprocess.run(
            command, cwd=REPOSITORY, input=airflow, capture_output=True, text=True, timeout=900
        )

    with ThreadPoolExecutor(len(RELEASES)) as pool:
        yield {constraints.stem: pool.submit(resolve, constraints) for constraints in RELEASES}


@pytest.mark.parametrize("release", [constraints.stem for constraints in RELEASES])
def test_every_extra_resolves(
    resolutions: dict[str, Future[subprocess.CompletedProcess[str]]], release: str
) -> None:
    """All of them together, so each one alone, too; and what is pinned stays at its version."""
    done = resolutions[release].result()
    assert done.returncode == 0, done.stderr
    resolved = versions(done.stdout)
    pinned = versions((REPOSITORY / f"constraints/releases/{release}.txt").read_text())
    assert f"airflow-{resolved['apache-airflow']}" == release
    assert {"adlfs", "gcsfs", "pendulum", "pyarrow", "s3fs", "zstandard"} <= set(resolved)
    both = pinned.keys() & resolved.keys()
    assert {name: resolved[name] for name in both} == {name: pinned[name] for name in both}


def test_the_constraints_are_names_and_versions_only() -> None:
    """No URL, no path, no comment; and every release that is supported is there."""
    assert len(RELEASES) == 8
    for constraints in RELEASES:
        for line in constraints.read_text().splitlines():
            assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!]+", line), line


def versions(requirements: str) -> dict[str, str]:
    """Version by normalized name."""
    pairs = (line.split(" ")[0].split("==") for line in requirements.splitlines() if "==" in line)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}
