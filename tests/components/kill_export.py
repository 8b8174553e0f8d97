"""Run an export repeatedly, and kill it with SIGKILL at each step in turn.

This process is separate because it forks, and a test's process has threads. It prints, as JSON, the
contents of the folder after each kill, and ends with the run that was not killed.

Usage: python -m tests.components.kill_export FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from tests.conftest import CONNECTOR
from tests.support.export import Exported, context

# Everything that touches a file, in C: "write" is also what happens within a write.
STEPS = {
    "open",
    "write",
    "flush",
    "fsync",
    "close",
    "replace",
    "unlink",
    "mkdir",
    "rmdir",
    "scandir",
    "read",
}
OURS = ("airflow_provider_supermetrics/_export", "pathlib", "gzip.py", "tempfile.py")


def dying_at(step: int) -> Callable[..., None]:
    """Return a profiler that kills this process at the given step."""
    left = step

    def profile(frame: Any, event: str, called: Any) -> None:
        nonlocal left
        if (
            event == "c_call"
            and called.__name__ in STEPS
            and any(o in frame.f_code.co_filename for o in OURS)
        ):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return profile


def export(folder: Path) -> None:
    """Export the first hour in several parts."""
    SupermetricsExportLogsOperator(
        task_id="export", connector_identifier=CONNECTOR, path=f"file://{folder}", entries_per_file=20
    ).execute(context())


def main(folder: Path) -> None:
    """Kill the export at step 0, 1, 2, … until one completes."""
    exported = Exported(folder)
    tmp = folder.parent / "tmp"
    for step in range(10_000):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(tmp, ignore_errors=True)
        tmp.mkdir()
        child = os.fork()
        if child == 0:
            tempfile.tempdir = str(tmp)
            sys.setprofile(dying_at(step))
            export(folder)
            sys.setprofile(None)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        found = {
            "killed": os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL,
            "exit": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            "temporary": [name for name in exported.names if name.startswith(".")],
            "elsewhere": sorted(path.name for path in tmp.iterdir()),
            "parts": {name: len(exported.entries(name)) for name in exported.parts},
            "manifests": exported.manifests,
        }
        print(json.dumps(found), flush=True)
        if not found["killed"]:
            return
        if step % 15 == 0:
            # The rerun over the files of the killed export.
            child = os.fork()
            if child == 0:
                export(folder)
                os._exit(0)
            os.waitpid(child, 0)
            print(json.dumps({"rerun": {n: d.hex() for n, d in exported.bytes().items()}}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
