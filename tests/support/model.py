"""A server of the list endpoint without HTTP, with every freedom that the API's page leaves."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from airflow_provider_supermetrics._api.entry import Fields, LogEntry, read_page
from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.pager import LogPager, PagerState
from airflow_provider_supermetrics._api.state import from_json, to_json
from airflow_provider_supermetrics._api.times import parse_log_time

ORIGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
TICKS = {
    "day": timedelta(days=1),
    "second": timedelta(seconds=1),
    "millisecond": timedelta(milliseconds=1),
    "microsecond": timedelta(microseconds=1),
}


def printed(time: datetime, precision: str) -> str:
    """``time`` as a server with that precision prints it, cut off."""
    if precision == "day":
        return time.date().isoformat()
    return time.replace(tzinfo=None).isoformat(timespec=f"{precision}s") + "Z"


@dataclass
class Server:
    """The list endpoint, without HTTP."""

    entries: list[tuple[datetime, Fields]]
    inclusive: bool
    precision: str
    finer: bool
    cap: int | None  # pages are cut to this many entries, or to any number from this on
    cuts: random.Random | None
    shuffled: random.Random | None
    arrivals: dict[int, list[tuple[datetime, Fields]]] = field(default_factory=dict)
    #: Cuts this share of the pages anywhere, drawn by `cuts`.
    cut_share: float = 0.0
    #: Whether a page that is cut brings something at least that none before has brought.
    cuts_bring_more: bool = False
    requests: int = 0
    #: Whether the last page was cut.
    was_cut: bool = False
    _sent: set[str] = field(default_factory=set)

    def stored(self, time: datetime) -> datetime:
        """The time that the server compares by."""
        return time if self.finer else parse_log_time(printed(time, self.precision)).at

    def page(self, before: datetime | None, limit: int) -> list[LogEntry]:
        """One page, newest first."""
        self.requests += 1
        self.entries.extend(self.arrivals.pop(self.requests, []))
        rows = [(self.stored(time), entry) for time, entry in self.entries]
        if before is not None:
            rows = [row for row in rows if row[0] < before or (self.inclusive and row[0] == before)]
        if self.shuffled:
            self.shuffled.shuffle(rows)
        rows.sort(key=lambda row: row[0], reverse=True)
        length = limit
        if self.cap is not None:
            length = min(
                limit, self.cap + (self.cuts.randrange(5) if self.cuts and not self.cut_share else 0)
            )
        page = [entry for _, entry in rows[:length]]
        self.was_cut = len(page) < min(limit, len(rows))
        if self.cuts and len(page) > 1 and self.cuts.random() < self.cut_share:
            cut = page[: self.cuts.randrange(1, len(page))]
            # By keys: of two equal entries without an id, nobody can say which one was sent before.
            if not self.cuts_bring_more or any(entry.key not in self._sent for entry in page_of(cut)):
                page, self.was_cut = cut, True
        sent = page_of(page)
        self._sent.update(entry.key for entry in sent)
        return sent


def page_of(entries: Sequence[Fields]) -> list[LogEntry]:
    """The entries, as a page of the API has them."""
    return read_page(json.dumps({"logs": list(entries)}).encode())


def run(server: Server, pager: LogPager, most_requests: int = 500, moves: bool = False) -> list[Fields]:
    """Read to the end, with a bound on the requests so that a loop fails.

    ``moves``: before each request the pager is another one, resumed from the stored state of the one before.
    """
    received = []
    while pager.next is not None:
        assert server.requests < most_requests, "the pager does not end"
        if moves:
            pager = moved(pager)
            assert pager.next is not None
        state = pager.state
        try:
            received += pager.receive(server.page(pager.next.before, pager.next.limit))
        except ContractViolation:
            assert pager.state == state, "a page that is refused changes nothing"
            raise
    return [entry.fields for entry in received]


def moved(pager: LogPager) -> LogPager:
    """The same pager in another process."""
    return LogPager.resumed(from_json(json.loads(json.dumps(to_json(pager.state))), PagerState))


def in_window(server: Server, start: datetime | None, end: datetime | None) -> list[str]:
    """What the pager must return, by printed time; sorted, because the order of ties is free."""
    times = [(parse_log_time(entry["log_time"]).at, entry) for _, entry in server.entries]
    return sorted(
        str(entry)
        for time, entry in times
        if (start is None or time >= start) and (end is None or time < end)
    )


def ties(server: Server) -> Counter[str]:
    """How many entries print each time."""
    return Counter(entry["log_time"] for _, entry in server.entries)
