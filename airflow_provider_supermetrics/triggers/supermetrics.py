"""Triggers: wait for error entries without occupying a worker slot, or start DAG runs for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_supermetrics import exceptions as _exceptions
from airflow_provider_supermetrics._api.alarm import Alarm, AlarmState
from airflow_provider_supermetrics._api.calls import valid_connector_identifier, valid_integer, valid_team_id
from airflow_provider_supermetrics._api.counter import CounterState, ErrorCounter
from airflow_provider_supermetrics._api.entry import LogEntry
from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.filter import ErrorFilter
from airflow_provider_supermetrics._api.message import with_message
from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics._api.spans import Threshold, begin_of_spans
from airflow_provider_supermetrics._api.state import from_json, to_json
from airflow_provider_supermetrics._api.tail import LogTail, TailState
from airflow_provider_supermetrics._api.times import to_utc
from airflow_provider_supermetrics._compat import AirflowOptionalProviderFeatureException
from airflow_provider_supermetrics._wait import Pace, PaceState, WaitPolicy, utcnow
from airflow_provider_supermetrics.exceptions import (
    SupermetricsError,
    SupermetricsRequestError,
    SupermetricsValidationError,
    as_supermetrics_error,
    reason,
)
from airflow_provider_supermetrics.provider_info import DEFAULT_CONN_NAME

if TYPE_CHECKING:
    from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsAsyncHook

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:  # Airflow 2
    BaseEventTrigger = None  # type: ignore[assignment,misc]  # it is a class elsewhere

__all__ = ["SupermetricsErrorLogEventTrigger", "SupermetricsErrorLogTrigger"]

_PATH = "airflow_provider_supermetrics.triggers.supermetrics"
# Airflow stores an event about a second after the trigger has yielded it.
_SECONDS_TO_STORE_AN_EVENT = 3.0
# Events must not come faster than they are stored.
_LEAST_POLL_INTERVAL = 3
# Only a person can correct what the API refuses, so frequent requests would not help.
_SECONDS_AFTER_A_REFUSAL = 300.0
# The attributes of an error, besides its class, its message and the budget.
_FACTS = ("remedy", "status_code", "code", "description", "details", "request_id", "retry_after")
# Beside the tail in the stored state: what may be reported later.
_ALARM = "alarm"
# Triggers that start within this time use the same `since`, so that none of them has to poll on its own.
_SAME_MOMENT = timedelta(seconds=60)


@dataclass(frozen=True)
class Progress:
    """The state of a sensor's polls; msgspec converts it to JSON."""

    counter: CounterState
    pace: PaceState = field(default_factory=PaceState)


