"""Sensor: wait until a connector logs errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.exceptions import AirflowRescheduleException

from airflow_provider_supermetrics._api.calls import (
    MAX_LIMIT,
    valid_connector_identifier,
    valid_integer,
    valid_team_id,
)
from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.filter import ErrorFilter, as_integer, read_filter
from airflow_provider_supermetrics._api.spans import LONGEST_SPAN, Threshold, begin_of_spans
from airflow_provider_supermetrics._api.state import from_json, to_json
from airflow_provider_supermetrics._api.text import counted
from airflow_provider_supermetrics._api.times import format_time, parse_time
from airflow_provider_supermetrics._compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
    first_start_of_sensor,
)
from airflow_provider_supermetrics._templates import is_template
from airflow_provider_supermetrics._wait import (
    MIN_DEFERRAL_SECONDS,
    Pace,
    WaitPolicy,
    set_default_retry_policy,
    utcnow,
)
from airflow_provider_supermetrics.exceptions import (
    SupermetricsError,
    SupermetricsValidationError,
    as_supermetrics_error,
    public_errors,
    reason,
)
from airflow_provider_supermetrics.provider_info import DEFAULT_CONN_NAME

if TYPE_CHECKING:
    from airflow_provider_supermetrics._api.counter import ErrorCounter
    from airflow_provider_supermetrics._api.reports import Report
    from airflow_provider_supermetrics._compat import Context
    from airflow_provider_supermetrics._reports import ReportStore

__all__ = ["SupermetricsErrorLogSensor"]

_STORE_KEY = "supermetrics_error_log"
# Airflow ends a deferral that its trigger does not end. The trigger may still be waiting for a response at
# its deadline, so it is given this much longer.
_GRACE = timedelta(minutes=15)
_LONGEST_LOOKBACK = timedelta(days=31)
_LONGEST_TIMEOUT = timedelta(days=3650).total_seconds()
_FILTERS = ("min_status", "statuses", "events", "request_contains")


class SupermetricsErrorLogSensor(BaseSensorOperator):
    """
    Wait until a connector has logged errors.

    Returns ``{"connector_identifier": ..., "team_id": ..., "matches": how many, "entries": [the newest],
    "since": ..., "until": ..., "message": text}``, which is the same in poke, reschedule and deferrable mode.
    ``message`` is what a person should read, in a few lines of plain text.

    :param connector_identifier: the connector, such as ``"T3S70"``. (templated)
    :param team_id: the team; by default the Connection's. (templated)
    :param since: count entries from this time on, an aware datetime or ISO 8601 string; by default the
        start of the run's data interval, else the time the run was due. Retries and reschedules do not
        change it. (templated)
    :param since_last_run: count the errors that no other run of this task has reported, in place of
        ``since``. Together, the results of the successful runs contain each error once: what a failed or
        skipped run has missed is in the next one's. Give the DAG ``max_active_runs=1``.
    :param max_lookback: how far before the time when it was due the first run begins, and any run at most; up
        to 31 days.
    :param min_status: the lowest status that counts as an error. (templated)
    :param statuses: the statuses that count, in place of ``min_status``. (templated)
    :param events: the event types that count; by default all. (templated)
    :param request_contains: text that ``request`` must contain, in upper or lower case; by default any
        request counts. (templated)
    :param min_matches: how many entries must match; at most 1,000 together with ``within``. (templated)
    :param within: how close to each other ``min_matches`` entries must be, at most 31 days; by default, all
        since ``since`` count, however far apart. A span of this length may begin before ``since``, but must
        end at or after it. The result then contains what has matched since the span began. While the sensor
        waits, it keeps the times of at most twice ``min_matches`` entries for each ``within`` of the time
        that it has read, and polls cost as many requests as without. (templated)
    :param max_entries: how many of the newest entries to return, with long strings truncated. (templated)
    :param overlap: how late an entry may appear in the log and still be found.
    :param max_consecutive_failures: how many polls in a row may fail before the task does.
    :param deferrable: whether to wait in the triggerer, without occupying a worker slot; by default Airflow's
        ``[operators] default_deferrable``.
    :param wait_policy: settings for waiting that replace the Connection's, such as
        ``{"rate_limit_reserve": 1000}``.
    :param supermetrics_conn_id: :ref:`Supermetrics connection<connection>` to use. (templated)
    """

    template_fields: Sequence[str] = (
        "connector_identifier",
        "team_id",
        "since",
        "min_status",
        "statuses",
        "events",
        "request_contains",
        "min_matches",
        "within",
        "max_entries",
        "supermetrics_conn_id",
    )
    ui_color = "#fde8e8"

    def __init__(
        self,
        *,
        connector_identifier: str,
        team_id: int | str | None = None,
        since: datetime | str | None = None,
        since_last_run: bool = False,
        max_lookback: timedelta = timedelta(hours=24),
        min_status: int = 400,
        statuses: Collection[int] | None = None,
        events: Collection[str] | None = None,
        request_contains: str | None = None,
        min_matches: int = 1,
        within: timedelta | None = None,
        max_entries: int = 20,
        overlap: timedelta = timedelta(minutes=1),
        max_consecutive_failures: int = 5,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        wait_policy: Mapping[str, float] | None = None,
        supermetrics_conn_id: str = DEFAULT_CONN_NAME,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.connector_identifier = connector_identifier
        self.team_id = team_id
        self.since = since
        self.since_last_run = since_last_run
        self.max_lookback = max_lookback
        self.min_status = min_status
        self.statuses = statuses
        self.events = events
        self.request_contains = request_contains
        self.min_matches = min_matches
        self.within = within
        self.max_entries = max_entries
        self.overlap = overlap
        self.max_consecutive_failures = max_consecutive_failures
        self.deferrable = deferrable
        self.wait_policy = wait_policy
        self.supermetrics_conn_id = supermetrics_conn_id
        with public_errors():
            WaitPolicy().override(wait_policy or {})
            self._check_all_but_templates()
            valid_integer("max_consecutive_failures", max_consecutive_failures, 1)
        if not isinstance(overlap, timedelta) or overlap < timedelta():
            raise SupermetricsValidationError(f"overlap must be a timedelta of 0 or more, not {overlap!r}")
        if not isinstance(max_lookback, timedelta) or not timedelta() < max_lookback <= _LONGEST_LOOKBACK:
            raise SupermetricsValidationError(
                f"max_lookback must be a timedelta of more than 0, up to 31 days, not {max_lookback!r}"
            )
        if since_last_run and since is not None:
            raise SupermetricsValidationError("give since or since_last_run=True, not both")
        if self.poke_interval < 1:
            raise SupermetricsValidationError(
                f"poke_interval must be 1 second or more, not {self.poke_interval} s"
            )
        set_default_retry_policy(self)
        self._store: Any = None
        self._max_tries: int | None = None
        self._is_forgetful = False

    def execute(self, context: Context) -> Any:
        """Poll until enough errors are found; between polls sleep, reschedule the task, or defer it."""
        from airflow_provider_supermetrics._context import name_if_mapped

        name_if_mapped(context)
        with self._log_remedy():
            is_resumed = self.reschedule and not self.deferrable
            first_start = first_start_of_sensor(context, self.retries or 0) if is_resumed else None
            self._begin(context)
            deadline = (first_start or utcnow()) + timedelta(seconds=min(self.timeout, _LONGEST_TIMEOUT))
            while not (poked := self._poke_or_skip(context)).is_done:
                pause = self._pause_before(deadline, context)
                if self.deferrable:
                    self._defer(pause, deadline)
                if self.reschedule:
                    raise AirflowRescheduleException(utcnow() + timedelta(seconds=pause))
                time.sleep(pause)
            self._add_report(context, self._counter.report(), self._counter.matches.count)
            return poked.xcom_value

    @contextmanager
    def _log_remedy(self) -> Iterator[None]:
        """Log what to do about an error on a line of its own, because log views cut long lines."""
        try:
            yield
        except Exception as error:
            # A skip has the error as its cause.
            if remedy := getattr(error.__cause__ or error, "remedy", None):
                self.log.error("%s", remedy[0].upper() + remedy[1:])
            raise

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral; if that ends in a skip, add the reason."""
        from airflow_provider_supermetrics._context import name_if_mapped

        name_if_mapped(context)
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException as skip:
            # Airflow logs no cause, and its own message only says that soft_fail or never_fail is set.
            raise AirflowSkipException(str(skip.__cause__ or skip)) from skip.__cause__

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once, unless no request is allowed yet."""
        from airflow_provider_supermetrics._api.message import with_message
        from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsHook

        if not hasattr(self, "_counter"):
            self._begin(context)
        counter, now, not_before = self._counter, utcnow(), self._pace.state.not_before
        self._pause = self.poke_interval
        if not_before is not None and now < not_before:
            return PokeReturnValue(is_done=False)
        try:
            with SupermetricsHook(self.supermetrics_conn_id, wait_policy=self.wait_policy) as hook:
                counter.begin_poll(now)
                team_id = hook.resolve_team_id(self.team_id)
                for _ in hook.read_pages(counter, self.connector_identifier, team_id):
                    pass
            counter.finish_poll(utcnow())
        except SupermetricsError as error:
            if not error.resumable:
                counter.abandon_poll()
            try:
                self._pause = self._pace.after_failure(error)
            finally:
                self._save()
            self.log.warning(
                "Poll of connector %s failed, next one in %.0f s: %s",
                self.connector_identifier,
                self._pause,
                error,
            )
            return PokeReturnValue(is_done=False)
        except Exception as error:
            raise as_supermetrics_error(error, self.supermetrics_conn_id) from error
        self._pause = self._pace.after_success(hook.rate_limit, hook.rate_limit_reserve)
        result = with_message(self.connector_identifier, team_id, counter.result(), is_rest=counter.is_rest)
        within = counter.threshold.within
        self.log.info(
            "%s: %d of at least %d matching entries %ssince %s%s",
            self.connector_identifier,
            counter.count,
            counter.threshold.min_matches,
            f"within {within} " if within else "",
            format_time(counter.since),
            "" if counter.is_reached else f"; newest entry read: {result['until']}",
        )
        if not counter.is_reached:
            self._save()
            return PokeReturnValue(is_done=False)
        self._forget()
        self.log.info("%s", result["message"])
        return PokeReturnValue(is_done=True, xcom_value=result)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Return the trigger's result, or raise its error; also raise an error if the event is not valid."""
        from airflow_provider_supermetrics._api.reports import Report
        from airflow_provider_supermetrics.triggers.supermetrics import error_of

        if not isinstance(event, Mapping):
            raise SupermetricsError(f"The trigger fired with {type(event).__name__}, not with a result")
        with public_errors():
            threshold = self._threshold()
        status, result = event.get("status"), event.get("result")
        stored, report = event.get("report"), None
        if stored is not None:
            report = from_json(stored, Report)
        if status == "error":
            with self._log_remedy():
                raise error_of(event)
        if status == "timeout":
            self._add_report(context, report, 0)
            has_succeeded = event.get("polls_succeeded") != 0
            raise AirflowSensorTimeout(self._timeout_message(has_succeeded, event.get("last_failure")))
        if (
            status != "success"
            or not isinstance(result, Mapping)
            or not isinstance(result.get("matches"), int)
            or result["matches"] < threshold.min_matches
            or not isinstance(result.get("entries"), list)
            or not isinstance(result.get("message"), str)
        ):
            raise SupermetricsError(f"The trigger fired with status {status!r} and without a result")
        self.log.info("%s", result["message"])
        self._add_report(context, report, result["matches"])
        return dict(result)

    def _begin(self, context: Context) -> None:
        from airflow_provider_supermetrics._api.counter import CounterState, ErrorCounter
        from airflow_provider_supermetrics._api.tail import FIRST_LIMIT, TailState
        from airflow_provider_supermetrics._context import run_start
        from airflow_provider_supermetrics.triggers.supermetrics import Progress

        if self.reschedule and not self.deferrable:
            self._store = context.get("task_state_store")  # Airflow 3.3 and later
            self._is_forgetful = self._store is None
            self._max_tries = context["ti"].max_tries
        with public_errors():
            valid_connector_identifier(self.connector_identifier)
            since, reports = parse_time("since", self.since), None
            error_filter, threshold, max_entries = self._filter(), self._threshold(), self._max_entries()
        since = since or run_start(context)
        if self.since_last_run:
            # A span holds no error that another run has reported, so it needs none from before.
            begin, reports = self._begin_after_other_runs(context, error_filter)
            since = begin
        else:
            begin = begin_of_spans(since, threshold.within)
        # If no state is kept between polls, each poll reads everything again, so larger pages save requests.
        tail = TailState(
            begin,
            self.overlap,
            MAX_LIMIT if self._is_forgetful else FIRST_LIMIT,
            # An earlier poll has checked this; Airflow 2 does not say whether there was one.
            is_known=self._is_forgetful and context.get("task_reschedule_count", 0) > 0,
        )
        state = CounterState(tail, reports=reports)
        self._counter = ErrorCounter(state, error_filter, max_entries, threshold, since)
        # Without stored state, failures cannot be counted, so the first failure fails the task.
        self._pace = Pace(self.poke_interval, 1 if self._is_forgetful else self.max_consecutive_failures)
        stored = None if self._store is None else self._stored("read", self._store.get, _STORE_KEY)
        if stored and stored.get("fingerprint") == self._fingerprint(self._counter):
            with suppress(ContractViolation):
                progress = from_json(stored, Progress)
                self._pace.state = progress.pace
                self._counter = ErrorCounter(progress.counter, error_filter, max_entries, threshold, since)

    # Arguments, which templates may have given

    def _filter(self) -> ErrorFilter:
        return read_filter(**{name: getattr(self, name) for name in _FILTERS})

    def _threshold(self) -> Threshold:
        within: Any = as_integer(self.within)
        if isinstance(within, int) and not isinstance(within, bool):
            within = timedelta(seconds=min(within, LONGEST_SPAN.total_seconds() + 1))
        is_left_out = isinstance(within, str) and within.strip() in ("", "None")
        return Threshold.of(as_integer(self.min_matches), None if is_left_out else within)

    def _max_entries(self) -> int:
        return valid_integer("max_entries", as_integer(self.max_entries), 0)

    def _check_all_but_templates(self) -> None:
        """Check the templated arguments that have no template; the others are checked when the task runs.

        :raises InvalidRequest: for a value that no run could accept.
        """
        # Not the fields of a subclass, which it has not set yet.
        names = SupermetricsErrorLogSensor.template_fields
        known = {name: value for name in names if not is_template(value := getattr(self, name))}
        if "connector_identifier" in known:
            valid_connector_identifier(self.connector_identifier)
        if known.get("team_id") not in (None, "", "None"):
            valid_team_id(known["team_id"])
        parse_time("since", known.get("since"))
        read_filter(**{name: known[name] for name in _FILTERS if name in known})
        Threshold.of(as_integer(known.get("min_matches", 1)), known.get("within"))
        valid_integer("max_entries", as_integer(known.get("max_entries", 0)), 0)

    # The reports of other runs, with since_last_run

    def _begin_after_other_runs(
        self, context: Context, error_filter: ErrorFilter
    ) -> tuple[datetime, tuple[Report, ...]]:
        """Return the first time that other runs have not reported, and all that they have."""
        from airflow_provider_supermetrics._api.reports import unreported
        from airflow_provider_supermetrics._context import run_end

        if getattr(context.get("dag"), "max_active_runs", 1) != 1:
            self.log.warning(
                "Two runs at one time may report the same errors: give the DAG max_active_runs=1"
            )
        earliest = run_end(context) - self.max_lookback
        reports = self._report_store(context, error_filter).of_other_runs(earliest, utcnow())
        return unreported(reports, earliest)[0][0], reports

    def _report_store(self, context: Context, error_filter: ErrorFilter) -> ReportStore:
        from airflow_provider_supermetrics._reports import ReportStore

        looked_for = {
            "connector_identifier": self.connector_identifier,
            "team_id": str(self.team_id),
            "supermetrics_conn_id": self.supermetrics_conn_id,
            **error_filter.to_arguments(),
        }
        return ReportStore(context, looked_for)

    def _add_report(self, context: Context, report: Report | None, matches: int) -> None:
        """Let later runs know what this one reports: ``matches`` errors, or that there were none."""
        if report is not None:
            with public_errors():
                error_filter = self._filter()
            self._report_store(context, error_filter).add(report, matches, utcnow())

    # Between two polls

    def _poke_or_skip(self, context: Context) -> PokeReturnValue:
        """Poke; handle an error as ``soft_fail``, ``never_fail`` or ``silent_fail`` says."""
        try:
            return self.poke(context)
        except (AirflowFailException, AirflowTaskTimeout) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise
        except Exception as error:
            if self.silent_fail:
                self.log.error(
                    "Poll of connector %s failed, and silent_fail is set, so polling continues: %s",
                    self.connector_identifier,
                    error,
                )
                return PokeReturnValue(is_done=False)
            if self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def _pause_before(self, deadline: datetime, context: Context) -> float:
        """Return the seconds until the next poll; the last poll is at the deadline.

        :raises AirflowSensorTimeout: if the deadline has passed, or no poll is allowed before it.
        """
        now, state = utcnow(), self._pace.state
        not_before, left = state.not_before, (deadline - now).total_seconds()
        if not_before is not None and not_before > deadline:
            self.log.warning(
                "No request for %s is allowed before %s, which is after the sensor's timeout",
                self.connector_identifier,
                format_time(not_before),
            )
            left = 0.0
        if left <= 0:
            if not self._counter.matches.count:
                self._add_report(context, self._counter.report(), 0)
            self._forget()
            message = self._timeout_message(state.succeeded > 0, state.last_failure)
            raise (AirflowSkipException if self.soft_fail else AirflowSensorTimeout)(message)
        pause = self._pause
        if self.exponential_backoff:
            # Waiting as long again as it has waited so far doubles the total, without a count of the polls.
            pause = max(pause, min(self.poke_interval + self.timeout - left, self._longest_interval))
        pause = min(pause, left)
        if not_before is not None:
            pause = max(pause, (not_before - now).total_seconds())
        return max(pause, MIN_DEFERRAL_SECONDS) if self.reschedule or self.deferrable else pause

    @property
    def _longest_interval(self) -> float:
        return self.max_wait.total_seconds() if self.max_wait else min(self.timeout, _LONGEST_TIMEOUT)

    def _defer(self, pause: float, deadline: datetime) -> NoReturn:
        from airflow_provider_supermetrics.triggers.supermetrics import SupermetricsErrorLogTrigger

        now = utcnow()
        # A trigger that fires at once would resume the task within a heartbeat.
        left = max((deadline - now).total_seconds(), MIN_DEFERRAL_SECONDS)
        self.defer(
            trigger=SupermetricsErrorLogTrigger(
                connector_identifier=self.connector_identifier,
                team_id=self.team_id,
                since=self._counter.since.isoformat(),
                deadline=(now + timedelta(seconds=left)).isoformat(),
                not_before=(now + timedelta(seconds=pause)).isoformat(),
                error_filter=self._counter.filter.to_arguments(),
                min_matches=self._counter.threshold.min_matches,
                within=within.total_seconds() if (within := self._counter.threshold.within) else None,
                max_entries=self._counter.max_entries,
                overlap=self.overlap.total_seconds(),
                poke_interval=self.poke_interval,
                max_consecutive_failures=self.max_consecutive_failures,
                longest_interval=self._longest_interval if self.exponential_backoff else None,
                state=self._progress(),
                wait_policy=dict(self.wait_policy) if self.wait_policy else None,
                supermetrics_conn_id=self.supermetrics_conn_id,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=left) + _GRACE,
        )

    def _progress(self) -> dict[str, Any]:
        from airflow_provider_supermetrics.triggers.supermetrics import Progress

        progress: dict[str, Any] = to_json(Progress(self._counter.state, self._pace.state))
        return progress

    def _timeout_message(self, has_succeeded: bool, last_failure: str | None) -> str:
        within = f"within the sensor's timeout of {self.timeout:.0f} s"
        together = f" in any {self.within}" if self.within else ""
        least = self._threshold().min_matches
        few = f"{counted(least, 'matching entry', 'matching entries')}{together}"
        too_few = f"{self.connector_identifier} has not logged {few} {within}"
        if not last_failure:
            return too_few
        if has_succeeded:
            return f"{too_few}, as far as it was read. The last poll failed: {last_failure}"
        if self._is_forgetful:
            return f"The last poll of {self.connector_identifier} {within} failed: {last_failure}"
        return (
            f"No poll of {self.connector_identifier} succeeded {within}. The last one failed: {last_failure}"
        )

    # The state of a rescheduled sensor, in the task state store: Airflow 3.3 and later

    def _fingerprint(self, counter: ErrorCounter) -> dict[str, Any]:
        within, min_matches = counter.threshold.within, counter.threshold.min_matches
        return {
            # A task that is cleared has more than before; one that is retried has not.
            "max_tries": self._max_tries,
            "connector_identifier": self.connector_identifier,
            "team_id": str(self.team_id),
            "supermetrics_conn_id": self.supermetrics_conn_id,
            "since": format_time(counter.since),
            # Without those of now, the state would count what other runs have reported meanwhile.
            "reports": to_json(counter.state.reports),
            "max_entries": counter.max_entries,
            "overlap": self.overlap.total_seconds(),
            **counter.filter.to_arguments(),
            **({} if within is None else {"within": within.total_seconds(), "min_matches": min_matches}),
        }

    def _save(self) -> None:
        if self._store is not None:
            state = {"fingerprint": self._fingerprint(self._counter), **self._progress()}
            self._stored("written", self._store.set, _STORE_KEY, state)

    def _forget(self) -> None:
        if self._store is not None:
            self._stored("deleted", self._store.delete, _STORE_KEY)

    def _stored(self, done: str, use: Callable[..., Any], *args: Any) -> Any:
        """Use the task state store; only log a failure, because the state only saves requests."""
        try:
            return use(*args)
        except Exception as error:
            self.log.warning(
                "The state of this sensor could not be %s: %s. Without it, the next poll reads again from "
                "'since'",
                done,
                reason(error),
            )
            return None
