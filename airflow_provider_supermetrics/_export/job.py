"""An export from the API to the manifest: one attempt, and the checkpoints that let another one resume it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from airflow_provider_supermetrics._api.entry import LogEntry
from airflow_provider_supermetrics._api.pager import LogPager, PagerState
from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics._api.text import counted
from airflow_provider_supermetrics._export.checkpoint import Checkpoint, load
from airflow_provider_supermetrics._export.manifest import ExportPlan, Manifest
from airflow_provider_supermetrics._export.storage import Destination
from airflow_provider_supermetrics._export.writer import ExportWriter
from airflow_provider_supermetrics._wait import deferral_delay
from airflow_provider_supermetrics.exceptions import SupermetricsError, public_errors

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_PROGRESS = 10.0


class PageReader(Protocol):
    """What a job needs of a hook."""

    @property
    def requests_sent(self) -> int:
        """Requests sent so far, repeated ones included."""

    @property
    def rate_limit(self) -> RateLimit | None:
        """The hourly request budget after the last response."""

    def read_pages(
        self, pager: LogPager, connector_identifier: str, team_id: int
    ) -> Iterator[list[LogEntry]]:
        """Yield the new entries of each page that ``pager`` requests."""


class ExportJob:
    """One window of one connector's log, exported to a folder.

    :meth:`run` resumes from the checkpoint that an earlier attempt left, on whatever machine that was.

    :param hook: reads the log.
    :param destination: the folder.
    :param plan: what to export, and under which names.
    """

    def __init__(self, hook: PageReader, destination: Destination, plan: ExportPlan) -> None:
        self._hook = hook
        self.destination = destination
        self.plan = plan
        #: How many attempts in a row have ended early without getting far. 0: no reason to wait and resume.
        self.waits = 0
        # The pager's state while a page is awaited: the writer has all entries that it knows.
        self._agreed: PagerState | None = None
        self._may_be_killed = False

    def run(self) -> Manifest:
        """Export the window; return its manifest, which has been written.

        :raises SupermetricsError: of the kind that says what to do. Where it is resumable, what was read is
            in the checkpoint.
        :raises OSError: where the store refuses or fails.
        """
        plan = self.plan
        log.info(
            "Exporting the logs of %s in %s to %s", plan.connector_identifier, plan.window, self.destination
        )
        self._begin(load(self.destination, plan))
        try:
            self._agreed = self._pager.state
            for entries in self._hook.read_pages(self._pager, plan.connector_identifier, plan.team_id):
                self._agreed = None
                self._add(entries)
                self._agreed = self._pager.state
            self._agreed = None
        except SupermetricsError as error:
            self._agreed = None
            if not error.resumable:
                self._discard_checkpoint_if_stuck()
            elif self._pager.oldest is not None or deferral_delay(error, waits=1, jitter=0.0) is not None:
                self._save_checkpoint_of_attempt()
            raise
        manifest = self._writer.finish(self._requests, self._hook.rate_limit)
        log.info(
            "Exported %s in %s, %s, with %s%s",
            counted(manifest.entries, "entry", "entries"),
            counted(len(manifest.objects), "object"),
            counted(manifest.bytes, "byte"),
            counted(manifest.requests, "request"),
            self._budget,
        )
        log.info("Manifest: %s", self.destination.url(plan.manifest_name))
        return manifest

    def prepare_for_kill(self) -> None:
        """Save a checkpoint now, unless a page is being written, and after each further page.

        A signal handler may call it: nothing but the wait for a page is interrupted.
        """
        self._may_be_killed = True
        if self._agreed is not None and self._pages:
            self._try_to_save_checkpoint(0, self._agreed)

    def _begin(self, checkpoint: Checkpoint | None) -> None:
        """Begin an attempt: from the checkpoint, or where there is none, from the window's end."""
        with public_errors():
            fresh = LogPager(start=self.plan.window.start, end=self.plan.window.end)
        self._pager = LogPager.resumed(checkpoint.pager) if checkpoint else fresh
        self._writer = ExportWriter(self.destination, self.plan, checkpoint)
        self._began_at = self._pager.oldest
        self._earlier_waits = checkpoint.waits if checkpoint else 0
        self._earlier_requests = (checkpoint.requests if checkpoint else 0) - self._hook.requests_sent
        self._saved_objects = self._writer.objects
        self._pages = 0
        self._reported_at = time.monotonic()
        # A store that cannot be written to must cost no request to the API.
        if checkpoint is None:
            self._save_checkpoint(0, self._pager.state)
            self.destination.remove(self.plan.checkpoint_name)
        else:
            checkpoint.save(self.destination, self.plan)
            log.info(
                "Resuming from the checkpoint saved at %s: %s and %s so far",
                checkpoint.saved_at.isoformat(timespec="seconds"),
                counted(self._writer.entries, "entry", "entries"),
                counted(checkpoint.requests, "request"),
            )

    def _add(self, entries: Sequence[LogEntry]) -> None:
        """Write what a page has brought; save a checkpoint after each part that is not the last."""
        self._writer.add(entries, self._pager.repeated)
        self._pages += 1
        is_due = self._may_be_killed or self._writer.objects > self._saved_objects
        if is_due and self._pager.next is not None:
            self._save_checkpoint(0, self._pager.state)
        if time.monotonic() - self._reported_at >= _SECONDS_BETWEEN_PROGRESS:
            self._report_progress()

    def _save_checkpoint_of_attempt(self) -> None:
        """Save what this attempt has read, and count it."""
        self.waits = 1 if self._pages > 1 else self._earlier_waits + 1
        self._try_to_save_checkpoint(self.waits, self._pager.state)

    def _try_to_save_checkpoint(self, waits: int, state: PagerState) -> None:
        try:
            self._save_checkpoint(waits, state)
        except OSError as error:
            # It must not hide why the attempt ends.
            log.error("%s. The next attempt requests again what was read since the last checkpoint", error)
        else:
            log.info(
                "Saved checkpoint %s after %s; the next attempt resumes from it",
                self.destination.url(self.plan.checkpoint_name),
                counted(self._writer.entries, "entry", "entries"),
            )

    def _save_checkpoint(self, waits: int, state: PagerState) -> None:
        checkpoint = self._writer.checkpoint(state, self._requests, waits)
        checkpoint.save(self.destination, self.plan)
        self._saved_objects = self._writer.objects

    def _discard_checkpoint_if_stuck(self) -> None:
        """Remove the checkpoint if this attempt read nothing beyond it, so that the next one gets further."""
        if self._began_at is not None and self._pager.oldest == self._began_at:
            log.warning(
                "The log no longer contains the last entry of %s; discarding that checkpoint",
                self.plan.checkpoint_name,
            )
            self.destination.remove(self.plan.checkpoint_name)

    def _report_progress(self) -> None:
        log.info(
            "%3.0f %% of the window read: %s, %s, %s%s",
            100 * self.plan.window.share_behind(self._pager.oldest),
            counted(self._writer.entries, "entry", "entries"),
            counted(self._writer.objects, "object"),
            counted(self._requests, "request"),
            self._budget,
        )
        self._reported_at = time.monotonic()

    @property
    def _requests(self) -> int:
        """How many requests the export has sent, earlier attempts included."""
        return self._earlier_requests + self._hook.requests_sent

    @property
    def _budget(self) -> str:
        rate_limit = self._hook.rate_limit
        if rate_limit is None or rate_limit.remaining is None:
            return ""
        limit = "" if rate_limit.limit is None else f" of {rate_limit.limit:,}"
        return f", {rate_limit.remaining:,}{limit} requests left in the hour"
