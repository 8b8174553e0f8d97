"""Templates in the export operator's arguments: checked when they are rendered, as others when read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from dev.simulator import Simulator
from tests.conftest import CONNECTOR, HOUR, START
from tests.support.compat import DAG
from tests.support.export import Exported, a_dag, context, log_of, manual_run, span, utc

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]
Run = Callable[..., dict[str, Any]]

#: Each argument that can be a template, beside those whose templates other modules test.
TEMPLATES = {
    "window": "{{ params.window }}",
    "align": "{{ params.align }}",
    "settle": "{{ params.settle }}",
    "format": "{{ params.format }}",
    "compression": "{{ params.compression }}",
    "entries_per_file": "{{ params.entries_per_file }}",
}
INVALID = [
    ("window", "1h", "window must be a timedelta or an ISO 8601 duration such as 'PT1H' or 'P1D', not '1h'"),
    ("align", "maybe", "align must be True or False, not 'maybe'"),
    (
        "settle",
        "soon",
        "settle must be a timedelta or an ISO 8601 duration such as 'PT1H' or 'P1D', not 'soon'",
    ),
    ("format", "xml", "format must be 'jsonl', 'csv' or 'parquet', not 'xml'"),
    (
        "compression",
        "rar",
        "compression must be 'auto', 'gzip', 'zstd' or 'none' with format 'jsonl', not 'rar'",
    ),
    ("entries_per_file", "many", "entries_per_file must be an integer of 1 or more, not 'many'"),
]


@pytest.fixture
def run(exported: Exported) -> Run:
    """Return a function that renders an export's templates as a worker does, and runs it."""

    def export(params: dict[str, Any], native: bool = False, **arguments: Any) -> dict[str, Any]:
        dag = DAG("templates", schedule=None, start_date=START, render_template_as_native_obj=native)
        arguments = {"task_id": "export", "connector_identifier": CONNECTOR, **arguments}
        operator = SupermetricsExportLogsOperator(path=str(exported.folder), dag=dag, **arguments)
        run_context = context(params=params, dag=dag)
        operator.render_template_fields(run_context)
        result: dict[str, Any] = operator.execute(run_context)
        return result

    return export


@pytest.mark.parametrize("native", [False, True])
def test_all_arguments_by_templates(simulate: Simulate, exported: Exported, run: Run, native: bool) -> None:
    """Each counts as if it were written in the DAG, also where templates give objects of Python."""
    simulate(log_of(1000))
    params = {
        "window": timedelta(minutes=30) if native else "PT30M",
        "align": False,
        "settle": timedelta(minutes=1) if native else "PT1M",
        "format": "csv",
        "compression": "none",
        "entries_per_file": 100,
    }
    result = run(params, native, **TEMPLATES)
    assert span(result) == (START + HOUR / 2, START + HOUR)
    parts = [name for name in exported.names if name.endswith(".csv")]
    assert len(parts) == -(-result["entries"] // 100) > 1


def test_templates_that_give_nothing(simulate: Simulate, run: Run) -> None:
    """An empty window or settle is as none: the data interval is the window."""
    simulate()
    result = run({"window": "", "settle": None}, window=TEMPLATES["window"], settle=TEMPLATES["settle"])
    assert span(result) == (START, START + HOUR)


@pytest.mark.parametrize(("name", "value", "message"), INVALID)
def test_the_same_message_when_read_and_when_run(
    simulate: Simulate, exported: Exported, run: Run, name: str, value: str, message: str
) -> None:
    """What a template gives is checked before any request, with the words of the check of the DAG."""
    sim = simulate()
    with pytest.raises(SupermetricsValidationError) as read:
        SupermetricsExportLogsOperator(
            task_id="t", connector_identifier=CONNECTOR, path="/x", **{name: value}
        )
    with pytest.raises(SupermetricsValidationError) as ran:
        run({name: value}, **{name: TEMPLATES[name]})
    assert str(read.value) == str(ran.value) == message
    assert sim.requests == []
    assert exported.names == []


def test_start_or_window_by_templates(simulate: Simulate, run: Run) -> None:
    """Both may be written where templates give one of them; both at once are refused at run time."""
    simulate()
    both: dict[str, Any] = {"start": "{{ params.start }}", "window": "PT30M"}
    assert span(run({"start": ""}, **both)) == (START + HOUR / 2, START + HOUR)
    with pytest.raises(SupermetricsValidationError, match=r"^give start or window, not both$"):
        run({"start": "2026-01-01T00:00:00Z"}, **both)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": "{{ params.start }}", "window": "1h"}, "window must be"),
        ({"settle": "{{ params.settle }}", "align": "maybe"}, "align must be"),
        ({"format": "{{ params.format }}", "entries_per_file": 0}, "entries_per_file must be"),
    ],
)
def test_a_template_hides_no_other_mistake(arguments: dict[str, Any], message: str) -> None:
    """The arguments that are no templates are checked when the DAG is read."""
    with pytest.raises(SupermetricsValidationError, match=message):
        SupermetricsExportLogsOperator(task_id="t", connector_identifier="A", path="/x", **arguments)


@pytest.mark.parametrize(
    ("window", "start"),
    [
        ("PT1H", "2026-03-29T21:00:00"),
        ("P1D", "2026-03-28T23:00:00"),  # a day of 23 hours
        ("PT24H", "2026-03-28T23:00:00"),  # counts as a day, as in a timedelta
        ("P1W", "2026-03-22T23:00:00"),
        ("P1M", "2026-02-27T23:00:00"),  # which has no 30th
    ],
)
def test_days_and_months_are_calendar_units(
    quiet: Simulator, exported: Exported, window: str, start: str
) -> None:
    """A duration that is written as a string is as long as one of Python's."""
    end = utc("2026-03-29T22:00:00")
    operator = SupermetricsExportLogsOperator(
        task_id="t", connector_identifier=CONNECTOR, path=str(exported.folder), window=window, align=False
    )
    found = span(operator.execute(manual_run(a_dag("@daily", "Europe/Berlin"), end)))
    assert found == (utc(start), end)


def test_a_mapped_window(simulate: Simulate, tmp_path: Path) -> None:
    """`expand(window=[...])` takes what the argument takes."""
    simulate()
    with DAG("mapped", schedule=None, start_date=START) as dag:
        mapped: Any = SupermetricsExportLogsOperator.partial(
            task_id="export",
            connector_identifier=CONNECTOR,
            path=str(tmp_path),
            settle="{{ params.settle }}",
        ).expand(window=["PT15M", timedelta(minutes=30)])
    lengths = []
    for window in ("PT15M", timedelta(minutes=30)):
        operator = mapped.unmap({"window": window})
        run_context = context(params={"settle": "PT1M"}, dag=dag)
        operator.render_template_fields(run_context)
        start, end = span(operator.execute(run_context))
        lengths.append(end - start)
    assert lengths == [timedelta(minutes=15), timedelta(minutes=30)]


def test_another_task_s_output_is_read_at_run_time() -> None:
    """An argument that another task returns is not checked before."""
    with DAG("outputs", schedule=None, start_date=START):
        first = SupermetricsExportLogsOperator(task_id="first", connector_identifier="A", path="/x")
        outputs: dict[str, Any] = dict.fromkeys(TEMPLATES, first.output)
        second = SupermetricsExportLogsOperator(
            task_id="second", connector_identifier="A", path="/x", **outputs
        )
    assert second.upstream_task_ids == {"first"}
