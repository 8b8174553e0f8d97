"""Load data only if the connector that delivers it logged no error in the last hour; else skip the load."""

from airflow import DAG
from pendulum import datetime, duration

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsCheckLogsOperator

ARGS = {"start_date": datetime(2026, 1, 1), "retries": 3}
with DAG(
    "supermetrics_quality_gate", schedule="@hourly", default_args=ARGS, catchup=False, doc_md=__doc__
) as dag:

    @dag.task
    def load() -> None:
        """Stand in for your task; replace ``T3S70``, too, and add a Connection ``supermetrics_default``."""

    check = SupermetricsCheckLogsOperator(
        task_id="check_logs", connector_identifier="T3S70", window=duration(hours=1), on_violation="skip"
    )
    check >> load()
