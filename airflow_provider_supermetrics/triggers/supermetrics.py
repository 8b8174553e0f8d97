"""Triggers: wait for error entries without a worker slot, and start DAG runs by them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_supermetrics import exceptions as _exceptions
from airflow_provider_supermetrics._api.calls import valid_connector_identifier
from airflow_provider_supermetrics._api.counter import CounterState, ErrorCounter
from airflow_provider_supermetrics._api.entry import LogEntry
from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.filter import ErrorFilter, Matches
from airflow_provider_supermetrics._api.state import from_json, to_json
from airflow_provider_supermetrics._api.tail import LogTail, TailState
from airflow_provider_supermetrics._api.times import format_time
from airflow_provider_supermetrics._compat import AirflowOptionalProviderFeatureException
from airflow_provider_supermetrics._wait import Pace, PaceState, WaitPolicy, utcnow
from airflow_provider_supermetrics.exceptions import (
    SupermetricsError,
    SupermetricsRequestError,
    SupermetricsValidationError,
    as_supermetrics_error,
    reason,
)
from airflow_provider_supermetrics.hooks.supermetrics import DEFAULT_CONN_NAME, SupermetricsAsyncHook

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:  # Airflow 2
    BaseEventTrigger = None  # type: ignore[assignment,misc]

__all__ = ["SupermetricsErrorLogEventTrigger", "SupermetricsErrorLogTrigger"]

_PATH = "airflow_provider_supermetrics.triggers.supermetrics"
# An event reaches the database about a second after it was handed over.
_SECONDS_TO_STORE_AN_EVENT = 3.0
# Else events could come faster than they are stored.
_LEAST_POLL_INTERVAL = 3
# Only a person can repair what is refused; until then, frequent requests are of no use.
_SECONDS_AFTER_A_REFUSAL = 300.0
# Triggers that start together begin at one time, so that none of them has to poll by itself.
_SAME_MOMENT = timedelta(seconds=60)


class SupermetricsErrorLogTrigger(BaseTrigger):
    """
    Wait until a connector has logged errors; for :class:`SupermetricsErrorLogSensor`.

    Fires once, with ``{"status": "success", "result": ...}``, ``"timeout"`` or ``"error"``.

    :param connector_identifier: the connector.
    :param since: first time that counts, ISO 8601 with an offset.
    :param deadline: when to give up, likewise.
    :param not_before: when to poll first, likewise.
    :param error_filter: which entries count: arguments of ``ErrorFilter.of``.
    :param min_matches: how many there must be.
    :param max_entries: how many to hand over.
    :param overlap: how late an entry may appear, in seconds.
    :param poke_interval: seconds between polls.
    :param max_consecutive_failures: how many polls in a row may fail.
    :param longest_interval: where the interval doubles with each poll, the longest one in seconds.
    :param team_id: the team; by default the Connection's.
    :param state: what the sensor has read already.
    :param wait_policy: what of the Connection's waiting is different here.
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
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self._arguments: dict[str, Any] = {
            "connector_identifier": connector_identifier,
            "since": since,
            "deadline": deadline,
            "not_before": not_before,
            "error_filter": error_filter,
            "min_matches": min_matches,
            "max_entries": max_entries,
            "overlap": overlap,
            "poke_interval": poke_interval,
            "max_consecutive_failures": max_consecutive_failures,
            "longest_interval": longest_interval,
            "team_id": team_id,
            "state": state,
            "wait_policy": wait_policy,
            "supermetrics_conn_id": supermetrics_conn_id,
        }
        self._connector_identifier = connector_identifier
        self._team_id = team_id
        self._min_matches = min_matches
        with _refusing():
            self._deadline = _time("deadline", deadline)
            self._not_before = _time("not_before", not_before)
            self._pace = Pace(poke_interval, max_consecutive_failures, longest_interval)
            counter = CounterState(
                TailState(_time("since", since), timedelta(seconds=_seconds("overlap", overlap)))
            )
            if state is not None:
                with suppress(ContractViolation, KeyError, TypeError):
                    stored = from_json(state["counter"], CounterState)
                    self._pace.state, counter = from_json(state["pace"], PaceState), stored
            self._counter = ErrorCounter(counter, ErrorFilter.of(**error_filter), max_entries)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments; none of them is a credential."""
        return f"{_PATH}.SupermetricsErrorLogTrigger", dict(self._arguments)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until enough errors are found, the deadline passes or polling fails for good; fire once."""
        try:
            event = await self._wait()
        except Exception as error:
            # Airflow would restart a trigger that raises, or fail the task with a bare traceback.
            if not isinstance(error, SupermetricsError):
                self.log.exception("Unexpected error while polling connector %s", self._connector_identifier)
            event = error_event(as_supermetrics_error(error, self._arguments["supermetrics_conn_id"]))
        yield TriggerEvent(event)

    async def _wait(self) -> dict[str, Any]:
        """The event to fire with.

        :raises SupermetricsError: where polling fails for good.
        """
        pause = (self._not_before - utcnow()).total_seconds()
        while True:
            left, not_before = (self._deadline - utcnow()).total_seconds(), self._pace.state.not_before
            if left <= 0 or (not_before is not None and not_before > self._deadline):
                return {
                    "status": "timeout",
                    "result": self._counter.result(),
                    "polls_succeeded": self._pace.state.succeeded,
                    "last_failure": self._pace.state.last_failure,
                }
            await asyncio.sleep(max(0.0, min(pause, left)))
            try:
                # A new one for each poll, because the credential may change while this waits for days.
                async with SupermetricsAsyncHook(
                    self._arguments["supermetrics_conn_id"], wait_policy=self._arguments["wait_policy"]
                ) as hook:
                    self._counter.begin_poll(utcnow())
                    async for _ in hook.read_pages(self._counter, self._connector_identifier, self._team_id):
                        pass
            except SupermetricsError as error:
                if not error.resumable:
                    self._counter.abandon_poll()
                pause = self._pace.after_failure(error)
                self.log.warning("%s; next poll in %.0f s", error, pause)
            else:
                self._counter.finish_poll(utcnow())
                if self._counter.matches.count >= self._min_matches:
                    return {"status": "success", "result": self._counter.result()}
                pause = self._pace.after_success(hook.rate_limit, hook.rate_limit_reserve)


