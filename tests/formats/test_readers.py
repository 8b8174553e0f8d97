"""Exports as the programs read them that people use, with the very statements of docs/formats.md."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.dataset
import pyarrow.parquet
import pytest

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from dev.simulator import Connector, Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, KEY, START, TEAM
from tests.support.export import context
from tests.support.table import COLUMNS, ODD, SOURCE, entries_of, exact, rebuilt

# The environment of Airflow 2.11 tests what we write with, not what others read with.
duckdb = pytest.importorskip("duckdb")
pandas = pytest.importorskip("pandas")

LAST_HOUR = START + timedelta(hours=23)
"""The last window of a day: the next one is in another folder."""
LOGS = {(TEAM, CONNECTOR): 900, (TEAM, "007"): 300, (TEAM + 1, "B-2"): 600}
"""Connectors of two teams, and the entries that each has."""

Lake = Callable[..., tuple[Path, list[dict[str, Any]]]]
TeamLake = Callable[..., tuple[Path, Mapping[tuple[int, str], list[dict[str, Any]]]]]
Query = Callable[[str], list[dict[str, Any]]]
Documented = Callable[..., str]


@pytest.fixture
def documented(repository: Path) -> Callable[..., str]:
    """The one statement of docs/formats.md with this text in it, for another folder."""
    page = (repository / "docs/formats.md").read_text()

    def find(part: str, folder: Path | str = "") -> str:
        blocks = re.findall(r"```(?:sql|python)\n(.*?)```", page, re.DOTALL)
        [block] = [block for block in blocks if part in block]
        return block.replace("s3://my-bucket/supermetrics-logs", str(folder))

    return find


@pytest.fixture
def lake(
    simulate: Callable[..., Simulator], tmp_path: Path, documented: Callable[..., str]
) -> Callable[..., tuple[Path, list[dict[str, Any]]]]:
    """Export four hourly windows around midnight, each in several parts; return the folder and the truth."""

    def export(format: str, odd: bool = True, **arguments: Any) -> tuple[Path, list[dict[str, Any]]]:
        folder = tmp_path / "lake"
        entries = generate_entries(count=1200, start=LAST_HOUR, end=LAST_HOUR + 4 * HOUR, seed=5)
        changes = [
            change for change, _, _ in ODD if "\ud800" not in change.values() and "log_time" not in change
        ]
        if odd:
            for number, change in enumerate(changes):
                entries[number * 40] |= change
            entries[-1]["region"] = "eu"
        sim = simulate(entries)
        [path] = re.findall(r'path="(.*)"', documented("macros.timedelta"))
        for number in range(4):
            end = LAST_HOUR + (number + 1) * HOUR
            run = context(data_interval_end=end, macros=SimpleNamespace(timedelta=timedelta))
            operator = SupermetricsExportLogsOperator(
                task_id=f"export_{number}",
                connector_identifier=CONNECTOR,
                path=path.replace("s3://aws_default@my-bucket/supermetrics-logs", f"file://{folder}"),
                window=HOUR,
                format=format,
                entries_per_file=70,
                **arguments,
            )
            operator.render_template_fields(run)
            operator.execute(run)
        assert {path.name for path in folder.iterdir()} == {"date=2026-01-01", "date=2026-01-02"}
        assert len(list(folder.glob("*/_manifest-*.json"))) == 4
        return folder, sim.truth(CONNECTOR, LAST_HOUR, LAST_HOUR + 4 * HOUR)

    return export


@pytest.fixture
def query() -> Callable[[str], list[dict[str, Any]]]:
    """Query with DuckDB, which may fetch nothing from the network."""
    if int(duckdb.__version__.split(".")[0]) < 2:
        pytest.skip("DuckDB before 2.0, which is for Python 3.11, downloads what it needs for time zones")
    database = duckdb.connect(config={"autoinstall_known_extensions": False, "TimeZone": "UTC"})

    def run(statement: str) -> list[dict[str, Any]]:
        result = database.execute(statement)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    return run


@pytest.fixture
def gaps_statement(repository: Path) -> Callable[[Path], str]:
    """The statement of docs/export.md, for another folder."""
    page = (repository / "docs/export.md").read_text("utf-8")
    [statement] = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    return lambda folder: statement.replace("s3://my-bucket/supermetrics-logs", str(folder))


def same(entries: list[dict[str, Any]], truth: list[dict[str, Any]]) -> bool:
    """Whether these are the entries, in any order."""
    return sorted(map(exact, entries)) == sorted(map(exact, truth))


def columns(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the column that the folder's name makes."""
    return {name: row[name] for name in COLUMNS}


