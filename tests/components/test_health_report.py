"""The operator that writes the page about the connectors' health: its result, its file, its times."""

from __future__ import annotations

import resource
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsHealthReportOperator
from dev.simulator import Simulator
from tests.conftest import CONNECTOR, HOUR, START
from tests.support.export import context
from tests.support.html import parsed
from tests.support.manifests import write_manifest

pytestmark = pytest.mark.airflow_2

DAY = timedelta(days=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three days of two connectors; one of them has lost an hour."""
    folder = tmp_path / "export"
    for hour in range(72):
        start = START + hour * HOUR
        day = folder / f"date={start:%Y-%m-%d}"
        write_manifest(day, start, connector="K2M41")
        if hour != 29:
            write_manifest(day, start, errors=50 if hour >= 60 else 0)
    return folder


def report(folder: Path, **arguments: Any) -> dict[str, Any]:
    """Run the operator; return its result."""
    arguments = {"end": START + 3 * DAY, **arguments}
    return SupermetricsHealthReportOperator(task_id="report", path=str(folder), **arguments).execute(
        context()
    )


def test_the_page_is_beside_the_exports(folder: Path) -> None:
    """The result has the numbers and the page's URL; the page says what is wrong with which connector."""
    result = report(folder)
    assert result == {
        "path": str(folder),
        "report": f"{folder}/_health.html",
        "start": "2025-12-05T00:00:00Z",
        "end": "2026-01-04T00:00:00Z",
        "connectors": 2,
        "attention": [CONNECTOR],
        "more_attention": 0,
        "entries": 14_300,
        "errors": 600,
        "missing_hours": 1.0,
    }
    page = parsed((folder / "_health.html").read_text("utf-8"))
    assert "1 hour missing: 2026-01-02 05:00 to 06:00" in page.text
    assert "25.0 % of the last day's entries are errors, since 2026-01-03 12:00" in page.text
    assert "date=2026-01-03/" in [link.replace("./", "").replace("%3D", "=") for link in page.links]


def test_a_rerun_replaces_the_page_and_reads_only_manifests(folder: Path) -> None:
    """Nothing else is left in the folder, and the page is no export."""
    before = set(folder.rglob("*"))
    first = report(folder)
    assert report(folder) == first
    assert set(folder.rglob("*")) - before == {folder / "_health.html"}


def test_no_request_is_sent(folder: Path, simulate: Callable[..., Simulator]) -> None:
    """All of it is in the manifests."""
    simulator = simulate()
    report(folder)
    assert simulator.requests == []


def test_by_default_the_report_is_of_thirty_days_before_the_run(folder: Path) -> None:
    """A scheduled run that comes late says the same as one in time."""
    result = report(folder, end=None)
    assert (result["start"], result["end"]) == ("2025-12-02T01:00:00Z", "2026-01-01T01:00:00Z")


def test_what_is_still_to_come_is_not_missing(folder: Path) -> None:
    """A report that ends in the future ends now."""
    assert report(folder, end="2999-01-01T00:00:00Z")["end"] < "2990"


def test_a_folder_without_manifests_gives_a_page_that_says_so(tmp_path: Path) -> None:
    """The first run of a new installation does not fail."""
    result = report(tmp_path / "none")
    assert (result["connectors"], result["attention"]) == (0, [])
    page = parsed((tmp_path / "none" / "_health.html").read_text("utf-8"))
    assert "No manifest of an export was found for this time" in page.text


def test_a_damaged_manifest_is_a_note(folder: Path, logged: Callable[[], list[str]]) -> None:
    """One bad object does not hide what the others say."""
    [damaged] = folder.rglob("_manifest-K2M41-20260103T230000Z-*.json")
    damaged.write_bytes(b"{")
    result = report(folder)
    assert result["connectors"] == 2
    assert "_manifest-K2M41-20260103T230000Z" in parsed((folder / "_health.html").read_text("utf-8")).text
    assert any("is damaged" in line for line in logged())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": "yesterday"}, "is not an ISO 8601 time with an offset"),
        ({"end": "2026-01-01T00:00:00"}, "has no time zone"),
        ({"start": 7}, "start must be a datetime or an ISO 8601 string"),
        ({"path": "logs"}, "path must be a URL"),
        (
            {"start": START, "end": START + 401 * DAY},
            "the report must be of at most 400 days, not of 401; give a later start",
        ),
    ],
    ids=["words", "naive", "number", "path", "long"],
)
def test_bad_arguments_are_refused_when_the_dag_is_read(arguments: dict[str, Any], message: str) -> None:
    """Not at the first run."""
    with pytest.raises(SupermetricsValidationError, match=message):
        SupermetricsHealthReportOperator(**{"task_id": "report", "path": "/logs", **arguments})


def test_templates_are_checked_by_the_run(folder: Path) -> None:
    """What Airflow replaces first is no mistake in the DAG."""
    SupermetricsHealthReportOperator(
        task_id="report", path="{{ var.value.p }}", start="{{ ds }}", end="{{ ts }}"
    )
    with pytest.raises(SupermetricsValidationError, match="the report has no time") as error:
        report(folder, start=START + 3 * DAY)
    assert error.value.remedy


def test_a_report_of_many_days(folder: Path) -> None:
    """400 are the most, which only the run knows where the end is its own."""
    longest = {"start": START - 400 * DAY, "end": START}
    assert report(folder, **longest)["start"] == "2024-11-27T00:00:00Z"
    with pytest.raises(SupermetricsValidationError, match="at most 400 days, not of 401") as error:
        report(folder, start=START - 401 * DAY, end=None)
    assert error.value.remedy == "give a later start, or an earlier end"


def test_the_result_stays_small(tmp_path: Path) -> None:
    """It names the first connectors that need attention, and counts the others."""
    for number in range(53):
        write_manifest(tmp_path, START, connector=f"C{number:02}", errors=90)
    result = report(tmp_path, end=START + HOUR)
    assert result["attention"] == [f"C{number:02}" for number in range(50)]
    assert (result["more_attention"], result["connectors"]) == (3, 53)


def test_a_page_that_cannot_be_written(folder: Path) -> None:
    """The one before stays whole, and nothing is left beside it."""
    report(folder)
    page = folder / "_health.html"
    before = page.read_bytes()
    next(folder.rglob("_manifest-K2M41-*.json")).unlink()
    files = set(folder.rglob("*"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(
            OSError, match=r"^File too large: cannot write .*_health\.html\. Free space there"
        ):
            report(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert page.read_bytes() == before
    assert set(folder.rglob("*")) == files
    report(folder)
    assert page.read_bytes() != before


def test_a_line_break_in_the_name_of_a_folder(tmp_path: Path, logged: Callable[[], list[str]]) -> None:
    """It forges no line of the task's log."""
    write_manifest(tmp_path / "a\nFORGED", START).write_bytes(b"{")
    report(tmp_path)
    lines = logged()
    assert any("a FORGED" in line for line in lines)
    assert not any(line.startswith("FORGED") for line in lines)


def test_templated_fields() -> None:
    """As the docs say."""
    assert set(SupermetricsHealthReportOperator.template_fields) == {"path", "start", "end"}
