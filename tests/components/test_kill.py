"""SIGKILL at any step of an export."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from dev.simulator import Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, START


def test_kill_at_every_step(simulate: Callable[..., Simulator], repository: Path, tmp_path: Path) -> None:
    """A kill at any step leaves no partial object and no manifest, and the rerun is complete."""
    entries = generate_entries(count=60, start=START, end=START + 2 * HOUR, seed=5)
    sim = simulate(entries)
    run = subprocess.run(
        [sys.executable, "-m", "tests.components.kill_export", str(tmp_path / "export")],
        cwd=repository,
        check=True,
        capture_output=True,
        text=True,
    )
    found = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    kills = [item for item in found if item.get("killed")]
    reruns = [item["rerun"] for item in found if "rerun" in item]
    last = found[-1]
    total = len(sim.truth(CONNECTOR, START, START + HOUR))
    assert last["exit"] == 0
    assert sum(last["parts"].values()) == total
    assert len(last["manifests"]) == 1
    assert len(kills) > 50, "too few steps were seen for this test to mean anything"
    assert any(item["temporary"] for item in kills), "no kill fell within a write"
    assert any(item["parts"] for item in kills), "no kill fell between two writes"
    for item in kills:
        assert item["elsewhere"] == [], "the worker's temporary folder is not empty"
        # gzip.decompress, with which the parts were read, refuses a cut file.
        assert item["parts"] == {name: last["parts"][name] for name in item["parts"]}
        # A manifest may be there only at the very end, when all is.
        assert not item["manifests"] or item["parts"] == last["parts"]
    assert len(reruns) > 3
    # The manifest counts the requests of the killed run, too, where the rerun resumed from there.
    objects = [{n: data for n, data in rerun.items() if not n.startswith("_manifest-")} for rerun in reruns]
    assert all(rerun == objects[0] for rerun in objects)
    assert all(len(rerun) == len(last["parts"]) + 1 for rerun in reruns)
