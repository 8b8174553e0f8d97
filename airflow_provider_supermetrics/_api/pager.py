"""The pager: decides which page to request next, which entries are new, and when all is read.

The API pages by time, newest first, and many entries can share one printed time. Requesting
only what precedes the oldest entry's time would lose the rest of that time at every page border. So the pager
sets ``before`` one tick past that time and drops the entries it has seen. This is correct whether ``before``
excludes or includes its time, and also if the server keeps finer times than it prints.

The pager relies on what the API documents: a page contains the newest entries older than ``before``, in
order, without a gap, and may be cut anywhere. So it proves that everything newer than its oldest
time has been read, and only an entry older than that time proves that the time itself is complete.

A page shorter than ``limit`` proves nothing, because any page may be cut: once, always or at random. The end
of the history needs two proofs: a page that repeats the oldest time contains nothing new, and nothing older
exists.
One case cannot be detected: a server that cuts a page within the oldest time of the whole history,
and returns no more of it in later responses. This looks like a history that ends there.

The whole state is one frozen value, which is replaced last, so a page that is refused changes nothing.

=============  ================================================================================
the page       what follows, if it was requested past the oldest time (``PAST``, ``WITHIN``)
=============  ================================================================================
OLDER          it is the new oldest time: done if it precedes the window, else ``PAST``
GAP            it leaves out the oldest entry: ``PAST`` by the tick that entry is printed with,
               if that is coarser; else refused
EMPTY          as GAP, but repeated a few times before it is refused
MORE_TIES      repeated; if it is full: with 1,000 entries, then ``WITHIN``, then refused
REPEATS        if full, as above; if not full: ``BELOW``, to learn whether anything older exists. If so, or
               if known entries are missing, this page was cut: as GAP, but repeated a few times, then
               ``WITHIN``, before it is refused. If not: done, unless other pages of this length were
               cut: likewise
=============  ================================================================================

=============  ================================================================================
the page       what follows, if it was requested ``BELOW`` the oldest time
=============  ================================================================================
OLDER, GAP     older entries exist: ``PAST`` (OLDER, which repeats the oldest entry, counts as above)
EMPTY          nothing older exists: done, if a page has repeated the oldest time; else ``PAST``
MORE_TIES,     the oldest time once more: ``BELOW``, a tick lower, and then as EMPTY
REPEATS
=============  ================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from itertools import islice, pairwise
from operator import ge, itemgetter
from typing import Annotated

import msgspec

from airflow_provider_supermetrics._api.calls import MAX_LIMIT, valid_integer
from airflow_provider_supermetrics._api.entry import LogEntry
from airflow_provider_supermetrics._api.errors import ContractViolation, InvalidRequest, NoProgress
from airflow_provider_supermetrics._api.times import DAY, MICROSECOND, SECOND, AwareTime, ceil, to_utc

# A page that contains nothing new, although more should come, is requested again this many times.
_MAX_REPEATS = 5

_Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT)]


class Step(Enum):
    """Where to request a page from. ``PAST`` and ``WITHIN`` must repeat the oldest entry, to leave no gap."""

    #: The window's end.
    TOP = "top"
    #: One tick past the oldest time: repeats that time, so that none of its entries is lost.
    PAST = "past"
    #: Just short of that tick: leaves out the next tick, which an inclusive server repeats too.
    WITHIN = "within"
    #: Just short of the oldest time: shows whether anything older exists.
    BELOW = "below"


class Verdict(Enum):
    """What a page says about the oldest time read so far."""

    #: It contains no entries.
    EMPTY = "empty"
    #: It repeats the oldest entry and reaches older ones: all that is newer than the oldest is complete.
    OLDER = "older"
    #: It reaches older entries without the oldest one read, so entries may be missing between them.
    GAP = "gap"
    #: It contains nothing older, but entries that were not seen before.
    MORE_TIES = "more ties"
    #: It contains nothing older and nothing new.
    REPEATS = "repeats"


@dataclass(frozen=True)
class PageRequest:
    """The next page to request: the newest ``limit`` entries older than ``before``."""

    before: AwareTime | None
    limit: _Limit


@dataclass(frozen=True)
class PageFacts:
    """What the pager remembers of the last page that ended at the oldest time.

    :param newest: the time of its first entry.
    :param confirms: whether it repeated all entries known at the oldest time, and brought nothing new.
    """

    step: Step
    length: int
    limit: int
    newest: AwareTime | None
    confirms: bool

    @property
    def is_full(self) -> bool:
        """Whether it has as many entries as its limit allows."""
        return self.length >= self.limit


@dataclass(frozen=True)
class PagerState:
    """Everything that a pager knows; msgspec converts it to JSON.

    :param start: first time of the window, or None for the beginning of the history.
    :param end: the time at which the window ends, or None for no end.
    :param next: the page to ask for next, or None when the window has been read.
    :param limit: entries per page.
    :param max_limit: see :class:`LogPager`.
    :param step: where ``next`` is requested from.
    :param tick: the finest precision that times were printed with, but not finer than ``least_tick``.
    :param least_tick: set where an entry that had to be repeated is printed more coarsely than others.
    :param oldest: the time of the oldest entry read; all that is newer has been read.
    :param oldest_tick: the precision that the oldest entry read is printed with.
    :param last: the oldest entry read; a page that contains it again leaves no gap.
    :param seen: entries that a later page may repeat, and their times.
    :param page: the last page that ended at ``oldest``.
    :param older_exist: whether anything older than ``oldest`` exists; None while that is unknown.
    :param repeats: pages in a row that repeated ``oldest`` and brought nothing new.
    :param cut_lengths: lengths of short pages that turned out to have more behind them.
    :param trust_first_page: see :class:`LogPager`.
    """

    start: AwareTime | None
    end: AwareTime | None
    next: PageRequest | None
    limit: _Limit
    max_limit: _Limit
    step: Step
    tick: timedelta
    least_tick: timedelta
    oldest: AwareTime | None
    oldest_tick: timedelta
    last: str | None
    seen: dict[str, AwareTime] = field(repr=False)
    page: PageFacts | None
    older_exist: bool | None
    repeats: int
    cut_lengths: frozenset[int]

    trust_first_page: bool

    @property
    def repeated(self) -> datetime | None:
        """See :attr:`LogPager.repeated`."""
        if self.next is None or self.next.before is None:
            return None
        return self.next.before if self.oldest is None else max(self.next.before, self.oldest + self.tick)

    def compact(self) -> PagerState:
        """As few entries as a later page can repeat, for a small place to store it."""
        return _forget(self, MAX_LIMIT)


@dataclass(frozen=True)
class _Received:
    """A page, its entries that were not seen before, and the finest precision known so far."""

    page: Sequence[LogEntry]
    keys: set[str]
    new: list[LogEntry]
    tick: timedelta


class LogPager:
    """Reads the entries with ``start <= log_time < end``, each once, page by page.

    Request the page :attr:`next`, pass its entries to :meth:`receive`, and repeat until :attr:`next` is None.

    :param start: first time of the window (aware), or None for the beginning of the history.
    :param end: the time at which the window ends (aware), or None for no end.
    :param limit: entries per page, 1 to 1000. Where one time fills a page, it grows to 1000.
    :param first_limit: entries of the first page, smaller if few are expected; by default ``limit``.
    :param trust_first_page: take a short first page for the whole history as soon as nothing older exists;
        for a caller that requests the same page again later.
    :param max_limit: the largest page that the API allows; smaller in tests only.
    :raises InvalidRequest: for naive times, an empty or reversed window, or a limit out of range.
    """

    def __init__(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = MAX_LIMIT,
        first_limit: int | None = None,
        trust_first_page: bool = False,
        max_limit: int = MAX_LIMIT,
    ) -> None:
        first_limit = limit if first_limit is None else first_limit
        for each in (first_limit, limit):
            valid_integer("limit", each, 1, MAX_LIMIT)
        start = None if start is None else to_utc("start", start)
        end = None if end is None else to_utc("end", end)
        if start is not None and end is not None and start >= end:
            raise InvalidRequest(f"the window [{start.isoformat()}, {end.isoformat()}) is empty")
        try:
            # From a whole second, because a time printed as before `end` can lie after it.
            top = None if end is None else ceil(end, SECOND)
        except OverflowError:
            raise InvalidRequest(f"end {end} is too late") from None
        #: How far the pager is: :meth:`resumed` continues from there.
        self.state = PagerState(
            start=start,
            end=end,
            next=PageRequest(top, first_limit),
            limit=limit,
            max_limit=max_limit,
            step=Step.TOP,
            tick=DAY,
            least_tick=MICROSECOND,
            oldest=None,
            oldest_tick=MICROSECOND,
            last=None,
            seen={},
            page=None,
            older_exist=None,
            repeats=0,
            cut_lengths=frozenset(),
            trust_first_page=trust_first_page,
        )

    @property
    def next(self) -> PageRequest | None:
        """The page to ask for next, or None when the window has been read."""
        return self.state.next

    @property
    def is_known(self) -> bool:
        """Whether an entry has been read, so that the connector exists."""
        return self.state.oldest is not None

    @property
    def oldest(self) -> datetime | None:
        """The time of the oldest entry read so far; all that is newer has been read."""
        return self.state.oldest

    @property
    def repeated(self) -> datetime | None:
        """Further pages may repeat entries up to this time, or bring more of them; None when all is read."""
        return self.state.repeated

    @classmethod
    def resumed(cls, state: PagerState) -> LogPager:
        """The pager with this state."""
        pager = cls.__new__(cls)
        pager.state = state
        return pager

    def receive(self, page: Sequence[LogEntry]) -> list[LogEntry]:
        """Take the page that was requested; return its new entries in the window, newest first.

        A page that is refused leaves the state as it was.

        :raises ContractViolation: when the page is not what was requested, so that entries could be missed.
        :raises NoProgress: when one single time fills a page.
        """
        before = self.state
        if before.next is None:
            raise RuntimeError("all is read; no page was requested")
        try:
            received = _read(page, before, before.next)
            state = replace(before, tick=received.tick)
            if state.step is Step.TOP:
                after = _begin(state, received)
            elif state.step is Step.BELOW:
                after = _below(state, received, _judge(state, received))
            else:
                after = _past(state, received, _judge(state, received))
        except OverflowError:
            raise ContractViolation("the page has an entry at the end of all times") from None
        self.state = _forget(after)
        if after.seen is before.seen:  # nothing of this page was taken
            return []
        return _within(received.new, before.start, before.end)


def _read(page: Sequence[LogEntry], state: PagerState, request: PageRequest) -> _Received:
    """Check that the page is in order, and find what is new."""
    ticks = {entry.tick for entry in page}
    tick = max(min(state.tick, *ticks), state.least_tick) if ticks else state.tick
    times = [entry.time for entry in page]
    if not all(map(ge, times, times[1:])):
        _require_order(page)
    if page and request.before is not None and page[0].time > request.before + tick:
        raise ContractViolation(
            f"the page has an entry at {page[0].time.isoformat()}, "
            f"although entries before {request.before.isoformat()} were requested"
        )
    keys = {entry.key for entry in page}
    seen = state.seen
    new = [entry for entry in page if entry.key not in seen]
    if len(keys) < len(page):
        first: dict[str, LogEntry] = {}
        for entry in new:
            first.setdefault(entry.key, entry)
        new = list(first.values())
    return _Received(page, keys, new, tick)


def _within(entries: list[LogEntry], start: datetime | None, end: datetime | None) -> list[LogEntry]:
    """The entries with ``start <= time < end``."""
    times = [entry.time for entry in entries]
    # Most pages are within the window; min and max show that faster than a comparison for each entry.
    is_within = not times or ((start is None or min(times) >= start) and (end is None or max(times) < end))
    if is_within:
        return entries
    return [e for e in entries if (start is None or e.time >= start) and (end is None or e.time < end)]


def _require_order(page: Sequence[LogEntry]) -> None:
    for newer, older in pairwise(page):
        # An entry that is printed more coarsely may look older than it is.
        if older.time > newer.time and older.time >= newer.time + newer.tick:
            raise ContractViolation(
                "the page is not in reverse chronological order: "
                f"{older.time.isoformat()} comes after {newer.time.isoformat()}"
            )


def _judge(state: PagerState, received: _Received) -> Verdict:
    if not received.page:
        return Verdict.EMPTY
    assert state.oldest is not None, "there is an oldest time after the first page"
    if received.page[-1].time < state.oldest:
        return Verdict.OLDER if state.last in received.keys else Verdict.GAP
    return Verdict.MORE_TIES if received.new else Verdict.REPEATS


def _begin(state: PagerState, received: _Received) -> PagerState:
    """The page from the window's end."""
    assert state.next is not None
    before = state.next.before
    if not received.page:
        # Where dates are printed, later entries of the last day belong to the window, too.
        if before is not None and state.end is not None and before < (midnight := ceil(state.end, DAY)):
            return replace(state, next=replace(state.next, before=midnight), repeats=1)
        return replace(state, next=None)
    if state.repeats and state.tick < DAY:
        return replace(state, next=None)
    if before is not None and state.end is not None:
        # As above, where only dates are printed.
        top = ceil(state.end, max(state.tick, SECOND))
        if before < top:
            return replace(state, next=replace(state.next, before=top))
    return _advance(state, received)


