"""The benchmark's own measurements: scores, memory and contestants."""

from __future__ import annotations

import gzip
import json
import os

import pytest

from benchmarks import formats, parse, report, triggers
from benchmarks.contestants import FLOOR, OURS, Job
from benchmarks.log import CONNECTOR, KEY, TEAM_ID, Log, served, text
from benchmarks.process import measure
from benchmarks.runs import Result, Run, bench, defects
from benchmarks.table import table
from benchmarks.truth import Score, Truth
from dev.simulator import generate_entries
from dev.simulator.times import TimeFormat, microseconds

LOG = Log(2500)


@pytest.fixture(scope="module")
def truth():
    """What the simulator serves of LOG."""
    return Truth(LOG)


def test_score(tmp_path, truth):
    """What is missing, doubled, changed or foreign is counted, and nothing else."""
    entries = generate_entries(LOG.entries, LOG.start, LOG.end, seed=LOG.seed, ties=LOG.ties)
    for entry in entries:
        entry["log_time"] = TimeFormat().text(microseconds(entry["log_time"]))
    entries[5]["status"] = 999
    written = [*entries[2:], entries[7], {**entries[8], "id": "foreign"}]
    for part, some in enumerate((written[:1000], written[1000:])):
        with gzip.open(tmp_path / f"{part}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in some)
    score = truth.score(tmp_path)
    assert (score.right, score.missing, score.duplicated, score.changed) == (2497, 2, 1, 2)
    assert not score.is_perfect


def test_the_same_values_in_another_form(tmp_path, truth):
    """Nulls left out, fields added and other forms of times are no changes, but the export is not perfect."""
    entries = generate_entries(LOG.entries, LOG.start, LOG.end, seed=LOG.seed, ties=LOG.ties)
    with gzip.open(tmp_path / "0.jsonl.gz", "wt") as file:
        for entry in entries:
            time = TimeFormat(zone="+00:00").text(microseconds(entry["log_time"]))
            values = {name: value for name, value in entry.items() if value is not None}
            file.write(json.dumps({**values, "log_time": time, "load_id": "1"}) + "\n")
    score = truth.score(tmp_path)
    assert (score.right, score.respelled, score.missing, score.changed) == (2500, 2500, 0, 0)
    assert not score.is_perfect


PERFECT = Score(2500, 0, 0, 0, 0, 100_000)


def result(contestant=OURS, *, score=PERFECT, requests=4, connections=1):
    """A result of one run."""
    return Result(contestant, [Run(0.1, 10_000_000, 1.5, requests, connections, score)])


@pytest.mark.parametrize(
    ("changes", "defect"),
    [
        ({}, None),
        ({"contestant": FLOOR, "score": Score(2499, 0, 1, 0, 0, 100_000)}, None),
        ({"score": Score(2499, 0, 1, 0, 0, 100_000)}, "is not exactly the log"),
        ({"score": Score(2500, 1, 0, 0, 0, 100_000)}, "is not exactly the log"),
        ({"requests": 5}, None),
        ({"requests": 6}, "sent 6 requests; at most 5 are allowed"),
        ({"connections": 2}, "opened 2 connections"),
    ],
)
def test_what_fails_the_benchmark(truth, changes, defect):
    """An export of this package that is not exact, or needs too many requests or connections."""
    found = defects(LOG, truth, [result(**changes)])
    assert (defect in found[0]) if defect else found == []


def test_floor(tmp_path, truth):
    """The floor's export has every entry, unchanged."""
    with bench(LOG, truth) as one:
        [floor] = one.rounds([FLOOR], 1)
    assert floor.runs[0].score.is_perfect
    assert (floor.runs[0].requests, floor.runs[0].connections) == (4, 1)
    assert floor.cpu > 0 and floor.wall > 0


def test_results_replace_earlier_ones(tmp_path, monkeypatch):
    """The tables of a page are replaced, and its text is kept."""
    page = tmp_path / "page.md"
    markers = "<!-- begin growth: written by `make bench` -->\n\n<!-- end growth -->\n"
    page.write_text(f"# Head\n\n{markers}\nTail\n")
    monkeypatch.setattr(report, "_PAGE", page)
    growth = report.Growth("make bench ARGS=--growth", [(2500, result())])
    growth.write()
    once = page.read_text()
    assert "| 2,500 | 2,500 | 4 | 0.10 | 40.0 | 10.0 | 1.5 |" in once
    assert once.startswith("# Head\n\n<!-- begin growth") and once.endswith("<!-- end growth -->\n\nTail\n")
    growth.write()
    assert page.read_text() == once
    page.write_text("# Head\n")
    with pytest.raises(RuntimeError, match=r"page\.md has no <!-- begin growth"):
        growth.write()


def test_statistics(truth):
    """Both kinds of export run, and the time inside is a part of the one that counts."""
    with bench(LOG, truth) as one:
        cost = one.statistics(2)
    assert 0 < cost.inside < cost.counted and cost.uncounted > 0 and 0 < cost.share < 1
    cost = report.Cost(0.05, 0.04, 0.005, share=0.123)
    printed = report.Share(LOG, "make bench ARGS=--statistics", 2, cost).markdown()
    assert "| export without them | 16.00 |  |\n| inside the statistics | 2.00 | 12.3 % |" in printed


def test_contestant(tmp_path, truth):
    """The plain loop runs in its own process against the same log; it requests all pages and an empty one."""
    with served(LOG) as simulator:
        assert simulator.digest() == truth.digest()
        target = tmp_path / "target"
        target.mkdir()
        job = Job(simulator.url, KEY, TEAM_ID, CONNECTOR, text(LOG.start), text(LOG.end), str(target))
        arguments = ("-m", "benchmarks.contestants", "requests_loop", job.to_json())
        usage = measure(*arguments, environment={}, log=tmp_path / "output.txt")
        assert (simulator.requests()["count"], simulator.requests()["connections"]) == (4, 1)
    score = truth.score(target)
    assert score.right + score.missing == LOG.entries
    assert not score.changed and usage.cpu > 0 and usage.wall > 0


def test_memory_is_the_process_s_own(tmp_path):
    """A process's peak is not that of the process that starts it."""
    ballast = os.urandom(200_000_000)
    usage = measure("-c", "pass", environment={}, log=tmp_path / "output.txt")
    assert usage.peak_memory < len(ballast) / 4


def test_failure_shows_output(tmp_path):
    """A contestant that fails ends the benchmark with its output."""
    with pytest.raises(RuntimeError, match="no such thing"):
        measure("-c", "raise SystemExit('no such thing')", environment={}, log=tmp_path / "output.txt")


def test_formats(tmp_path):
    """What is measured writes the lines that it holds, all of them."""
    lines, target = tmp_path / "lines", tmp_path / "object"
    lines.write_bytes(b'{"id":"1"}\n' * 2500)
    assert formats.main(["--hold", str(lines), "--write", "jsonl", "gzip", str(target)]) == 0
    assert gzip.decompress(target.read_bytes()) == lines.read_bytes()


def test_parse(capsys):
    """Each DAG file can be read, and is in the table."""
    assert parse.main(["--rounds", "1"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name}  " in printed for name in parse.FILES)


def test_table():
    """Columns are aligned."""
    assert table([["", "a"], ["bb", "10"]]) == "     a\n------\nbb  10"


def test_deferred_sensors_leave_the_loop_free():
    """200 sensors on 50 connectors: no piece of work takes the event loop for long."""
    result = triggers.measure(sensors=200, connectors=50, polls=3)
    assert (result.sensors, result.connectors) == (200, 50)
    # CPU time of the loop's thread, which a busy machine does not change.
    assert result.longest_cpu < 0.1
    first_polls = 2 * result.sensors
    assert result.sensors * 2 <= result.requests <= first_polls + 3 * result.sensors