class SupermetricsErrorLogTrigger(BaseTrigger):
    """
    Wait until a connector has logged errors; for :class:`SupermetricsErrorLogSensor`.

    Fires once, with ``{"status": "success", "result": ...}``, ``"timeout"`` or ``"error"``.

    :param connector_identifier: the connector.
    :param since: the time from which entries count, in ISO 8601 with an offset.
    :param deadline: when to give up, likewise.
    :param not_before: time of the first poll, likewise.
    :param error_filter: which entries count: arguments of ``ErrorFilter.of``.
    :param min_matches: how many entries must match.
    :param within: how close to each other, in seconds; None if all count.
    :param max_entries: the maximum number of entries in the event.
    :param overlap: how late an entry may appear, in seconds.
    :param poke_interval: seconds between polls.
    :param max_consecutive_failures: how many polls in a row may fail.
    :param longest_interval: the maximum, in seconds, of an interval that doubles with each poll; None if the
        interval does not change.
    :param team_id: the team; by default the Connection's.
    :param state: the state after the sensor's own polls.
    :param wait_policy: changes to the wait policy of the Connection.
    :param supermetrics_conn_id: :ref:`Supermetrics connection<connection>` to use.
    """

    def __init__(
        self,
        *,
        connector_identifier: str,
        since: str,
        deadline: str,
        not_before: str,
        error_filter: Mapping[str, Any],
        min_matches: int = 1,
        within: float | None = None,
        max_entries: int = 20,
        overlap: float = 60.0,
        poke_interval: float = 60.0,
        max_consecutive_failures: int = 5,
        longest_interval: float | None = None,
        team_id: int | str | None = None,
        state: Mapping[str, Any] | None = None,
        wait_policy: Mapping[str, float] | None = None,
        supermetrics_conn_id: str = DEFAULT_CONN_NAME,
    ) -> None:
        self._arguments = {
            name: value for name, value in locals().items() if name not in ("self", "__class__")
        }
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self._connector_identifier = connector_identifier
        self._team_id = team_id
        with _refusing():
            self._deadline = to_utc("deadline", datetime.fromisoformat(deadline))
            self._not_before = to_utc("not_before", datetime.fromisoformat(not_before))
            self._pace = Pace(poke_interval, max_consecutive_failures, longest_interval)
            threshold = _threshold(min_matches, within)
            time, seconds = to_utc("since", datetime.fromisoformat(since)), _seconds("overlap", overlap)
            tail = TailState(begin_of_spans(time, threshold.within), timedelta(seconds=seconds))
            progress = Progress(CounterState(tail))
            with suppress(ContractViolation):
                progress = from_json(state, Progress)
            self._pace.state = progress.pace
            self._counter = ErrorCounter(
                progress.counter, ErrorFilter.of(**error_filter), max_entries, threshold, time
            )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments; none of them is a credential."""
        return f"{_PATH}.SupermetricsErrorLogTrigger", dict(self._arguments)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until enough errors are found, the deadline passes or polling fails; then yield one event."""
        try:
            event = await self._wait()
        except Exception as error:
            # If a trigger raises, its task fails with a traceback, and without this package's error.
            if not isinstance(error, SupermetricsError):
                self.log.exception("Unexpected error while polling connector %s", self._connector_identifier)
            event = error_event(as_supermetrics_error(error, self._arguments["supermetrics_conn_id"]))
        yield TriggerEvent(event)

    async def _wait(self) -> dict[str, Any]:
        """Poll until done and return the event; raise the error if polling fails for good."""
        pause = (self._not_before - utcnow()).total_seconds()
        while True:
            left, not_before = (self._deadline - utcnow()).total_seconds(), self._pace.state.not_before
            if left <= 0 or (not_before is not None and not_before > self._deadline):
                return {
                    "status": "timeout",
                    "report": None if self._counter.matches.count else to_json(self._counter.report()),
                    "polls_succeeded": self._pace.state.succeeded,
                    "last_failure": self._pace.state.last_failure,
                }
            await asyncio.sleep(max(0.0, min(pause, left)))
            try:
                # Each poll uses a new hook, because the credential may change between polls.
                async with _hook(
                    self._arguments["supermetrics_conn_id"], self._arguments["wait_policy"]
                ) as hook:
                    self._counter.begin_poll(utcnow())
                    team_id = await hook.resolve_team_id(self._team_id)
                    async for _ in hook.read_pages(self._counter, self._connector_identifier, team_id):
                        pass
            except SupermetricsError as error:
                if not error.resumable:
                    self._counter.abandon_poll()
                pause = self._pace.after_failure(error)
                self.log.warning(
                    "Poll of connector %s failed, next one in %.0f s: %s",
                    self._connector_identifier,
                    pause,
                    error,
                )
            else:
                self._counter.finish_poll(utcnow())
                if self._counter.is_reached:
                    counter = self._counter
                    result = with_message(
                        self._connector_identifier, team_id, counter.result(), is_rest=counter.is_rest
                    )
                    return {"status": "success", "result": result, "report": to_json(self._counter.report())}
                pause = self._pace.after_success(hook.rate_limit, hook.rate_limit_reserve)


@dataclass(frozen=True)
class _Batch:
    """The new entries from one poll of a stream; the first poll begins at ``since``."""

    since: datetime
    is_first: bool
    entries: Sequence[LogEntry]
    team_id: int


