"""An export from a `@task`, as docs/export.md shows it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import (
    SupermetricsRateLimitError,
    SupermetricsValidationError,
)
from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsHook
from airflow_provider_supermetrics.operators.supermetrics import (
    SupermetricsExportLogsOperator,
    export_logs,
)
from dev.simulator import Connector, Fault, Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, START, TEAM
from tests.support.export import CHECKPOINT, Exported, context, log_of
from tests.support.release import AIRFLOW_2

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]
WINDOW: dict[str, Any] = {"start": START, "end": START + HOUR}


def test_the_example_of_the_documentation(simulate: Simulate, exported: Exported, repository: Path) -> None:
    """The documented example exports each connector of the team, and returns the number of entries."""
    logs = {name: generate_entries(count=50, start=START, end=START + HOUR, seed=1) for name in ("A1", "B2")}
    simulate(connectors=[Connector(name, entries, team_id=TEAM) for name, entries in logs.items()])
    page = (repository / "docs/export.md").read_text(encoding="utf-8")
    [code] = re.findall(r"## From a `@task`\n.*?```python\n(.*?)```", page, re.DOTALL)
    namespace: dict[str, Any] = {}
    path = "s3://aws_default@my-bucket/supermetrics-logs"
    assert code.count(path) == 1
    code = code.replace(path, f"file://{exported.folder}")
    if AIRFLOW_2:
        code = code.replace("from airflow.sdk import task", "from airflow.decorators import task")
    exec(code, namespace)
    result = namespace["export_team"].function(START, START + HOUR)
    assert result == {"A1": 50, "B2": 50}
    assert len(exported.manifests) == 2
    assert [manifest["requests"] for manifest in exported.manifests] == [3, 3], "its own only"


def test_it_writes_what_the_operator_writes(simulate: Simulate, exported: Exported, tmp_path: Path) -> None:
    """The function writes the same objects as the operator, and returns the same result."""
    simulate(log_of(3000))
    folder = tmp_path / "operator"
    operator = SupermetricsExportLogsOperator(
        task_id="e", connector_identifier=CONNECTOR, path=f"file://{folder}", entries_per_file=700
    )
    expected = operator.execute(context())
    with SupermetricsHook() as hook:
        result = export_logs(
            hook, CONNECTOR, f"file://{exported.folder}", entries_per_file=700, team_id=TEAM, **WINDOW
        )
    budget = dict.fromkeys(("path", "manifest", "rate_limit"))
    assert {**result, **budget} == {**expected, **budget}
    assert exported.names == Exported(folder).names
    written = Exported(folder).bytes()
    assert [exported.bytes()[name] for name in exported.parts] == [written[name] for name in exported.parts]


def test_the_next_attempt_resumes(simulate: Simulate, exported: Exported, waits: list[float]) -> None:
    """A rate limit ends the attempt with a checkpoint, from which another hook continues."""
    sim = simulate(log_of(4000), faults=[None, None, Fault(429, headers={"Retry-After": "3600"})])
    with SupermetricsHook() as hook, pytest.raises(SupermetricsRateLimitError):
        export_logs(hook, CONNECTOR, str(exported.folder), **WINDOW)
    assert exported.names == [CHECKPOINT]
    waits.append(3600)
    with SupermetricsHook() as hook:
        result = export_logs(hook, CONNECTOR, str(exported.folder), **WINDOW)
    assert result["requests"] == len(sim.requests)
    assert len(exported.entries()) == len(sim.truth(CONNECTOR, START, START + HOUR))
    requested = [request.params["before"] for request in sim.requests if request.status == 200]
    assert len(requested) == len(set(requested))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"end": START}, "no length"),
        ({"end": "2999-01-01T00:00:00Z"}, "is not over.*; give an earlier end$"),
        ({"end": START - timedelta(1)}, "reversed"),
        ({"start": START.replace(tzinfo=None)}, "no time zone"),
        ({"connector_identifier": "../x"}, "connector_identifier"),
        ({"team_id": 0}, "team_id"),
        ({"path": "logs"}, "path must be a URL"),
        ({"format": "xml"}, "format must be"),
        ({"entries_per_file": 0}, "entries_per_file must be an integer of 1 or more, not 0"),
    ],
)
def test_invalid_arguments_are_refused(
    simulate: Simulate, exported: Exported, arguments: dict[str, Any], complaint: str
) -> None:
    """Invalid arguments are refused before any request, and no object is written."""
    sim = simulate()
    usual = {"connector_identifier": CONNECTOR, "path": str(exported.folder), **WINDOW}
    with SupermetricsHook() as hook, pytest.raises(SupermetricsValidationError, match=complaint):
        export_logs(hook, **{**usual, **arguments})
    assert sim.requests == []
    assert exported.names == []


def test_what_to_do_is_a_line_of_its_own(
    simulate: Simulate, exported: Exported, logged: Callable[[], list[str]]
) -> None:
    """The operator logs the remedy of an error before the error, whose line the log view cuts off."""
    simulate()
    (exported.folder).write_bytes(b"")
    operator = SupermetricsExportLogsOperator(
        task_id="e", connector_identifier=CONNECTOR, path=str(exported.folder)
    )
    with pytest.raises(NotADirectoryError, match=r"^Not a directory: cannot read"):
        operator.execute(context())
    [line] = [line for line in logged() if "Check that path names a folder" in line]
    assert "error" in line.lower()
    with pytest.raises(SupermetricsValidationError, match="no window to read"):
        operator.execute(context(data_interval_start=None))
    [line] = [line for line in logged() if "in the task, or give start" in line]
    assert "Write " in line
