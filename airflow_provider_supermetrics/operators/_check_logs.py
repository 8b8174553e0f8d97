"""Check whether a window of a connector's log is good enough."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_supermetrics._api.bounds import Bounds, read_bound
from airflow_provider_supermetrics._api.calls import (
    valid_connector_identifier,
    valid_team_id,
)
from airflow_provider_supermetrics._api.errors import ContractViolation, InvalidRequest
from airflow_provider_supermetrics._api.filter import read_filter
from airflow_provider_supermetrics._api.state import from_json, to_json
from airflow_provider_supermetrics._api.text import counted, quoted
from airflow_provider_supermetrics._api.times import format_time, parse_time
from airflow_provider_supermetrics._compat import AirflowSkipException
from airflow_provider_supermetrics._templates import is_template
from airflow_provider_supermetrics._wait import Log, utcnow
from airflow_provider_supermetrics.exceptions import (
    SupermetricsCheckError,
    SupermetricsError,
    public_errors,
    reason,
)
from airflow_provider_supermetrics.operators._window import WINDOW_FIELDS, SupermetricsWindowOperator

if TYPE_CHECKING:
    from airflow_provider_supermetrics._api.check import CheckProgress
    from airflow_provider_supermetrics._compat import Context

_BOUNDS = ("max_errors", "max_error_rate", "min_entries", "max_p95_duration_ms")
_FILTERS = ("min_status", "statuses", "events", "request_contains")
_ACTIONS = ("fail", "skip")
_STORE_KEY = "supermetrics_check_logs"
# As of an export's checkpoint: what was read before may lack entries that were logged late.
_MAX_AGE = timedelta(days=3)


class SupermetricsCheckLogsOperator(SupermetricsWindowOperator):
    """
    Check whether a window of a connector's log keeps to bounds; fail or skip what follows where it does not.

    Reads the window newest entry first, and stops as soon as the verdict is certain. Returns the verdict, the
    violated bounds, what was counted, the newest errors, and a message. If a bound is violated, the result is
    in the task's XCom, too, and the task ends with a :class:`SupermetricsCheckError`, which Airflow does not
    retry, or is skipped. The window is chosen as by :class:`SupermetricsExportLogsOperator`.

    :param connector_identifier: the connector, such as ``"T3S70"``. (templated)
    :param team_id: the team; by default the Connection's. (templated)
    :param start: first time of the window, an aware datetime or an ISO 8601 string. (templated)
    :param end: the time at which the window ends, likewise. (templated)
    :param window: length of the window if ``start`` is not given, as of the export. (templated)
    :param align: whether a run that the schedule has not created, such as a manual one, checks the last
        complete window instead of the ``window`` before the time when the run was due. (templated)
    :param settle: how long to wait after the window's end before reading it, because entries can appear
        late in the log; written as ``window`` is. The wait occupies no worker slot. (templated)
    :param max_errors: the most errors that are accepted; None for any number. (templated)
    :param max_error_rate: the greatest share of errors among the entries that is accepted, from 0 to 1; None
        for any share. (templated)
    :param min_entries: the fewest entries that are accepted, so that a connector that has fallen silent is
        found; None for any number. (templated)
    :param max_p95_duration_ms: how long 95 % of the entries may take at most, by ``duration_ms``; None for
        any time. (templated)
    :param on_violation: ``"fail"``, or ``"skip"`` to skip this task and those that depend on it. (templated)
    :param min_status: the lowest status that counts as an error. (templated)
    :param statuses: the statuses that count, in place of ``min_status``. (templated)
    :param events: the event types that count; by default all. (templated)
    :param request_contains: text that ``request`` must contain, in upper or lower case; by default any
        request counts. (templated)
    :param supermetrics_conn_id: :ref:`Supermetrics connection<connection>` to use. (templated)
    :param wait_policy: settings for waiting that replace the Connection's, such as
        ``{"max_inline_wait": 300}``.
    :param deferrable: whether to defer, without occupying a worker slot, while the API requires a wait; by
        default Airflow's ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = (
        *WINDOW_FIELDS,
        *_BOUNDS,
        "on_violation",
        *_FILTERS,
        "supermetrics_conn_id",
    )

    def __init__(
        self,
        *,
        max_errors: int | str | None = 0,
        max_error_rate: float | str | None = None,
        min_entries: int | str | None = None,
        max_p95_duration_ms: float | str | None = None,
        on_violation: str = "fail",
        min_status: int | str = 400,
        statuses: Collection[int | str] | str | None = None,
        events: Collection[str] | str | None = None,
        request_contains: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_errors = max_errors
        self.max_error_rate = max_error_rate
        self.min_entries = min_entries
        self.max_p95_duration_ms = max_p95_duration_ms
        self.on_violation = on_violation
        self.min_status = min_status
        self.statuses = statuses
        self.events = events
        self.request_contains = request_contains
        with public_errors():
            known = {name: getattr(self, name) for name in self.template_fields}
            known = {name: value for name, value in known.items() if not is_template(value)}
            for name in _BOUNDS:
                read_bound(name, known.get(name))
            if known.keys() >= set(_BOUNDS):
                _bounds(known)
            read_filter(**{name: known[name] for name in _FILTERS if name in known})
            _require_action(known.get("on_violation", "fail"))
            if "connector_identifier" in known:
                valid_connector_identifier(self.connector_identifier)
            if known.get("team_id") is not None:
                valid_team_id(known["team_id"])
            for name in ("start", "end"):
                parse_time(name, known.get(name))

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the window; return the result, or fail or skip."""
        return self.execute_complete(context)

    def execute_complete(
        self,
        context: Context,
        event: Any = None,  # noqa: ARG002  # Airflow's call
        progress: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Continue after a deferral.

        :param progress: what was read before it.
        """
        with self._log_remedy():
            result = self._check(context, progress)
            headline, *details = result["message"].split("\n")
            is_passed = result["verdict"] == "passed"
            (self.log.info if is_passed else self.log.warning)("%s", headline)
            for line in details:
                self.log.info("%s", line)
            if is_passed:
                return result
            if self.do_xcom_push:
                # Airflow stores no return value of a task that fails or is skipped.
                context["ti"].xcom_push(key="return_value", value=result)
            if self.on_violation == "skip":
                raise AirflowSkipException(headline)
            raise SupermetricsCheckError(headline, result=result)

    def _check(self, context: Context, deferred: dict[str, Any] | None) -> dict[str, Any]:
        """Read until the verdict is certain; return the result."""
        from airflow_provider_supermetrics._api.check import CheckProgress, CheckState, LogCheck

        arguments = {name: getattr(self, name) for name in self.template_fields}
        with public_errors():
            valid_connector_identifier(self.connector_identifier)
            bounds, error_filter = (
                _bounds(arguments),
                read_filter(**{name: arguments[name] for name in _FILTERS}),
            )
            _require_action(self.on_violation)
        with self._hook() as hook:
            window = self._begin(context)
            team_id = hook.resolve_team_id(self.team_id)
            self._wait_for_end(window)
            of = {
                "connector_identifier": self.connector_identifier,
                "team_id": team_id,
                "window": window.slug,
                "max_p95_duration_ms": bounds.max_p95_duration_ms,
                **error_filter.to_arguments(),
            }
            store = _Store(context, self.log)
            earlier = _progress(deferred, of) or _progress(store.get(), of)
            if earlier is None:
                with public_errors():
                    state = CheckState.of(window.start, window.end)
                earlier = CheckProgress(of, state, 0, 0, utcnow())
                self.log.info("Checking the logs of %s in %s", self.connector_identifier, window)
            else:
                self.log.info(
                    "Resuming the check of %s in %s after %s and %s",
                    self.connector_identifier,
                    window,
                    counted(earlier.check.entries, "entry", "entries"),
                    counted(earlier.requests, "request"),
                )
            check, pages = LogCheck(earlier.check, error_filter, bounds), 0
            try:
                for _ in hook.read_pages(check, self.connector_identifier, team_id):
                    pages += 1
            except SupermetricsError as error:
                if not error.resumable:
                    store.delete()
                    raise
                requests = earlier.requests + hook.requests_sent
                waits = 1 if pages > 1 else earlier.waits + 1
                progress = to_json(CheckProgress(of, check.state.compact(), requests, waits, utcnow()))
                store.set(progress)
                self._defer_or_raise(error, waits, {"progress": progress})
            store.delete()
            start, end = format_time(window.start), format_time(window.end)
            return {
                "connector_identifier": self.connector_identifier,
                "team_id": team_id,
                "start": start,
                "end": end,
                **check.result(),
                "requests": earlier.requests + hook.requests_sent,
                "message": check.message(self.connector_identifier, f"{start} to {end}"),
            }


class _Store:
    """The task state store of Airflow 3.3, in which a retry finds what was read; before, nothing is kept."""

    def __init__(self, context: Context, log: Log) -> None:
        self._store: Any = context.get("task_state_store")
        self._log = log
        self._is_empty = False

    def get(self) -> Any:
        """What an earlier attempt has stored, or None; an empty mapping if it cannot be read."""
        found = self._try("read", "get", failed={})
        self._is_empty = found is None
        return found

    def set(self, progress: Any) -> None:
        """Store what was read."""
        self._is_empty = False
        self._try("written", "set", progress)

    def delete(self) -> None:
        """Delete it, unless :meth:`get` has found nothing: that saves a request."""
        if not self._is_empty:
            self._try("deleted", "delete")

    def _try(self, done: str, method: str, *args: Any, failed: Any = None) -> Any:
        """Use the store; only log a failure, because what is stored only saves requests.

        :param failed: what to return then.
        """
        if self._store is None:
            return None
        try:
            return getattr(self._store, method)(_STORE_KEY, *args)
        except Exception as error:
            self._log.warning("The progress of this check could not be %s: %s", done, reason(error))
            return failed


def _progress(stored: Any, of: dict[str, Any]) -> CheckProgress | None:
    """The progress that was stored, unless it is of another check, of another version, or old."""
    from airflow_provider_supermetrics._api.check import CheckProgress

    with suppress(ContractViolation):
        progress = from_json(stored, CheckProgress)
        if progress.of == of and utcnow() - progress.saved_at < _MAX_AGE:
            return progress
    return None


def _bounds(arguments: Mapping[str, Any]) -> Bounds:
    return Bounds.of(**{name: arguments[name] for name in _BOUNDS})


def _require_action(on_violation: Any) -> None:
    if on_violation not in _ACTIONS:
        raise InvalidRequest(f"on_violation must be 'fail' or 'skip', not {quoted(on_violation)}")
