"""A large window is complete, with few requests, one connection and bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from dev.simulator import Simulator, generate_entries
from tests.conftest import CONNECTOR, START
from tests.support.export import Exported

DAY = timedelta(days=1)


@pytest.mark.parametrize("before", ["exclusive", "inclusive"])
def test_200_000_entries(
    simulate: Callable[..., Simulator], repository: Path, exported: Exported, before: str
) -> None:
    """200,000 entries with ties at one-second precision, as one export."""
    sim = simulate(generate_entries(count=200_000, start=START, end=START + DAY, seed=1), before=before)
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.components.export_once",
            str(exported.folder),
            START.isoformat(),
            (START + DAY).isoformat(),
        ],
        cwd=repository,
        check=True,
        capture_output=True,
        text=True,
    )
    assert len(sim.requests) <= 205
    assert sim.connections == 1
    [manifest] = exported.manifests
    assert manifest["entries"] == 200_000
    assert manifest["requests"] == len(sim.requests)
    ids = [entry["id"] for entry in exported.entries()]
    assert len(ids) == 200_000
    assert set(ids) == {entry["id"] for entry in sim.truth(CONNECTOR)}
    grown = int(run.stdout.split("grown by ")[1])
    assert grown < 150e6
