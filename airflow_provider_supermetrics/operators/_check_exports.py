"""Check that exports cover a time."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_supermetrics._api.calls import parse_boolean, valid_connector_identifier
from airflow_provider_supermetrics._api.text import counted
from airflow_provider_supermetrics._api.times import parse_duration
from airflow_provider_supermetrics._compat import ObjectStoragePath
from airflow_provider_supermetrics._templates import check_unless_template, is_template
from airflow_provider_supermetrics.exceptions import (
    SupermetricsCheckError,
    invalid,
    make_error,
    public_errors,
)
from airflow_provider_supermetrics.operators._base import (
    StorageOperator,
    path_or_template,
)
from airflow_provider_supermetrics.operators._window import read_window

if TYPE_CHECKING:
    from airflow_provider_supermetrics._compat import Context
    from airflow_provider_supermetrics._export.completeness import Exports

# So that the log stays readable, whatever is missing.
_MOST_LINES = 20
_REMEDY = "clear the runs of these windows, or backfill them; if an export is still running, check later"


class SupermetricsCheckExportsOperator(StorageOperator):
    """
    Check that exports cover a span of time: fail, and say what is missing, where no manifest covers a part.

    Reads the names of the manifests in a folder and in the folders below it, then the manifests whose windows
    are within the span, and compares the sizes of their objects. A manifest that is damaged, or whose objects
    are not those that it lists, does not count. Windows of any lengths may be mixed, and may overlap, which
    is reported. No request is sent to Supermetrics, and no Connection to it is needed.

    Returns the numbers of each connector, and its missing and overlapping ranges. If anything is missing, the
    result is in the task's XCom, too, and the task fails with a :class:`SupermetricsCheckError`, which
    Airflow does not retry.

    :param path: the folder of the exports, or one above it, as a string or a path object. (templated)
    :param connector_identifiers: the connectors, each of which has to cover all of the span. By default all
        that have a manifest under ``path``, each from its first manifest on if others have earlier ones.
        (templated)
    :param start: first time of the span, an aware datetime or an ISO 8601 string. (templated)
    :param end: the time at which the span ends, likewise. (templated)
    :param window: length of the span if ``start`` is not given, as of an export. The span is the last
        complete one before the run, by the calendar of the DAG's schedule, such as the day that ended at the
        last midnight. (templated)
    :param align: whether to check the last complete ``window``; otherwise it ends when the run was due.
        (templated)
    :param verify: whether to read all objects, and compare their digests with those of the manifests.
        (templated)
    """

    template_fields: Sequence[str] = (
        "path",
        "connector_identifiers",
        "start",
        "end",
        "window",
        "align",
        "verify",
    )

    def __init__(
        self,
        *,
        path: str | os.PathLike[str] | ObjectStoragePath,
        connector_identifiers: Collection[str] | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        window: timedelta | str | None = None,
        align: bool | str = True,
        verify: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path_or_template(path)
        self.connector_identifiers = connector_identifiers
        self.start = start
        self.end = end
        self.window = window
        self.align = align
        self.verify = verify
        if not is_template(connector_identifiers):
            _valid_identifiers(connector_identifiers)
        check_unless_template(parse_duration, "window", window)
        check_unless_template(read_window, start, window)
        check_unless_template(parse_boolean, "align", align)
        check_unless_template(parse_boolean, "verify", verify)

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the span; return what the exports of each connector cover."""
        from airflow_provider_supermetrics._context import resolve_last_window
        from airflow_provider_supermetrics._export.catalog import Catalog
        from airflow_provider_supermetrics._export.completeness import (
            find_exports,
            summary,
            what_is_missing,
        )
        from airflow_provider_supermetrics._export.storage import Destination

        with self._log_remedy():
            identifiers = _valid_identifiers(self.connector_identifiers)
            with public_errors():
                length = read_window(self.start, self.window)
                align, verify = parse_boolean("align", self.align), parse_boolean("verify", self.verify)
            span = resolve_last_window(self.start, self.end, length, context, align=align)
            destination = Destination.at(self.path)
            self.log.info("Checking the exports of %s in %s", span, destination)
            found = find_exports(Catalog(destination), span, identifiers, verify=verify)
            result = summary(found, span, str(destination))
            for exports in sorted(found, key=lambda exports: bool(exports.coverage.missing)):
                self._log_exports(exports)
            missing = what_is_missing(found)
            if found and missing is None:
                self.log.info("Complete: %s in %s", counted(len(found), "connector"), span)
                return result
            if self.do_xcom_push:
                # Airflow stores no return value of a task that fails.
                context["ti"].xcom_push(key="return_value", value=result)
            if missing is None:
                raise make_error(
                    SupermetricsCheckError,
                    f"no export of any connector is in {destination}",
                    "path must be the folder of the exports, or one above it",
                    result=result,
                )
            raise make_error(SupermetricsCheckError, missing, _REMEDY, result=result)

    def _log_exports(self, exports: Exports) -> None:
        """Log what one connector's exports cover, the missing ranges last."""
        name = exports.label
        coverage = exports.coverage
        self.log.info(
            "%s: %s with %s, of which %s",
            name,
            counted(len(exports.windows), "window"),
            counted(exports.entries, "entry", "entries"),
            counted(exports.errors, "error"),
        )
        for fault in exports.faults[:_MOST_LINES]:
            self.log.warning("%s: does not count: %s", name, fault)
        for window in coverage.overlapping[:_MOST_LINES]:
            self.log.warning("%s: %s is in several exports", name, window)
        for window in coverage.missing[:_MOST_LINES]:
            self.log.error("%s: %s is in no export", name, window)
        if more := sum(
            max(0, len(lines) - _MOST_LINES)
            for lines in (exports.faults, coverage.overlapping, coverage.missing)
        ):
            self.log.error("%s: and %d more", name, more)


def _valid_identifiers(identifiers: Any) -> set[str] | None:
    """The connectors to check, or None for all."""
    if identifiers is None:
        return None
    if isinstance(identifiers, str) or not isinstance(identifiers, Collection):
        raise invalid(
            f"connector_identifiers must be a list, not {identifiers!r:.100}",
            'write ["T3S70", "K2M41"], or leave it out to check all connectors',
        )
    with public_errors():
        chosen = {valid_connector_identifier(identifier) for identifier in identifiers}
    if not chosen:
        raise invalid(
            "connector_identifiers is empty, so nothing would be checked",
            "name a connector, or leave it out to check all connectors",
        )
    return chosen