def _past(state: PagerState, received: _Received, verdict: Verdict) -> PagerState:
    """A page that had to repeat the oldest time."""
    assert state.next is not None
    if verdict is Verdict.OLDER:
        return _advance(state, received)
    if verdict in (Verdict.GAP, Verdict.EMPTY):
        if coarser := _coarser(state):
            return coarser
        if verdict is Verdict.EMPTY and state.repeats < _MAX_REPEATS:
            return replace(state, repeats=state.repeats + 1)
        raise ContractViolation("the oldest entry read was sent a moment ago and is missing now")
    if verdict is Verdict.MORE_TIES:
        state = _take(state, received)
    else:
        state = replace(state, page=_facts(state, received), repeats=state.repeats + 1)
    page = state.page
    assert page is not None
    if page.is_full:
        return _doubt(state)
    if verdict is Verdict.MORE_TIES:
        return _ask(state, state.step, limit=page.limit)
    if not page.confirms:
        if coarser := _coarser(state):
            return coarser
        # Known entries are missing from the page, so it was cut.
        return _again(_with_cut(state))
    if state.older_exist is None:
        return _ask(state, Step.BELOW, limit=page.limit)
    return _again(state) if state.older_exist else _finish(state)


def _below(state: PagerState, received: _Received, verdict: Verdict) -> PagerState:
    """A page that had to show whether anything older exists."""
    ask, oldest = state.next, state.oldest
    assert ask is not None and ask.before is not None and oldest is not None
    if verdict is Verdict.OLDER:
        return _advance(state, received)
    if verdict is Verdict.GAP:
        # This proves that older entries exist, but not that the oldest time is complete.
        return _ask(_with_cut(replace(state, older_exist=True)), Step.PAST)
    if verdict is Verdict.MORE_TIES:
        state = _take(state, received)
    if verdict is not Verdict.EMPTY and ask.before > oldest - state.tick:
        # The oldest time once more: the server includes `before`, or rounds it.
        return _ask(state, Step.BELOW, before=oldest - state.tick, limit=ask.limit)
    return _finish(replace(state, older_exist=False))


