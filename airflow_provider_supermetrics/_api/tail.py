"""Follow a log: what is new since the last poll, each entry once, for as few requests as possible.

A poll reads from the newest entry down to where the last one ended, and a small overlap further, because
entries can appear late. Where the first, small page brings nothing new, that is all: one request. So late
entries below that page would wait for the next new one; therefore one more poll, once the overlap
has passed, reads down to the watermark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from airflow_provider_supermetrics._api.calls import MAX_LIMIT
from airflow_provider_supermetrics._api.entry import LogEntry
from airflow_provider_supermetrics._api.pager import LogPager, PageRequest, PagerState
from airflow_provider_supermetrics._api.times import AwareTime

FIRST_LIMIT = 100
_MAX_OVERLAP = timedelta(days=36_500)


@dataclass(frozen=True)
class PollState:
    """A poll that has begun.

    :param pager: how far it has read.
    :param began: its start. Entries dated later do not advance the watermark.
    :param full_scan: whether to read down to the watermark although the first page brings nothing new.
    :param newest: the newest time read.
    :param has_new: whether it has brought anything.
    :param new: what it has brought, as far as the next poll may meet it again.
    """

    pager: PagerState
    began: AwareTime
    full_scan: bool
    newest: AwareTime | None = None
    has_new: bool = False
    new: dict[str, AwareTime] = field(default_factory=dict, repr=False)

    @property
    def watermark(self) -> datetime | None:
        """The newest time read, but no later than when the poll began."""
        return None if self.newest is None else min(self.newest, self.began)


@dataclass(frozen=True)
class TailState:
    """Everything that a tail knows; msgspec makes JSON of it.

    :param since: first time that counts.
    :param overlap: how late an entry may appear, and still be found.
    :param first_limit: entries of a poll's first page.
    :param watermark: the newest time read, but none that lay in the future; None when nothing has been read.
    :param seen: the entries of earlier polls that the next one may meet again.
    :param oldest_key: the oldest entry of the whole history, where a poll has met it.
    :param last_new_at: when a poll brought something new last, while late entries below it may still appear.
    :param is_known: whether the connector is known to exist: a poll that has ended has proven it, or cannot.
    :param poll: the poll that has begun and not ended.
    """

    since: AwareTime
    overlap: timedelta
    first_limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT)] = FIRST_LIMIT
    watermark: AwareTime | None = None
    seen: dict[str, AwareTime] = field(default_factory=dict, repr=False)
    oldest_key: str | None = None
    last_new_at: AwareTime | None = None
    is_known: bool = False
    poll: PollState | None = None

    def __post_init__(self) -> None:
        # Stored state may be damaged, and no poll could succeed with it.
        if not timedelta() <= self.overlap <= _MAX_OVERLAP:
            raise ValueError(f"overlap must be from 0 to {_MAX_OVERLAP.days:,} days")

    @property
    def reread_from(self) -> datetime:
        """All that is older than this has been read."""
        return self.since if self.watermark is None else max(self.since, self.watermark - self.overlap)


class LogTail:
    """A log since a certain time, polled again and again.

    Each poll is :meth:`begin_poll`, then a page for each :attr:`next` through :meth:`receive`, and
    :meth:`finish_poll`. After an error, :meth:`begin_poll` continues the poll that has not ended;
    :meth:`abandon_poll` drops it, so that the next one reads the same again. ``now`` is aware.

    :param state: how far it is.
    """

    def __init__(self, state: TailState) -> None:
        self.state = state

    @property
    def next(self) -> PageRequest | None:
        """The page to request next, or None when the poll has read all."""
        poll = self.state.poll
        return None if poll is None else poll.pager.next

    @property
    def is_known(self) -> bool:
        """Whether the connector is known to exist, so that a history without entries needs no check."""
        poll = self.state.poll
        return self.state.is_known or (poll is not None and poll.pager.oldest is not None)

    def begin_poll(self, now: datetime) -> None:
        """Begin a poll, unless one has begun and not ended."""
        state = self.state
        if state.poll is not None:
            return
        # A short first page needs no repetition: the next poll requests it again.
        pager = LogPager(start=state.reread_from, first_limit=state.first_limit, trust_first_page=True)
        is_settled = state.last_new_at is not None and now >= state.last_new_at + state.overlap
        full_scan = state.watermark is None or is_settled
        self.state = replace(state, poll=PollState(pager.state, now, full_scan))

    def receive(self, page: Sequence[LogEntry]) -> list[LogEntry]:
        """Take the page that was requested; return what is new in it, newest first.

        :raises ContractViolation: see :meth:`LogPager.receive`.
        """
        poll = self.state.poll
        assert poll is not None, "a page was requested"
        pager = LogPager.resumed(poll.pager)
        poll, new = _taken(self.state, replace(poll, pager=pager.state), pager.receive(page))
        following = pager.state
        shows_oldest = bool(page) and page[-1].key == self.state.oldest_key
        if not poll.has_new and (not poll.full_scan or shows_oldest):
            following = replace(following, next=None)
        self.state = replace(self.state, poll=replace(poll, pager=following))
        return new

    def finish_poll(self, now: datetime) -> None:
        """End the poll, which has read all."""
        state, poll = self.state, self.state.poll
        assert poll is not None, "a poll has begun"
        if poll.has_new:
            pager = poll.pager
            # Of all entries, where the pager had to come to the history's end.
            is_oldest = pager.oldest is not None and (pager.start is None or pager.oldest >= pager.start)
            state = replace(state, oldest_key=pager.last if is_oldest else None)
        self.state = replace(_learned(state, poll, now), is_known=True)

    def abandon_poll(self) -> None:
        """Drop the poll; the next one reads the same again."""
        self.state = replace(self.state, poll=None)

    def take_shared(self, entries: Sequence[LogEntry], now: datetime) -> list[LogEntry]:
        """What is new among entries that another tail of this log has found since it polled last."""
        state = self.state
        poll = PollState(LogPager(start=state.reread_from).state, now, full_scan=False)
        counted = [entry for entry in entries if entry.time >= state.reread_from]
        poll, new = _taken(state, poll, counted)
        newest = max((entry.time for entry in entries), default=None)
        self.state = _learned(state, replace(poll, newest=newest), now)
        return new


def _taken(
    state: TailState, poll: PollState, entries: Sequence[LogEntry]
) -> tuple[PollState, list[LogEntry]]:
    """The poll after these entries, and which of them are new."""
    if not entries:
        return poll, []
    newest = max(entry.time for entry in entries)
    poll = replace(poll, newest=newest if poll.newest is None else max(poll.newest, newest))
    assert poll.watermark is not None
    lowest = poll.watermark - state.overlap
    new = [entry for entry in entries if entry.key not in state.seen]
    repeated = {entry.key: entry.time for entry in new if entry.time >= lowest}
    return replace(poll, has_new=poll.has_new or bool(new), new={**poll.new, **repeated}), new


def _learned(state: TailState, poll: PollState, now: datetime) -> TailState:
    """The state after the poll."""
    last_new_at = now if poll.has_new else None if poll.full_scan else state.last_new_at
    watermark = state.watermark
    if (reached := poll.watermark) is not None:
        watermark = reached if watermark is None else max(watermark, reached)
    seen: Mapping[str, datetime] = state.seen
    if watermark is not None:
        lowest = watermark - state.overlap
        seen = {key: time for key, time in {**seen, **poll.new}.items() if time >= lowest}
    return replace(state, watermark=watermark, seen=dict(seen), last_new_at=last_new_at, poll=None)
