"""How the example of an alert handles unusual entries."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dev.demo.airflow import EXAMPLE_DAGS, environment

pytestmark = pytest.mark.airflow_2

EXAMPLE = EXAMPLE_DAGS / "supermetrics_error_alert.py"


def evaluated(expression: str, found: dict[str, Any], folder: Path, **settings: str) -> Any:
    """Return the value of an expression in the example's module, with these settings of Airflow."""
    program = (
        "import json, runpy, sys; found = json.loads(sys.argv[2]); "
        "module = runpy.run_path(sys.argv[1]); print(json.dumps(eval(sys.argv[3], {**module, **locals()})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(EXAMPLE), json.dumps(found), expression],
        env={**environment(folder, **settings), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("log_time", "since"),
    [
        ("2026-01-01T09:11:40", "2026-01-01T09:11:40.000001+00:00"),
        ("2026-01-01T11:11:40+02:00", "2026-01-01T09:11:40.000001+00:00"),
    ],
)
def test_times_do_not_depend_on_the_default_time_zone(tmp_path: Path, log_time: str, since: str) -> None:
    """A time without an offset is in UTC; read in Helsinki's, two hours of errors came twice."""
    found = {"entries": [{"log_time": log_time}]}
    zone = {"AIRFLOW__CORE__DEFAULT_TIMEZONE": "Europe/Helsinki"}
    assert evaluated("since_after(found)", found, tmp_path, **zone) == since


def test_a_mail_takes_no_html_from_the_log(tmp_path: Path) -> None:
    """As in the example's line for an email."""
    [content] = re.findall(r"# Mail: SmtpNotifier\(.*html_content=(.*)\)\.notify", EXAMPLE.read_text())
    entry = {"log_time": "2026-01-01T09:11:40Z", "status": 500, "request": "GET /<img src=x>&'\""}
    found = {"entries": [entry], "matches": 1, "since": "2026-01-01T09:00:00Z"}
    mail = evaluated(content, found, tmp_path)
    assert mail.startswith("<pre>")
    assert mail.endswith("</pre>")
    assert "GET /&lt;img src=x&gt;&amp;&#x27;&quot;" in mail
