"""How long to wait before asking again, or to give up: numbers only, in seconds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from airflow_provider_supermetrics.protocol.errors import InvalidRequest

# The API's page: Retry-After is at most a day.
LONGEST_RETRY_AFTER = 86_400.0
# Airflow 3.3 can lose a try when a task comes back from a deferral within a heartbeat.
SHORTEST_AWAY = 15.0

# Where the API refuses without a time. Its budget is per hour: to ask again within seconds only spends more.
_UNNAMED_FIRST = 300.0
_UNNAMED_LONGEST = 3600.0


@dataclass(frozen=True)
class WaitPolicy:
    """How the waiting is shared between a request, the task around it and Airflow.

    :param max_inline_wait: the longest single wait inside a request, in seconds. For a longer one the
        task gives up its worker slot, or fails.
    :param max_attempts: how many times one request is sent at most.
    :param max_total_wait: the longest sum of waits inside one call of a hook, in seconds; a whole walk is
        one call.
    :param backoff_first: the wait after a first failure for which the API names no time, in seconds; it
        doubles with each further one.
    :param backoff_longest: where the doubling ends, in seconds.
    :param rate_limit_reserve: requests of the hourly budget that are left to others; 0 for none.
    """

    max_inline_wait: float = 60.0
    max_attempts: int = 5
    max_total_wait: float = 600.0
    backoff_first: float = 1.0
    backoff_longest: float = 30.0
    rate_limit_reserve: int = 0

    def changed(self, changes: Mapping[str, Any]) -> WaitPolicy:
        """The policy with some of its numbers replaced; texts that are numbers count as such.

        :raises InvalidRequest: for an unknown name, or what is not a number in its range.
        """
        kinds = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        values: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in kinds:
                raise InvalidRequest(f"there is no {name!r} in a wait policy, but {', '.join(kinds)}")
            values[name] = _number(name, value, kinds[name])
        return replace(self, **values)

    def inline_wait(
        self, *, attempts: int, waited: float, retry_after: float | None, rate_limited: bool, jitter: float
    ) -> float | None:
        """Seconds to wait inside the request before its next attempt, or None to give up.

        A ``retry_after`` is obeyed to the second: not shortened and, where it is too long, not begun.

        :param attempts: how many times the request was sent, at least 1.
        :param waited: seconds waited so far in this call.
        :param retry_after: what the API named, in seconds.
        :param rate_limited: whether the budget is spent, rather than the API broken.
        :param jitter: a random number from 0 to 1, so that many clients do not return at once.
        """
        if attempts >= self.max_attempts:
            return None
        if retry_after is not None and retry_after >= 1:
            # To the second; spread within it, unless that were the fraction too much.
            wait = max(retry_after, min(retry_after + jitter, self.max_inline_wait))
        elif rate_limited and retry_after is None:
            wait = unnamed_wait(attempts) * (1 + jitter / 10)
        else:
            backoff = _doubled(self.backoff_first, attempts, self.backoff_longest)
            wait = max(backoff * (1 + jitter) / 2, retry_after or 0.0)
        if wait > self.max_inline_wait or waited + wait > self.max_total_wait:
            return None
        return wait


def away_wait(*, waits: int, retry_after: float | None, jitter: float) -> float | None:
    """Seconds for which a task gives up its worker slot, or None where no sane time was named.

    Never less than what the API named, and a little more, so that the tasks which were refused
    together do not return together.

    :param waits: how many times in a row the task has waited so, this one included; at least 1.
    :param retry_after: what the API named, in seconds.
    :param jitter: a random number from 0 to 1.
    """
    if retry_after is not None and retry_after > LONGEST_RETRY_AFTER:
        return None
    if retry_after is None:
        wait = unnamed_wait(waits)
    else:
        # Whoever names a moment again and again is not to be believed.
        wait = max(retry_after, _doubled(SHORTEST_AWAY, waits, _UNNAMED_LONGEST))
    return wait + jitter * min(60.0, max(5.0, wait / 20))


def stretched(interval: float, limit: int | None, remaining: int | None) -> float:
    """The time until the next poll, in seconds: longer where less than a tenth of the hour's budget is left.

    :param interval: the time between polls when there is enough.
    :param limit: requests per hour, or None where the API did not say.
    :param remaining: how many of them are left, or None likewise.
    """
    if limit is None or remaining is None or remaining * 10 >= limit:
        return interval
    return max(interval, min(interval * limit / (10 * max(remaining, 1)), _UNNAMED_LONGEST))


def unnamed_wait(refusals: int) -> float:
    """Seconds to wait after so many refusals in a row, at least 1, that named no time."""
    return _doubled(_UNNAMED_FIRST, refusals, _UNNAMED_LONGEST)


def _doubled(first: float, times: int, longest: float) -> float:
    # The exponent is capped so that a large count cannot overflow a float.
    return min(first * 2.0 ** min(times - 1, 60), longest)


def _number(name: str, value: Any, kind: type[int] | type[float]) -> float | int:
    least = 1 if name == "max_attempts" else 0
    try:
        number = kind(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if (
        isinstance(number, bool)
        or not isinstance(number, (int, float))
        or not least <= number <= sys.float_info.max
        or (kind is int and number != int(number))
    ):
        raise InvalidRequest(f"{name} must be a {'whole ' if kind is int else ''}number from {least} on")
    return kind(number)
