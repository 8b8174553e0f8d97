"""Alert when a connector logs errors: within two minutes, at most once an hour, and each error once.

It needs a Connection ``supermetrics_default`` (type Supermetrics) and a running triggerer.
"""

from datetime import datetime, timedelta, timezone

from airflow import DAG

from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
with DAG(
    "supermetrics_error_alert", schedule="@hourly", start_date=START, catchup=False, max_active_runs=1
) as dag:
    dag.doc_md = __doc__
    errors = SupermetricsErrorLogSensor(
        task_id="wait_for_errors",
        connector_identifier="T3S70",  # your connector
        since_last_run=True,
        deferrable=True,  # occupies no worker slot while it waits
        timeout=timedelta(minutes=58),  # then the next run continues
        soft_fail=True,  # no errors: the run is skipped, not failed
    )

    @dag.task(retries=3)
    def alert(found, **context):
        print(found["message"])  # or SlackWebhookNotifier(text=found["message"]).notify(context)

    alert(errors.output)
