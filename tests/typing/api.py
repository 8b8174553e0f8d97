"""The public names as their users write them: `make types` checks it, nothing runs it.

A name, an argument or a type that changes here changes for users, too, and belongs in the changelog.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics.exceptions import (
    SupermetricsCheckError,
    SupermetricsConflictError,
    SupermetricsConnectionError,
    SupermetricsError,
    SupermetricsPaginationError,
    SupermetricsRateLimitError,
    SupermetricsRequestError,
    SupermetricsResponseError,
    SupermetricsServerError,
    SupermetricsTokenError,
    SupermetricsValidationError,
)
from airflow_provider_supermetrics.hooks.supermetrics import (
    LogPage,
    SupermetricsAsyncHook,
    SupermetricsHook,
)
from airflow_provider_supermetrics.links.supermetrics import (
    SupermetricsExportFolderLink,
    SupermetricsHealthReportLink,
    SupermetricsManifestLink,
)
from airflow_provider_supermetrics.operators.supermetrics import (
    SupermetricsCheckExportsOperator,
    SupermetricsCheckLogsOperator,
    SupermetricsExportLogsOperator,
    SupermetricsHealthReportOperator,
    SupermetricsListConnectorsOperator,
    export_logs,
)
from airflow_provider_supermetrics.retry_policies.supermetrics import SupermetricsRetryPolicy
from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor
from airflow_provider_supermetrics.triggers.supermetrics import (
    SupermetricsErrorLogEventTrigger,
    SupermetricsErrorLogTrigger,
)


def hook(start: datetime, end: datetime) -> None:
    """What a `@task` writes."""
    with SupermetricsHook("supermetrics_default", wait_policy={"max_inline_wait": 300}) as hook:
        page = hook.list_logs("T3S70", team_id=936506, limit=1000, before=end)
        assert_type(page, LogPage)
        assert_type(page.entries, list[dict[str, Any]])
        assert_type(page.rate_limit, RateLimit | None)
        assert_type(hook.iter_logs("T3S70", start=start, end=end), Iterator[dict[str, Any]])
        assert_type(hook.get_log("T3S70", "123-foo", "936506"), dict[str, Any])
        assert_type(hook.list_connectors(team_id=936506), list[dict[str, Any]])
        assert_type(hook.test_connection(), tuple[bool, str])
        if budget := hook.rate_limit:
            assert_type(budget.limit, int | None)
            assert_type(budget.remaining, int | None)
    hook.close()


async def async_hook(start: datetime, end: datetime) -> None:
    """The same in a trigger."""
    async with SupermetricsAsyncHook(supermetrics_conn_id="supermetrics_default") as hook:
        assert_type(await hook.list_logs("T3S70", team_id=936506, limit=1000, before=end), LogPage)
        assert_type(hook.iter_logs("T3S70", start=start, end=end), AsyncIterator[dict[str, Any]])
        async for entry in hook.iter_logs("T3S70", start=start, end=end):
            assert_type(entry, dict[str, Any])
        assert_type(await hook.get_log("T3S70", "123-foo", "936506"), dict[str, Any])
        assert_type(await hook.list_connectors(team_id=936506), list[dict[str, Any]])
        assert_type(await hook.test_connection(), tuple[bool, str])
        assert_type(hook.rate_limit, RateLimit | None)
    await hook.close()


def operators(start: datetime, end: datetime) -> None:
    """Every argument of theirs, in the types that a DAG file gives."""
    SupermetricsExportLogsOperator(
        task_id="export",
        connector_identifier="T3S70",
        path="s3://conn@bucket/logs",
        team_id=936506,
        start=start,
        end="{{ data_interval_end }}",
        format="parquet",
        compression="zstd",
        entries_per_file=50_000,
        deferrable=True,
        supermetrics_conn_id="supermetrics_default",
        wait_policy={"max_inline_wait": 300},
        retries=3,
    )
    SupermetricsExportLogsOperator(
        task_id="window",
        connector_identifier="T3S70",
        path=Path("/logs"),
        window=timedelta(hours=1),
        settle=timedelta(minutes=5),
        align=False,
        end=end,
    )
    templated = SupermetricsExportLogsOperator(
        task_id="templated",
        connector_identifier="T3S70",
        path="/logs",
        window="{{ params.window }}",
        settle="PT5M",
        align="{{ params.align }}",
        entries_per_file="{{ params.entries_per_file }}",
    )
    for link in (SupermetricsExportFolderLink(), SupermetricsHealthReportLink(), SupermetricsManifestLink()):
        assert_type(link.get_link(templated, ti_key=None), str)
    SupermetricsListConnectorsOperator(
        task_id="list", team_id="936506", supermetrics_conn_id="supermetrics_default", wait_policy={}
    )
    SupermetricsHealthReportOperator(
        task_id="health", path=Path("/logs"), start=start, end="{{ data_interval_end }}"
    )
    SupermetricsCheckExportsOperator(
        task_id="check",
        path=Path("/logs"),
        connector_identifiers=["T3S70"],
        start=start,
        end="{{ data_interval_end }}",
        verify=True,
    )
    SupermetricsCheckExportsOperator(task_id="day", path="/logs", window=timedelta(days=1), align=False)
    SupermetricsCheckLogsOperator(
        task_id="check",
        connector_identifier="T3S70",
        team_id="{{ params.team_id }}",
        start=start,
        end=end,
        settle=timedelta(minutes=5),
        max_errors=None,
        max_error_rate=0.05,
        min_entries="{{ params.min_entries }}",
        max_p95_duration_ms=5000,
        on_violation="skip",
        min_status=500,
        statuses=[403, 404],
        events=["data.fetch"],
        request_contains="customers",
    )
    assert_type(SupermetricsCheckError("too many").result, dict[str, Any])
    with SupermetricsHook() as hook:
        exported = export_logs(
            hook, "T3S70", Path("/logs"), start=start, end="2026-01-01T00:00:00Z", team_id=None, format="csv"
        )
        assert_type(exported, dict[str, Any])


def sensor(since: datetime) -> None:
    """Every argument of its own."""
    SupermetricsErrorLogSensor(
        task_id="errors",
        connector_identifier="T3S70",
        team_id=936506,
        since=since,
        min_status=500,
        statuses=[403, 404],
        events=["data.fetch"],
        request_contains="customers",
        min_matches=2,
        within=timedelta(hours=1),
        max_entries=5,
        deferrable=True,
        supermetrics_conn_id="supermetrics_default",
        poke_interval=60,
    )


def triggers(since: datetime) -> None:
    """The one for an `AssetWatcher`, and the sensor's, which Airflow makes of what it has stored."""
    SupermetricsErrorLogEventTrigger(
        connector_identifier="T3S70",
        team_id=936506,
        min_matches=6,
        within=timedelta(hours=1),
        poll_interval=60,
        lookback=timedelta(minutes=10),
    )
    trigger = SupermetricsErrorLogTrigger(
        connector_identifier="T3S70",
        since=since.isoformat(),
        deadline=since.isoformat(),
        not_before=since.isoformat(),
        error_filter={},
    )
    assert_type(trigger.serialize(), tuple[str, dict[str, Any]])


def retry_policy() -> SupermetricsRetryPolicy:
    """For any task on Airflow 3.3."""
    return SupermetricsRetryPolicy(
        max_delay=timedelta(hours=6), backoff_initial=timedelta(minutes=2), backoff_max=timedelta(hours=1)
    )


def errors(error: SupermetricsError) -> float | None:
    """Facts are attributes; what to do is the class."""
    assert_type(error.status_code, int | None)
    assert_type(error.code, str | None)
    assert_type(error.description, str | None)
    assert_type(error.details, str | None)
    assert_type(error.request_id, str | None)
    assert_type(error.rate_limit, RateLimit | None)
    assert_type(error.retryable, bool)
    assert_type(SupermetricsCheckError("missing", result={"complete": False}).result, dict[str, Any])
    kinds: list[type[SupermetricsError]] = [
        SupermetricsCheckError,
        SupermetricsConflictError,
        SupermetricsConnectionError,
        SupermetricsPaginationError,
        SupermetricsRateLimitError,
        SupermetricsRequestError,
        SupermetricsResponseError,
        SupermetricsServerError,
        SupermetricsTokenError,
        SupermetricsValidationError,
    ]
    assert kinds
    return error.retry_after
