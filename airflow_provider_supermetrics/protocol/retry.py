"""How long to wait before asking again, or to give up: numbers only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WaitPolicy:
    """The limits of the waiting that happens inside one request, while the task holds its worker slot.

    :param max_inline_wait: the longest single wait, in seconds; a longer ``Retry-After`` is not begun.
    :param max_attempts: how many times one request is sent at most.
    :param max_total_wait: the longest sum of waits for one request, in seconds.
    :param backoff_first: the wait after the first failure, in seconds; it doubles with each further one.
    :param backoff_longest: where the doubling ends, in seconds.
    """

    max_inline_wait: float = 60.0
    max_attempts: int = 5
    max_total_wait: float = 180.0
    backoff_first: float = 1.0
    backoff_longest: float = 30.0

    def next_wait(
        self, *, attempts: int, waited: float, retry_after: float | None, jitter: float
    ) -> float | None:
        """Seconds to wait before the next attempt, or None to give up.

        A ``retry_after`` is obeyed as it is: neither shortened nor, where it is too long, begun.

        :param attempts: how many times the request was sent, at least 1.
        :param waited: seconds waited so far for this request.
        :param retry_after: what the API named, in seconds.
        :param jitter: a random number from 0 to 1, so that many clients do not return at once.
        """
        if attempts >= self.max_attempts:
            return None
        if retry_after is not None:
            wait = retry_after
        else:
            # The exponent is capped so that a policy with many attempts cannot overflow a float.
            doubled = self.backoff_first * 2.0 ** min(attempts - 1, 60)
            wait = min(doubled, self.backoff_longest) * (1 + jitter) / 2
        if wait > self.max_inline_wait or waited + wait > self.max_total_wait:
            return None
        return wait
