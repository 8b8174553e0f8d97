"""Client state for one Connection, for both HTTP libraries: headers, rate-limit budget, pauses, errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from airflow import __version__ as airflow_version

from airflow_provider_supermetrics import __version__
from airflow_provider_supermetrics._api.body import ACCEPT_ENCODING
from airflow_provider_supermetrics._api.calls import Call, Request, valid_team_id
from airflow_provider_supermetrics._api.errors import ContractViolation, NoProgress
from airflow_provider_supermetrics._api.responses import (
    ApiResponse,
    Outcome,
    RateLimit,
    classify,
    excerpt,
)
from airflow_provider_supermetrics._api.text import one_line
from airflow_provider_supermetrics._client.connection import ConnectionSettings
from airflow_provider_supermetrics._client.reasons import LOST, reason_of
from airflow_provider_supermetrics._client.redaction import Redactor
from airflow_provider_supermetrics._wait import (
    Log,
    RequestWaits,
    WaitPolicy,
    default_rate_limit_delay,
    is_scarce,
    time_after,
    utcnow,
)
from airflow_provider_supermetrics.exceptions import (
    SupermetricsConnectionError,
    SupermetricsError,
    SupermetricsPaginationError,
    SupermetricsRateLimitError,
    SupermetricsRequestError,
    SupermetricsResponseError,
    SupermetricsServerError,
    SupermetricsTokenError,
    SupermetricsValidationError,
    make_error,
    public_errors,
)

USER_AGENT = f"airflow-provider-supermetrics/{__version__} apache-airflow/{airflow_version}"

_ERRORS: dict[Outcome, type[SupermetricsError]] = {
    Outcome.RATE_LIMITED: SupermetricsRateLimitError,
    Outcome.SERVER_FAILED: SupermetricsServerError,
    Outcome.EXPIRED: SupermetricsTokenError,
    Outcome.REFUSED: SupermetricsRequestError,
    Outcome.UNEXPECTED: SupermetricsResponseError,
}

Result = TypeVar("Result")
Received = TypeVar("Received")


class Reply(NamedTuple):
    """A response, as either HTTP library received it; ``flaw`` says why the body of an error is missing."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    flaw: str | None = None


@dataclass(frozen=True)
class _Pause:
    """Until when no request is sent, and why; whether the API set that time."""

    not_before: datetime
    reason: str
    is_given: bool


