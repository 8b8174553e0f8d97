"""
Keep the logs of all connectors of a team: every hour, export the hour that has just ended.

To use it, add a Connection ``supermetrics_default`` (type Supermetrics) with your Team ID, and set
the Variable ``supermetrics_log_path`` to your own folder. A new connector is exported from the next run on,
without any change to this file. Create the pool first; without it, the tasks stay queued forever:

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
        # All exports share the API key's hourly requests. When these are used up, a deferred export occupies
        # no worker slot, but keeps its slot in this pool, so that no further export starts and is refused.
        deferrable=True,
        pool="supermetrics_api",
    ).expand(connector_identifier=connectors.output)
