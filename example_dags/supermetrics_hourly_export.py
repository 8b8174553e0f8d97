"""
Keep the logs of one connector: every hour, export the hour that has just ended.

To use it, add a Connection ``supermetrics_default`` (type Supermetrics), set the Variable
``supermetrics_log_path`` to your own folder, and replace ``T3S70`` with your connector.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator

try:
    from airflow.sdk import DAG, Asset
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.datasets import Dataset as Asset

PATH = "{{ var.value.get('supermetrics_log_path', 's3://aws_default@my-bucket/supermetrics-logs') }}"

with DAG(
    dag_id="supermetrics_hourly_export",
    doc_md=__doc__,
    schedule="@hourly",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retries": 3},
    tags=["supermetrics"],
):
    SupermetricsExportLogsOperator(
        task_id="export_logs",
        connector_identifier="T3S70",
        path=PATH,
        window=timedelta(hours=1),
        # A DAG scheduled on this asset runs when an hour is complete; the asset event contains the path.
        outlets=[Asset("supermetrics_logs")],
    )
