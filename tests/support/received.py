"""What a simulator has received, read as pages and as refusals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from dev.simulator import RateLimitWindow, Received


def returned_pages(requests: Sequence[Received]) -> list[str | None]:
    """Return the `before` of each page that was returned."""
    return [request.params.get("before") for request in requests if request.status == 200]


def refusals(requests: Sequence[Received], limit: RateLimitWindow) -> list[int]:
    """How many requests were refused each time that the budget was spent; none came before its time."""
    found = []
    granted = [request for request in requests if request.status == 200]
    for last, following in pairwise(granted):
        between = requests[last.number : following.number - 1]
        assert {request.status for request in between} <= {429}
        if between:
            # The window had begun when the first of its requests came, and each refusal named its end.
            window = [request for request in granted if request.number <= last.number][-limit.requests :]
            assert following.time - window[0].time >= limit.seconds
            # Who was refused comes again when there is a budget, and not before.
            assert len({request.path for request in between}) == len(between)
            found.append(len(between))
    assert sum(found) == len(requests) - len(granted)
    return found