class SupermetricsErrorLogEventTrigger(BaseEventTrigger or BaseTrigger):  # type: ignore[misc]  # either
    """
    Start DAG runs when a connector logs errors, through an ``AssetWatcher`` (Airflow 3.0 and later).

    Fires one event for each poll that finds new errors. On Airflow 3.3, a restart of the triggerer neither
    repeats nor misses an entry, and watchers of the same connector share their polls.

    The payload contains ``connector_identifier``, ``team_id``, ``matches`` (how many), ``entries`` (the
    newest of them, with long strings truncated), ``since``, ``until`` and ``message``, which is what a person
    should read, in a few lines of plain text.

    With ``min_matches``, errors add up until there are so many; then one event has them all, and the next
    errors are counted from 0. With ``within`` as well, an event is fired as soon as any span of that length
    holds ``min_matches`` errors, and none until the count has been below that and reached it again. The event
    has the errors since that span began. The trigger keeps, in memory and in the asset's state store, the
    times of at most twice ``min_matches`` errors for each ``within``, as far back as ``within`` and
    ``overlap``, and the newest ``max_entries`` errors.

    :param connector_identifier: the connector, such as ``"T3S70"``.
    :param team_id: the team; by default the Connection's.
    :param min_status: the lowest status that counts as an error.
    :param statuses: the statuses that count, in place of ``min_status``.
    :param events: the event types that count; by default all.
    :param request_contains: text that ``request`` must contain; by default any request counts.
    :param min_matches: how many errors an event needs; at most 1,000 together with ``within``.
    :param within: how close to each other they must be, at most 31 days, in seconds or as a timedelta; by
        default they add up, however far apart.
    :param max_entries: the maximum number of entries in the payload.
    :param poll_interval: time between polls, in seconds or as a timedelta.
    :param lookback: how far the very first poll goes back, likewise.
    :param overlap: how late an entry may appear and still be found, likewise.
    :param wait_policy: changes to the wait policy of the Connection.
    :param supermetrics_conn_id: :ref:`Supermetrics connection<connection>` to use.
    :raises AirflowOptionalProviderFeatureException: on Airflow 2, which has no event triggers.
    :raises SupermetricsValidationError: if an argument is not valid.
    """

    def __init__(
        self,
        *,
        connector_identifier: str,
        team_id: int | str | None = None,
        min_status: int = 400,
        statuses: Collection[int] | None = None,
        events: Collection[str] | None = None,
        request_contains: str | None = None,
        min_matches: int = 1,
        within: float | timedelta | None = None,
        max_entries: int = 20,
        poll_interval: float | timedelta = 60.0,
        lookback: float | timedelta = 300.0,
        overlap: float | timedelta = 60.0,
        wait_policy: Mapping[str, float] | None = None,
        supermetrics_conn_id: str = DEFAULT_CONN_NAME,
    ) -> None:
        if BaseEventTrigger is None:
            raise AirflowOptionalProviderFeatureException(
                "SupermetricsErrorLogEventTrigger needs Airflow 3.0 or later: Airflow 2 cannot start DAG "
                "runs from events. Use SupermetricsErrorLogSensor"
            )
        super().__init__()
        # The types of errors that have been logged, by the action that failed.
        self._reported: dict[str, set[type[Exception]]] = {}
        self.team_id = team_id
        self.max_entries = max_entries
        self.supermetrics_conn_id = supermetrics_conn_id
        with _refusing():
            self.connector_identifier = valid_connector_identifier(connector_identifier)
            self.filter = ErrorFilter.of(
                min_status=min_status, statuses=statuses, events=events, request_contains=request_contains
            )
            if team_id not in (None, "", "None"):
                valid_team_id(team_id)
            self.threshold = _threshold(min_matches, within)
            self.poll_interval = _seconds("poll_interval", poll_interval, least=_LEAST_POLL_INTERVAL)
            self.lookback = _seconds("lookback", lookback)
            self.overlap = _seconds("overlap", overlap)
            valid_integer("max_entries", max_entries, 1)
            self.wait_policy = dict(wait_policy) if wait_policy else None
            WaitPolicy().override(self.wait_policy or {})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments; none of them is a credential."""
        return f"{_PATH}.SupermetricsErrorLogEventTrigger", {
            **self._shared_arguments(),
            **self.filter.to_arguments(),
            **self._threshold_arguments(),
            "max_entries": self.max_entries,
        }

    def shared_stream_key(self) -> Hashable:
        """Return a key that is the same for all triggers that can share their polls."""
        return json.dumps([_PATH, self._shared_arguments()], sort_keys=True)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[_Batch, None]:
        """Poll until the consumer closes the stream; yield one batch per poll."""
        self = cls(**kwargs)
        tail = LogTail(self._new_tail())
        pace = Pace(self.poll_interval, max_consecutive_failures=1)
        is_first = True
        while True:
            entries, pause, team_id = await self._poll(tail, pace)
            yield _Batch(tail.state.since, is_first, entries, team_id)
            is_first = False
            await asyncio.sleep(pause)

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[_Batch]
    ) -> AsyncGenerator[TriggerEvent, None]:
        """Yield an event for each batch with errors that are new to this trigger and match its filter."""
        tail: LogTail | None = None
        alarm = self._new_alarm(AlarmState())
        began = self._new_tail()
        is_caught_up, is_saved = False, True
        async with aclosing(self._batches(shared_stream)) as batches:
            async for batch in batches:
                if tail is None:
                    try:
                        stored = await self._load()
                    except Exception as error:
                        self._report(
                            "load",
                            error,
                            "The watermark of connector %s could not be read: %s. No event is fired until it "
                            "can be read, because errors could be missed; retrying after each poll",
                        )
                        continue
                    is_saved = stored is not None
                    state, waiting = stored or (began, AlarmState())
                    tail, alarm = LogTail(state), self._new_alarm(waiting)
                    if not is_saved and batch.is_first and batch.since - began.since < _SAME_MOMENT:
                        tail = LogTail(replace(began, since=max(began.since, batch.since)))
                before, waiting, team_id = tail.state, alarm.state, batch.team_id
                try:
                    # The first batch begins at the stream's `since`, maybe after this trigger's watermark.
                    if batch.since <= before.reread_from if batch.is_first else is_caught_up:
                        entries = tail.take_shared(batch.entries, utcnow())
                    else:
                        # This trigger has read less than the stream has, for example after a restart.
                        entries, _, team_id = await self._poll(
                            tail, Pace(self.poll_interval, max_consecutive_failures=1)
                        )
                    found = alarm.take(entries, before, tail.state)
                    payload = found and with_message(self.connector_identifier, team_id, found)
                except Exception as error:
                    self._report(
                        "filter",
                        error,
                        "Unexpected error in the entries of connector %s: %s. The next poll reads them again",
                    )
                    tail, alarm, is_caught_up = LogTail(before), self._new_alarm(waiting), False
                    continue
                is_caught_up = True  # each further batch continues where the previous one ended
                if payload:
                    yield TriggerEvent(payload)
                    # The watermark is stored after the event, so that a crash in between repeats the event.
                    await asyncio.sleep(_SECONDS_TO_STORE_AN_EVENT)
                if entries or not is_saved:
                    is_saved = await self._save(tail.state, alarm.state)

    async def _batches(self, shared_stream: AsyncIterator[_Batch]) -> AsyncGenerator[_Batch, None]:
        """Yield the batches of the shared stream or, if that fails, of a stream of this trigger's own."""
        try:
            async for batch in shared_stream:
                yield batch
            return
        except Exception as error:  # such as Airflow's, when this trigger is slower than the others
            self._report(
                "stream",
                error,
                "The polls of connector %s are no longer shared: %s. This trigger polls by itself until "
                "the triggerer restarts",
            )
        async with aclosing(self.open_shared_stream(self.serialize()[1])) as stream:
            async for batch in stream:
                yield batch

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll and yield events; used where Airflow does not share streams."""
        async with (
            aclosing(self.open_shared_stream(self.serialize()[1])) as stream,
            aclosing(self.filter_shared_stream(stream)) as events,
        ):
            async for event in events:
                yield event

    def _new_tail(self) -> TailState:
        return TailState(utcnow() - timedelta(seconds=self.lookback), timedelta(seconds=self.overlap))

    def _new_alarm(self, state: AlarmState) -> Alarm:
        return Alarm(state, self.filter, self.threshold, self.max_entries)

    async def _poll(self, tail: LogTail, pace: Pace) -> tuple[list[LogEntry], float, int]:
        """Poll until a poll succeeds; return what is new, the seconds until the next poll, and the team."""
        found: list[LogEntry] = []
        while True:
            try:
                tail.begin_poll(utcnow())
                # Each poll uses a new hook, because the Connection may change between polls.
                async with _hook(self.supermetrics_conn_id, self.wait_policy) as hook:
                    team_id = await hook.resolve_team_id(self.team_id)
                    async for entries in hook.read_pages(tail, self.connector_identifier, team_id):
                        found += entries
                pause = pace.after_success(hook.rate_limit, hook.rate_limit_reserve)
                tail.finish_poll(utcnow())
                return found, pause, team_id
            except Exception as error:
                # If the history was empty, the next poll may still find entries.
                is_empty = not found and isinstance(error, SupermetricsRequestError)
                if is_empty or not (isinstance(error, SupermetricsError) and error.resumable):
                    tail.abandon_poll()
                    found = []
                await asyncio.sleep(self._pause_after(pace, error))

    def _pause_after(self, pace: Pace, error: Exception) -> float:
        """Log the error, because there is no task to fail; return the seconds until the next poll."""
        pause = max(self.poll_interval, _SECONDS_AFTER_A_REFUSAL)
        if isinstance(error, SupermetricsError):
            with suppress(SupermetricsError):
                pause = pace.after_failure(error)
        known = as_supermetrics_error(error, self.supermetrics_conn_id)
        self.log.error(
            "Poll of connector %s failed, next one in %.0f s: %s. It used Connection '%s'",
            self.connector_identifier,
            pause,
            known,
            self.supermetrics_conn_id,
            exc_info=None if known is error else self._if_new("poll", error),
        )
        return pause

    def _report(self, doing: str, error: Exception, message: str, *, once: bool = False) -> None:
        """Log a failure after which the trigger continues; log a new type of error with its traceback."""
        exc_info = self._if_new(doing, error)
        if exc_info or not once:
            self.log.error(message, self.connector_identifier, reason(error), exc_info=exc_info)

    def _if_new(self, doing: str, error: Exception) -> Exception | None:
        kinds = self._reported.setdefault(doing, set())
        new = None if type(error) in kinds else error
        kinds.add(type(error))
        return new

    def _threshold_arguments(self) -> dict[str, Any]:
        within = self.threshold.within
        return {
            "min_matches": self.threshold.min_matches,
            "within": None if within is None else within.total_seconds(),
        }

    def _shared_arguments(self) -> dict[str, Any]:
        return {
            "connector_identifier": self.connector_identifier,
            "team_id": self.team_id,
            "poll_interval": self.poll_interval,
            "lookback": self.lookback,
            "overlap": self.overlap,
            "wait_policy": self.wait_policy,
            "supermetrics_conn_id": self.supermetrics_conn_id,
        }

    # The watermark, in the state store of the asset: Airflow 3.3 and later

    @property
    def _store(self) -> Any:
        store = getattr(self, "asset_state_store", None)
        return store if hasattr(store, "aget") else None

    @property
    def _key(self) -> str:
        arguments = [self._shared_arguments(), self.filter.to_arguments()]
        if self.threshold != Threshold():
            arguments.append(self._threshold_arguments())
        digest = sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()[:16]
        return f"supermetrics_error_log/{self.connector_identifier}/{digest}"

    async def _load(self) -> tuple[TailState, AlarmState] | None:
        try:
            stored = None if self._store is None else await self._store.aget(self._key)
            if stored is None:
                return None
            # A trigger that reports each error at once, such as an earlier version's, stores the tail alone.
            return from_json(stored, TailState), from_json(stored.get(_ALARM, {}), AlarmState)
        except ContractViolation as error:
            self.log.warning(
                "The stored watermark of connector %s is not valid, starting %.0f s ago: %s",
                self.connector_identifier,
                self.lookback,
                error,
            )
        except ValueError as error:
            if type(error) is not ValueError:  # a subclass has another cause, such as invalid JSON
                raise
            self.asset_state_store = None
            self.log.warning(
                "No watermark is stored for connector %s, so a restart repeats or misses errors: %s. If "
                "several assets share this trigger, give each asset its own, for example with a different "
                "max_entries",
                self.connector_identifier,
                error,
            )
        return None

    async def _save(self, tail: TailState, alarm: AlarmState) -> bool:
        """Store the watermark; return False if that failed and must be repeated."""
        if self._store is None:
            return True
        try:
            state = to_json(tail) | ({} if alarm == AlarmState() else {_ALARM: to_json(alarm)})
            await self._store.aset(self._key, state)
        except Exception as error:
            self._report(
                "save",
                error,
                "The watermark of connector %s could not be stored: %s. It is kept in memory, so events are "
                "repeated only if the triggerer restarts; retrying after each poll",
                once=True,
            )
            return False
        if self._reported.pop("save", None):
            self.log.info("The watermark of connector %s is stored again", self.connector_identifier)
        return True


def _hook(conn_id: str, wait_policy: Mapping[str, float] | None) -> SupermetricsAsyncHook:
    # DAG files import this module for asset watchers, without the HTTP libraries of the hook.
    from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsAsyncHook

    return SupermetricsAsyncHook(conn_id, wait_policy=wait_policy)


def error_event(error: SupermetricsError) -> dict[str, Any]:
    """Return an error as a trigger's event."""
    return {
        "status": "error",
        "kind": type(error).__name__,
        "message": str(error),
        "rate_limit": error.rate_limit and asdict(error.rate_limit),
        **{name: getattr(error, name, None) for name in _FACTS},
    }


