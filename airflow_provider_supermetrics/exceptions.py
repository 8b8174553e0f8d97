"""The exceptions of this provider, classified by what the caller should do about them.

The wording for a response, such as a 401, is in ``_client/client.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics._api.text import one_line
from airflow_provider_supermetrics._compat import AirflowException, AirflowFailException

__all__ = [
    "SupermetricsCheckError",
    "SupermetricsConflictError",
    "SupermetricsConnectionError",
    "SupermetricsError",
    "SupermetricsPaginationError",
    "SupermetricsRateLimitError",
    "SupermetricsRequestError",
    "SupermetricsResponseError",
    "SupermetricsServerError",
    "SupermetricsTokenError",
    "SupermetricsValidationError",
]

_LONGEST_MESSAGE = 2000
# The API's documentation allows a description of this length.
_LONGEST_TEXT = 2048


class SupermetricsError(AirflowException):
    """Base class of all errors of this provider.

    Class attributes say what may help: ``transient`` means the same request a little later; ``retryable``,
    another attempt of the task; ``resumable``, an attempt that continues with the page that was requested.

    :param message: one line that says what is wrong, what to do, and which request failed.
    :param remedy: the part of the message that says what to do, or None.
    :param status_code: the HTTP status, or None without a response.
    :param code: the API's ``error.code``, such as ``TOO_MANY_REQUESTS``.
    :param description: the API's longer explanation.
    :param details: the API's ``error.details`` as JSON, at most 1,000 characters.
    :param request_id: the API's ``meta.request_id``, else its ``X-Request-Id``, for Supermetrics' support.
    :param retry_after: seconds to wait, from ``Retry-After``; None if the API sent none.
    :param rate_limit: the hourly request budget, from the response's headers.
    """

    #: AirflowException has a class attribute of this name, meant for Airflow's own web server.
    status_code: int | None  # type: ignore[assignment]  # which is an int

    transient: ClassVar[bool] = False
    retryable: ClassVar[bool] = True
    resumable: ClassVar[bool] = True

    def __init__(
        self,
        message: str = "",
        *,
        remedy: str | None = None,
        status_code: int | None = None,
        code: str | None = None,
        description: str | None = None,
        details: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        rate_limit: RateLimit | None = None,
    ) -> None:
        super().__init__(one_line(message, _LONGEST_MESSAGE))
        self.remedy = remedy and one_line(remedy, _LONGEST_TEXT)
        self.status_code = status_code
        self.code = code and one_line(code, _LONGEST_TEXT)
        self.description = description and one_line(description, _LONGEST_TEXT)
        self.details = details and one_line(details, _LONGEST_TEXT)
        self.request_id = request_id and one_line(request_id, _LONGEST_TEXT)
        self.retry_after = retry_after
        self.rate_limit = rate_limit


class SupermetricsRateLimitError(SupermetricsError):
    """The API responded 429, or the budget is down to the reserve. Wait ``retry_after`` seconds."""

    transient = True


class SupermetricsServerError(SupermetricsError):
    """The API failed and responded 5xx or 408. The same request may succeed later."""

    transient = True


class SupermetricsConnectionError(SupermetricsError):
    """The API sent no complete response, or none at all. The same request may succeed later."""

    transient = True


class SupermetricsTokenError(SupermetricsError):
    """The API responded 401: the access token has expired or is not valid. A retry may find a new one.

    Airflow retries the task: this is neither a :class:`SupermetricsRequestError` nor an
    ``AirflowFailException``.
    """


class SupermetricsRequestError(SupermetricsError, AirflowFailException):
    """Any other 4xx response: the same request would fail again, so Airflow does not retry the task."""

    retryable = False


class SupermetricsValidationError(SupermetricsRequestError, ValueError):
    """An argument or the Connection is not valid. No request was sent."""


class SupermetricsResponseError(SupermetricsError):
    """The API's response was a redirect, or a 2xx that violates the API contract."""

    resumable = False


class SupermetricsConflictError(SupermetricsError):
    """Another export of the same window ran at the same time. A retry that runs alone succeeds."""

    resumable = False


class SupermetricsPaginationError(SupermetricsError):
    """One single ``log_time`` fills a page, so the API cannot be paged past it without possible loss."""

    retryable = False
    resumable = False


class SupermetricsCheckError(SupermetricsError, AirflowFailException):
    """A check has found what it may not accept. A retry would find the same, so Airflow does not retry it.

    :param result: the task's result, as in its XCom.
    """

    retryable = False
    resumable = False

    def __init__(self, message: str = "", *, result: Mapping[str, Any] | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.result = dict(result or {})


_Kind = TypeVar("_Kind", bound=SupermetricsError)


def make_error(kind: type[_Kind], what: str, remedy: str | None, *context: str | None, **facts: Any) -> _Kind:
    """Make an error whose message says what is wrong, what to do, and then the context."""
    return kind("; ".join(part for part in (what, remedy, *context) if part), remedy=remedy, **facts)


def invalid(what: str, remedy: str) -> SupermetricsValidationError:
    """Make an error that says what is not valid, then what to do."""
    return make_error(SupermetricsValidationError, what, remedy)


@contextmanager
def public_errors() -> Iterator[None]:
    """Raise InvalidRequest as :class:`SupermetricsValidationError`."""
    try:
        yield
    except InvalidRequest as error:
        raise SupermetricsValidationError(str(error)) from None


def as_supermetrics_error(error: Exception, conn_id: str) -> SupermetricsError:
    """Return ``error``, or if it is another package's, an error that names the Connection."""
    if isinstance(error, SupermetricsError):
        return error
    # The error is not quoted, because it is not redacted. Airflow masks the traceback in the log.
    remedy = f"see its traceback in the log, and check Connection '{conn_id}'"
    return SupermetricsError(f"Unexpected {type(error).__name__}: {remedy}", remedy=remedy)


def reason(error: Exception) -> str:
    """Return the type and the message of another package's error, on one short line."""
    return one_line(f"{type(error).__name__}: {error}")