def _advance(state: PagerState, received: _Received) -> PagerState:
    """The page reached older entries: all that is newer than its oldest time is complete."""
    oldest = received.page[-1]
    is_first = state.step is Step.TOP
    state = replace(_take(state, received), oldest=oldest.time, oldest_tick=oldest.tick, older_exist=None)
    if state.start is not None and _latest(oldest, state.tick) < state.start:
        return replace(state, next=None)
    assert state.page is not None
    if is_first and state.trust_first_page and not state.page.is_full:
        return _ask(state, Step.BELOW)
    return _ask(state, Step.PAST)


def _take(state: PagerState, received: _Received) -> PagerState:
    """Take what is new in the page; if the previous page was short, it was cut."""
    tick = state.tick
    new = {entry.key: entry.time if entry.tick <= tick else _latest(entry, tick) for entry in received.new}
    # A page may show no more than the next tick of an inclusive server, none of which is the oldest.
    is_oldest = state.oldest is None or received.page[-1].time <= state.oldest
    last = received.page[-1].key if is_oldest else state.last
    return replace(
        _with_cut(state), seen={**state.seen, **new}, last=last, page=_facts(state, received), repeats=0
    )


def _finish(state: PagerState) -> PagerState:
    """Nothing older exists: all is read, unless the last page may be cut within its oldest time."""
    page = state.page
    assert page is not None
    if page.is_full:
        return _doubt(state)
    if not page.confirms and not (page.step is Step.TOP and state.trust_first_page):
        return _ask(state, Step.PAST)
    if state.cut_lengths and min(state.cut_lengths) <= page.length <= max(state.cut_lengths):
        return _again(state)
    return replace(state, next=None)


