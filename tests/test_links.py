"""The extra links of the operators, as each release of Airflow makes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_supermetrics.links.supermetrics import (
    SupermetricsExportFolderLink,
    SupermetricsHealthReportLink,
    SupermetricsManifestLink,
)
from airflow_provider_supermetrics.operators.supermetrics import (
    SupermetricsExportLogsOperator,
    SupermetricsHealthReportOperator,
)
from dev.simulator import Simulator
from tests.conftest import CONNECTOR
from tests.support.compat import DAG
from tests.support.export import context
from tests.support.release import AIRFLOW_2, RELEASE

if RELEASE >= (3, 2):
    from airflow.serialization.serialized_objects import DagSerialization as SerializedDAG
else:
    from airflow.serialization.serialized_objects import SerializedDAG

pytestmark = pytest.mark.airflow_2

S3 = "https://console.aws.amazon.com/s3"
GCS = "https://console.cloud.google.com/storage/browser"
MANIFEST = "_manifest-T3S70-20260101T000000Z-20260101T010000Z.json"
OF_EXPORT: list[Any] = [SupermetricsExportFolderLink, SupermetricsManifestLink]
OF_HEALTH: list[Any] = [SupermetricsHealthReportLink]

Links = Callable[[Any], tuple[str, str, str]]


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> Links:
    """Return a function that returns all links of a task, by the result that it has, or None without one."""
    key = SimpleNamespace(dag_id="links", task_id="export", run_id="run", map_index=3)

    def made(result: Any) -> tuple[str, str, str]:
        operator: Any = SimpleNamespace(result=result)
        if AIRFLOW_2:
            from airflow.models import xcom

            def stored(*, ti_key: Any, key: str) -> Any:
                return result if (ti_key.map_index, key) == (3, "return_value") else None

            operator = object()  # the web server has no more of it
            monkeypatch.setattr(xcom.XCom, "get_value", stored)
        folder, manifest, page = (
            link.get_link(operator, ti_key=key)
            for link in (
                SupermetricsExportFolderLink(),
                SupermetricsManifestLink(),
                SupermetricsHealthReportLink(),
            )
        )
        return folder, manifest, page

    return made


@pytest.mark.parametrize(
    ("path", "folder", "manifest"),
    [
        (
            "s3://bucket/logs",
            f"{S3}/buckets/bucket?prefix=logs/",
            f"{S3}/object/bucket?prefix=logs/{MANIFEST}",
        ),
        ("s3a://bucket", f"{S3}/buckets/bucket?prefix=", f"{S3}/object/bucket?prefix={MANIFEST}"),
        (
            "s3://aws_default@bucket/a b/c#d?e=1&f/é %20/x@y",
            f"{S3}/buckets/bucket?prefix=a%20b/c%23d%3Fe%3D1%26f/%C3%A9%20%2520/x%40y/",
            f"{S3}/object/bucket?prefix=a%20b/c%23d%3Fe%3D1%26f/%C3%A9%20%2520/x%40y/{MANIFEST}",
        ),
        ("gs://gcp@bucket/logs/", f"{GCS}/bucket/logs/", f"{GCS}/_details/bucket/logs/{MANIFEST}"),
        ("gcs://bucket/", f"{GCS}/bucket/", f"{GCS}/_details/bucket/{MANIFEST}"),
        ("abfs://wasb_default@container/logs", "", ""),
        ("file:///logs", "", ""),
        ("/logs", "", ""),
        ("hdfs://host/logs", "", ""),
    ],
)
def test_where_the_links_lead(links: Links, path: str, folder: str, manifest: str) -> None:
    """To the store's console where the path says enough, quoted, and without Airflow's connection."""
    written = f"{path.rstrip('/')}/{MANIFEST}"
    assert links({"path": path, "manifest": written, "report": written}) == (folder, manifest, manifest)


@pytest.mark.parametrize("result", [None, {}, {"path": None, "manifest": 5}, "s3://bucket/logs", []])
def test_a_task_without_a_result_has_no_links(links: Links, result: Any) -> None:
    """A task that has failed, that waits, or whose operator returns something else."""
    assert links(result) == ("", "", "")


def test_a_dag_is_stored_with_the_links() -> None:
    """A task, and a mapped one, keep them through Airflow's database."""
    with DAG("links", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        usual: dict[str, Any] = {"connector_identifier": "T3S70", "path": "s3://bucket/logs"}
        SupermetricsExportLogsOperator(task_id="export", **usual)
        SupermetricsExportLogsOperator.partial(task_id="mapped", **usual).expand(
            window=["PT1H", timedelta(days=1)]
        )
        SupermetricsHealthReportOperator(task_id="health", path="s3://bucket/logs")
    restored = SerializedDAG.from_dict(json.loads(json.dumps(SerializedDAG.to_dict(dag))))
    for task_id, links_of_task in (("export", OF_EXPORT), ("mapped", OF_EXPORT), ("health", OF_HEALTH)):
        made: Any = restored.get_task(task_id).operator_extra_links
        if AIRFLOW_2:  # by name, where the provider's metadata lists the classes
            assert [type(link) for link in made] == links_of_task
        else:  # by what the task has stored
            assert [(link.xcom_key, link.name) for link in made] == [
                (f"_link_{link.__name__}", link.name) for link in links_of_task
            ]


@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 makes the links of the stored result")
def test_an_operator_keeps_its_result_for_the_links(
    simulate: Callable[..., Simulator], tmp_path: Path
) -> None:
    """Airflow 3 asks for the links at the end of the task's process, whatever has become of the task."""
    simulate()
    operator = SupermetricsExportLogsOperator(
        task_id="export", connector_identifier=CONNECTOR, path=str(tmp_path)
    )
    ti: Any = SimpleNamespace(map_index=-1)
    assert [link.get_link(operator, ti_key=ti) for link in operator.operator_extra_links] == ["", ""]
    result = operator.execute(context())
    assert operator.result == result
    operator.result = {**result, "path": "s3://bucket/logs"}
    [folder, manifest] = [link.get_link(operator, ti_key=ti) for link in operator.operator_extra_links]
    assert (folder, manifest) == (f"{S3}/buckets/bucket?prefix=logs/", "")
    health = SupermetricsHealthReportOperator(task_id="health", path=str(tmp_path))
    assert health.execute(context()) == health.result
