"""
Keep the logs of all connectors of a team: every hour, export the hour that has just ended.

To use it, add a Connection ``supermetrics_default`` (type Supermetrics) with the team's number, and
set the Variable ``supermetrics_log_path`` to a folder of yours. A new connector is exported from the
next run on, without a change here. Create the pool, or the tasks stay queued forever:

    airflow pools set supermetrics_api 4 "exports that use the API at one time" --include-deferred
"""

from __future__ import annotations

from datetime import timedelta

import pendulum

from airflow_provider_supermetrics.operators.supermetrics import (
    SupermetricsExportLogsOperator,
    SupermetricsListConnectorsOperator,
)

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

PATH = "{{ var.value.get('supermetrics_log_path', 's3://aws_default@my-bucket/supermetrics-logs') }}"

with DAG(
    dag_id="supermetrics_team_export",
    schedule="@hourly",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retries": 3},
    doc_md=__doc__,
    tags=["supermetrics"],
):
    connectors = SupermetricsListConnectorsOperator(task_id="list_connectors")

    SupermetricsExportLogsOperator.partial(
        task_id="export_logs",
        path=PATH,
        window=timedelta(hours=1),
        # All connectors share the key's requests per hour. When they are spent, a deferred export holds no
        # worker slot; but it keeps its slot in this pool, so that the others are not refused, too.
        deferrable=True,
        pool="supermetrics_api",
    ).expand(connector_identifier=connectors.output)
