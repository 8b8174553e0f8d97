"""What can go wrong, sorted by what the caller should do about it."""

from __future__ import annotations

from airflow_provider_supermetrics._compat import AirflowException, AirflowFailException
from airflow_provider_supermetrics.protocol.response import RateLimit


class SupermetricsError(AirflowException):
    """Root of all errors of this provider.

    :param message: one line: what was asked, what came back, what to do.
    :param status_code: the HTTP status, or None where no answer came.
    :param code: the API's ``error.code``, such as ``TOO_MANY_REQUESTS``.
    :param description: the API's longer explanation.
    :param request_id: the API's ``meta.request_id``, for Supermetrics' support.
    :param retry_after: seconds to wait, where the API named a time.
    :param rate_limit: the hourly request budget that the answer told of.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int | None = None,
        code: str | None = None,
        description: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        rate_limit: RateLimit | None = None,
    ) -> None:
        super().__init__(message)
        # AirflowException has a class attribute of this name, meant for Airflow's own web server.
        self.status_code = status_code  # type: ignore[assignment]
        self.code = code
        self.description = description
        self.request_id = request_id
        self.retry_after = retry_after
        self.rate_limit = rate_limit


class SupermetricsRateLimitError(SupermetricsError):
    """429, or the reserve of the budget is reached: wait ``retry_after`` seconds."""


class SupermetricsServerError(SupermetricsError):
    """5xx, and 408: the API failed; the same request may work later."""


class SupermetricsConnectionError(SupermetricsError):
    """No complete answer: unreachable, timed out, or lost on the way; the same request may work later."""


class SupermetricsRequestError(SupermetricsError, AirflowFailException):
    """Another 4xx: the same request will not get better, so Airflow spends no retries on it."""


class SupermetricsValidationError(SupermetricsRequestError, ValueError):
    """The request was refused here, before anything was sent: an argument or the Connection is wrong."""


class SupermetricsResponseError(SupermetricsError):
    """A success that is not what the API promises, or a redirect. Going on could lose entries."""


class SupermetricsConflictError(SupermetricsError):
    """Another export of the same window ran at the same time; a retry, alone, gets through."""


class SupermetricsPaginationError(SupermetricsError):
    """One single ``log_time`` fills a page, so the API cannot be paged past it without possible loss."""
