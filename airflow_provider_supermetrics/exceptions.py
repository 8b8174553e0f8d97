"""What can go wrong, sorted by what the caller should do about it."""

from __future__ import annotations

from typing import ClassVar

from airflow_provider_supermetrics._compat import AirflowException, AirflowFailException
from airflow_provider_supermetrics.protocol.response import RateLimit
from airflow_provider_supermetrics.protocol.text import one_line

_LONGEST_MESSAGE = 2000
# The API's page allows its description that much.
_LONGEST_TEXT = 2048


class SupermetricsError(AirflowException):
    """Root of all errors of this provider.

    Its class attribute ``retryable`` says whether the same task may succeed later.

    :param message: one line: what was asked, what came back, what to do.
    :param status_code: the HTTP status, or None where no answer came.
    :param code: the API's ``error.code``, such as ``TOO_MANY_REQUESTS``.
    :param description: the API's longer explanation.
    :param details: the API's ``error.details`` as JSON, at most 1,000 characters.
    :param request_id: the API's ``meta.request_id``, else its ``X-Request-Id``, for Supermetrics' support.
    :param retry_after: seconds to wait, where the API named a time.
    :param rate_limit: the hourly request budget that the answer told of.
    """

    retryable: ClassVar[bool] = True

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int | None = None,
        code: str | None = None,
        description: str | None = None,
        details: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        rate_limit: RateLimit | None = None,
    ) -> None:
        super().__init__(one_line(message, _LONGEST_MESSAGE))
        # AirflowException has a class attribute of this name, meant for Airflow's own web server.
        self.status_code = status_code  # type: ignore[assignment]
        self.code = code and one_line(code, _LONGEST_TEXT)
        self.description = description and one_line(description, _LONGEST_TEXT)
        self.details = details and one_line(details, _LONGEST_TEXT)
        self.request_id = request_id and one_line(request_id, _LONGEST_TEXT)
        self.retry_after = retry_after
        self.rate_limit = rate_limit


class SupermetricsRateLimitError(SupermetricsError):
    """429, or the reserve of the budget is reached: wait ``retry_after`` seconds."""


class SupermetricsServerError(SupermetricsError):
    """5xx, and 408: the API failed; the same request may work later."""


class SupermetricsConnectionError(SupermetricsError):
    """No complete answer: unreachable, timed out, or lost on the way; the same request may work later."""


class SupermetricsTokenError(SupermetricsError):
    """401, because the access token has expired or is not valid: a retry may find a renewed one.

    Neither a :class:`SupermetricsRequestError` nor an ``AirflowFailException``.
    """


class SupermetricsRequestError(SupermetricsError, AirflowFailException):
    """Another 4xx: the same request will not get better, so Airflow spends no retries on it."""

    retryable = False


class SupermetricsValidationError(SupermetricsRequestError, ValueError):
    """The request was refused here, before anything was sent: an argument or the Connection is wrong."""


class SupermetricsResponseError(SupermetricsError):
    """A success that is not what the API promises, or a redirect. Going on could lose entries."""


class SupermetricsConflictError(SupermetricsError):
    """Another export of the same window ran at the same time; a retry, alone, gets through."""


class SupermetricsPaginationError(SupermetricsError):
    """One single ``log_time`` fills a page, so the API cannot be paged past it without possible loss."""

    retryable = False