class ApiClient:
    """Client state for one Connection: rate-limit budget, pauses, error translation.

    :param settings: the Connection's settings.
    :param wait_policy: what the task or caller sets differently from the Connection.
    :param log: where warnings are logged.
    :raises SupermetricsValidationError: for an invalid wait policy.
    """

    def __init__(self, settings: ConnectionSettings, wait_policy: Mapping[str, Any], log: Log) -> None:
        self.settings = settings
        self._redact = Redactor(settings.secrets)
        self.log = log
        with public_errors():
            self.wait_policy = settings.wait_policy.override(wait_policy)
        self.rate_limit: RateLimit | None = None
        self._pause: _Pause | None = None
        self._has_warned_of_low_budget = False
        #: Connectors that are known to exist, by team and identifier.
        self.known_connectors: set[tuple[int, str]] = set()
        #: Requests sent, repeated ones included.
        self.requests_sent = 0

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request, except for ``Authorization``."""
        own = {
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": ACCEPT_ENCODING,
        }
        given = {name.lower() for name in self.settings.headers}
        return {n: v for n, v in own.items() if n.lower() not in given} | dict(self.settings.headers)

    @property
    def authorization(self) -> str:
        """The value of the ``Authorization`` header."""
        return f"Bearer {self.settings.credential}"

    def waits(self, policy: WaitPolicy | None = None) -> RequestWaits:
        """The waits of one call of a hook."""
        return RequestWaits(policy or self.wait_policy, self.log)

    def resolve_team_id(self, team_id: int | str | None) -> int:
        """Return ``team_id``, or the Connection's if it is None, empty, or a template's "None".

        :raises SupermetricsValidationError: if there is none, or it is not a team's number.
        """
        is_left_out = team_id is None or (isinstance(team_id, str) and team_id.strip() in ("", "None"))
        chosen = self.settings.team_id if is_left_out else team_id
        if chosen is None:
            remedy = f"pass one, or set it in the extra of Connection '{self.settings.conn_id}'"
            raise SupermetricsValidationError(f"no team_id: {remedy}", remedy=remedy)
        with public_errors():
            return valid_team_id(chosen)

    @contextmanager
    def sending(self, request: Request) -> Iterator[None]:
        """Count a request while it is sent, unless it is too early; translate the libraries' exceptions."""
        left = (self._pause.not_before - utcnow()).total_seconds() if self._pause else 0.0
        # A sleep may end a moment before its time.
        if self._pause is not None and left >= 0.05:
            raise make_error(
                SupermetricsRateLimitError,
                f"Not sent: {self._pause.reason}",
                f"retry in {left:.0f} s",
                str(request),
                retry_after=left if self._pause.is_given else None,
                rate_limit=self.rate_limit,
            )
        self.requests_sent += 1
        try:
            yield
        except ContractViolation as error:
            raise self.contract_error(request, error) from None
        except LOST as error:
            raise make_error(
                SupermetricsConnectionError,
                f"No response from {self.settings.base_url} ({one_line(self._redact(reason_of(error)))})",
                f"check the host of Connection '{self.settings.conn_id}', the network and any proxy",
                str(request),
            ) from None

    def receive(self, call: Call[Result], reply: Reply) -> Result:
        """The result of a call, or the error that matches its response."""
        self.raise_for_status(call.request, reply)
        budget = self.rate_limit
        limit, remaining = (budget.limit, budget.remaining) if budget else (None, None)
        is_low = limit is not None and remaining is not None and is_scarce(limit, remaining)
        if is_low and not self._has_warned_of_low_budget:
            self._has_warned_of_low_budget = True
            self.log.warning(
                f"Less than a tenth of the hour's requests is left to Connection '{self.settings.conn_id}': "
                f"{remaining:,} of {limit:,}"
            )
        return self.parse(call.request, call.parse, reply.body)

    def raise_for_status(self, request: Request, reply: Reply) -> None:
        """Store the rate limit of the headers, and raise for an error status or a redirect."""
        response = classify(reply.status, reply.headers, reply.body, now=utcnow(), redact=self._redact)
        self.rate_limit = response.rate_limit or self.rate_limit
        self._pause = self._pause_after(response)
        if response.outcome is Outcome.OK:
            return
        raise make_error(
            _ERRORS[response.outcome],
            _summary(response),
            self._remedy(response),
            response.details and f"details: {one_line(response.details)}",
            str(request),
            response.request_id and f"request id {response.request_id}",
            reply.flaw and self._redact(reply.flaw),
            status_code=response.status,
            code=response.code,
            description=response.description,
            details=response.details,
            request_id=response.request_id,
            retry_after=response.retry_after,
            rate_limit=response.rate_limit,
        )

    def parse(self, request: Request, parse: Callable[[Received], Result], received: Received) -> Result:
        """Return ``parse(received)``.

        :raises SupermetricsPaginationError: if one single time fills a page.
        :raises SupermetricsResponseError: if the response violates the API contract.
        """
        try:
            return parse(received)
        except ContractViolation as error:
            raise self.contract_error(request, error, received) from None

    def contract_error(
        self, request: Request, error: ContractViolation, received: object = None
    ) -> SupermetricsError:
        """The error for a success that violates the API contract."""
        kind = SupermetricsPaginationError if isinstance(error, NoProgress) else SupermetricsResponseError
        what = self._redact(str(error))
        if isinstance(received, bytes) and received.lstrip()[:1] not in (b"{", b"["):
            what += _of_body(excerpt(received, self._redact))
        return make_error(kind, what, None, "the response was discarded", str(request), status_code=200)

    def _pause_after(self, response: ApiResponse) -> _Pause | None:
        is_busy = response.outcome in (Outcome.RATE_LIMITED, Outcome.SERVER_FAILED)
        if is_busy and response.retry_after is not None:
            reason = f"the API responded {response.status} with Retry-After"
            return _Pause(time_after(response.retry_after), reason, is_given=True)
        reserve = self.wait_policy.rate_limit_reserve
        remaining = response.rate_limit.remaining if response.rate_limit else None
        if response.outcome is Outcome.OK and reserve and remaining is not None and remaining <= reserve:
            reason = f"{remaining:,} requests are left in the hour, and {reserve:,} are reserved for others"
            return _Pause(time_after(default_rate_limit_delay(1)), reason, is_given=False)
        return None

    def _remedy(self, response: ApiResponse) -> str | None:
        conn_id = self.settings.conn_id
        if response.outcome is Outcome.RATE_LIMITED:
            if response.retry_after is None:
                return "wait before the next request; no Retry-After given"
            return f"retry in {response.retry_after:.0f} s"
        if response.outcome is Outcome.EXPIRED:
            return f"renew the access token in the password of Connection '{conn_id}'"
        if response.outcome is Outcome.UNEXPECTED:
            return "redirects are refused, to protect the credential; check the Connection's host"
        if response.status == 404 and not response.is_enveloped:
            return "this is not a response of the Supermetrics API; check the Connection's host"
        return {
            401: f"check the API key or access token in the password of Connection '{conn_id}'",
            403: f"the credential of Connection '{conn_id}' has no access to this team or connector; check "
            "team_id and connector_identifier, or give it access",
            404: "not found, or not visible to this credential; check team_id, connector_identifier "
            "and log id",
        }.get(response.status)


def _summary(response: ApiResponse) -> str:
    """An error response in a few words: status, code, message, description."""
    said = ": ".join(one_line(text) for text in (response.code, response.message) if text)
    summary = f"{response.status} {said}".rstrip(" .")
    if response.description:
        return f"{summary} ({one_line(response.description)})"
    return summary + _of_body(response.excerpt)


def _of_body(piece: str | None) -> str:
    return f" (body: {piece})" if piece else ""
