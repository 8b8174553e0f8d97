"""The package and all its extras can be installed with the constraints of each release of Airflow."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from dev.matrix import PYTHONS, ROOT
from tests.support.constraints import of_release, versions

pytestmark = pytest.mark.install


@pytest.fixture(scope="module")
def resolutions() -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """Resolve for all releases at the same time, because this mostly waits for the package index."""

    def resolve(release: str) -> subprocess.CompletedProcess[str]:
        uv = [ROOT / ".venv/uv/bin/uv", "pip", "compile", "--quiet", "--no-config"]
        options = ["--no-header", "--no-annotate", "--python-version", PYTHONS[release], "--all-extras"]
        return subprocess.run(
            [*uv, *options, "--constraint", of_release(release), "pyproject.toml", "-"],
            cwd=ROOT,
            input=f"apache-airflow=={release}",
            capture_output=True,
            text=True,
            timeout=900,
        )

    with ThreadPoolExecutor(len(PYTHONS)) as pool:
        yield {release: pool.submit(resolve, release) for release in PYTHONS}


@pytest.mark.parametrize("release", PYTHONS)
def test_every_extra_resolves(
    resolutions: dict[str, Future[subprocess.CompletedProcess[str]]], release: str
) -> None:
    """All of them together, so each one alone, too; and what is pinned stays at its version."""
    done = resolutions[release].result()
    assert done.returncode == 0, done.stderr
    resolved = versions(done.stdout)
    pinned = versions(of_release(release).read_text())
    assert resolved["apache-airflow"] == release
    assert {"adlfs", "gcsfs", "pendulum", "pyarrow", "s3fs", "zstandard"} <= set(resolved)
    both = pinned.keys() & resolved.keys()
    assert {name: resolved[name] for name in both} == {name: pinned[name] for name in both}