def error_of(event: Mapping[str, Any]) -> SupermetricsError:
    """Return the error from which :func:`error_event` made this event; SupermetricsError if unknown."""
    kind = getattr(_exceptions, str(event.get("kind")), None)
    if not (isinstance(kind, type) and issubclass(kind, SupermetricsError)):
        kind = SupermetricsError
    budget = event.get("rate_limit")
    return kind(
        str(event.get("message") or "the trigger failed"),
        rate_limit=RateLimit(budget.get("limit"), budget.get("remaining")) if budget else None,
        **{name: event.get(name) for name in _FACTS},
    )


class _RefusedArguments(SupermetricsValidationError, TypeError):
    """Invalid arguments, as a TypeError: any other error in a trigger's constructor ends Airflow's triggerer.

    The stored arguments may come from another version of this package.
    """


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, AttributeError, OverflowError) as error:
        raise _RefusedArguments(str(error)) from None


def _threshold(min_matches: int, within: float | timedelta | None) -> Threshold:
    """The threshold, of values that are checked; ``within`` may be a number of seconds."""
    if within is not None:
        within = timedelta(seconds=_seconds("within", within))
    return Threshold.of(min_matches, within)


def _seconds(name: str, time: float | timedelta, least: float = 0) -> float:
    seconds = time.total_seconds() if isinstance(time, timedelta) else time
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValueError(f"{name} must be a timedelta or a number of seconds, not {time!r}")
    if not least <= seconds <= timedelta.max.total_seconds():
        raise ValueError(f"{name} must be {least} seconds or more, not {time!r}")
    return float(seconds)
