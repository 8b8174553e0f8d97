"""Write a page about the health of the connectors beside their exports."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_supermetrics._api.times import format_time, parse_time
from airflow_provider_supermetrics._compat import ObjectStoragePath
from airflow_provider_supermetrics._templates import check_unless_template
from airflow_provider_supermetrics._wait import utcnow
from airflow_provider_supermetrics.exceptions import invalid, public_errors
from airflow_provider_supermetrics.links.supermetrics import SupermetricsHealthReportLink
from airflow_provider_supermetrics.operators._base import StorageOperator, path_or_template
from airflow_provider_supermetrics.provider_info import DEFAULT_HEALTH_DAYS, MOST_HEALTH_DAYS

if TYPE_CHECKING:
    from airflow_provider_supermetrics._compat import Context
    from airflow_provider_supermetrics._schedule import Window

_NAME = "_health.html"
_DEFAULT_LENGTH = timedelta(days=DEFAULT_HEALTH_DAYS)
_LONGEST = timedelta(days=MOST_HEALTH_DAYS)


class SupermetricsHealthReportOperator(StorageOperator):
    """
    Write a page about the health of connectors, ``_health.html``, into the folder of their exports.

    The page shows for each connector which time has been exported, entries and error rates over time,
    durations, statuses, and what needs attention. It is read from the manifests in the folder and the folders
    below it: no request is sent to the API. Returns its numbers, such as the connectors that need attention.

    :param path: the folder that the exports write to, as a string or a path object. (templated)
    :param start: first time of the report, an aware datetime or an ISO 8601 string, at most 400 days before
        its end; by default, 30 days before it. (templated)
    :param end: the time at which the report ends, likewise; by default, the time when the run was due.
        (templated)
    """

    template_fields: Sequence[str] = ("path", "start", "end")
    operator_extra_links = (SupermetricsHealthReportLink(),)

    def __init__(
        self,
        *,
        path: str | os.PathLike[str] | ObjectStoragePath,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path_or_template(path)
        self.start = start
        self.end = end
        #: What the task has returned; Airflow 3 makes the extra link of it.
        self.result: dict[str, Any] | None = None
        check_unless_template(parse_time, "start", start)
        check_unless_template(parse_time, "end", end)
        check_unless_template(_check_length, start, end)

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the page; return its numbers."""
        from airflow_provider_supermetrics._export.completeness import MOST_CONNECTORS, first_of
        from airflow_provider_supermetrics._export.storage import Destination
        from airflow_provider_supermetrics._health.page import render
        from airflow_provider_supermetrics._health.reader import HealthReader

        with self._log_remedy():
            now = utcnow()
            window = self._window(context, now)
            destination = Destination.at(self.path)
            report = HealthReader([self.path]).report(window, now)
            for note in report.notes:
                self.log.warning("%s", note)
            destination.write(render(report).encode(), _NAME)
            if not report.connectors:
                self.log.warning("The page is empty: no manifest of this time is in %s", destination)
                self.log.warning("path must be the folder of the exports, or one above it")
        for connector in report.connectors:
            for finding in connector.findings:
                self.log.info("%s: %s", connector.label, finding.text)
        url = destination.url(_NAME)
        numbers = report.numbers
        attention = cast("list[str]", numbers.pop("attention"))
        self.log.info("Report: %s", url)
        self.result = {
            "path": str(destination),
            "report": url,
            "start": format_time(window.start),
            "end": format_time(window.end),
            **numbers,
            **first_of("attention", attention, MOST_CONNECTORS),
        }
        return self.result

    def _window(self, context: Context, now: datetime) -> Window:
        from airflow_provider_supermetrics._context import run_end
        from airflow_provider_supermetrics._schedule import Window

        with public_errors():
            start, end = parse_time("start", self.start), parse_time("end", self.end)
        # What is still to come is not missing.
        end = min(end or run_end(context), now)
        window = Window(start or end - _DEFAULT_LENGTH, end)
        _check_length(window.start, window.end)
        if window.start >= window.end:
            raise invalid(
                f"the report has no time, because its start is not before its end: {window}",
                "give an earlier start, or a later end that is in the past",
            )
        return window


def _check_length(start: datetime | str | None, end: datetime | str | None) -> None:
    """Refuse a report that would need too much memory, where both of its times are known."""
    first, last = parse_time("start", start), parse_time("end", end)
    if first and last and last - first > _LONGEST:
        raise invalid(
            f"the report must be of at most {_LONGEST.days} days, not of {(last - first).days:,}",
            "give a later start, or an earlier end",
        )
