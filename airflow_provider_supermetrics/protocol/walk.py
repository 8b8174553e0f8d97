"""The walk: where to ask next, what is new, when all is read.

The API pages by time, newest first, and many entries can share one printed time. Asking for what
lies before the oldest entry's time would drop the rest of that time at every page's border; so the
walk asks one tick past it and drops what it has seen. That is right whether ``before`` excludes
or includes its time, and where the server keeps finer times than it prints.

A page is taken as what the API's page says it is: the newest entries older than ``before``, in
order, with no gap. So it proves that everything newer than its oldest time has been read, and only an entry
older than that time proves that the time itself is complete. Where no answer can prove it, the walk
raises :class:`NoProgress` rather than go on.

A page shorter than ``limit`` proves nothing by itself. When nothing older than a time comes, one
question from below that time tells the end of the history from a server that sends short pages. One
case is beyond any proof: a server that cuts a page within the oldest time of the whole history, and
shows no more of it when asked again. It looks like a history that ends there, and is taken for one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from itertools import pairwise
from typing import Any, TypeVar

from airflow_provider_supermetrics.protocol.entries import Entry, LogTime, identity, log_times
from airflow_provider_supermetrics.protocol.errors import ContractViolation, InvalidRequest, NoProgress
from airflow_provider_supermetrics.protocol.request import MAX_LIMIT, valid_limit

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_COARSE_TICKS = (_SECOND, _MINUTE, timedelta(hours=1), _DAY)
_MICROSECOND = timedelta(microseconds=1)


_Walk = TypeVar("_Walk", bound="LogWalk")


class _Step(Enum):
    """Where a page is asked from. Each but the last must repeat the oldest entry read, to leave no gap."""

    TOP = "the window's end"
    PAST = "one tick past the oldest time: repeats that time, so that none of its entries is lost"
    WITHIN = "just short of that tick: leaves out the next tick, which an inclusive server repeats too"
    BELOW = "just short of the oldest time: is there anything older at all?"


@dataclass(frozen=True)
class Ask:
    """The next page to ask for."""

    before: datetime | None
    limit: int


@dataclass(frozen=True)
class _Page:
    """What is remembered of the last page that ended at the oldest time."""

    step: _Step
    length: int
    limit: int
    newest: datetime | None

    @property
    def is_full(self) -> bool:
        return self.length >= self.limit


class LogWalk:
    """Reads the entries with ``start <= log_time < end``, each once, page by page.

    Ask for the page that :attr:`next` names, give its entries to :meth:`receive`, until :attr:`next` is None.

    :param start: first time of the window (aware), or None for the beginning of the history.
    :param end: the time at which the window ends (aware), or None for no end.
    :param limit: entries per page, 1 to 1000. Where one time fills such a page, the walk goes on with 1000.
    :param first_limit: entries of the first page, where little is expected; by default ``limit``.
    :raises InvalidRequest: for naive times, an empty or reversed window, or a limit out of range.
    """

    # After so many full pages, one that is not full is most likely the history's end.
    _pages_before_end = 2

    def __init__(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = MAX_LIMIT,
        first_limit: int | None = None,
    ) -> None:
        for name, time in (("start", start), ("end", end)):
            if time is not None and time.utcoffset() is None:
                raise InvalidRequest(f"{name} {time.isoformat()} has no time zone; give an aware time")
        if start is not None and end is not None and start >= end:
            raise InvalidRequest(f"the window [{start.isoformat()}, {end.isoformat()}) is empty")
        self.start = start
        self.end = end
        #: The time of the oldest entry read so far; all that is newer has been read.
        self.oldest: datetime | None = None
        try:
            # From a whole second, because a time printed as before `end` can lie after it.
            top = None if end is None else _ceil(end, _SECOND)
        except OverflowError:
            raise InvalidRequest(f"end {end} is too late") from None
        #: The page to ask for next, or None when the window has been read.
        self.next: Ask | None = Ask(top, valid_limit(limit if first_limit is None else first_limit))
        self._limit = valid_limit(limit)
        self._step = _Step.TOP
        self._tick = _DAY
        # Set where times turn out to be cut more coarsely than they are printed.
        self._least_tick = _MICROSECOND
        # Entries that a further page may repeat.
        self._seen: dict[Hashable, datetime] = {}
        # The oldest entry read; a page that holds it again leaves no gap.
        self._last: Hashable | None = None
        self._page: _Page | None = None
        # Whether anything older than `oldest` exists; None while that was not asked.
        self._older_exist: bool | None = None
        self._full_pages = 0  # at this limit
        # Lengths of short pages that turned out to have more behind them.
        self._cut_lengths: set[int] = set()

    @property
    def repeated(self) -> datetime | None:
        """Further pages may repeat entries up to this time, or bring more of them; None when all is read."""
        if self.next is None or self.next.before is None:
            return None
        return self.next.before if self.oldest is None else max(self.next.before, self.oldest + self._tick)

    def to_state(self) -> dict[str, Any]:
        """How far the walk is, as plain JSON values; :meth:`from_state` goes on from there.

        Not after :meth:`receive` has raised: what it took of that page was given to nobody.
        """
        page = self._page
        return {
            "start": _to_text(self.start),
            "end": _to_text(self.end),
            "oldest": _to_text(self.oldest),
            "next": self.next and {"before": _to_text(self.next.before), "limit": self.next.limit},
            "limit": self._limit,
            "step": self._step.name,
            "tick": self._tick // _MICROSECOND,
            "least_tick": self._least_tick // _MICROSECOND,
            "seen": [[plain(key), _to_text(time)] for key, time in self._seen.items()],
            "last": plain(self._last),
            "page": page and [page.step.name, page.length, page.limit, _to_text(page.newest)],
            "older_exist": self._older_exist,
            "full_pages": self._full_pages,
            "cut_lengths": sorted(self._cut_lengths),
        }

    @classmethod
    def from_state(cls: type[_Walk], state: Mapping[str, Any]) -> _Walk:
        """The walk whose :meth:`to_state` this is.

        :raises ContractViolation: where it is not such a state.
        """
        try:
            walk = cls(start=_from_text(state["start"]), end=_from_text(state["end"]), limit=state["limit"])
            ask, page = state["next"], state["page"]
            walk.oldest = _from_text(state["oldest"])
            walk.next = ask and Ask(_from_text(ask["before"]), valid_limit(ask["limit"]))
            walk._step = _Step[state["step"]]
            walk._tick = int(state["tick"]) * _MICROSECOND
            walk._least_tick = int(state["least_tick"]) * _MICROSECOND
            walk._seen = {hashable(key): _known(time) for key, time in state["seen"]}
            walk._last = hashable(state["last"])
            walk._page = page and _Page(_Step[page[0]], int(page[1]), int(page[2]), _from_text(page[3]))
            walk._older_exist = state["older_exist"]
            walk._full_pages = int(state["full_pages"])
            walk._cut_lengths = {int(length) for length in state["cut_lengths"]}
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise ContractViolation(f"not the state of a walk: {type(error).__name__} {error}") from None
        return walk

    def receive(self, page: Sequence[Entry]) -> list[Entry]:
        """Take the page that was asked for; return what is new in it and in the window, newest first.

        :raises ContractViolation: when the page is not what was asked for, so that entries could be missed.
        :raises NoProgress: when one single time fills a page.
        """
        try:
            return self._receive(page)
        except OverflowError:
            raise ContractViolation("the page has an entry at the end of all times") from None

    def _receive(self, page: Sequence[Entry]) -> list[Entry]:
        ask = self.next
        if ask is None:
            raise RuntimeError("the walk is over; nothing was asked for")
        printed = self._read_times(page, ask)
        times = [time.at for time in printed]
        if self._step is _Step.TOP and not page:
            self.next = None
            return []
        if self._step is _Step.TOP and self.end is not None:
            # As above, where only dates are printed, or all seconds are zero.
            coarse = _MINUTE if not any(time.second or time.microsecond for time in times) else _SECOND
            top = _ceil(self.end, max(self._tick, coarse))
            if ask.before is not None and ask.before < top:
                self._ask(_Step.TOP, ask.limit, top)
                return []

        keys = identities(page)
        reaches_older = bool(page) and (self.oldest is None or times[-1] < self.oldest)
        received = _Page(self._step, len(page), ask.limit, times[0] if page else self.oldest)
        if self._last is not None and self._last not in keys and (page or self._step is not _Step.BELOW):
            self._detached(ask, received, reaches_older)
            return []

        new = []
        for i, key in enumerate(keys):
            if key not in self._seen:
                self._seen[key] = times[i]
                new.append(i)
        if keys:
            self._last = keys[-1]
        if self._page and not self._page.is_full and (reaches_older or new):
            self._cut_lengths.add(self._page.length)
        if reaches_older:
            self._advance(received, printed[-1])
        else:
            self._stand(ask, received, bool(new))
        if times and self._is_in_window(min(times)) and self._is_in_window(max(times)):
            return [page[i] for i in new]
        return [page[i] for i in new if self._is_in_window(times[i])]

    def _read_times(self, page: Sequence[Entry], ask: Ask) -> list[LogTime]:
        printed = log_times(page)
        times = [time.at for time in printed]
        finest = min({time.tick for time in printed}, default=self._tick)
        self._tick = max(min(self._tick, finest), self._least_tick)
        if times != sorted(times, reverse=True):
            for newer, older in pairwise(printed):
                # An entry that is printed more coarsely may look older than it is.
                if older.at > newer.at and older.at >= newer.at + newer.tick:
                    raise ContractViolation(
                        "the page is not in reverse chronological order: "
                        f"{older.at.isoformat()} comes after {newer.at.isoformat()}"
                    )
        if times and ask.before is not None and times[0] > ask.before + self._tick:
            raise ContractViolation(
                f"the page has an entry at {times[0].isoformat()}, "
                f"although it was asked for entries before {ask.before.isoformat()}"
            )
        return printed

    def _advance(self, received: _Page, oldest: LogTime) -> None:
        """The page reached older entries: all that is newer than its oldest time is complete."""
        self.oldest = oldest.at
        self._page = received
        self._full_pages += received.is_full
        self._older_exist = None
        # An entry that is printed more coarsely than others may be up to its tick newer than it looks.
        latest = oldest.at + (oldest.tick - _MICROSECOND if oldest.tick > self._tick else timedelta())
        if self.start is not None and latest < self.start:
            self.next = None
            return
        if self._full_pages >= self._pages_before_end and not received.is_full and not self._cut_lengths:
            # A server that has filled its pages now has less to give: the history's end, most likely.
            # To ask that first saves a question at the end of every long history.
            self._ask(_Step.BELOW, self._limit)
        else:
            self._ask(_Step.PAST, self._limit)
        self._forget()

    def _forget(self) -> None:
        """Let go of what no page repeats: without a gap, a page has the last 1,000, or the next tick."""
        if len(self._seen) > 4 * MAX_LIMIT and (repeated := self.repeated):
            ancient = len(self._seen) - MAX_LIMIT
            self._seen = {
                key: time
                for i, (key, time) in enumerate(self._seen.items())
                if i >= ancient or time <= repeated
            }

    def _detached(self, ask: Ask, received: _Page, reaches_older: bool) -> None:
        """The page leaves out the oldest entry read, so entries may lie between them. It may not be used."""
        if self._step is _Step.BELOW:
            if reaches_older:
                # It says that older entries exist, but not that the oldest time is complete.
                self._older_exist = True
                if self._page is not None:
                    self._cut_lengths.add(self._page.length)
                self._ask(_Step.PAST, self._limit)
            else:
                self._stand(ask, received, has_new=False)
        elif reaches_older or (received.newest == self.oldest and not received.is_full):
            self._coarsen(received, reaches_older)
        else:
            self._stand(ask, received, has_new=False)

    def _coarsen(self, received: _Page, reaches_older: bool) -> None:
        """The oldest entry seems to lie more than a tick past its printed time: try a coarser tick."""
        coarser = [tick for tick in _COARSE_TICKS if tick > self._tick]
        if not coarser:
            if received.length and not reaches_older and self.oldest is not None:
                raise NoProgress(self.oldest, received.length)
            raise ContractViolation("the oldest entry read was sent a moment ago and is missing now")
        self._tick = self._least_tick = coarser[0]
        self._ask(_Step.PAST, self._limit)

    def _stand(self, ask: Ask, received: _Page, has_new: bool) -> None:
        """The page reached nothing older: either the history ends here, or a time fills the page."""
        if self._step is _Step.BELOW:
            self._older_exist = False
            if has_new:
                self._page = received
            if received.length and ask.before and self.oldest and ask.before > self.oldest - self._tick:
                # The oldest time once more: the server includes `before`, or prints rounded times.
                self._ask(_Step.BELOW, received.limit, self.oldest - self._tick)
            else:
                self._end()
            return
        self._page = received
        if received.is_full and received.limit < MAX_LIMIT:
            self._limit, self._full_pages = MAX_LIMIT, 0
            self._ask(self._step, MAX_LIMIT)
        elif received.is_full:
            self._doubt()
        elif has_new:
            self._ask(self._step, received.limit)
        elif self._older_exist is None:
            self._ask(_Step.BELOW, received.limit)
        elif self._older_exist:
            self._doubt()
        else:
            self._end()

    def _end(self) -> None:
        """Nothing older exists: the walk is over, unless the last page may be cut within its oldest time."""
        page = self._page
        if page is None or not (page.is_full or self._is_cut_length(page.length)):
            self.next = None
        else:
            self._doubt()

    def _doubt(self) -> None:
        """The last page does not prove its oldest time complete: ask closer to it, or refuse to go on."""
        page, oldest = self._page, self.oldest
        assert page is not None and oldest is not None, "only a received page can be doubted"
        if page.step is _Step.WITHIN or page.newest == oldest:
            raise NoProgress(oldest, page.length)
        self._ask(_Step.WITHIN, page.limit)

    def _ask(self, step: _Step, limit: int, before: datetime | None = None) -> None:
        self._step = step
        if before is None:
            assert self.oldest is not None, "only the first page is asked for without an oldest time"
            before = self.oldest
            if step is _Step.PAST:
                before += self._tick
            elif step is _Step.WITHIN:
                before += self._tick - _MICROSECOND
            elif self._tick > _MICROSECOND:
                # An inclusive server would repeat the oldest time. Between ticks nothing is passed
                # over; where microseconds are printed, the time one before may hold entries.
                before -= _MICROSECOND
        self.next = Ask(before, limit)

    def _is_in_window(self, time: datetime) -> bool:
        return (self.start is None or time >= self.start) and (self.end is None or time < self.end)

    def _is_cut_length(self, length: int) -> bool:
        return bool(self._cut_lengths) and min(self._cut_lengths) <= length <= max(self._cut_lengths)


def identities(page: Sequence[Entry]) -> list[Hashable]:
    """What tells the entries of a page apart. Without an id, equal entries are told apart by their count."""
    keys: list[Hashable] = [entry.get("id") for entry in page]
    if all(type(key) is str for key in keys):
        return keys
    counts: Counter[Hashable] = Counter()
    keys = []
    for entry in page:
        key = identity(entry)
        if entry.get("id") is None:
            counts[key] += 1
            key = (key, counts[key])
        keys.append(key)
    return keys


def _to_text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _from_text(text: str | None) -> datetime | None:
    return None if text is None else _known(text)


def _known(text: str) -> datetime:
    return datetime.fromisoformat(text)


def plain(key: Hashable) -> Any:
    """An identity as JSON has it: lists instead of tuples, which stricter stores than JSON refuse."""
    return [plain(part) for part in key] if isinstance(key, tuple) else key


def hashable(key: Any) -> Hashable:
    """An identity as it was before JSON made lists of its tuples."""
    return tuple(hashable(part) for part in key) if isinstance(key, list) else key


def _ceil(time: datetime, unit: timedelta) -> datetime:
    """The first whole ``unit`` at or after ``time``, in UTC."""
    rest = (time - _EPOCH) % unit
    return (time + (unit - rest) if rest else time).astimezone(timezone.utc)
