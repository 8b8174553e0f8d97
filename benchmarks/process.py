"""What a process used, as the kernel reports at its end.

Linux counts the memory of the process that starts another into the latter's peak. So a launcher, which
is this module run as a program and smaller than anything that is measured, stands between.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

BYTES_PER_MAXRSS = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Usage:
    """CPU (user and system) and wall time in seconds, peak memory in bytes, of one whole process."""

    cpu: float
    wall: float
    peak_memory: int


def measure(*arguments: str, environment: Mapping[str, str], log: Path) -> Usage:
    """Run Python with these arguments in a fresh process.

    :param log: where its output goes.
    :raises RuntimeError: with the output, where it fails.
    """
    launched = subprocess.run(
        [sys.executable, "-m", __name__, str(log), *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        check=False,
    )
    if launched.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{log.read_text(errors='replace')}")
    return Usage(**json.loads(launched.stdout))


def _launch(log: str, *arguments: str) -> int:
    with Path(log).open("wb") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    usage = Usage(used.ru_utime + used.ru_stime, wall, used.ru_maxrss * BYTES_PER_MAXRSS)
    print(json.dumps(asdict(usage)))
    return process.returncode


if __name__ == "__main__":
    sys.exit(_launch(*sys.argv[1:]))
