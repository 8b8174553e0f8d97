"""What the operators that read a window of one connector's log have in common."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.exceptions import AirflowRescheduleException

from airflow_provider_supermetrics._wait import MIN_DEFERRAL_SECONDS, utcnow
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError, invalid
from airflow_provider_supermetrics.operators._base import SupermetricsOperator

if TYPE_CHECKING:
    from airflow_provider_supermetrics._compat import Context
    from airflow_provider_supermetrics._schedule import Window

# The clocks of a worker and the scheduler may differ by this much.
_SECONDS_OF_SKEW = 60.0


class SupermetricsWindowOperator(SupermetricsOperator):
    """Base class: holds the connector and the window, and waits for the window's end."""

    def __init__(
        self,
        *,
        connector_identifier: str,
        team_id: int | str | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        window: timedelta | None = None,
        align: bool = True,
        settle: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.connector_identifier = connector_identifier
        self.team_id = team_id
        self.start = start
        self.end = end
        self.window = window
        self.align = align
        self.settle = settle
        if start is not None and window is not None:
            raise SupermetricsValidationError("give start or window, not both")
        if window is not None and not isinstance(window, timedelta):
            raise SupermetricsValidationError(
                f"window must be a timedelta or a pendulum.duration, not {window!r}"
            )
        if not isinstance(align, bool):
            raise SupermetricsValidationError(f"align must be True or False, not {align!r}")
        if settle is not None and (not isinstance(settle, timedelta) or settle < timedelta()):
            raise SupermetricsValidationError(f"settle must be a timedelta, not {settle!r}")

    def _begin(self, context: Context) -> Window:
        """Name a mapped task by its connector; return the window of the run."""
        from airflow_provider_supermetrics._context import resolve_window

        # It is set here because a mapped task keeps a map_index_template only if the DAG sets one.
        if (context["ti"].map_index or 0) >= 0 and not context.get("map_index_template"):
            context["map_index_template"] = "{{ task.connector_identifier }}"
        return resolve_window(self.start, self.end, self.window, context, align=self.align)

    def _wait_for_end(self, window: Window) -> None:
        """Wait until ``settle`` has passed since the window's end; a long wait occupies no worker slot."""
        if self.settle is None:
            require_past(
                window,
                "give an earlier end (CronPartitionTimetable: run_offset=-1), or settle=timedelta(0) to wait "
                "for its end",
            )
            return
        try:
            seconds = (window.end + self.settle - utcnow()).total_seconds()
        except OverflowError:
            raise invalid(f"settle {self.settle} is out of range", "give a shorter one") from None
        if seconds <= 0:
            return
        self.log.info("Waiting %.0f s, until %s after the window's end", seconds, self.settle)
        if seconds <= MIN_DEFERRAL_SECONDS:
            time.sleep(seconds)
        elif self.deferrable:
            self._defer(seconds)
        else:
            raise AirflowRescheduleException(utcnow() + timedelta(seconds=seconds))


def require_past(window: Window, remedy: str) -> None:
    """Raise an error that has this remedy where the window is not over."""
    if (window.end - utcnow()).total_seconds() > _SECONDS_OF_SKEW:
        raise invalid(f"the window is not over, so its log is not complete: {window}", remedy)
