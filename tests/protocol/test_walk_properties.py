"""Properties of the walk, against a model of a server with every freedom that the API's page leaves."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics.protocol.entries import Entry, parse_time
from airflow_provider_supermetrics.protocol.errors import NoProgress
from airflow_provider_supermetrics.protocol.request import MAX_LIMIT
from airflow_provider_supermetrics.protocol.walk import LogWalk

ORIGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
TICKS = {
    "day": timedelta(days=1),
    # These two are printed with seconds, so the walk cannot see how coarse they are.
    "midnight": timedelta(days=1),
    "minute": timedelta(minutes=1),
    "second": timedelta(seconds=1),
    "millisecond": timedelta(milliseconds=1),
    "microsecond": timedelta(microseconds=1),
}


def printed(time: datetime, precision: str) -> str:
    """``time`` as a server with that precision prints it, cut off."""
    if precision == "day":
        return time.date().isoformat()
    if precision in ("midnight", "minute"):
        time = time.replace(second=0, microsecond=0)
        if precision == "midnight":
            time = time.replace(hour=0, minute=0)
        precision = "second"
    return time.replace(tzinfo=None).isoformat(timespec=f"{precision}s") + "Z"


@dataclass
class Server:
    """The list endpoint, without HTTP."""

    entries: list[tuple[datetime, Entry]]
    inclusive: bool
    precision: str
    finer: bool
    cap: int | None  # pages are cut to this many entries, or to any number from this on
    cuts: random.Random | None
    shuffled: random.Random | None
    arrivals: dict[int, list[tuple[datetime, Entry]]] = field(default_factory=dict)
    requests: int = 0

    def stored(self, time: datetime) -> datetime:
        """The time that the server compares by."""
        return time if self.finer else parse_time(printed(time, self.precision)).at

    def page(self, before: datetime | None, limit: int) -> list[Entry]:
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
            length = min(limit, self.cap + (self.cuts.randrange(5) if self.cuts else 0))
        return [entry for _, entry in rows[:length]]


@st.composite
def servers(draw: st.DrawFn) -> Server:
    """Any server; its times lie close together, so that ties and page borders meet often."""
    precision = draw(st.sampled_from(sorted(TICKS)))
    unit = TICKS[precision]
    finer = draw(st.booleans()) and precision != "microsecond"
    offsets = draw(st.lists(st.integers(0, 30), max_size=40))
    parts = draw(st.lists(st.integers(0, 9), min_size=len(offsets), max_size=len(offsets)))
    # Equal entries without ids cannot be told apart where times are coarser than they look.
    without_id = draw(st.booleans()) and precision not in ("midnight", "minute")

    def made(number: int, offset: int, part: int, late: bool = False) -> tuple[datetime, Entry]:
        time = ORIGIN + offset * unit + (unit / 10 * part if finer else timedelta())
        entry: dict[str, Any] = {"log_time": printed(time, precision), "status": number % 3}
        if late:
            entry["late"] = number
        if not without_id:
            entry["id"] = f"{number}-x"
        return time, entry

    entries = [made(i, offset, part) for i, (offset, part) in enumerate(zip(offsets, parts, strict=True))]
    late: dict[int, list[tuple[datetime, Entry]]] = {}
    for i, at_request in enumerate(draw(st.lists(st.integers(2, 12), max_size=6))):
        late.setdefault(at_request, []).append(made(1000 + i, 31 + i % 3, 0, late=True))
    return Server(
        entries,
        inclusive=draw(st.booleans()),
        precision=precision,
        finer=finer,
        cap=draw(st.none() | st.integers(2, 8)),
        cuts=random.Random(draw(st.integers(0, 9))) if draw(st.booleans()) else None,
        shuffled=random.Random(draw(st.integers(0, 9))) if not finer and draw(st.booleans()) else None,
        arrivals=late,
    )


def run(server: Server, walk: LogWalk, most_requests: int = 500, moves: bool = False) -> list[Entry]:
    """Walk to the end, with a bound on the requests so that a loop fails.

    ``moves``: before each request the walk is another one, made of the state of the one before.
    """
    received = []
    while walk.next is not None:
        assert server.requests < most_requests, "the walk does not end"
        if moves:
            walk = LogWalk.from_state(json.loads(json.dumps(walk.to_state())))
            assert walk.next is not None
        received += walk.receive(server.page(walk.next.before, walk.next.limit))
    return received


def in_window(server: Server, start: datetime | None, end: datetime | None) -> list[str]:
    """What the walk has to give, by printed time; sorted, because the order of ties is free."""
    times = [(parse_time(entry["log_time"]).at, entry) for _, entry in server.entries]
    return sorted(
        str(entry)
        for time, entry in times
        if (start is None or time >= start) and (end is None or time < end)
    )


def ties(server: Server) -> Counter[str]:
    """How many entries print each time."""
    return Counter(entry["log_time"] for _, entry in server.entries)


@settings(max_examples=int(os.environ.get("WALK_EXAMPLES", "1500")))
@given(server=servers(), limit=st.integers(1, 12), data=st.data())
def test_every_entry_of_the_window_exactly_once(server: Server, limit: int, data: st.DataObject) -> None:
    """Exactly the window's entries, or NoProgress where one time fills a page."""
    unit = TICKS[server.precision]
    start = data.draw(st.none() | st.integers(0, 30).map(lambda n: ORIGIN + n * unit), label="start")
    end = data.draw(st.none() | st.integers(1, 31).map(lambda n: (start or ORIGIN) + n * unit), label="end")
    longest_page = server.cap or MAX_LIMIT
    # One case is beyond proof: the server cuts every page, and the oldest time of the whole history
    # alone fills them. It looks like a history of just one page.
    history = ties(server)
    assume(not history or history[min(history)] < longest_page)
    expected = in_window(server, start, end)
    try:
        got = run(
            server, LogWalk(start=start, end=end, limit=limit), moves=data.draw(st.booleans(), label="moves")
        )
    except NoProgress:
        event("no progress")
        assert max(ties(server).values()) >= longest_page
    else:
        # Entries that arrive meanwhile are newer than all that was there: they may come, but once.
        late = [str(entry) for entry in got if "late" in entry]
        assert sorted(str(entry) for entry in got if "late" not in entry) == expected
        assert len(late) == len(set(late))