def _again(state: PagerState) -> PagerState:
    """Request the last page again, because it may have been cut; give up after a few repeats."""
    assert state.page is not None
    if state.repeats > _MAX_REPEATS:
        return _doubt(state)
    return _ask(state, _step_past(state.page), limit=state.page.limit)


def _doubt(state: PagerState) -> PagerState:
    """The last page does not prove its oldest time complete: request more, then closer to it, or refuse."""
    page, oldest = state.page, state.oldest
    assert page is not None and oldest is not None
    if page.is_full and page.limit < state.max_limit:
        return _ask(replace(state, limit=state.max_limit, repeats=0), _step_past(page))
    if page.step is Step.WITHIN or page.newest == oldest:
        raise NoProgress(oldest, page.length)
    return _ask(replace(state, repeats=0), Step.WITHIN, limit=page.limit)


def _step_past(page: PageFacts) -> Step:
    return Step.WITHIN if page.step is Step.WITHIN else Step.PAST


def _coarser(state: PagerState) -> PagerState | None:
    """Request by the tick of the oldest entry, if that entry is printed more coarsely than others."""
    if state.oldest_tick <= state.tick:
        return None
    return _ask(replace(state, tick=state.oldest_tick, least_tick=state.oldest_tick), Step.PAST)


def _ask(
    state: PagerState, step: Step, *, before: datetime | None = None, limit: int | None = None
) -> PagerState:
    if before is None:
        assert state.oldest is not None, "only the first page is asked for without an oldest time"
        before = state.oldest
        if step is Step.PAST:
            before += state.tick
        elif step is Step.WITHIN:
            before += state.tick - MICROSECOND
        elif state.tick > MICROSECOND:
            # An inclusive server would repeat the oldest time. Nothing is skipped between ticks,
            # but if microseconds are printed, the previous one may have entries.
            before -= MICROSECOND
    return replace(state, step=step, next=PageRequest(before, limit or state.limit))


