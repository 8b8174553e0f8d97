"""Sensor: wait until a connector logs errors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_supermetrics._api.calls import MAX_LIMIT, valid_connector_identifier
from airflow_provider_supermetrics._api.counter import CounterState, ErrorCounter
from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.filter import ErrorFilter, as_list
from airflow_provider_supermetrics._api.state import from_json, to_json
from airflow_provider_supermetrics._api.tail import FIRST_LIMIT, TailState
from airflow_provider_supermetrics._api.times import format_time, parse_time
from airflow_provider_supermetrics._compat import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from airflow_provider_supermetrics._context import run_start
from airflow_provider_supermetrics._wait import (
    MIN_DEFERRAL_SECONDS,
    Pace,
    PaceState,
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
from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsHook
from airflow_provider_supermetrics.triggers.supermetrics import SupermetricsErrorLogTrigger, error_of

if TYPE_CHECKING:
    from airflow_provider_supermetrics._compat import Context

_STORE_KEY = "supermetrics_error_log"
# Airflow ends a deferral by itself where the triggerer did not; the trigger, which may be waiting inside a
# request at its deadline, should be first.
_GRACE = timedelta(minutes=15)
_LONGEST_TIMEOUT = timedelta(days=3650).total_seconds()


class SupermetricsErrorLogSensor(BaseSensorOperator):
    """
    Wait until a connector has logged errors.

    Returns ``{"matches": how many, "entries": [the newest], "since": ..., "until": ...}``, the same in
    poke, reschedule and deferrable mode.

    :param connector_identifier: the connector, such as ``"T3S70"``. (templated)
    :param team_id: the team; by default the Connection's. (templated)
    :param since: entries from this time on count, an aware datetime or ISO 8601 string; by default the
        start of the run's data interval, else the time the run was due. Neither retries nor
        reschedules move it. (templated)
    :param min_status: the lowest status that counts as an error.
    :param statuses: the statuses that count, in place of ``min_status``. (templated)
    :param events: the event types that count; by default all. (templated)
    :param request_contains: a part of ``request``, upper or lower case; by default any request
        counts. (templated)
    :param min_matches: how many entries there must be.
    :param max_entries: how many of them to return, long strings cut.
    :param overlap: how late an entry may appear in the log and still be found.
    :param max_consecutive_failures: how many polls in a row may fail before the task does.
    :param deferrable: whether to wait in the triggerer, without a worker slot; by default what
        ``[operators] default_deferrable`` says.
    :param wait_policy: what of the Connection's waiting is different here, such as
        ``{"rate_limit_reserve": 1000}``.
    :param supermetrics_conn_id: :ref:`Supermetrics connection<connection>` to use. (templated)
    """

    template_fields: Sequence[str] = (
        "connector_identifier",
        "team_id",
        "since",
        "statuses",
        "events",
        "request_contains",
        "supermetrics_conn_id",
    )
    ui_color = "#fde8e8"

    def __init__(
        self,
        *,
        connector_identifier: str,
        team_id: int | str | None = None,
        since: datetime | str | None = None,
        min_status: int = 400,
        statuses: Collection[int] | None = None,
        events: Collection[str] | None = None,
        request_contains: str | None = None,
        min_matches: int = 1,
        max_entries: int = 20,
        overlap: timedelta = timedelta(minutes=1),
        max_consecutive_failures: int = 5,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        wait_policy: Mapping[str, float] | None = None,
        supermetrics_conn_id: str = SupermetricsHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.connector_identifier = connector_identifier
        self.team_id = team_id
        self.since = since
        self.min_status = min_status
        self.statuses = statuses
        self.events = events
        self.request_contains = request_contains
        self.min_matches = min_matches
        self.max_entries = max_entries
        self.overlap = overlap
        self.max_consecutive_failures = max_consecutive_failures
        self.deferrable = deferrable
        self.wait_policy = wait_policy
        self.supermetrics_conn_id = supermetrics_conn_id
        with public_errors():
            WaitPolicy().override(wait_policy or {})
        for name in ("min_matches", "max_consecutive_failures", "max_entries"):
            number, least = getattr(self, name), 0 if name == "max_entries" else 1
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise SupermetricsValidationError(f"{name} must be a number from {least} on, not {number!r}")
        if not isinstance(overlap, timedelta) or overlap < timedelta():
            raise SupermetricsValidationError(f"overlap must be a timedelta, not {overlap!r}")
        if self.poke_interval < 1:
            raise SupermetricsValidationError("poke_interval must be a second at least")
        set_default_retry_policy(self)
        self._counter: ErrorCounter | None = None
        self._pace = Pace(self.poke_interval, max_consecutive_failures)
        self._pause = self.poke_interval
        self._context: Context | None = None

    def execute(self, context: Context) -> Any:
        """Wait; return what was found."""
        self._begin(context)
        try:
            # In deferrable mode this polls once, and then asks for the time until the next poll: see below.
            return super().execute(context)
        except AirflowSensorTimeout as timeout:
            raise AirflowSensorTimeout(self._own_timeout_message()) from timeout
        except AirflowSkipException as skip:
            raise self._reasoned(skip) from skip.__cause__

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral; where that ends in a skip, say why."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException as skip:
            raise self._reasoned(skip) from skip.__cause__

    def _reasoned(self, skip: AirflowSkipException) -> AirflowSkipException:
        # Airflow logs a skip's message and not its cause, and says only that soft_fail or never_fail is set.
        if skip.__cause__ is None:
            return AirflowSkipException(self._own_timeout_message())
        return AirflowSkipException(str(skip.__cause__))

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once, unless the time that the API gave has not come yet."""
        if self._counter is None:
            self._begin(context)
        counter = self._counter
        assert counter is not None
        now = utcnow()
        not_before = self._pace.state.not_before
        if not_before is not None and now < not_before:
            self._pause = self.poke_interval
            return PokeReturnValue(is_done=False)
        try:
            with SupermetricsHook(self.supermetrics_conn_id, wait_policy=self.wait_policy) as hook:
                counter.begin_poll(now)
                for _ in hook.read_pages(counter, self.connector_identifier, self.team_id):
                    pass
            counter.finish_poll(utcnow())
        except SupermetricsError as error:
            if not error.resumable:
                counter.abandon_poll()
            try:
                self._pause = self._pace.after_failure(error)
            except SupermetricsError:
                self._save()
                raise
            self.log.warning("%s; next poll in %.0f s", error, self._pause)
            self._save()
            return PokeReturnValue(is_done=False)
        except Exception as error:
            raise as_supermetrics_error(error, self.supermetrics_conn_id) from error
        self._pause = self._pace.after_success(hook.rate_limit, hook.rate_limit_reserve)
        result = counter.result()
        is_done = result["matches"] >= self.min_matches
        self.log.info(
            "%d of at least %d matching entries since %s%s",
            result["matches"],
            self.min_matches,
            result["since"],
            "" if is_done else f"; read until {result['until']}",
        )
        if is_done:
            self._forget()
        else:
            self._save()
        return PokeReturnValue(is_done=is_done, xcom_value=result if is_done else None)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:  # noqa: ARG002
        """Return what the trigger has found, or fail as it says; also where its event is not valid."""
        if not isinstance(event, Mapping):
            raise SupermetricsError(f"The trigger fired with {type(event).__name__}, not with a result")
        status, result = event.get("status"), event.get("result")
        if status == "error":
            raise error_of(event)
        if status == "timeout":
            has_succeeded = event.get("polls_succeeded") != 0
            raise AirflowSensorTimeout(self._timeout_message(has_succeeded, event.get("last_failure")))
        if (
            status != "success"
            or not isinstance(result, Mapping)
            or not isinstance(result.get("matches"), int)
            or result["matches"] < self.min_matches
            or not isinstance(result.get("entries"), list)
        ):
            raise SupermetricsError(f"The trigger fired with status {status!r} and without a result")
        self.log.info("%d matching entries since %s", result["matches"], result.get("since"))
        return dict(result)

    def _begin(self, context: Context) -> None:
        self._context = context
        with public_errors():
            valid_connector_identifier(self.connector_identifier)
            since = parse_time("since", self.since) or run_start(context)
            error_filter = ErrorFilter.of(
                min_status=self.min_status,
                statuses=as_list("statuses", self.statuses, int),
                events=as_list("events", self.events, str),
                request_contains=self.request_contains or None,
            )
        # Where nothing remembers what was seen, a larger page finds it again with one request.
        tail = TailState(
            since,
            self.overlap,
            MAX_LIMIT if self._is_forgetful else FIRST_LIMIT,
            # An earlier poll has checked it; only Airflow 3 says that there was one.
            is_known=self._is_forgetful and context.get("task_reschedule_count", 0) > 0,
        )
        self._counter = ErrorCounter(CounterState(tail), error_filter, self.max_entries)
        self._pace = Pace(self.poke_interval, self.max_consecutive_failures)
        self._pause = self._pace.interval
        # What cannot be remembered cannot be counted: there, the first poll that fails ends the try.
        if self._is_forgetful:
            self._pace.max_consecutive_failures = 1
        self._resume(error_filter)

    # Between two polls

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Seconds until the next poll; in deferrable mode, leave for the triggerer instead."""
        interval: float = super()._get_next_poke_interval(started_at, run_duration, poke_count)
        left = self.timeout - run_duration()
        if (not_before := self._pace.state.not_before) is not None:
            named = (not_before - utcnow()).total_seconds()
            if named > left:
                too_late = f"The API allows no request for {named:.0f} s, which is after the sensor's timeout"
                raise AirflowSkipException(too_late) if self.soft_fail else AirflowSensorTimeout(too_late)
            interval = max(interval, named)
        # A budget that runs low stretches the time between polls, but not beyond the timeout.
        interval = max(interval, min(self._pause, left))
        if self.reschedule or self.deferrable:
            interval = max(interval, MIN_DEFERRAL_SECONDS)
        if self.deferrable:
            self._leave(interval, left)
        return interval

    def _leave(self, interval: float, left: float) -> None:
        assert self._counter is not None
        now = utcnow()
        left = min(max(left, MIN_DEFERRAL_SECONDS), _LONGEST_TIMEOUT)
        longest = self.max_wait.total_seconds() if self.max_wait else left
        self.defer(
            trigger=SupermetricsErrorLogTrigger(
                connector_identifier=self.connector_identifier,
                team_id=self.team_id,
                since=self._counter.state.tail.since.isoformat(),
                deadline=(now + timedelta(seconds=left)).isoformat(),
                not_before=(now + timedelta(seconds=interval)).isoformat(),
                error_filter=self._counter.filter.to_arguments(),
                min_matches=self.min_matches,
                max_entries=self.max_entries,
                overlap=self.overlap.total_seconds(),
                poke_interval=self.poke_interval,
                max_consecutive_failures=self.max_consecutive_failures,
                longest_interval=longest if self.exponential_backoff else None,
                state={"counter": to_json(self._counter.state), "pace": to_json(self._pace.state)},
                wait_policy=dict(self.wait_policy) if self.wait_policy else None,
                supermetrics_conn_id=self.supermetrics_conn_id,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=left) + _GRACE,
        )

    def _own_timeout_message(self) -> str:
        return self._timeout_message(self._pace.state.succeeded > 0, self._pace.state.last_failure)

    def _timeout_message(self, has_succeeded: bool, last_failure: str | None) -> str:
        within = f"within the sensor's timeout of {self.timeout:.0f} s"
        too_few = f"{self.connector_identifier} has not logged {self.min_matches} matching entries {within}"
        if not last_failure:
            return too_few
        if has_succeeded:
            return f"{too_few}, as far as it was read: the last poll failed: {last_failure}"
        if self._is_forgetful:
            return f"The last poll of {self.connector_identifier} {within} failed: {last_failure}"
        return (
            f"No poll of {self.connector_identifier} succeeded {within}. The last one failed: {last_failure}"
        )

    # What a rescheduled sensor remembers: Airflow 3.3 and later

    @property
    def _is_forgetful(self) -> bool:
        return self.reschedule and not self.deferrable and self._store is None

    @property
    def _store(self) -> Any:
        return self._context.get("task_state_store") if self._context and self.reschedule else None

    def _fingerprint(self, error_filter: ErrorFilter, since: datetime) -> dict[str, Any]:
        return {
            "connector_identifier": self.connector_identifier,
            "team_id": str(self.team_id),
            "supermetrics_conn_id": self.supermetrics_conn_id,
            "since": format_time(since),
            "max_entries": self.max_entries,
            "overlap": self.overlap.total_seconds(),
            **error_filter.to_arguments(),
        }

    def _resume(self, error_filter: ErrorFilter) -> None:
        assert self._counter is not None
        if self._store is None or not (state := self._stored("read", self._store.get, _STORE_KEY)):
            return
        # A cleared task finds what an earlier one has left.
        if state.get("fingerprint") != self._fingerprint(error_filter, self._counter.state.tail.since):
            return
        with suppress(ContractViolation, KeyError, TypeError):
            pace, counter = from_json(state["pace"], PaceState), from_json(state["counter"], CounterState)
            self._pace.state = pace
            self._counter = ErrorCounter(counter, error_filter, self.max_entries)

    def _save(self) -> None:
        if self._store is not None and self._counter is not None:
            state = {
                "fingerprint": self._fingerprint(self._counter.filter, self._counter.state.tail.since),
                "counter": to_json(self._counter.state),
                "pace": to_json(self._pace.state),
            }
            self._stored("written", self._store.set, _STORE_KEY, state)

    def _forget(self) -> None:
        if self._store is not None:
            self._stored("deleted", self._store.delete, _STORE_KEY)

    def _stored(self, done: str, use: Callable[..., Any], *args: Any) -> Any:
        """What the task state store returns. It saves requests and no more, so it may fail."""
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
