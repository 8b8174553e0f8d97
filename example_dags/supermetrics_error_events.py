"""
Run a DAG each time a poll finds new errors in a connector's log (Airflow 3). Each error is reported once.

To use it, add a Connection ``supermetrics_default`` (type Supermetrics), replace ``T3S70`` with your
connector, and run a triggerer. Airflow 2 has no event triggers, so on Airflow 2 this file defines no DAG.
"""

from __future__ import annotations

import logging

import pendulum

from airflow_provider_supermetrics.triggers.supermetrics import SupermetricsErrorLogEventTrigger

try:
    from airflow.sdk import DAG, Asset, AssetWatcher, task
except ImportError:  # Airflow 2
    AssetWatcher = None

log = logging.getLogger(__name__)

if AssetWatcher is not None:
    ERRORS = Asset(
        "supermetrics_errors_of_T3S70",
        watchers=[
            AssetWatcher(
                name="poll_every_minute",
                trigger=SupermetricsErrorLogEventTrigger(connector_identifier="T3S70"),
            )
        ],
    )

    with DAG(
        dag_id="supermetrics_error_events",
        schedule=[ERRORS],
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        doc_md=__doc__,
        tags=["supermetrics"],
    ):

        @task
        def alert(triggering_asset_events=None) -> None:
            """Report the errors. When events follow each other closely, Airflow passes several to one run."""
            for event in triggering_asset_events[ERRORS]:
                log.warning(event.extra["payload"]["message"])

        alert()