def test_a_folder_instead_of_a_glob(lake: Lake, query: Query) -> None:
    """As docs/formats.md warns: DuckDB takes each manifest for an entry, or fails at it."""
    folder, truth = lake("jsonl", odd=False)
    [row] = query(f"SELECT count(*) AS entries FROM read_json('{folder}/*/*')")
    assert row["entries"] == len(truth) + 4
    [row] = query(f"SELECT count(*) AS entries FROM read_json('{folder}/*/*.jsonl.gz')")
    assert row["entries"] == len(truth)


def test_parquet_with_duckdb(lake: Lake, query: Query, documented: Documented) -> None:
    """All windows at once, with the folders as a column, and `extra` as JSON."""
    folder, truth = lake("parquet")
    rows = query(f"SELECT * FROM read_parquet('{folder}/*/*.parquet')")
    assert same([rebuilt(columns(row)) for row in rows], truth)
    assert {(row["team_id"], row["connector_identifier"]) for row in rows} == {(TEAM, CONNECTOR)}
    groups = query(documented("hive_partitioning", folder).replace("LIMIT 20", ""))
    assert {(group["connector_identifier"], group["errors"] > 0) for group in groups} == {(CONNECTOR, True)}
    assert sum(group["errors"] for group in groups) == sum(
        type(entry["status"]) is int and 400 <= entry["status"] < 2**15
        for entry in truth
        if day_of(entry) == "2026-01-01"
    )
    found = query(documented("json_valid(extra)", folder))
    assert [row["region"] for row in found if row["region"]] == ["eu"]
    assert [row["odd_duration"] for row in found if row["odd_duration"] not in (None, "null")] == [str(2**70)]


def day_of(entry: Mapping[str, Any]) -> str:
    """The day of an entry, in UTC."""
    return str(entry["log_time"])[:10]


@pytest.fixture
def team_lake(connection: Callable[..., None], tmp_path: Path) -> TeamLake:
    """Export two days of connectors of two teams; return the folder and the truth of each connector."""

    def export(format: str) -> tuple[Path, Mapping[tuple[int, str], list[dict[str, Any]]]]:
        folder = tmp_path / "teams"
        start, end = START, START + 48 * HOUR
        connectors = [
            Connector(name, generate_entries(count, start, end, seed=seed), team_id=team)
            for seed, ((team, name), count) in enumerate(LOGS.items())
        ]
        with Simulator(connectors=connectors, tokens={KEY: {team for team, _ in LOGS}}) as sim:
            connection(sim.url)
            for team, name in LOGS:
                for begin in (start, start + 24 * HOUR):
                    SupermetricsExportLogsOperator(
                        task_id="export",
                        connector_identifier=name,
                        team_id=team,
                        path=f"file://{folder}/{team}",
                        start=begin,
                        end=begin + 24 * HOUR,
                        format=format,
                    ).execute(context())
            return folder, {(team, name): sim.truth(name, start, end) for team, name in LOGS}

    return export


def errors_by_day(truth: Mapping[tuple[int, str], list[dict[str, Any]]]) -> Counter[tuple[str, str]]:
    """Errors by connector and day."""
    return Counter(
        (name, day_of(entry))
        for (_, name), entries in truth.items()
        for entry in entries
        if (entry["status"] or 0) >= 400
    )


