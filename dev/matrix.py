"""Run the tests in each supported release of Airflow, installed with the release's constraints.

    python -m dev.matrix [--releases 3.0.6 3.2.2] [--turn] [--write]
    python -m dev.matrix --python-of 3.0.6

Of each release: all quick tests, then the example DAGs, and exports, sensors, the health page and the
Connection in real services. It prints a table; `--write` puts it into docs/installing.md, from the last
results of each release with the present package. `--turn` runs one release, another one each day.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / ".cache" / "matrix"
PAGE: Final = ROOT / "docs" / "installing.md"
BEGIN: Final = "<!-- written by `make test-matrix ARGS=--write` -->\n"
END: Final = "<!-- end -->"

#: Release -> the Python that it is tested with; the constraints of some lack versions for some.
PYTHONS: Final = {
    "2.11.0": "3.10",
    "2.11.2": "3.12",
    "3.0.6": "3.11",
    "3.1.6": "3.12",
    "3.1.8": "3.10",
    "3.2.2": "3.13",
    "3.3.0": "3.12",
    "3.3.2": "3.13",
}
_EXAMPLES: Final = "tests/e2e/test_example_dags.py"
_SERVICES: Final = "tests/install/test_release.py"
_ALERTS: Final = "tests/e2e/test_since_last_run.py"
_PAGES: Final = "tests/test_docs.py"
_HEALTH: Final = "tests/e2e/test_health_page.py"
#: Column of the table -> the tests that must pass for a "yes".
_COLUMNS: Final = {
    "example DAGs": _EXAMPLES,
    "export": f"{_SERVICES}::test_an_export_in_each_format",
    "mapped export": f"{_SERVICES}::test_a_mapped_export_of_a_team",
    "sensor, 3 modes": f"{_SERVICES}::test_a_sensor_in_each_mode",
    "since_last_run": _ALERTS,
    "asset watcher": f"{_SERVICES}::test_an_asset_watcher",
    "health page": _HEALTH,
    "Connection test": f"{_SERVICES}::test_a_connection_is_tested",
    "Connection form": f"{_SERVICES}::test_the_connection_form",
}
_QUICK: Final = "quick tests"
#: Beside a release's results: the commit that was tested.
_COMMIT: Final = "commit"
#: What the results are of; they hold until it changes.
_TESTED: Final = ("airflow_provider_supermetrics", "constraints/releases", "pyproject.toml")
#: pytest's outcome of a test that has not passed -> the cell.
_OUTCOMES: Final = {"failure": "no", "error": "no", "skipped": "not there"}


def python_of(release: str) -> str:
    """Return the Python for a release as uv accepts it: a folder of pyenv's if it has one, or the version."""
    version = PYTHONS[release]
    try:
        found = subprocess.run(["pyenv", "prefix", version], capture_output=True, text=True)
    except FileNotFoundError:
        return version
    return found.stdout.strip() or version


def run(release: str) -> bool:
    """Install a release, run its tests, store their results, and return whether all have passed."""
    environment, reports = ROOT / ".venv" / f"release-{release}", RESULTS / release
    shutil.rmtree(reports, ignore_errors=True)
    make = ["make", "--silent", f"{environment.relative_to(ROOT)}/installed"]
    if subprocess.run(make, cwd=ROOT).returncode != 0:
        return False
    reports.mkdir(parents=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    (reports / _COMMIT).write_text(head.stdout.strip())
    quick = "not full and not install and not fleet"
    if release.startswith("2."):
        quick += " and airflow_2"
    sessions = {
        # The pages are the same in all releases, and one of them has the table.
        "quick": [
            "-n",
            "2",
            "--dist",
            "loadfile",
            "--no-loadscope-reorder",
            f"--ignore={_PAGES}",
            "-m",
            quick,
        ],
        "services": ["-m", "full or not full", _EXAMPLES, _SERVICES, _ALERTS, _HEALTH],
    }
    codes = []
    for name, arguments in sessions.items():
        print(f"Airflow {release} on Python {PYTHONS[release]}: {name}", flush=True)
        python = str(environment / "bin" / "python")
        command = [python, "-m", "pytest", "-q", f"--junit-xml={reports / name}.xml", *arguments]
        codes.append(subprocess.run(command, cwd=ROOT).returncode)
    return not any(codes)


def results(release: str) -> dict[str, str]:
    """Return the cells of a release's row, empty where its tests have not run."""
    cases = {}
    for report in (RESULTS / release).glob("*.xml"):
        for case in ElementTree.parse(report).iter("testcase"):
            outcome = next((child.tag for child in case if child.tag in _OUTCOMES), "passed")
            file = case.get("classname", "").replace(".", "/") + ".py"
            cases[report.stem, f"{file}::{case.get('name')}"] = outcome
    quick = [outcome for (session, _), outcome in cases.items() if session == "quick"]
    cells = {_QUICK: ""}
    if quick:
        failed = len([outcome for outcome in quick if _OUTCOMES.get(outcome) == "no"])
        cells[_QUICK] = f"{quick.count('passed'):,} passed" + (f", {failed:,} failed" if failed else "")
    for column, test in _COLUMNS.items():
        of_column = {
            _OUTCOMES.get(outcome, "yes")
            for (session, name), outcome in cases.items()
            if session == "services" and name.startswith(test)
        }
        cells[column] = next((cell for cell in ("no", "yes", "not there") if cell in of_column), "")
    return cells


def table(releases: Iterable[str]) -> str:
    """Return the results of releases in Markdown."""
    columns = ("Airflow", "Python", _QUICK, *_COLUMNS)
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for release in releases:
        cells = {"Airflow": release, "Python": PYTHONS[release], **results(release)}
        lines.append("| " + " | ".join(cells[column] for column in columns) + " |")
    return "\n".join(lines) + "\n"


def is_current(release: str) -> bool:
    """Return whether the results are those of the package as it is now."""
    file = RESULTS / release / _COMMIT
    if not file.exists():
        return False
    command = ["git", "diff", "--quiet", file.read_text(), "--", *_TESTED]
    return subprocess.run(command, cwd=ROOT).returncode == 0


def write() -> None:
    """Put the table into the page; it lacks the releases whose results are old."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"{PAGE.name} has no place for the table"
    current = [release for release in PYTHONS if is_current(release)]
    PAGE.write_text(before + BEGIN + "\n" + table(current) + "\n" + END + after, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return 1 if a test of a release has failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--releases", nargs="+", choices=PYTHONS, default=list(PYTHONS), metavar="RELEASE")
    parser.add_argument("--turn", action="store_true", help="one release, another one each day")
    parser.add_argument("--write", action="store_true", help="write the table into docs/installing.md")
    parser.add_argument("--python-of", choices=PYTHONS, metavar="RELEASE", help="print where its Python is")
    options = parser.parse_args(arguments)
    if options.python_of:
        print(python_of(options.python_of))
        return 0
    releases = options.releases
    if options.turn:
        releases = [releases[date.today().toordinal() % len(releases)]]
    failed = [release for release in releases if not run(release)]
    print(table(releases))
    if options.write:
        write()
    if failed:
        print(f"Tests have failed in {', '.join(failed)}.", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
