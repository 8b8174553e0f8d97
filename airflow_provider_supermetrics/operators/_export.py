"""Export a connector's logs to object storage."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_supermetrics._api.calls import parse_integer
from airflow_provider_supermetrics._compat import Asset, ObjectStoragePath
from airflow_provider_supermetrics._export.formats import file_format
from airflow_provider_supermetrics._templates import check_unless_template
from airflow_provider_supermetrics.exceptions import SupermetricsError, public_errors
from airflow_provider_supermetrics.links.supermetrics import (
    SupermetricsExportFolderLink,
    SupermetricsManifestLink,
)
from airflow_provider_supermetrics.operators._base import path_or_template
from airflow_provider_supermetrics.operators._window import (
    WINDOW_FIELDS,
    SupermetricsWindowOperator,
    require_past,
)

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_supermetrics._compat import Context
    from airflow_provider_supermetrics._export.formats import FileFormat
    from airflow_provider_supermetrics._export.job import ExportJob
    from airflow_provider_supermetrics._export.manifest import Manifest
    from airflow_provider_supermetrics._export.storage import Destination
    from airflow_provider_supermetrics._schedule import Window
    from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsHook


def export_logs(
    hook: SupermetricsHook,
    connector_identifier: str,
    path: str | os.PathLike[str] | ObjectStoragePath,
    *,
    start: datetime | str,
    end: datetime | str,
    team_id: int | str | None = None,
    format: str = "jsonl",
    compression: str | None = "auto",
    entries_per_file: int = 100_000,
) -> dict[str, Any]:
    """
    Export a window of a connector's logs from any Python task; return the summary of its manifest.

    Like :class:`SupermetricsExportLogsOperator`, it writes parts and a manifest, and resumes from the
    checkpoint of an earlier attempt. It neither defers nor retries the export: set the task's ``retries`` for
    errors that a later attempt may not meet.

    :param hook: the hook that reads the log.
    :param connector_identifier: the connector, such as ``"T3S70"``.
    :param path: folder on any Airflow object storage, such as ``"s3://conn@bucket/logs"``.
    :param start: first time of the window, an aware datetime or an ISO 8601 string.
    :param end: the time at which the window ends, likewise. It must be in the past.
    :param team_id: the team; by default the Connection's.
    :param format: ``"jsonl"``, ``"csv"`` or ``"parquet"``.
    :param compression: ``"gzip"``, ``"zstd"``, or ``"none"``; inside Parquet also ``"snappy"``. By default
        gzip, inside Parquet zstd.
    :param entries_per_file: entries in each object but the last; bounds the memory used.
    :raises SupermetricsError: where the export fails; the subclass says whether a retry can help.
    :raises OSError: where the store refuses a request or fails.
    """
    from airflow_provider_supermetrics._context import resolve_window

    window = resolve_window(start, end, None, {})
    require_past(window, "give an earlier end")
    kind = file_format(format, compression)
    job = _new_job(hook, path, connector_identifier, team_id, window, kind, entries_per_file)
    manifest = _run(job, hook)
    return manifest.summary(str(job.destination), job.plan)


class SupermetricsExportLogsOperator(SupermetricsWindowOperator):
    """
    Export all entries of a window of a connector's logs to object storage, or fail.

    Writes ``{connector}-{start}-{end}-{part}.jsonl.gz`` objects (or ``.csv.gz``, ``.parquet``, …), each
    visible whole or not at all. The last object is the manifest ``_manifest-{connector}-{start}-{end}.json``:
    if it exists, the window is complete. A rerun replaces the objects of the window. Returns the summary of
    the manifest, which is also added to the events of outlet assets.

    The window is ``[start, end)`` by ``log_time``. Without ``start`` and ``end``, a run for a partition
    exports a window that starts at the partition's date and is ``window`` long. For any other run, ``end``
    defaults to the end of the run's data interval, else its logical date, else the time when the run was due;
    ``start`` defaults to ``end - window``, else to the start of the data interval.

    :param connector_identifier: the connector, such as ``"T3S70"``. (templated)
    :param path: folder on any Airflow object storage, such as ``"s3://conn@bucket/logs"``, as a string or a
        path object. (templated)
    :param team_id: the team; by default the Connection's. (templated)
    :param start: first time of the window, an aware datetime or an ISO 8601 string. (templated)
    :param end: the time at which the window ends, likewise. (templated)
    :param window: length of the window if ``start`` is not given: a ``timedelta``, a
        ``pendulum.duration(months=1)`` or an ISO 8601 duration such as ``"PT1H"``. Days, weeks, months and
        years are calendar units in the time zone of the DAG's schedule; anything shorter than a day is
        elapsed time. (templated)
    :param align: whether a run that the schedule has not created, such as a manual one, exports the last
        complete window instead of the ``window`` before the time when the run was due. (templated)
    :param settle: how long to wait after the window's end before reading it, because entries can appear
        late in the log; written as ``window`` is. The wait occupies no worker slot. (templated)
    :param format: ``"jsonl"`` (one JSON object per line), ``"csv"`` or ``"parquet"``. (templated)
    :param compression: ``"gzip"``, ``"zstd"``, or ``"none"``; inside Parquet also ``"snappy"``. By default
        gzip, inside Parquet zstd. (templated)
    :param entries_per_file: entries in each object but the last; bounds the memory used. (templated)
    :param supermetrics_conn_id: :ref:`Supermetrics connection<connection>` to use. (templated)
    :param wait_policy: settings for waiting that replace the Connection's, such as
        ``{"max_inline_wait": 300}``.
    :param deferrable: whether to defer, without occupying a worker slot, while the API requires a wait; by
        default Airflow's ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = (
        *WINDOW_FIELDS,
        "path",
        "format",
        "compression",
        "entries_per_file",
        "supermetrics_conn_id",
    )
    operator_extra_links = (SupermetricsExportFolderLink(), SupermetricsManifestLink())

    def __init__(
        self,
        *,
        path: str | os.PathLike[str] | ObjectStoragePath,
        format: str = "jsonl",
        compression: str | None = "auto",
        entries_per_file: int | str = 100_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path_or_template(path)
        self.format = format
        self.compression = compression
        self.entries_per_file = entries_per_file
        #: The summary of the manifest; Airflow 3 makes the extra links of it.
        self.result: dict[str, Any] | None = None
        self._exported: tuple[str, Destination, Manifest] | None = None
        self._job: ExportJob | None = None
        check_unless_template(file_format, format, compression)
        check_unless_template(parse_integer, "entries_per_file", entries_per_file, 1)

    def execute(self, context: Context) -> dict[str, Any]:
        """Export the window; return the summary of its manifest."""
        with self._log_remedy(), self._hook() as hook:
            window = self._begin(context)
            with public_errors():
                kind = file_format(self.format, self.compression)
                entries_per_file = parse_integer("entries_per_file", self.entries_per_file, 1)
            job = _new_job(
                hook, self.path, self.connector_identifier, self.team_id, window, kind, entries_per_file
            )
            self._wait_for_end(window)
            self._job = job
            try:
                manifest = _run(job, hook)
            except SupermetricsError as error:
                if not job.waits:
                    raise
                self._defer_or_raise(error, job.waits)
            self._exported = (hook.base_url, job.destination, manifest)
        self.result = manifest.summary(str(job.destination), job.plan)
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra.update(self.result)
        return self.result

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:  # noqa: ARG002  # Airflow's call
        """Resume after a deferral, from the checkpoint."""
        return self.execute(context)

    def on_kill(self) -> None:
        """Save a checkpoint, because the task is about to end; called by Airflow."""
        if self._job is not None:
            self._job.prepare_for_kill()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002  # Airflow's call
        """Return the inputs and outputs of the export; called by Airflow's OpenLineage provider."""
        from airflow_provider_supermetrics._lineage import openlineage_facets

        return openlineage_facets(*self._exported) if self._exported else None


def _new_job(
    hook: SupermetricsHook,
    path: Any,
    connector_identifier: str,
    team_id: int | str | None,
    window: Window,
    file_format: FileFormat,
    entries_per_file: int,
) -> ExportJob:
    from airflow_provider_supermetrics._export.job import ExportJob
    from airflow_provider_supermetrics._export.manifest import ExportPlan
    from airflow_provider_supermetrics._export.storage import Destination

    destination = Destination.at(path)
    with public_errors():
        team = hook.resolve_team_id(team_id)
        plan = ExportPlan(connector_identifier, team, window, file_format, entries_per_file)
    return ExportJob(hook, destination, plan)


def _run(job: ExportJob, hook: SupermetricsHook) -> Manifest:
    """Export the window, and report the parts to Airflow."""
    from airflow_provider_supermetrics._lineage import report_hook_lineage

    manifest = job.run()
    report_hook_lineage(hook, job.destination, manifest)
    return manifest
