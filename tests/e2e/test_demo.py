"""The checks and the shutdown of the demo, which is itself run manually: `make demo`."""

from __future__ import annotations

import gzip
import json
import os
import sys
from hashlib import sha256
from subprocess import PIPE

import psutil
import pytest

from dev.demo.alert import alert_problem, alert_text
from dev.demo.check import check
from dev.demo.processes import Failed, own_folder, running

TRUTH = [{"id": f"{number}-abc", "status": 200} for number in range(3)]

ERRORS = [
    {"id": "9-abc", "status": 500},
    *TRUTH,
    {"id": "8-abc", "status": None},
    {"id": "7-abc", "status": 404},
]
ALERT = """\
T3S70: 2 errors from 2026-03-01T08:00:00Z to 2026-03-01T10:00:00Z
Most frequent:
  1 x 500 GET /v2/[a]
Newest: 2026-03-01T09:59:00Z, log entry 9-abc, request id 1"""
LOG = f"""\
2026-03-01T10:00:00.0Z [warning  ] Something else [py.warnings] lineno=1
{ALERT}
2026-03-01T10:00:02.0Z [info     ] Done [airflow.task] loc=python.py:1
"""

# A process that starts one with a process group of its own, as Airflow does for its tasks.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0)
print(child.pid, flush=True)
time.sleep(60)
"""


def export(folder, entries):
    """Write the entries as an export of T3S70, with its manifest."""
    file = folder / "T3S70-hour-00000.jsonl.gz"
    file.write_bytes(gzip.compress("".join(json.dumps(entry) + "\n" for entry in entries).encode()))
    objects = [{"name": file.name, "sha256": sha256(file.read_bytes()).hexdigest()}]
    (folder / "_manifest-T3S70-hour.json").write_text(json.dumps({"complete": True, "objects": objects}))
    return file


def test_check_of_a_good_export(tmp_path):
    """An export that equals the API's entries has no problem, in whatever order it is."""
    file = export(tmp_path, TRUTH[::-1])
    found = check(tmp_path, "T3S70", TRUTH)
    assert (found.expected, found.written, found.objects, found.problem) == (3, 3, 1, "")
    assert found.bytes == file.stat().st_size


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        (TRUTH[:2], "1 entries are missing, such as 2-abc"),
        ([*TRUTH, {"id": "3-abc"}], "1 entries do not belong to the window, such as 3-abc"),
        ([*TRUTH, TRUTH[0]], "1 entries were written more than once"),
        ([*TRUTH[:2], {"id": "2-abc", "status": 500}], "1 entries differ from the API's, such as 2-abc"),
    ],
    ids=["missing", "extra", "twice", "changed"],
)
def test_check_of_wrong_entries(tmp_path, entries, problem):
    """Each way in which entries can be wrong is reported."""
    export(tmp_path, entries)
    assert check(tmp_path, "T3S70", TRUTH).problem == problem


def test_check_of_the_manifest(tmp_path):
    """A manifest that is missing, or lists other bytes, is a problem although the entries are right."""
    file = export(tmp_path, TRUTH)
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()), compresslevel=1, mtime=1))
    assert check(tmp_path, "T3S70", TRUTH).problem == "the manifest does not list the files that are there"
    (tmp_path / "_manifest-T3S70-hour.json").unlink()
    assert check(tmp_path, "T3S70", TRUTH).problem == "0 manifests where there should be one"


def test_alert_is_found():
    """The alert is what the example's task has printed, no more and no less."""
    assert alert_text(LOG) == ALERT
    assert alert_text(LOG.replace("T3S70: 2", "Of T3S70: 2")) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ALERT, ""),
        ("", "there was no alert"),
        (ALERT.replace(": 2 ", ": 12 "), "the alert does not report 2 errors"),
        (ALERT.replace("9-abc", "7-abc"), "the alert does not name the last error, 9-abc"),
    ],
    ids=["right", "none", "count", "last"],
)
def test_check_of_an_alert(text, problem):
    """An alert is right when it counts the errors and names the last one."""
    assert alert_problem(text, ERRORS) == problem


@pytest.mark.skipif(sys.version_info < (3, 11), reason="subprocess has no process_group before Python 3.11")
def test_all_processes_end_with_the_block():
    """When the block ends, so do the process and those that it has started in other process groups."""
    with running([sys.executable, "-c", PARENT], os.environ, PIPE) as process:
        child = int(process.stdout.readline())
        assert psutil.pid_exists(child)
    process.stdout.close()
    assert process.returncode is not None
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_folder_is_used_by_one_demo_at_a_time(tmp_path):
    """A folder is emptied for one demo, and a second one is refused meanwhile."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").touch()
    with own_folder(tmp_path / "run") as folder:
        assert list(folder.iterdir()) == []
        (folder / "new").touch()
        with pytest.raises(Failed, match="running already"), own_folder(tmp_path / "run"):
            pass
        assert (folder / "new").exists()