def counted(rows: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """The same from rows."""
    return Counter({(row["connector_identifier"], str(row["day"])): int(row["errors"]) for row in rows})


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_errors_by_connector_and_day(
    team_lake: TeamLake, query: Query, documented: Documented, format: str
) -> None:
    """The first statement of docs/formats.md, over connectors of two teams."""
    folder, truth = team_lake(format)
    statement = documented("log_time::DATE AS day", folder)
    if format == "csv":
        [files] = re.findall(r"read_csv\(.*?\)", documented("read_csv('", folder), re.DOTALL)
        statement = re.sub(r"read_parquet\(.*?\)", lambda _: files, statement)
    rows = query(statement)
    assert counted(rows) == errors_by_day(truth)
    assert sum(row["entries"] for row in rows) == sum(LOGS.values())


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_errors_by_connector_and_day_from_the_manifests(
    team_lake: TeamLake, query: Query, documented: Documented, format: str
) -> None:
    """The same without reading an entry."""
    folder, truth = team_lake(format)
    rows = query(documented("statistics.errors", folder))
    assert counted(rows) == errors_by_day(truth)
    assert {(row["team_id"], row["connector_identifier"]) for row in rows} == LOGS.keys()
    assert sum(row["entries"] for row in rows) == sum(LOGS.values())


def test_the_connector_of_json_lines(team_lake: TeamLake, query: Query, documented: Documented) -> None:
    """It is taken from the name of the object."""
    folder, _ = team_lake("jsonl")
    rows = query(documented("regexp_extract(filename", folder))
    assert Counter(row["connector_identifier"] for row in rows) == {name: n for (_, name), n in LOGS.items()}


def test_each_connector_can_be_rebuilt_from_one_table(team_lake: TeamLake, query: Query) -> None:
    """Rows of all teams together: those of a connector are its entries."""
    folder, truth = team_lake("parquet")
    rows = query(f"SELECT * FROM read_parquet('{folder}/**/*.parquet')")
    for source, entries in truth.items():
        of_source = [row for row in rows if tuple(row[name] for name in SOURCE) == source]
        assert same([rebuilt(columns(row)) for row in of_source], entries)


def test_files_of_version_1_beside_others(team_lake: TeamLake, query: Query) -> None:
    """As docs/formats.md says: by name, those without the first columns go together with the others."""
    folder, truth = team_lake("parquet")
    file = next(folder.glob("*/007-*.parquet"))
    table = pyarrow.parquet.read_table(file)
    pyarrow.parquet.write_table(table.drop_columns(SOURCE), file)
    rows = query(f"SELECT * FROM read_parquet('{folder}/**/*.parquet', union_by_name = true)")
    assert same([rebuilt(columns(row)) for row in rows], [entry for log in truth.values() for entry in log])
    assert sum(row["team_id"] is None for row in rows) == table.num_rows


@pytest.mark.parametrize(("compression", "suffix"), [("gzip", ".gz"), ("zstd", ".zst"), ("none", "")])
def test_csv_with_duckdb(
    lake: Lake, query: Query, documented: Documented, compression: str, suffix: str
) -> None:
    """The same from text, with the types that the documentation names."""
    folder, truth = lake("csv", compression=compression)
    statement = documented("read_csv('", folder).replace(".csv.gz", f".csv{suffix}")
    assert same([rebuilt(columns(row)) for row in query(statement)], truth)


def test_ordinary_csv_needs_no_types(lake: Lake, query: Query) -> None:
    """What DuckDB guesses is right where nothing is odd."""
    folder, truth = lake("csv", odd=False)
    rows = query(f"SELECT * FROM '{folder}/*/*.csv.gz'")
    assert same([rebuilt(columns(row)) for row in rows], truth)


@pytest.mark.parametrize(("compression", "suffix"), [("gzip", ".gz"), ("zstd", ".zst"), ("none", "")])
def test_jsonl_with_duckdb(
    lake: Lake, query: Query, documented: Documented, compression: str, suffix: str
) -> None:
    """Whole entries, and the documented columns."""
    folder, truth = lake("jsonl", compression=compression)
    rows = query(f"SELECT json FROM read_json_objects('{folder}/*/*.jsonl{suffix}')")
    assert same([json.loads(row["json"]) for row in rows], truth)
    rows = query(documented("regexp_extract(filename", folder).replace(".jsonl.gz", f".jsonl{suffix}"))
    assert {row["connector_identifier"] for row in rows} == {CONNECTOR}
    assert sorted(row["id"] for row in rows) == sorted(str(entry["id"]) for entry in truth)
    assert str(2**70) in {row["duration_ms"] for row in rows}


def test_parquet_with_pyarrow(lake: Lake) -> None:
    """A folder as a data set: manifests are no part of it."""
    folder, truth = lake("parquet")
    table = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive").to_table()
    assert same([rebuilt(columns(row)) for row in table.to_pylist()], truth)


def test_parquet_with_pandas(lake: Lake) -> None:
    """A folder, with the types that the columns have."""
    folder, truth = lake("parquet")
    frame = pandas.read_parquet(folder, dtype_backend="pyarrow")
    rows = [columns(row) for row in frame.to_dict("records")]
    for row in rows:
        row["log_time"] = row["log_time"].to_pydatetime()
        row |= {name: None for name, value in row.items() if pandas.isna(value)}
    assert same([rebuilt(row) for row in rows], truth)


def test_gaps_with_duckdb(lake: Lake, query: Query, gaps_statement: Callable[[Path], str]) -> None:
    """The statement of docs/export.md finds a window that was never exported, and the end of the last one."""
    folder, _ = lake("parquet")
    manifests = sorted(folder.glob("*/_manifest-*.json"))
    manifests[1].unlink()
    begin, end = LAST_HOUR + HOUR, LAST_HOUR + 4 * HOUR
    assert gaps(query(gaps_statement(folder))) == [(begin, begin + HOUR), (end, None)]


def test_no_gap_where_another_window_encloses_it(
    lake: Lake, query: Query, gaps_statement: Callable[[Path], str]
) -> None:
    """A day over hours: what an hour lacks, the day has, also behind a shorter window that ends before."""
    folder, _ = lake("parquet")
    manifests = sorted(folder.glob("*/_manifest-*.json"))
    manifests[2].unlink()
    export_more(folder, LAST_HOUR, LAST_HOUR + 3 * HOUR)
    assert gaps(query(gaps_statement(folder))) == [(LAST_HOUR + 4 * HOUR, None)]
    # The hour within the gap's end is not covered by what ends within it.
    manifests[3].unlink()
    export_more(folder, LAST_HOUR + 5 * HOUR, LAST_HOUR + 6 * HOUR)
    last = (LAST_HOUR + 3 * HOUR, LAST_HOUR + 5 * HOUR)
    assert gaps(query(gaps_statement(folder))) == [last, (LAST_HOUR + 6 * HOUR, None)]


def test_entries_of_overlapping_windows_with_duckdb(lake: Lake, query: Query, documented: Documented) -> None:
    """Hours, a day over some of them, a window across two, one twice in two folders: each entry once."""
    folder, truth = lake("parquet")
    export_more(folder, LAST_HOUR, LAST_HOUR + 3 * HOUR)
    export_more(folder, LAST_HOUR + HOUR / 2, LAST_HOUR + 3 * HOUR / 2)
    export_more(folder / "again", LAST_HOUR + HOUR, LAST_HOUR + 2 * HOUR)
    every = query(f"SELECT * FROM read_parquet('{folder}/**/*.parquet')")
    assert len(every) > 1.5 * len(truth)
    rows = query(documented("EXISTS", folder))
    assert same([rebuilt(columns(row)) for row in rows], truth)


def export_more(folder: Path, start: datetime, end: datetime) -> None:
    """Export another window beside the others."""
    SupermetricsExportLogsOperator(
        task_id="more",
        connector_identifier=CONNECTOR,
        path=f"file://{folder}",
        start=start,
        end=end,
        format="parquet",
        entries_per_file=70,
    ).execute(context())


def gaps(rows: list[dict[str, Any]]) -> list[tuple[datetime, datetime | None]]:
    """What is missing, in the order of time."""
    assert {row["connector_identifier"] for row in rows} == {CONNECTOR}
    return sorted(((row["missing_from"], row["missing_to"]) for row in rows), key=str)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_csv_with_pandas(lake: Lake, documented: Documented, compression: str) -> None:
    """As documented, each file by its name's end."""
    folder, truth = lake("csv", compression=compression)
    [call] = re.findall(r"(pandas\.read_csv.*?\}\))", documented("pandas.read_csv"), re.DOTALL)
    entries = []
    for file in folder.glob("*/*.csv*"):
        frame = eval(call.replace('"export/….csv.gz"', "file"), {"pandas": pandas, "file": file})
        for row in map(columns, frame.to_dict("records")):
            row["log_time"] = row["log_time"].to_pydatetime()
            assert (row["team_id"], row["connector_identifier"]) == (TEAM, CONNECTOR)
            row |= {name: None for name, value in row.items() if pandas.isna(value) or value == ""}
            entries.append(rebuilt(row))
    assert same(entries, truth)


def test_jsonl_with_pandas(lake: Lake) -> None:
    """Within the range of its numbers; pandas does not read an integer beyond 64 bits."""
    folder, truth = lake("jsonl", odd=False)
    frames = [pandas.read_json(file, lines=True, dtype=False) for file in folder.glob("*/*.jsonl.gz")]
    assert set(pandas.concat(frames)["id"]) == {entry["id"] for entry in truth}


def test_the_documented_way_back(lake: Lake, documented: Documented) -> None:
    """The two lines of Python make entries of rows, whose times are printed as CSV has them."""
    folder, truth = lake("csv")
    code = compile(documented("if value is not None"), "formats.md", "exec")
    whole = ("team_id", "status", "duration_ms")
    entries = []
    for file in folder.glob("*/*.csv.gz"):
        with gzip.open(file, "rt", newline="") as text:
            for cells in csv.DictReader(text):
                row = {
                    name: None if not cell else int(cell) if name in whole else cell
                    for name, cell in cells.items()
                }
                names: dict[str, Any] = {"row": row, "json": json}
                exec(code, names)
                entries.append(names["entry"])
    assert same(entries, truth)
    assert same(
        entries, [e for f in folder.glob("*/*.csv.gz") for e in entries_of(f.read_bytes(), ".csv.gz")]
    )
