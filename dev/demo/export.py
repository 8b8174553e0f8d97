"""`make demo`: run the example DAGs, and compare what they export and report with the API's entries."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from dev.demo.airflow import AIRFLOW, KEY, ROOT, TEAM_ID, connection, environment, variables
from dev.demo.alert import DAG_ID, alert_problem, alert_text
from dev.demo.check import Check, check, manifests
from dev.demo.processes import Failed, own_folder, running
from dev.simulator import Connector, Fault, Simulator, generate_entries

_HOUR: Final = timedelta(hours=1)
# Identifier, name, entries per hour.
_CONNECTORS: Final = (
    ("T3S70", "Webshop orders", 2_400),
    ("K2M41", "CRM contacts", 5_100),
    ("B7Q18", "Store visits", 3_300),
)
_NAMES: Final = {identifier: name for identifier, name, _ in _CONNECTORS}
# The second and the fourth request of the first DAG fail, so that the demo shows some waiting.
_FAULTS: Final = (None, Fault(429, headers={"Retry-After": "2"}), None, Fault(503))
_PACKAGE_LINE: Final = re.compile(
    r"\S+ \[(?P<level>\w+) *\] (?P<text>.*?) +\[\S*airflow_provider_supermetrics\S*\]"
)
_LINES_OF_A_FAILURE: Final = 40
_GATE: Final = "supermetrics_quality_gate"
_REPORT: Final = "supermetrics_health_report"
_VIOLATION: Final = re.compile(
    r"\w+: (?:at least )?[\d,]+ errors?, more than max_errors=0, in \S+ to [\w:.-]+Z"
)


class _Row(NamedTuple):
    dag_id: str
    identifier: str
    check: Check
    requests: int


def export() -> int:
    """Run the example DAGs and return the exit code."""
    begun = monotonic()
    now = datetime.now(timezone.utc)
    end = now.replace(minute=0, second=0, microsecond=0)
    simulator = Simulator(connectors=_connectors(end, now), tokens={KEY: {TEAM_ID}}, faults=_FAULTS)
    with own_folder(ROOT / ".demo" / "run") as folder, simulator:
        demo = _Demo(folder, simulator, end)
        print(f"A simulated Supermetrics API listens on {simulator.url}.")
        print(f"It has {len(_CONNECTORS)} connectors, whose logs are generated for each run.")
        print("Its first responses include a 429 and a 503, so that the log shows some waiting.")
        _step("An Airflow with an empty database")
        demo.run("db", "migrate")
        _step("example_dags/supermetrics_hourly_export.py: the last full hour of one connector")
        rows = demo.export("supermetrics_hourly_export", [_CONNECTORS[0][0]])
        _step("example_dags/supermetrics_team_export.py: the same hour of all connectors")
        rows += demo.export("supermetrics_team_export", list(_NAMES))
        _print_result(rows, end, folder / "export")
        _step("example_dags/supermetrics_error_alert.py: report the errors of one connector")
        text, problem = demo.alert(_CONNECTORS[0][0])
        _step("example_dags/supermetrics_quality_gate.py: check the last full hour of one connector")
        violation = demo.violation()
        _step("example_dags/supermetrics_health_report.py: a page about all connectors, from the manifests")
        demo.run("dags", "test", _REPORT, end.isoformat())
        page = folder / "export" / "_health.html"
        has_page = page.is_file()
        if has_page:
            print(f"\nThe page of the connectors' health, for any browser: {page}")
        else:
            print(f"\nFAILED: {_REPORT}: there is no health page")
    print(f"\nAll of it took {monotonic() - begun:.0f} s.")
    print("Next: `make demo-ui` leaves Airflow running, with these DAGs and the Connection.")
    _print_statistics(folder / "export")
    _print_alert(text, problem)
    _print_violation(violation)
    is_right = has_page and violation and not problem and not any(row.check.problem for row in rows)
    return 0 if is_right else 1


class _Demo:
    """An Airflow, a simulator, and the hour before `end`."""

    def __init__(self, folder: Path, simulator: Simulator, end: datetime) -> None:
        self._simulator = simulator
        self._end = end
        self._exported = folder / "export"
        self._logs = folder / "logs"
        self._logs.mkdir()
        self._environment = environment(folder, **variables(connection(simulator.url), self._exported))

    def run(self, *arguments: str) -> str:
        """Run an Airflow command, show what the package logs, and save and return the whole output."""
        log = self._logs / f"{'-'.join(arguments[:3])}.log"
        print(f"  $ airflow {' '.join(arguments)}")
        begun = monotonic()
        with (
            log.open("w", encoding="utf-8") as file,
            running([AIRFLOW, *arguments], self._environment, subprocess.PIPE) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                if match := _PACKAGE_LINE.match(line):
                    _show(
                        "|" if match["level"] == "info" else "!", match["text"].replace(f"file://{ROOT}/", "")
                    )
            code = process.wait()
        if code != 0:
            tail = "\n".join(
                line[:300] for line in log.read_text("utf-8").splitlines()[-_LINES_OF_A_FAILURE:]
            )
            raise Failed(
                f"{tail}\n\nFAILED (exit code {code}): airflow {' '.join(arguments)}\nThe whole log: {log}"
            )
        print(f"  done in {monotonic() - begun:.0f} s. Full log: {log.relative_to(ROOT)}")
        return log.read_text("utf-8")

    def export(self, dag_id: str, identifiers: Sequence[str]) -> list[_Row]:
        """Run an example DAG and check the files that it wrote for these connectors."""
        before = len(self._simulator.requests)
        self.run("dags", "test", dag_id, self._end.isoformat())
        paths = [request.path for request in self._simulator.requests[before:]]
        return [
            _Row(
                dag_id,
                identifier,
                check(
                    self._exported,
                    identifier,
                    self._simulator.truth(identifier, self._end - _HOUR, self._end),
                ),
                sum(f"/{identifier}/" in path for path in paths),
            )
            for identifier in identifiers
        ]

    def alert(self, identifier: str) -> tuple[str, str]:
        """Run the example DAG that reports errors; return the alert and the problem with it."""
        text = alert_text(self.run("dags", "test", DAG_ID, self._end.isoformat()))
        # In its first run, the DAG reads the day before, and what has been logged since.
        return text, alert_problem(text, self._simulator.truth(identifier, self._end - 24 * _HOUR))

    def violation(self) -> str:
        """Run the example DAG that checks an hour; return the first line of what it finds, or nothing."""
        found = _VIOLATION.search(self.run("dags", "test", _GATE, self._end.isoformat()))
        return found[0] if found else ""


def _connectors(end: datetime, now: datetime) -> list[Connector]:
    """Return connectors with logs that begin before the hour and continue after it."""
    begin = end - 3 * _HOUR
    return [
        Connector(
            identifier,
            generate_entries(int(per_hour * ((now - begin) / _HOUR)), begin, now, seed=seed),
            name=name,
            team_id=TEAM_ID,
        )
        for seed, (identifier, name, per_hour) in enumerate(_CONNECTORS)
    ]


def _step(text: str) -> None:
    print(f"\n{text}")


def _show(mark: str, text: str) -> None:
    width = min(shutil.get_terminal_size().columns, 120)
    print(
        textwrap.fill(
            text,
            width,
            initial_indent=f"  {mark} ",
            subsequent_indent=f"  {mark}   ",
            break_on_hyphens=False,
            break_long_words=False,
        )
    )


def _print_result(rows: Sequence[_Row], end: datetime, exported: Path) -> None:
    start = end - _HOUR
    print(f"\nThe logs of {start:%Y-%m-%d}, {start:%H:%M} to {end:%H:%M} UTC, with the files read back:\n")
    good, bad = ("✓", "✗") if "utf" in (sys.stdout.encoding or "").lower() else ("ok", "WRONG")
    form = "  {:24}{:>10}  {:>12}  {:>7}  {:>9}  {:>8}  {}"
    print(form.format("connector", "in the API", "in the files", "objects", "bytes", "requests", "").rstrip())
    dag_id = ""
    for row in rows:
        if row.dag_id != dag_id:
            dag_id = row.dag_id
            print(f"  {dag_id}")
        found = row.check
        numbers = (found.expected, found.written, found.objects, found.bytes, row.requests)
        print(
            form.format(
                f"  {row.identifier}  {_NAMES[row.identifier]}",
                *(f"{number:,}" for number in numbers),
                bad if found.problem else good,
            )
        )
    print()
    for row in rows:
        if row.check.problem:
            print(f"FAILED: {row.dag_id}, {row.identifier}: {row.check.problem}")
    if not any(row.check.problem for row in rows):
        print("Every entry of the hour is in the files, once and unchanged.")
    print(f"  files    {exported.relative_to(ROOT)}/")
    for manifest in manifests(exported, rows[0].identifier):
        print(f"  manifest  {manifest.relative_to(ROOT)}")


def _print_statistics(exported: Path) -> None:
    print("\nWhat the manifests say of that hour:\n")
    form = "  {:24}{:>10}  {:>8}  {:>8}  {:>8}  {}"
    print(form.format("connector", "entries", "errors", "p50, ms", "p95, ms", "entries by status"))
    for identifier, name in _NAMES.items():
        for manifest in manifests(exported, identifier):
            found = json.loads(manifest.read_text("utf-8"))
            statistics, durations = found["statistics"], found["statistics"]["duration_ms"]
            numbers = (found["entries"], statistics["errors"], durations["p50"], durations["p95"])
            statuses = ", ".join(f"{status}: {count:,}" for status, count in statistics["statuses"].items())
            print(form.format(f"  {identifier}  {name}", *(f"{number:,}" for number in numbers), statuses))


def _print_violation(violation: str) -> None:
    if not violation:
        print(f"\nFAILED: {_GATE}: the check has found no errors")
        return
    print("\nThe check of that hour, which skips the tasks behind it:\n")
    print(textwrap.indent(violation, "  "))


def _print_alert(text: str, problem: str) -> None:
    if problem:
        print(f"\nFAILED: {DAG_ID}: {problem}")
    if text:
        print("\nThe alert, which that DAG hands to the notifier of your choice:\n")
        print(textwrap.indent(text, "  "))
