"""What the operators that read a window of one connector's log have in common."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.exceptions import AirflowRescheduleException

from airflow_provider_supermetrics._api.calls import parse_boolean
from airflow_provider_supermetrics._api.times import parse_duration, parse_time
from airflow_provider_supermetrics._templates import check_unless_template
from airflow_provider_supermetrics._wait import MIN_DEFERRAL_SECONDS, utcnow
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError, invalid, public_errors
from airflow_provider_supermetrics.operators._base import SupermetricsOperator

if TYPE_CHECKING:
    from airflow_provider_supermetrics._compat import Context
    from airflow_provider_supermetrics._schedule import Window

#: The arguments that every operator of a window takes; all can be templates.
WINDOW_FIELDS = ("connector_identifier", "team_id", "start", "end", "window", "align", "settle")
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
        window: timedelta | str | None = None,
        align: bool | str = True,
        settle: timedelta | str | None = None,
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
        check_unless_template(parse_duration, "window", window)
        check_unless_template(read_window, start, window)
        check_unless_template(_read_settle, settle)
        check_unless_template(parse_boolean, "align", align)

    def _begin(self, context: Context) -> Window:
        """Name a mapped task by its connector; return the window of the run."""
        from airflow_provider_supermetrics._context import name_if_mapped, resolve_window

        name_if_mapped(context)
        with public_errors():
            length, align = read_window(self.start, self.window), parse_boolean("align", self.align)
        return resolve_window(self.start, self.end, length, context, align=align)

    def _wait_for_end(self, window: Window) -> None:
        """Wait until ``settle`` has passed since the window's end; a long wait occupies no worker slot."""
        with public_errors():
            settle = _read_settle(self.settle)
        if settle is None:
            require_past(
                window,
                "give an earlier end (CronPartitionTimetable: run_offset=-1), or settle=timedelta(0) to wait "
                "for its end",
            )
            return
        try:
            seconds = (window.end + settle - utcnow()).total_seconds()
        except OverflowError:
            raise invalid(f"settle {settle} is out of range", "give a shorter one") from None
        if seconds <= 0:
            return
        self.log.info("Waiting %.0f s, until %s after the window's end", seconds, settle)
        if seconds <= MIN_DEFERRAL_SECONDS:
            time.sleep(seconds)
        elif self.deferrable:
            self._defer(seconds)
        else:
            raise AirflowRescheduleException(utcnow() + timedelta(seconds=seconds))


def read_window(start: Any, window: Any) -> timedelta | None:
    """Return the length of a window that has no start, as the user or a template gave it."""
    length = parse_duration("window", window)
    if length is not None and parse_time("start", start) is not None:
        raise SupermetricsValidationError("give start or window, not both")
    return length


def _read_settle(settle: Any) -> timedelta | None:
    length = parse_duration("settle", settle)
    if length is not None and length < timedelta():
        raise SupermetricsValidationError(f"settle must not be negative, but is {length}")
    return length


def require_past(window: Window, remedy: str) -> None:
    """Raise an error that has this remedy where the window is not over."""
    if (window.end - utcnow()).total_seconds() > _SECONDS_OF_SKEW:
        raise invalid(f"the window is not over, so its log is not complete: {window}", remedy)
