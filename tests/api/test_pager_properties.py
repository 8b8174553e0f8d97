"""Properties of the pager, with a model of a server that varies everything the API leaves open."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.calls import MAX_LIMIT
from airflow_provider_supermetrics._api.entry import Fields
from airflow_provider_supermetrics._api.errors import NoProgress
from airflow_provider_supermetrics._api.pager import LogPager
from tests.support.model import ORIGIN, TICKS, Server, in_window, printed, run, ties
from tests.support.selection import examples


@st.composite
def servers(draw: st.DrawFn) -> Server:
    """Draw a server whose times are close together, so that page borders often cut ties."""
    precision = draw(st.sampled_from(sorted(TICKS)))
    unit = TICKS[precision]
    finer = draw(st.booleans()) and precision != "microsecond"
    offsets = draw(st.lists(st.integers(0, 30), max_size=40))
    parts = draw(st.lists(st.integers(0, 9), min_size=len(offsets), max_size=len(offsets)))
    without_id = draw(st.booleans())

    def made(number: int, offset: int, part: int, late: bool = False) -> tuple[datetime, Fields]:
        time = ORIGIN + offset * unit + (unit / 10 * part if finer else timedelta())
        entry: dict[str, Any] = {"log_time": printed(time, precision), "status": number % 3}
        if late:
            entry["late"] = number
        if not without_id:
            entry["id"] = f"{number}-x"
        return time, entry

    entries = [made(i, offset, part) for i, (offset, part) in enumerate(zip(offsets, parts, strict=True))]
    late: dict[int, list[tuple[datetime, Fields]]] = {}
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


@settings(max_examples=examples(1500), deadline=None)
@given(server=servers(), limit=st.integers(1, 12), data=st.data())
def test_every_entry_of_the_window_exactly_once(server: Server, limit: int, data: st.DataObject) -> None:
    """The pager returns exactly the window's entries, or raises NoProgress where one time fills a page."""
    unit = TICKS[server.precision]
    start = data.draw(st.none() | st.integers(0, 30).map(lambda n: ORIGIN + n * unit), label="start")
    end = data.draw(st.none() | st.integers(1, 31).map(lambda n: (start or ORIGIN) + n * unit), label="end")
    longest_page = server.cap or MAX_LIMIT
    # One case cannot be detected: the server cuts every page, and the oldest time of the whole history
    # alone fills the pages. The responses equal those of a history of one page.
    history = ties(server)
    assume(not history or history[min(history)] < longest_page)
    expected = in_window(server, start, end)
    try:
        got = run(
            server, LogPager(start=start, end=end, limit=limit), moves=data.draw(st.booleans(), label="moves")
        )
    except NoProgress:
        event("no progress")
        assert max(ties(server).values()) >= longest_page
    else:
        # Entries that arrive meanwhile are newer than the others, and may be returned once.
        late = [str(entry) for entry in got if "late" in entry]
        assert sorted(str(entry) for entry in got if "late" not in entry) == expected
        assert len(late) == len(set(late))
