"""The package and all its extras can be installed with the constraints of each release of Airflow."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from dev.matrix import PYTHONS

pytestmark = pytest.mark.install

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def resolutions() -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """Resolve for all releases at the same time, because this mostly waits for the package index."""

    def resolve(release: str) -> subprocess.CompletedProcess[str]:
        uv = [REPOSITORY / ".venv/uv/bin/uv", "pip", "compile", "--quiet", "--no-config"]
        options = ["--no-header", "--no-annotate", "--python-version", PYTHONS[release], "--all-extras"]
        return subprocess.run(
            [*uv, *options, "--constraint", constraints(release), "pyproject.toml", "-"],
            cwd=REPOSITORY,
            input=f"apache-airflow=={release}",
            capture_output=True,
            text=True,
            timeout=900,
        )

    with ThreadPoolExecutor(len(PYTHONS)) as pool:
        yield {release: pool.submit(resolve, release) for release in PYTHONS}


def constraints(release: str) -> Path:
    """Return the file with the constraints of a release."""
    return REPOSITORY / "constraints" / "releases" / f"airflow-{release}.txt"


@pytest.mark.parametrize("release", PYTHONS)
def test_every_extra_resolves(
    resolutions: dict[str, Future[subprocess.CompletedProcess[str]]], release: str
) -> None:
    """All of them together, so each one alone, too; and what is pinned stays at its version."""
    done = resolutions[release].result()
    assert done.returncode == 0, done.stderr
    resolved = versions(done.stdout)
    pinned = versions(constraints(release).read_text())
    assert resolved["apache-airflow"] == release
    assert {"adlfs", "gcsfs", "pendulum", "pyarrow", "s3fs", "zstandard"} <= set(resolved)
    both = pinned.keys() & resolved.keys()
    assert {name: resolved[name] for name in both} == {name: pinned[name] for name in both}


def test_the_constraints_are_names_and_versions_only() -> None:
    """No URL, no path, no comment; and every release that is supported is there."""
    files = sorted((REPOSITORY / "constraints" / "releases").iterdir())
    assert files == sorted(map(constraints, PYTHONS))
    for file in files:
        for line in file.read_text().splitlines():
            assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!]+", line), line


def versions(requirements: str) -> dict[str, str]:
    """Version by normalized name."""
    pairs = (line.split(" ")[0].split("==") for line in requirements.splitlines() if "==" in line)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}