@dataclass(frozen=True)
class _Batch:
    """What a poll has found that earlier ones of its stream had not; the first one begins at ``since``."""

    since: datetime
    is_first: bool
    entries: Sequence[LogEntry]


class SupermetricsErrorLogEventTrigger(BaseEventTrigger or BaseTrigger):  # type: ignore[misc]
    """
    Start DAG runs when a connector logs errors, through an ``AssetWatcher`` (Airflow 3.0 and later).

    One event for each poll that finds new errors. On Airflow 3.3 a restart of the triggerer neither
    repeats nor misses an entry, and watchers of one connector share their polls.

    The payload: ``connector_identifier``, ``team_id``, ``matches`` (how many), ``entries`` (the newest
    of them, long strings cut), ``since`` and ``until``.

    :param connector_identifier: the connector, such as ``"T3S70"``.
    :param team_id: the team; by default the Connection's.
    :param min_status: the lowest status that counts as an error.
    :param statuses: the statuses that count, in place of ``min_status``.
    :param events: the event types that count; by default all.
    :param request_contains: a part of ``request``; by default any request counts.
    :param max_entries: entries in the payload at most.
    :param poll_interval: time between polls, in seconds or as a timedelta.
    :param lookback: how far the very first poll goes back, likewise.
    :param overlap: how late an entry may appear and still be found, likewise.
    :param wait_policy: what of the Connection's waiting is different here.
    :param supermetrics_conn_id: :ref:`Supermetrics connection<connection>` to use.
    :raises AirflowOptionalProviderFeatureException: on Airflow 2, which has no event triggers.
    :raises SupermetricsValidationError: for arguments that cannot be used.
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
        max_entries: int = 20,
        poll_interval: float | timedelta = 60.0,
        lookback: float | timedelta = 300.0,
        overlap: float | timedelta = 60.0,
        wait_policy: Mapping[str, float] | None = None,
        supermetrics_conn_id: str = DEFAULT_CONN_NAME,
    ) -> None:
        if BaseEventTrigger is None:
            raise AirflowOptionalProviderFeatureException(
                "SupermetricsErrorLogEventTrigger needs Airflow 3.0 or later: Airflow 2 starts no DAG runs "
                "by events. Use SupermetricsErrorLogSensor"
            )
        super().__init__()
        # What has failed so far, with which kinds of errors.
        self._reported: dict[str, set[type[Exception]]] = {}
        self.team_id = team_id
        self.max_entries = max_entries
        self.supermetrics_conn_id = supermetrics_conn_id
        with _refusing():
            self.connector_identifier = valid_connector_identifier(connector_identifier)
            self.filter = ErrorFilter.of(
                min_status=min_status,
                statuses=statuses,
                events=events,
                request_contains=request_contains,
            )
            self.poll_interval = _seconds("poll_interval", poll_interval, least=_LEAST_POLL_INTERVAL)
            self.lookback = _seconds("lookback", lookback)
            self.overlap = _seconds("overlap", overlap)
            if isinstance(max_entries, bool) or not isinstance(max_entries, int) or max_entries < 1:
                raise ValueError(f"max_entries must be a number from 1 on, not {max_entries!r}")
            self.wait_policy = dict(wait_policy) if wait_policy else None
            WaitPolicy().override(self.wait_policy or {})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments; none of them is a credential."""
        return f"{_PATH}.SupermetricsErrorLogEventTrigger", {
            **self._shared_arguments(),
            **self.filter.to_arguments(),
            "max_entries": self.max_entries,
        }

    def shared_stream_key(self) -> Hashable:
        """Return a key that watchers which can share their polls have in common."""
        return json.dumps([_PATH, self._shared_arguments()], sort_keys=True)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[_Batch, None]:
        """Poll until the consumer closes the stream; yield one batch per poll."""
        self = cls(**kwargs)
        tail = LogTail(self._new_tail())
        pace = Pace(self.poll_interval, max_consecutive_failures=1)
        is_first = True
        while True:
            entries, pause = await self._poll(tail, pace)
            yield _Batch(tail.state.since, is_first, entries)
            is_first = False
            await asyncio.sleep(pause)

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[_Batch]
    ) -> AsyncGenerator[TriggerEvent, None]:
        """Yield an event for each batch with errors that are new to this trigger and match its filter."""
        tail: LogTail | None = None
        began = self._new_tail()
        is_new, is_caught_up, is_saved = False, False, True
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
                            "can be, because errors could be missed; trying again after each poll",
                        )
                        continue
                    if stored is None:
                        is_new, is_saved = True, False
                    tail = LogTail(stored or began)
                if is_new and batch.is_first and batch.since - tail.state.since < _SAME_MOMENT:
                    tail = LogTail(replace(tail.state, since=max(tail.state.since, batch.since)))
                is_new = False
                before = tail.state
                try:
                    # A stream's first batch begins where the stream does, wherever this trigger is.
                    if batch.since <= before.reread_from if batch.is_first else is_caught_up:
                        entries = tail.take_shared(batch.entries, utcnow())
                    else:
                        # This one has seen less than the stream: it was away, or is late.
                        entries, _ = await self._poll(
                            tail, Pace(self.poll_interval, max_consecutive_failures=1)
                        )
                    payload = self._payload(entries, before, tail.state)
                except Exception as error:
                    self._report(
                        "filter",
                        error,
                        "Unexpected error in the entries of connector %s: %s. The next poll reads them again",
                    )
                    tail, is_caught_up = LogTail(before), False
                    continue
                is_caught_up = True  # from now on each batch continues where the one before ended
                if payload["matches"]:
                    yield TriggerEvent(payload)
                    # The watermark moves when the event is safe, not before: a crash in between repeats it.
                    await asyncio.sleep(_SECONDS_TO_STORE_AN_EVENT)
                if entries or not is_saved:
                    is_saved = await self._save(tail.state)

    async def _batches(self, shared_stream: AsyncIterator[_Batch]) -> AsyncGenerator[_Batch, None]:
        """The batches of the stream; of one of this trigger's own, where the shared one fails."""
        try:
            async for batch in shared_stream:
                yield batch
            return
        except Exception as error:  # such as of Airflow, when this trigger has fallen behind the others
            self._report(
                "stream",
                error,
                "The polls of connector %s are not shared any more: %s. This trigger polls by itself until "
                "the triggerer restarts",
            )
        async with aclosing(self.open_shared_stream(self.serialize()[1])) as stream:
            async for batch in stream:
                yield batch

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll and fire; where Airflow does not share streams, each trigger has one of its own."""
        _, kwargs = self.serialize()
        async with (
            aclosing(self.open_shared_stream(kwargs)) as stream,
            aclosing(self.filter_shared_stream(stream)) as events,
        ):
            async for event in events:
                yield event

    def _new_tail(self) -> TailState:
        return TailState(utcnow() - timedelta(seconds=self.lookback), timedelta(seconds=self.overlap))

    async def _poll(self, tail: LogTail, pace: Pace) -> tuple[list[LogEntry], float]:
        """Poll until a poll succeeds: what it has found, and the seconds until the next one."""
        found: list[LogEntry] = []
        while True:
            try:
                tail.begin_poll(utcnow())
                # A new one each time, because the Connection or its credential may change.
                async with SupermetricsAsyncHook(
                    self.supermetrics_conn_id, wait_policy=self.wait_policy
                ) as hook:
                    async for entries in hook.read_pages(tail, self.connector_identifier, self.team_id):
                        found += entries
                pause = pace.after_success(hook.rate_limit, hook.rate_limit_reserve)
                tail.finish_poll(utcnow())
                return found, pause
            except Exception as error:
                # Where the history was empty, entries may have come when it polls again.
                is_empty = not found and isinstance(error, SupermetricsRequestError)
                if is_empty or not (isinstance(error, SupermetricsError) and error.resumable):
                    tail.abandon_poll()
                    found = []
                await asyncio.sleep(self._pause_after(pace, error))

    def _pause_after(self, pace: Pace, error: Exception) -> float:
        """Seconds until the next poll. No task could fail here, so an error is logged and no more."""
        pause = max(self.poll_interval, _SECONDS_AFTER_A_REFUSAL)
        if isinstance(error, SupermetricsError):
            with suppress(SupermetricsError):
                pause = pace.after_failure(error)
        known = as_supermetrics_error(error, self.supermetrics_conn_id)
        self.log.error(
            "Polling connector %s with Connection '%s' failed: %s; next poll in %.0f s",
            self.connector_identifier,
            self.supermetrics_conn_id,
            known,
            pause,
            exc_info=None if known is error or not self._is_new_failure("poll", error) else error,
        )
        return pause

    def _report(self, doing: str, error: Exception, message: str, *, once: bool = False) -> None:
        """Log a failure that ends nothing: each kind of error with its traceback when it is new."""
        is_new = self._is_new_failure(doing, error)
        if is_new or not once:
            exc_info = error if is_new else None
            self.log.error(message, self.connector_identifier, reason(error), exc_info=exc_info)

    def _is_new_failure(self, doing: str, error: Exception) -> bool:
        kinds = self._reported.setdefault(doing, set())
        is_new = type(error) not in kinds
        kinds.add(type(error))
        return is_new

    def _payload(self, entries: Sequence[LogEntry], before: TailState, after: TailState) -> dict[str, Any]:
        matching = [fields for fields in (entry.fields for entry in entries) if self.filter.matches(fields)]
        counter = CounterState(after, Matches().plus(matching, self.max_entries))
        result = ErrorCounter(counter, self.filter, self.max_entries).result()
        if before.watermark is not None:
            result["since"] = format_time(before.watermark)
        return {
            "connector_identifier": self.connector_identifier,
            "team_id": self.team_id,
            **result,
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

    # The watermark, in the store of the asset that is watched: Airflow 3.3 and later

    @property
    def _key(self) -> str:
        arguments = [self._shared_arguments(), self.filter.to_arguments()]
        digest = sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()[:16]
        return f"supermetrics_error_log/{self.connector_identifier}/{digest}"

    async def _load(self) -> TailState | None:
        stored = None
        store = getattr(self, "asset_state_store", None)
        if store is not None and hasattr(store, "aget"):
            try:
                stored = await store.aget(self._key)
            except ValueError as error:
                if type(error) is not ValueError:  # a kind of it is something else, such as bad JSON
                    raise
                self.asset_state_store = None
                self.log.warning(
                    "No watermark is stored for connector %s, so a restart repeats or misses errors: %s. If "
                    "several assets share this trigger, give each a distinct one, such as one with another "
                    "max_entries",
                    self.connector_identifier,
                    error,
                )
        if stored is not None:
            try:
                return from_json(stored, TailState)
            except ContractViolation as error:
                self.log.warning(
                    "The stored watermark of connector %s is not valid, starting %.0f s ago: %s",
                    self.connector_identifier,
                    self.lookback,
                    error,
                )
        return None

    async def _save(self, tail: TailState) -> bool:
        """Whether the watermark is stored, as far as it can be; where it is not, it is kept in memory."""
        store = getattr(self, "asset_state_store", None)
        if store is None or not hasattr(store, "aset"):
            return True
        try:
            await store.aset(self._key, to_json(tail))
        except Exception as error:
            self._report(
                "save",
                error,
                "The watermark of connector %s could not be stored: %s. It is kept in memory, so events are "
                "repeated only if the triggerer restarts; trying again after each poll",
                once=True,
            )
            return False
        if self._reported.pop("save", None):
            self.log.info("The watermark of connector %s is stored again", self.connector_identifier)
        return True


def error_event(error: SupermetricsError) -> dict[str, Any]:
    """An error as the event of a trigger."""
    return {
        "status": "error",
        "kind": type(error).__name__,
        "message": str(error),
        "status_code": error.status_code,
        "code": error.code,
        "description": error.description,
        "details": error.details,
        "request_id": error.request_id,
        "retry_after": error.retry_after,
    }


def error_of(event: Mapping[str, Any]) -> SupermetricsError:
    """The error whose :func:`error_event` this is; of an unknown kind, the root of all."""
    kind = getattr(_exceptions, str(event.get("kind")), None)
    if not (isinstance(kind, type) and issubclass(kind, SupermetricsError)):
        kind = SupermetricsError
    return kind(
        str(event.get("message") or "the trigger failed"),
        status_code=event.get("status_code"),
        code=event.get("code"),
        description=event.get("description"),
        details=event.get("details"),
        request_id=event.get("request_id"),
        retry_after=event.get("retry_after"),
    )


class _RefusedArguments(SupermetricsValidationError, TypeError):
    """Of what a trigger's constructor raises, Airflow's triggerer survives TypeErrors only.

    Its rows may come from another version of this package. This fails one trigger, the others run on.
    """


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, AttributeError, OverflowError) as error:
        raise _RefusedArguments(str(error)) from None


def _time(name: str, text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.utcoffset() is None:
        raise ValueError(f"{name} {text} has no time zone")
    return time


def _seconds(name: str, time: float | timedelta, least: float = 0) -> float:
    seconds = time.total_seconds() if isinstance(time, timedelta) else time
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValueError(f"{name} must be a timedelta or a number of seconds, not {time!r}")
    if not least <= seconds <= timedelta.max.total_seconds():
        raise ValueError(f"{name} must be {least} seconds or more, not {time!r}")
    return float(seconds)
