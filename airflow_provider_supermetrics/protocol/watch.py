"""Watching a log: what is new since the last look, each entry once, for as few requests as possible.

A look reads from the newest entry down to where the last one ended, and a small overlap further, because
entries can appear late. Where the first, small page brings nothing new, that is all: one request. So late
entries below that page would wait for the next new one; therefore one more look, once the overlap
has passed, reads it down to its ground.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_supermetrics.protocol.entries import Entry, identity, log_time
from airflow_provider_supermetrics.protocol.errors import ContractViolation
from airflow_provider_supermetrics.protocol.matches import ErrorFilter, Matches
from airflow_provider_supermetrics.protocol.request import MAX_LIMIT, format_time
from airflow_provider_supermetrics.protocol.walk import LogWalk, page_keys

FIRST_LIMIT = 100


class Look(LogWalk):
    """One look at the log: a walk that gives only what was not known, and ends early where nothing is new.

    It takes the arguments of :class:`LogWalk`.
    """

    def __init__(
        self,
        *,
        start: datetime | None = None,
        limit: int = MAX_LIMIT,
        first_limit: int | None = FIRST_LIMIT,
        **window: Any,
    ) -> None:
        # The next look requests the first page again.
        super().__init__(start=start, limit=limit, first_limit=first_limit, trust_first_page=True, **window)
        #: What earlier looks have given, as far as this one may meet it again.
        self.known: Mapping[str, datetime] = {}
        #: How far below its newest entry the next look may meet what this one has given.
        self.overlap = timedelta()
        #: When this look began. What is dated later than that says nothing of what may still come.
        self.now: datetime | None = None
        #: Whether to read on although the first page brings nothing new.
        self.is_deep = True
        #: The oldest entry of the whole history, where an earlier look has met it.
        self.bottom: str | None = None
        #: What this look has given, as far as the next one may meet it again.
        self.given: dict[str, datetime] = {}
        #: The identities of all that it has given, in that order.
        self.keys: list[str] = []
        self.has_given = False
        self.newest: datetime | None = None
        # Equal entries without ids are told apart by their count.
        self._equal: Counter[str] = Counter()

    def receive(self, page: Sequence[Entry]) -> list[Entry]:
        """As :meth:`LogWalk.receive`; only what is not known."""
        fresh = self.sift(super().receive(page))
        if not self.has_given and (not self.is_deep or self._shows_bottom(page)):
            self.stop()
        return fresh

    @property
    def horizon(self) -> datetime:
        """The newest time read, but no later than when the look began."""
        assert self.newest is not None, "nothing has been read"
        return self.newest if self.now is None else min(self.newest, self.now)

    def history_end(self) -> str | None:
        """The oldest entry of all, where the walk had to come to the history's end; with an id only."""
        ended_there = self.oldest is not None and (self.start is None or self.oldest >= self.start)
        return self.last if ended_there else None

    def _shows_bottom(self, page: Sequence[Entry]) -> bool:
        return self.bottom is not None and bool(page) and page_keys(page)[-1] == self.bottom

    def sift(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those of the entries that are not known; which they are from now on."""
        fresh = []
        for entry in entries:
            time = log_time(entry).at
            self.newest = time if self.newest is None else max(self.newest, time)
            key = identity(entry)
            if entry.get("id") is None:
                self._equal[key] += 1
                key = f"{key}#{self._equal[key]}"
            if key not in self.known:
                fresh.append(entry)
                self.keys.append(key)
                if time >= self.horizon - self.overlap:
                    self.given[key] = time
        self.has_given = self.has_given or bool(fresh)
        return fresh


class LogWatch:
    """A log since a certain time, looked at again and again.

    For each look, lead the walk that :meth:`look` returns to its end, and then :meth:`settle`. After an
    error, :meth:`look` returns the same walk again, to go on.

    :param since: first time that counts (aware).
    :param overlap: how late an entry may appear, and still be found.
    :param first_limit: entries of a look's first page.
    """

    def __init__(self, since: datetime, overlap: timedelta, first_limit: int = FIRST_LIMIT) -> None:
        self.since = since
        self.overlap = overlap
        self._first_limit = first_limit
        #: The newest time read, but none that lay in the future; None when nothing has been read.
        self.until: datetime | None = None
        self._known: dict[str, datetime] = {}
        self._look: Look | None = None
        self._bottom: str | None = None
        # When there was something new last, while late entries below it may still appear.
        self._moved_at: datetime | None = None

    @property
    def floor(self) -> datetime:
        """All that is older than this has been read."""
        return self.since if self.until is None else max(self.since, self.until - self.overlap)

    @property
    def is_looking(self) -> bool:
        """Whether a look has begun and not come to its end."""
        return self._look is not None

    def look(self, now: datetime) -> Look:
        """The walk to lead next.

        :param now: the current time (aware).
        """
        if self._look is None:
            self._look = Look(start=self.floor, first_limit=self._first_limit)
            self._look.is_deep = self.until is None or (
                self._moved_at is not None and now >= self._moved_at + self.overlap
            )
            self._look.known, self._look.overlap = self._known, self.overlap
            self._look.bottom, self._look.now = self._bottom, now
        return self._look

    def settle(self, now: datetime) -> None:
        """The look has come to its end.

        :param now: the current time (aware).
        """
        look, self._look = self._look, None
        if look is not None:
            if look.has_given:
                self._bottom = look.history_end()
            self._learn(look, now)

    def drop(self) -> None:
        """The look has failed within itself; the next one reads the same again."""
        self._look = None

    def accept(self, found: Sequence[tuple[str, Entry]], now: datetime) -> list[Entry]:
        """What is new among entries that another watch of this log has found, where it looked last.

        :param found: the entries with their identities, as a :class:`Look` tells them.
        :param now: the current time (aware).
        """
        look = Look(start=self.floor)
        look.now, look.overlap = now, self.overlap
        fresh = []
        for key, entry in found:
            time = log_time(entry).at
            look.newest = time if look.newest is None else max(look.newest, time)
            if time >= self.floor and key not in self._known:
                fresh.append(entry)
                look.given[key] = time
        look.has_given = bool(fresh)
        self._learn(look, now)
        return fresh

    def _learn(self, look: Look, now: datetime) -> None:
        if look.has_given:
            self._moved_at = now
        elif look.is_deep:
            self._moved_at = None
        if look.newest is not None:
            self.until = look.horizon if self.until is None else max(self.until, look.horizon)
        if self.until is not None:
            floor = self.until - self.overlap
            self._known = {k: t for k, t in {**self._known, **look.given}.items() if t >= floor}

    def to_state(self) -> dict[str, Any]:
        """Where the watch is, as plain JSON values; :meth:`from_state` goes on from there."""
        look = self._look
        return {
            "since": self.since.isoformat(),
            "overlap": self.overlap.total_seconds(),
            "until": self.until and self.until.isoformat(),
            "moved_at": self._moved_at and self._moved_at.isoformat(),
            "known": _to_texts(self._known),
            "bottom": self._bottom,
            "look": look
            and {
                "walk": look.to_state(),
                "is_deep": look.is_deep,
                "given": _to_texts(look.given),
                "has_given": look.has_given,
                "equal": dict(look._equal),
                "now": look.now and look.now.isoformat(),
                "newest": look.newest and look.newest.isoformat(),
            },
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> LogWatch:
        """The watch whose :meth:`to_state` this is.

        :raises ContractViolation: where it is not such a state.
        """
        try:
            watch = cls(_aware(state["since"]), timedelta(seconds=state["overlap"]))
            watch.until = _from_text(state["until"])
            watch._moved_at = _from_text(state["moved_at"])
            watch._known = _from_texts(state["known"])
            watch._bottom = state["bottom"]
            if (saved := state["look"]) is not None:
                look = Look.from_state(saved["walk"])
                look.is_deep = bool(saved["is_deep"])
                look.given = _from_texts(saved["given"])
                look.newest, look.now = _from_text(saved["newest"]), _from_text(saved["now"])
                look.has_given = bool(saved["has_given"])
                look._equal = Counter({str(key): int(count) for key, count in saved["equal"].items()})
                look.known, look.overlap, look.bottom = watch._known, watch.overlap, watch._bottom
                watch._look = look
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ContractViolation(f"not the state of a watch: {type(error).__name__} {error}") from None
        return watch


def _to_texts(times: Mapping[str, datetime]) -> dict[str, str]:
    return {key: time.isoformat() for key, time in times.items()}


def _from_texts(items: Mapping[str, str]) -> dict[str, datetime]:
    return {str(key): _aware(time) for key, time in items.items()}


def _from_text(text: str | None) -> datetime | None:
    return None if text is None else _aware(text)


def _aware(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.utcoffset() is None:
        raise ValueError(f"{text} has no time zone")
    return time


class ErrorWatch:
    """How many entries of a log since a certain time match, looked at again and again.

    :param watch: the log.
    :param error_filter: which entries count.
    :param matches: what has matched so far.
    """

    def __init__(self, watch: LogWatch, error_filter: ErrorFilter, matches: Matches) -> None:
        self.watch = watch
        self.filter = error_filter
        self.matches = matches
        self._before = (matches.count, matches.entries)

    def look(self, now: datetime) -> Look:
        """The walk to lead next; see :class:`LogWatch`."""
        if not self.watch.is_looking:
            self._before = (self.matches.count, self.matches.entries)
        return self.watch.look(now)

    def take(self, fresh: Sequence[Entry]) -> None:
        """Count what the look has given."""
        self.matches.add(entry for entry in fresh if self.filter.matches(entry))

    def drop(self) -> None:
        """The look has failed within itself; what it gave does not count."""
        if self.watch.is_looking:
            self.matches.count, self.matches.entries = self._before
            self.watch.drop()

    def result(self) -> dict[str, Any]:
        """What has matched, as plain JSON values; ``until`` is the newest time read, or None."""
        until = self.watch.until
        return {
            "matches": self.matches.count,
            "entries": list(self.matches.entries),
            "since": format_time(self.watch.since),
            "until": until and format_time(until),
        }

    def to_state(self) -> dict[str, Any]:
        """Where this is, as plain JSON values; :meth:`from_state` goes on from there."""
        return {
            "watch": self.watch.to_state(),
            "count": self.matches.count,
            "entries": self.matches.entries,
            "before": list(self._before),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], error_filter: ErrorFilter, most: int) -> ErrorWatch:
        """The watch whose :meth:`to_state` this is.

        :param error_filter: which entries count.
        :param most: how many to keep.
        :raises ContractViolation: where it is not such a state.
        """
        try:
            count, entries = state["before"]
            watch = cls(
                LogWatch.from_state(state["watch"]),
                error_filter,
                Matches(most, int(state["count"]), state["entries"]),
            )
            watch._before = (int(count), list(entries))
        except (KeyError, TypeError, ValueError) as error:
            raise ContractViolation(f"not the state of a watch: {type(error).__name__} {error}") from None
        return watch
