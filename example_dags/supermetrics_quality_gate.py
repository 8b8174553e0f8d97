"""
Load data only if the connector that delivers it logged no errors in the last hour; else skip the load.

To use it, add a Connection ``supermetrics_default`` (type Supermetrics), and replace ``T3S70`` with your
connector and ``load`` with your own task.
"""

from __future__ import annotations

import logging
from datetime import timedelta

import pendulum

from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsHook

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task

log = logging.getLogger(__name__)

with DAG(
    dag_id="supermetrics_quality_gate",
    schedule="@hourly",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retries": 3},
    doc_md=__doc__,
    tags=["supermetrics"],
):

    @task.short_circuit
    def has_no_errors(end: str) -> bool:
        """Read the hour until `end`, newest entry first, and stop at the first error."""
        until = pendulum.parse(end)
        with SupermetricsHook() as hook:
            for entry in hook.iter_logs("T3S70", start=until - timedelta(hours=1), end=until):
                if (entry.get("status") or 0) >= 400:
                    # To fail the task instead of skipping the load, raise an exception here.
                    log.warning("Skipping the load: %(log_time)s, status %(status)s, %(request)s", entry)
                    return False
        return True

    @task
    def load() -> None:
        """Stand in for the task that must not run after errors."""
        log.info("Loading")

    # The end of the hour. A manual run on Airflow 3 may have no data interval, so the due time is used.
    has_no_errors("{{ data_interval_end | default(dag_run.run_after, true) }}") >> load()
