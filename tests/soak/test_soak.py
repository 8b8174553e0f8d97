"""A short soak: the harness itself works, and the package holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

OPTIONS = ["--seed", "6", "--windows", "6", "--exports", "4", "--followers", "1", "--sensors", "1"]


def test_a_short_soak(repository: Path) -> None:
    """Some windows, kills and faults, without a violation."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.soak", *OPTIONS],
        cwd=repository,
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    counts = {name: int(number) for number, name in re.findall(r"^ +(\d+) (.+)$", run.stdout, re.MULTILINE)}
    assert counts["windows"] >= 6
    assert counts["logs followed without a gap"] >= 1
    assert any(name.startswith("SIGKILL") for name in counts)
    assert any(name.startswith("API: ") for name in counts)
