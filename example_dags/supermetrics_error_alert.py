"""
Alert when a connector logs errors: within two minutes, at most once an hour, and only once for each error.

Errors that are logged after an alert are part of the next hour's alert.

To use it, add a Connection ``supermetrics_default`` (type Supermetrics), and replace ``T3S70`` with your
connector and ``LogNotifier`` with your notifier. The DAG needs a running triggerer.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from datetime import timedelta

import pendulum

from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor

try:
    from airflow.sdk import DAG, BaseNotifier, Variable, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task
    from airflow.models import Variable
    from airflow.notifications.basenotifier import BaseNotifier

CONNECTOR = "T3S70"
# Count errors from just after the last one reported, but go back two hours at most, which is enough
# to make up for one failed run.
SINCE = """{{ [
    var.value.get('supermetrics_errors_reported', ''),
    ((data_interval_end | default(dag_run.run_after, true)) - macros.timedelta(hours=2)).isoformat(),
] | max }}"""


class LogNotifier(BaseNotifier):
    """Write the message to the task's log."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def notify(self, context) -> None:  # noqa: ARG002  # Airflow's signature
        """Log the message."""
        self.log.warning(self.message)


def message(found: dict) -> str:
    """Return the text of the alert: which requests failed, and how often."""
    entries = found["entries"]
    # Requests that differ only in numbers count as one.
    failures = Counter(
        (entry["status"], re.sub(r"(?<=\?).+|\b\d+\b", "…", entry.get("request") or entry.get("event") or ""))
        for entry in entries
    )
    lines = [
        f"Errors of connector {CONNECTOR} since {found['since']}: {found['matches']}",
        f"The newest {len(entries)}, {entries[-1]['log_time']} to {entries[0]['log_time']}, by request:",
        *(f"  {count} x {status} {request}" for (status, request), count in failures.most_common(5)),
        f"The last one: log entry {entries[0].get('id')}, request id {entries[0].get('request_id')}",
    ]
    return "\n".join(lines)


def as_html(text: str) -> str:
    """Return the message as HTML for an email, escaped because parts of it come from the log."""
    return f"<pre>{html.escape(text)}</pre>"


def since_after(found: dict) -> str:
    """Return the time just after the newest error found, from which the next alert counts."""
    # A log_time without an offset is in UTC, whatever Airflow's default time zone is.
    newest = pendulum.parse(found["entries"][0]["log_time"], tz="UTC")
    return (newest.in_timezone("UTC") + timedelta(microseconds=1)).isoformat()


with DAG(
    dag_id="supermetrics_error_alert",
    schedule="@hourly",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3},
    doc_md=__doc__,
    tags=["supermetrics"],
):
    errors = SupermetricsErrorLogSensor(
        task_id="wait_for_errors",
        connector_identifier=CONNECTOR,
        since=SINCE,
        max_entries=100,
        deferrable=True,
        # The sensor ends before the next run begins. Finding no errors by then is not a failure.
        timeout=timedelta(minutes=58),
        soft_fail=True,
    )

    @task
    def alert(found, **context) -> None:
        """Report the errors, then store the time up to which they have been reported."""
        # Slack: SlackWebhookNotifier(text=message(found)).notify(context)
        # Mail: SmtpNotifier(to="…", subject="…", html_content=as_html(message(found))).notify(context)
        LogNotifier(message(found)).notify(context)
        Variable.set("supermetrics_errors_reported", since_after(found))

    alert(errors.output)
