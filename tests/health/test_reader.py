"""Reading manifests for one report after another: what is kept, what is left, and what is wrong."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_supermetrics._export import catalog
from airflow_provider_supermetrics._health.model import Report
from airflow_provider_supermetrics._health.page import render
from airflow_provider_supermetrics._health.reader import MOST_FAILURES, HealthReader
from airflow_provider_supermetrics._schedule import Window
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from tests.conftest import CONNECTOR, HOUR, START
from tests.support.manifests import manifest_of, write_manifest

pytestmark = pytest.mark.airflow_2

END = START + 24 * HOUR
# A regular file for a listing, which no user can read from its beginning.
UNREADABLE = Path("/proc/self/mem")


def read(reader: HealthReader) -> Report:
    """The report of the first day."""
    return reader.report(Window(START, END), END)


def entries(report: Report) -> int:
    """Those of all connectors."""
    return sum(each.numbers.entries for each in report.connectors)


def refuse(folder: Path, hour: int, connector: str = CONNECTOR) -> Path:
    """Put a manifest there that is listed, but that the disk does not give."""
    name, _ = manifest_of(START + hour * HOUR, connector=connector)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(UNREADABLE)
    return folder / name


needs_proc = pytest.mark.skipif(not UNREADABLE.exists(), reason="only Linux has such a file")


# What is kept.


def test_a_manifest_is_read_once(tmp_path: Path) -> None:
    """By its name and version: one that is replaced counts again, one that is removed not any more."""
    first = write_manifest(tmp_path, START, entries=100)
    second = write_manifest(tmp_path, START + HOUR, entries=10)
    reader = HealthReader([str(tmp_path)])
    assert entries(read(reader)) == 110

    state = first.stat()
    first.write_bytes(first.read_bytes().replace(b'"entries": 100', b'"entries": 999'))
    os.utime(first, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert entries(read(reader)) == 110
    write_manifest(tmp_path, START, entries=1000)
    assert entries(read(reader)) == 1010

    second.unlink()
    report = read(reader)
    assert (entries(report), report.connectors[0].windows) == (1000, 1)
    write_manifest(tmp_path, START + HOUR, entries=20)
    assert entries(read(reader)) == 1020


def test_only_manifests_of_the_time_are_read(tmp_path: Path) -> None:
    """The last one before it says that the connector is missing; what it contains is no matter."""
    write_manifest(tmp_path, START - 2 * HOUR).write_bytes(b"{")
    write_manifest(tmp_path, START - HOUR).write_bytes(b"{")
    report = read(HealthReader([str(tmp_path)]))
    [health] = report.connectors
    assert (health.windows, report.notes) == (0, ())
    assert "No export since" in health.findings[0].text


def test_a_team_whose_exports_have_stopped(tmp_path: Path) -> None:
    """Another team's connector with the same identifier does not hide it, as long as it would be shown."""
    for hour in range(-48, 24):
        write_manifest(tmp_path / "team=1", START + hour * HOUR, team=1)
    for hour in range(-48, -36):
        write_manifest(tmp_path / "team=2", START + hour * HOUR, team=2)
    reader = HealthReader([str(tmp_path)])
    assert read(reader).notes == (
        "1 connector was last exported before 2025-12-31 00:00 and is not shown: T3S70 of team 2",
    )
    last = write_manifest(tmp_path / "team=2", START - 6 * HOUR, team=2)
    report = read(reader)
    assert [each.label for each in report.connectors] == ["T3S70 of team 2", "T3S70 of team 1"]
    assert report.connectors[0].findings[0].text == "No export since 2025-12-31 19:00, 1 day 5 hours ago"
    assert (entries(report), report.notes) == (2400, ())

    # It was read, and is not read again.
    state = last.stat()
    last.write_bytes(b"{" * state.st_size)
    os.utime(last, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert [each.label for each in read(reader).connectors] == ["T3S70 of team 2", "T3S70 of team 1"]


def test_folders_that_follow_each_other_are_of_one_team(tmp_path: Path) -> None:
    """So nothing is read of those before the report."""
    for day in range(-3, 0):
        for hour in range(24):
            start = START + (24 * day + hour) * HOUR
            write_manifest(tmp_path / f"date={start:%Y-%m-%d}", start).write_bytes(b"{")
    for hour in range(1, 24):
        write_manifest(tmp_path / "date=2026-01-01", START + hour * HOUR)
    report = read(HealthReader([str(tmp_path)]))
    [health] = report.connectors
    assert (health.label, entries(report), report.notes) == (CONNECTOR, 2300, ())
    assert [finding.text for finding in health.findings] == ["1 hour missing: 2026-01-01 00:00 to 01:00"]


def test_the_newest_count_where_there_are_too_many(tmp_path: Path) -> None:
    """The report says so, and from when on it is."""
    for hour in range(5):
        write_manifest(tmp_path, START + hour * HOUR, entries=10**hour)
    report = read(HealthReader([str(tmp_path)], most_manifests=2))
    assert entries(report) == 11_000
    assert report.notes == (
        f"{tmp_path} has more than 2 manifests of this time: the report has the newest, which end after "
        "2026-01-01 04:00",
    )


# What is left.


def test_what_is_left_is_read_by_the_next_report(tmp_path: Path) -> None:
    """The newest first, and at least one; the others count as exported until then."""
    for hour in range(3):
        write_manifest(tmp_path, START + hour * HOUR, entries=10**hour)
    ticks = itertools.count()
    reader = HealthReader([str(tmp_path)], seconds=0.5, clock=lambda: next(ticks))
    report = read(reader)
    assert (entries(report), report.connectors[0].unread, report.connectors[0].windows) == (100, 2, 3)
    [note] = report.notes
    assert note.startswith("2 manifests under ")
    assert "not read yet: their windows are shown as exported" in note
    assert "Load the page again" in note
    assert [entries(read(reader)) for _ in range(3)] == [110, 111, 111]
    assert read(reader).notes == ()


def test_time_is_for_all_paths(tmp_path: Path) -> None:
    """What the first one has taken is not there for the second, which reads one nevertheless."""
    for name, hour in itertools.product("ab", range(3)):
        write_manifest(tmp_path / name, START + hour * HOUR, connector=name, entries=1)
    seconds = [0.0]

    def clock() -> float:
        seconds[0] += 1
        return seconds[0]

    report = read(HealthReader([str(tmp_path / "a"), str(tmp_path / "b")], seconds=4, clock=clock))
    assert {each.connector_identifier: each.numbers.entries for each in report.connectors} == {"a": 3, "b": 1}


# What cannot be read.


@pytest.mark.parametrize(
    "path",
    [
        "s3://AKIAKEY:topsecret@bucket/logs",
        "s3://AKIAKEY:top/topsecret@bucket/logs",
        "AKIAKEY:topsecret@bucket/logs",
        "abfs://c/logs?sig=topsecret",
    ],
)
def test_a_credential_is_not_shown(tmp_path: Path, logged: Callable[[], list[str]], path: str) -> None:
    """Neither on the page nor in the log: the path is named by its place in the configuration."""
    write_manifest(tmp_path, START)
    report = read(HealthReader([str(tmp_path), path], tolerant=True))
    [note] = report.notes
    assert note.startswith("path 2 of health_paths could not be read, so its connectors are not shown: path ")
    assert len(report.connectors) == 1
    text = "\n".join(logged())
    assert "path 2 of health_paths" in text
    assert "SupermetricsValidationError" in text
    for shown in (text, render(report)):
        assert "topsecret" not in shown
        assert "AKIAKEY" not in shown


def test_a_path_that_cannot_be_read(tmp_path: Path, logged: Callable[[], list[str]]) -> None:
    """A tolerant reader says so, beside the others; any other one raises it."""
    write_manifest(tmp_path / "logs", START)
    (tmp_path / "file").write_text("no folder")
    paths = [str(tmp_path / "file"), str(tmp_path / "logs")]
    report = read(HealthReader(paths, tolerant=True))
    assert len(report.connectors) == 1
    [note] = report.notes
    assert note.startswith(f"{tmp_path}/file could not be read, so its connectors are not shown: Not a dir")
    assert any("NotADirectoryError" in line for line in logged())
    with pytest.raises(NotADirectoryError):
        read(HealthReader(paths))
    with pytest.raises(SupermetricsValidationError):
        read(HealthReader(["logs"]))


def too_deep(folder: Path) -> None:
    """Make folders in each other, until their path is too long for the disk to list them."""
    folder.mkdir()
    at = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(os.pathconf(folder, "PC_PATH_MAX") // 200 + 1):
            os.mkdir("d" * 200, dir_fd=at)
            below = os.open("d" * 200, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
    finally:
        os.close(at)


def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    """A tolerant reader shows all others; any other one fails, so that a retry may list it."""
    write_manifest(tmp_path, START)
    too_deep(tmp_path / "deep")
    report = read(HealthReader([str(tmp_path)], tolerant=True))
    assert entries(report) == 100
    [note] = report.notes
    assert note.startswith("A folder could not be listed, so its exports are not shown: File name too long")
    assert f"cannot list {tmp_path}/deep/ddd" in note
    with pytest.raises(OSError, match="File name too long: cannot list"):
        read(HealthReader([str(tmp_path)]))


@pytest.mark.parametrize(("number", "shown"), [(MOST_FAILURES - 1, 1), (MOST_FAILURES, 0)])
def test_a_disk_that_lists_hardly_any_folder(tmp_path: Path, number: int, shown: int) -> None:
    """Some are left out; then the path is given up, because each failure may take long."""
    write_manifest(tmp_path, START)
    for index in range(number):
        too_deep(tmp_path / f"deep{index}")
    report = read(HealthReader([str(tmp_path)], tolerant=True))
    assert len(report.connectors) == shown
    expected = "14 other folders could not be listed, either" if shown else "its connectors are not shown"
    assert expected in report.notes[-1]


def test_a_damaged_manifest_is_named_in_each_report(tmp_path: Path) -> None:
    """Until it is replaced; its window counts as exported."""
    path = write_manifest(tmp_path, START)
    path.write_bytes(b"{")
    reader = HealthReader([str(tmp_path)])
    first = read(reader)
    [note] = first.notes
    assert note.startswith(f"{tmp_path}/{path.name} is damaged")
    assert first.connectors[0].unread == 1
    assert read(reader).notes == first.notes
    write_manifest(tmp_path, START)
    assert read(reader).notes == ()


def test_many_damaged_manifests(tmp_path: Path) -> None:
    """The newest are named, the others are counted."""
    for hour in range(7):
        write_manifest(tmp_path, START + hour * HOUR).write_bytes(b"{")
    notes = read(HealthReader([str(tmp_path)])).notes
    assert [note.count("is damaged") for note in notes] == [1, 1, 1, 1, 1, 0]
    assert "T060000Z-20260101T070000Z" in notes[0]
    assert notes[5] == "2 other manifests cannot be read, too"


def test_a_manifest_that_is_removed_meanwhile_is_read_again(tmp_path: Path) -> None:
    """A rerun removes its manifest and writes it again, on some disks with the same version."""
    path = write_manifest(tmp_path / "logs", START)
    is_there = False

    def clock() -> float:
        # It is called between the listing and the reading.
        if not is_there and path.exists():
            path.rename(tmp_path / "elsewhere")
        return 0.0

    reader = HealthReader([str(tmp_path / "logs")], clock=clock)
    [note] = read(reader).notes
    assert note.endswith("was removed meanwhile")
    is_there = True
    (tmp_path / "elsewhere").rename(path)
    report = read(reader)
    assert (entries(report), report.notes) == (100, ())


def test_a_manifest_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fill the memory of the API server."""
    size = write_manifest(tmp_path, START).stat().st_size
    monkeypatch.setattr(catalog, "MOST_BYTES", size - 1)
    [note] = read(HealthReader([str(tmp_path)])).notes
    assert note.endswith(f"is not read, because it has {size:,} bytes")
    monkeypatch.setattr(catalog, "MOST_BYTES", size)
    assert read(HealthReader([str(tmp_path)])).notes == ()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"entries": -1}, "a number of entries or errors"),
        ({"entries": 10**30}, "a number of entries or errors"),
        ({"team_id": 10**30}, "a team"),
        ({"errors": 101}, "a number of entries or errors"),
        ({"errors": -1}, "a number of entries or errors"),
        ({"duration_ms": {"entries": 100, "p50": 1, "p95": 1e308, "max": 1e308}}, "a duration"),
        ({"duration_ms": {"entries": 100, "p50": -1, "p95": 1, "max": 1}}, "a duration"),
        ({"duration_ms": {"entries": 101, "p50": 1, "p95": 1, "max": 1}}, "a duration"),
        ({"statuses": {str(number): 0 for number in range(1003)}}, "statuses"),
        ({"statuses": {"2" * 21: 1}}, "statuses"),
        ({"statuses": {"200": -1}}, "statuses"),
        ({"statuses": {"200": 101}}, "statuses"),
        ({"hours": [{"start": "x", "entries": 1, "errors": 0}]}, "an hour"),
        ({"hours": [{"start": "2026-01-01T01:00:00Z", "entries": 1, "errors": 0}]}, "an hour"),
        ({"hours": [{"start": "2025-12-31T23:00:00Z", "entries": 1, "errors": 0}]}, "an hour"),
        ({"hours": [{"start": "0001-01-01T00:00:00+14:00", "entries": 1, "errors": 0}]}, "an hour"),
        ({"hours": [{"start": "2026-01-01T00:00:00Z", "entries": 1, "errors": 2}]}, "an hour"),
        ({"hours": [{"start": "2026-01-01T00:00:00Z", "entries": 101, "errors": 2}]}, "an hour"),
    ],
)
def test_odd_values_are_a_note(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    """What no export writes neither counts nor ends the page."""
    path = write_manifest(tmp_path, START)
    manifest = json.loads(path.read_bytes())
    for name, value in change.items():
        (manifest if name in manifest else manifest["statistics"])[name] = value
    path.write_text(json.dumps(manifest))
    write_manifest(tmp_path, START + HOUR, entries=7)
    report = read(HealthReader([str(tmp_path)]))
    assert entries(report) == 7
    assert report.connectors[0].unread == 1
    [note] = report.notes
    assert note == f"{tmp_path}/{path.name} has {fault} that cannot be"
    assert render(report)


def test_an_hour_that_began_before_its_window(tmp_path: Path) -> None:
    """The first one of a window that does not begin at a full hour is no fault."""
    hours = [(START, 40, 1), (START + 3 * HOUR, 60, 2)]
    write_manifest(tmp_path, START + HOUR / 2, 3 * HOUR, errors=3, hours=hours)
    report = read(HealthReader([str(tmp_path)]))
    assert (entries(report), report.notes) == (100, ())


@needs_proc
def test_a_manifest_that_the_store_refuses_is_a_note(tmp_path: Path) -> None:
    """It is named, read again by the next report, and hides nothing else."""
    path = refuse(tmp_path, 1)
    write_manifest(tmp_path, START)
    reader = HealthReader([str(tmp_path)])
    report = read(reader)
    assert (entries(report), report.connectors[0].windows) == (100, 2)
    [note] = report.notes
    assert note.startswith("Input/output error: cannot read ")
    assert path.name in note
    assert read(reader).notes == report.notes

    path.unlink()
    write_manifest(tmp_path, START + HOUR)
    report = read(reader)
    assert (entries(report), report.notes) == (200, ())


@needs_proc
def test_a_store_that_refuses_all_is_given_up(tmp_path: Path) -> None:
    """Coverage comes from the names; a reader that is not tolerant raises the error."""
    for hour in range(24):
        refuse(tmp_path, hour)
    report = read(HealthReader([str(tmp_path)], tolerant=True))
    [health] = report.connectors
    assert (health.windows, health.unread, health.coverage.missing) == (24, 24, ())
    assert len(report.notes) == 7
    assert report.notes[5] == f"{MOST_FAILURES - 5} other manifests cannot be read, too"
    assert report.notes[6].startswith("4 manifests under ")
    assert f"not read, because {MOST_FAILURES} in a row could not be" in report.notes[6]
    with pytest.raises(OSError, match="cannot read"):
        read(HealthReader([str(tmp_path)]))


@needs_proc
def test_manifests_that_are_refused_here_and_there(tmp_path: Path) -> None:
    """Only failures in a row say that the store itself fails."""
    for hour in range(24):
        refuse(tmp_path, hour)
        write_manifest(tmp_path, START + hour * HOUR, HOUR / 2, connector="K2M41", entries=1)
    for is_tolerant in (True, False):
        report = read(HealthReader([str(tmp_path)], tolerant=is_tolerant))
        assert (entries(report), len(report.connectors)) == (24, 2)
        assert report.notes[5] == "19 other manifests cannot be read, too"


@needs_proc
def test_what_was_refused_is_read_last(tmp_path: Path) -> None:
    """So it does not keep the next reports from the others, however many it is."""
    for hour in range(MOST_FAILURES):
        refuse(tmp_path / "new", hour + 2)
    write_manifest(tmp_path / "old", START, entries=5)
    reader = HealthReader([str(tmp_path)], tolerant=True)
    assert [entries(read(reader)) for _ in range(2)] == [0, 5]


@needs_proc
def test_a_single_manifest_that_is_refused(tmp_path: Path) -> None:
    """A task that has read nothing fails, rather than to write a page without numbers."""
    refuse(tmp_path, 1)
    with pytest.raises(OSError, match="cannot read"):
        read(HealthReader([str(tmp_path)]))
    assert len(read(HealthReader([str(tmp_path)], tolerant=True)).connectors) == 1


def test_a_line_break_in_the_name_of_a_folder(tmp_path: Path) -> None:
    """It does not forge a line of a log."""
    write_manifest(tmp_path / "a\nFORGED", START).write_bytes(b"{")
    [note] = read(HealthReader([str(tmp_path)])).notes
    assert "a FORGED" in note
    assert note.isprintable()
