"""
See how all connectors are: every morning, write the page ``_health.html`` beside their exports.

To use it, set the Variable ``supermetrics_log_path`` to the folder of your exports.
"""

from __future__ import annotations

import pendulum

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsHealthReportOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

PATH = "{{ var.value.get('supermetrics_log_path', 's3://aws_default@my-bucket/supermetrics-logs') }}"

with DAG(
    dag_id="supermetrics_health_report",
    doc_md=__doc__,
    schedule="0 6 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["supermetrics"],
):
    # The result names the connectors that need attention, for a task that follows.
    SupermetricsHealthReportOperator(task_id="report_health", path=PATH, retries=3)
