"""An export from its beginning, or from where an earlier try left it, to its end."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from airflow_provider_supermetrics._api.entry import LogEntry
from airflow_provider_supermetrics._api.pager import LogPager
from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics._export import checkpoint as _checkpoint
from airflow_provider_supermetrics._export.checkpoint import Checkpoint
from airflow_provider_supermetrics._export.plan import ExportPlan
from airflow_provider_supermetrics._export.receipt import Receipt
from airflow_provider_supermetrics._export.storage import Destination
from airflow_provider_supermetrics._export.writer import ExportWriter

log = logging.getLogger(__name__)


class ExportRun:
    """One try of an export. Goes on from the checkpoint of an earlier one, where there is one that fits.

    :param destination: where to.
    :param plan: what.
    """

    def __init__(self, destination: Destination, plan: ExportPlan) -> None:
        self._destination = destination
        self._plan = plan
        checkpoint = _checkpoint.load(destination, plan)
        #: Where to ask next.
        self.pager = (
            LogPager.resumed(checkpoint.pager)
            if checkpoint
            else LogPager(start=plan.window.start, end=plan.window.end)
        )
        self.writer = ExportWriter(destination, plan, checkpoint)
        self._earlier_requests = checkpoint.requests if checkpoint else 0
        self._waits = checkpoint.waits if checkpoint else 0
        self._parts_kept = self.writer.objects
        #: How many pages this try has read.
        self.pages = 0
        self._began_at = self.pager.oldest
        self._try_store(checkpoint)
        if checkpoint:
            log.info(
                "Going on from the checkpoint of %s: %s entries are safe, after %s requests",
                checkpoint.saved_at.isoformat(timespec="seconds"),
                f"{self.writer.entries:,}",
                f"{checkpoint.requests:,}",
            )

    def add(self, entries: Sequence[LogEntry], requests: int) -> None:
        """Take what the walk has brought; keep it, where a part is finished and another will follow.

        :param requests: how many this try has sent.
        """
        self.writer.add(entries, self.pager.repeated)
        self.pages += 1
        if self.writer.objects > self._parts_kept and self.pager.next is not None:
            self._keep(requests, waits=0)

    def keep(self, requests: int) -> int:
        """Keep all that was read, before the worker slot is given up or the try fails.

        :param requests: how many this try has sent.
        :return: how many times in a row this has happened, where a try got no further than a page.
        """
        waits = 1 if self.pages > 1 else self._waits + 1
        try:
            self._keep(requests, waits)
        except OSError as error:
            # Whatever made the try stop must not be hidden by this.
            log.error("%s. The next try requests again what was read since the last checkpoint", error)
        else:
            log.info(
                "%s entries read so far; the next try goes on from %s/%s",
                f"{self.writer.entries:,}",
                self._destination,
                self._plan.checkpoint_name,
            )
        return waits

    def doubt(self) -> None:
        """Let the next try begin anew, if it was the checkpoint that led to an error of the walk."""
        if self._began_at is not None and self.pager.oldest == self._began_at:
            log.warning("The log does not go on where %s left it; removing that", self._plan.checkpoint_name)
            self._destination.remove(self._plan.checkpoint_name)

    def finish(self, requests: int, rate_limit: RateLimit | None) -> Receipt:
        """Write the rest and the receipt.

        :param requests: how many this try has sent.
        :param rate_limit: the budget as last told.
        """
        return self.writer.finish(self._earlier_requests + requests, rate_limit)

    def _try_store(self, checkpoint: Checkpoint | None) -> None:
        """Write a checkpoint, so that a store that cannot be written costs no request of the API's budget."""
        if checkpoint:
            _checkpoint.save(self._destination, self._plan, checkpoint)
        else:
            self._keep(requests=0, waits=0)
            self._destination.remove(self._plan.checkpoint_name)

    def _keep(self, requests: int, waits: int) -> None:
        checkpoint = self.writer.checkpoint(self.pager.state, self._earlier_requests + requests, waits)
        _checkpoint.save(self._destination, self._plan, checkpoint)
        self._parts_kept = self.writer.objects
