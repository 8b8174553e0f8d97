"""Random histories, read from a model of a server that cuts pages: ``make histories``."""

from __future__ import annotations

import random
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any

from airflow_provider_supermetrics._api.errors import NoProgress
from airflow_provider_supermetrics._api.pager import LogPager
from tests.support.model import ORIGIN, TICKS, Server, in_window, printed, ties

#: Small, so that full pages, short pages and ties meet.
MAX_PAGE = 6


class Outcome(Enum):
    """The outcome of reading with a pager."""

    COMPLETE = "complete"
    FULL_TIME = "refused: one time fills a page"
    ALL_READ = "refused, and no request could have brought more"
    UNSURE = "refused, after a page that was cut had brought nothing again and again"
    BEYOND_PROOF = "beyond proof: cut within the oldest time of all, and again when repeated"
    EARLY = "refused too early"
    LOST = "lost silently"


@dataclass
class History:
    """A server, and what is read from it."""

    server: Server
    start: datetime | None
    end: datetime | None
    limit: int


def drawn_history(draw: random.Random, *, cuts_bring_more: bool = False) -> History:
    """A history with ties, and a server that cuts some of its pages anywhere."""
    precision = draw.choice(["second", "second", "millisecond", "microsecond", "day"])
    unit = TICKS[precision]
    spread = draw.choice([3, 10, 30])
    offsets = [draw.randrange(spread) for _ in range(draw.randrange(30))]
    without_id = draw.random() < 0.1

    def made(number: int, offset: int, **parts: Any) -> tuple[datetime, dict[str, Any]]:
        at = ORIGIN + offset * unit
        entry = {"log_time": printed(at, precision), "status": number % 3, **parts}
        return at, entry if without_id else {"id": str(number), **entry}

    arrivals: dict[int, list[tuple[datetime, dict[str, Any]]]] = {}
    for i in range(draw.choice([0, 0, 3])):
        arrivals.setdefault(draw.randrange(2, 10), []).append(made(1000 + i, spread + 1 + i, late=i))
    start = ORIGIN + draw.randrange(spread) * unit if draw.random() < 0.4 else None
    end = (start or ORIGIN) + draw.randrange(1, spread + 1) * unit if draw.random() < 0.4 else None
    server = Server(
        [made(i, offset) for i, offset in enumerate(offsets)],
        inclusive=draw.random() < 0.5,
        precision=precision,
        finer=False,
        cap=MAX_PAGE,
        cuts=random.Random(draw.random()),
        shuffled=random.Random(draw.random()) if draw.random() < 0.5 else None,
        arrivals=arrivals,
        cut_share=draw.choice([0.05, 0.2, 0.5, 0.9]),
        cuts_bring_more=cuts_bring_more,
    )
    return History(server, start, end, draw.choice([1, 2, 3, MAX_PAGE, MAX_PAGE]))


def outcome_of(history: History) -> Outcome:
    """Read the history; an entry twice, one outside of the window, or a loop is an AssertionError."""
    server = history.server
    pager = LogPager(start=history.start, end=history.end, limit=history.limit, max_limit=MAX_PAGE)
    got: list[dict[str, Any]] = []
    refused, last_was_cut = False, False
    while pager.next is not None:
        assert server.requests < 2000, "the pager does not end"
        state = pager.state
        page = server.page(pager.next.before, pager.next.limit)
        if page:
            last_was_cut = server.was_cut
        try:
            got += [entry.fields for entry in pager.receive(page)]
        except NoProgress:
            assert pager.state == state, "a page that is refused changes nothing"
            refused = True
            break
    expected = Counter(in_window(server, history.start, history.end))
    read = Counter(str(entry) for entry in got)
    late = Counter({text: n for text, n in read.items() if "late" in text})
    expected -= Counter({text: n for text, n in expected.items() if "late" in text})
    assert all(n == 1 for n in late.values())
    missing, extra = expected - read, read - expected - late
    assert not extra, "an entry was given twice, or is not of the window"
    if not refused:
        if not missing:
            return Outcome.COMPLETE
        oldest = min(text for text in ties(server))
        is_oldest = all(repr(oldest) in text for text in missing)
        return Outcome.BEYOND_PROOF if is_oldest and last_was_cut else Outcome.LOST
    if max(ties(server).values()) >= MAX_PAGE:
        return Outcome.FULL_TIME
    if not missing:
        return Outcome.ALL_READ
    return Outcome.UNSURE if last_was_cut and not server.cuts_bring_more else Outcome.EARLY


def _outcomes(count: int, cuts_bring_more: bool, seed: int) -> Counter[str]:
    draw = random.Random(seed)
    found = (outcome_of(drawn_history(draw, cuts_bring_more=cuts_bring_more)) for _ in range(count))
    return Counter(outcome.value for outcome in found)


def main() -> None:
    """Read so many histories of each kind; fail where one lost an entry silently or was refused too early."""
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    failed = False
    with ProcessPoolExecutor() as pool:
        for cuts_bring_more in (True, False):
            chunks = pool.map(
                partial(_outcomes, count // 20, cuts_bring_more), [seed * 1000 + i for i in range(20)]
            )
            outcomes = sum(chunks, Counter[str]())
            kind = "cuts that bring more when repeated" if cuts_bring_more else "any cuts"
            print(f"{outcomes.total():,} histories, {kind}:")
            for name, number in outcomes.most_common():
                print(f"  {number:>9,} {name}")
            failed |= bool({Outcome.LOST.value, Outcome.EARLY.value} & outcomes.keys())
    if failed:
        raise SystemExit("an entry was lost silently, or a history was refused too early")


if __name__ == "__main__":
    main()
