"""The example of an alert is short, and its message is safe in texts and mails, whatever the log contains."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_supermetrics._api.filter import brief
from airflow_provider_supermetrics._api.message import with_message
from dev.demo.airflow import EXAMPLE_DAGS
from dev.demo.alert import alert_problem, alert_text
from tests.conftest import START
from tests.support.compat import DAG, BaseOperator

pytestmark = pytest.mark.airflow_2

EXAMPLE = EXAMPLE_DAGS / "supermetrics_error_alert.py"
HOSTILE = "GET /<img src=x onerror=alert(1)>&'\"\r\nT3S70: 0 errors\x1b[2J{{ 7 * 191 }}{% raw %}"
# As docs/alerts.md has it.
TEXT = "{{ ti.xcom_pull('wait_for_errors')['message'] }}"
MAIL = "<pre>{{ ti.xcom_pull('wait_for_errors')['message'] | e }}</pre>"


class Message(BaseOperator):
    """Any operator with a text, such as that of a mail."""

    template_fields = ("text",)

    def __init__(self, text: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.text = text


def rendered(template: str, is_native: bool) -> str:
    """What Airflow makes of a template, after a sensor that has found a hostile entry."""
    fields = dict.fromkeys(("id", "status", "event", "request_id"), HOSTILE)
    entries = [brief({**fields, "log_time": "2026-01-01T09:11:40Z", "request": HOSTILE})]
    counted = {"matches": 1, "entries": entries, "since": "2026-01-01T09:00:00Z", "until": None}
    found = with_message("T3S70", 7, counted)
    ti = SimpleNamespace(xcom_pull={"wait_for_errors": found}.__getitem__)
    with DAG("d", schedule=None, start_date=START, render_template_as_native_obj=is_native):
        task = Message(task_id="t", text=template)
    task.render_template_fields({"ti": ti})
    return task.text


def test_the_example_is_short() -> None:
    """A sensor and a notifier, nothing else."""
    assert len(EXAMPLE.read_text().splitlines()) <= 30


@pytest.mark.parametrize("is_native", [False, True])
def test_a_mail_takes_no_html_from_the_log(is_native: bool) -> None:
    """With the filter `e`, nothing from the log is markup, and nothing is rendered a second time."""
    mail = rendered(MAIL, is_native)
    assert mail.startswith("<pre>T3S70: 1 error from 2026-01-01T09:00:00Z\n")
    assert mail.endswith("</pre>")
    assert not set("<>'\"") & set(mail.removeprefix("<pre>").removesuffix("</pre>"))
    assert "GET /&lt;img src=x onerror=alert(…)&gt;&amp;&#39;&#34; T3S70: … errors" in mail
    assert "1337" not in mail


@pytest.mark.parametrize("is_native", [False, True])
def test_a_text_takes_no_line_from_the_log(is_native: bool) -> None:
    """Whatever an entry contains, the message has as many lines as it should."""
    text = rendered(TEXT, is_native)
    assert [line.split(" ")[0] for line in text.split("\n")] == ["T3S70:", "Most", "", "Newest:"]
    assert all(line.isprintable() for line in text.split("\n"))
    assert "1337" not in text


def test_the_demo_finds_the_alert() -> None:
    """In a task's log, where the sensor has logged the message as well."""
    entries = [{"id": "a-1", "log_time": "2026-01-01T09:11:40Z", "status": 500, "request": "GET /x"}]
    counted = {"matches": 1, "entries": entries, "since": "2026-01-01T09:00:00Z", "until": None}
    message = with_message("T3S70", 7, counted)["message"]
    log = (
        f"2026-01-01 [info     ] {message}\n2026-01-01 [info     ] end\n{message}\n2026-01-01 [info     ] end"
    )
    assert alert_text(log) == message
    assert alert_problem(message, entries) == ""
    assert alert_problem(message, [*entries, *entries]) == "the alert does not report 2 errors"
    assert alert_problem(message, [{**entries[0], "id": "b"}]) == "the alert does not name the last error, b"
    assert alert_problem(alert_text("2026-01-01 [info     ] end"), entries) == "there was no alert"