def _facts(state: PagerState, received: _Received) -> PageFacts:
    assert state.next is not None
    confirms = not received.new and state.last in received.keys
    if confirms:
        confirms = {key for key, time in state.seen.items() if time == state.oldest}.issubset(received.keys)
    return PageFacts(state.step, len(received.page), state.next.limit, received.page[0].time, confirms)


def _latest(entry: LogEntry, tick: timedelta) -> datetime:
    """The time of an entry; one that is printed more coarsely than others may be newer than it looks."""
    return entry.time + (entry.tick - MICROSECOND if entry.tick > tick else timedelta())


def _with_cut(state: PagerState) -> PagerState:
    """The last page had more behind it: where it was short, pages of its length are cut."""
    if state.page is None or state.page.is_full:
        return state
    return replace(state, cut_lengths=state.cut_lengths | {state.page.length})


def _forget(state: PagerState, most: int = 4 * MAX_LIMIT) -> PagerState:
    """Drop entries that no page repeats: without a gap, a page has the last 1,000, or the next tick."""
    repeated = state.repeated
    if len(state.seen) <= most or repeated is None:
        return state
    ancient = len(state.seen) - MAX_LIMIT
    # Newest first, an order that a state loses where it is stored.
    times = iter(sorted(state.seen.items(), key=itemgetter(1), reverse=True))
    kept = {key: time for key, time in islice(times, ancient) if time <= repeated}
    kept.update(times)
    return replace(state, seen=kept)
