"""What both hooks share, free of I/O: from an answer to a result or to the exception that users see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from typing import Any, TypeVar

from airflow import __version__ as airflow_version

from airflow_provider_supermetrics import __version__
from airflow_provider_supermetrics._api import calls
from airflow_provider_supermetrics._api.body import ACCEPT_ENCODING
from airflow_provider_supermetrics._api.calls import Request, valid_team_id
from airflow_provider_supermetrics._api.errors import ContractViolation, NoProgress
from airflow_provider_supermetrics._api.responses import (
    Answer,
    ConnectorList,
    Meaning,
    RateLimit,
    classify,
    excerpt,
)
from airflow_provider_supermetrics._api.text import one_line
from airflow_provider_supermetrics._client.connection import ConnectionSettings
from airflow_provider_supermetrics._client.reasons import reason_of
from airflow_provider_supermetrics._client.redaction import Redactor
from airflow_provider_supermetrics._wait import (
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
    public_errors,
)

USER_AGENT = f"airflow-provider-supermetrics/{__version__} apache-airflow/{airflow_version}"

_ERRORS: dict[Meaning, type[SupermetricsError]] = {
    Meaning.RATE_LIMITED: SupermetricsRateLimitError,
    Meaning.SERVER_FAILED: SupermetricsServerError,
    Meaning.EXPIRED: SupermetricsTokenError,
    Meaning.REFUSED: SupermetricsRequestError,
    Meaning.NOT_THE_CONTRACT: SupermetricsResponseError,
}

Answered = TypeVar("Answered")
Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class _Pause:
    """Until when nothing is sent, and why; whether the API gave that time."""

    not_before: datetime
    reason: str
    is_given: bool


class Exchange:
    """Requests of one Connection and what became of them.

    :param settings: the Connection's settings.
    :param wait_policy: what the task or caller says different from the Connection.
    :raises SupermetricsValidationError: for a wait policy that makes no sense.
    """

    def __init__(self, settings: ConnectionSettings, wait_policy: Mapping[str, Any]) -> None:
        self.settings = settings
        self._redact = Redactor(settings.secrets)
        with public_errors():
            self.wait_policy = settings.wait_policy.override(wait_policy)
        self.rate_limit: RateLimit | None = None
        self._pause: _Pause | None = None
        self._told_of_scarcity = False
        #: Connectors that need no further check, by team and identifier.
        self.known_connectors: set[tuple[int, str]] = set()
        #: Requests sent, repeated ones included.
        self.requests_sent = 0

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request, the credential's excepted."""
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

    def team_id(self, team_id: int | str | None) -> int:
        """``team_id``, or the Connection's where it is None, or a text that a template made of None.

        :raises SupermetricsValidationError: where neither names one, or it is no team's number.
        """
        is_left_out = team_id is None or (isinstance(team_id, str) and team_id.strip() in ("", "None"))
        chosen = self.settings.team_id if is_left_out else team_id
        if chosen is None:
            raise SupermetricsValidationError(
                f"no team_id: pass one, or set it in the extra of Connection '{self.settings.conn_id}'"
            )
        with public_errors():
            return valid_team_id(chosen)

    def list_logs(
        self, connector_identifier: str, team_id: int | str | None, *, limit: int, before: datetime | None
    ) -> Request:
        """The request for one page of logs.

        :raises SupermetricsValidationError: for a value that the API's page does not allow.
        """
        with public_errors():
            return calls.list_logs(self.team_id(team_id), connector_identifier, limit=limit, before=before)

    def admit(self, request: Request) -> None:
        """Let a request through, unless a time that was named has not come yet.

        :raises SupermetricsRateLimitError: while it has not.
        """
        left = (self._pause.not_before - utcnow()).total_seconds() if self._pause else 0.0
        # A sleep may end a moment before its time.
        if self._pause is None or left < 0.05:
            self._pause = None
            return
        raise SupermetricsRateLimitError(
            f"{request.method} {request.path}: not sent: {self._pause.reason}; ask again in {left:.0f} s",
            retry_after=left if self._pause.is_given else None,
            rate_limit=self.rate_limit,
        )

    def scarcity(self) -> str | None:
        """What a person should know of the budget, once, when less than a tenth of it is left."""
        known = self.rate_limit
        if self._told_of_scarcity or known is None or known.limit is None or known.remaining is None:
            return None
        if not is_scarce(known.limit, known.remaining):
            return None
        self._told_of_scarcity = True
        return (
            f"Less than a tenth of the hour's requests is left to Connection '{self.settings.conn_id}': "
            f"{known.remaining:,} of {known.limit:,}"
        )

    def body(
        self,
        request: Request,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        flaw: str | None = None,
    ) -> bytes:
        """The body of a success.

        :param flaw: why the body of an error is missing.
        :raises SupermetricsError: of the kind that the answer asks for.
        """
        answer = classify(status, headers, body, now=utcnow(), redact=self._redact)
        self.rate_limit = answer.rate_limit or self.rate_limit
        self._pause = self._pause_after(answer)
        if answer.meaning is Meaning.OK:
            return answer.body
        raise _ERRORS[answer.meaning](
            self._describe(request, answer) + (f"; {self._redact(flaw)}" if flaw else ""),
            status_code=answer.status,
            code=answer.code,
            description=answer.description,
            details=answer.details,
            request_id=answer.request_id,
            retry_after=answer.retry_after,
            rate_limit=answer.rate_limit,
        )

    def lost(self, request: Request, error: Exception) -> SupermetricsConnectionError:
        """The error for a request without a complete response."""
        reason = one_line(self._redact(reason_of(error)))
        return SupermetricsConnectionError(
            f"No response from {self.settings.base_url} ({reason}) to {request.method} {request.path}; "
            f"check the host of Connection '{self.settings.conn_id}', the network and any proxy"
        )

    def read(self, request: Request, parse: Callable[[Answered], Parsed], answered: Answered) -> Parsed:
        """What ``parse`` makes of the answer to ``request``.

        :raises SupermetricsPaginationError: where one single time fills a page.
        :raises SupermetricsResponseError: where the answer is not what the API promises.
        """
        try:
            return parse(answered)
        except ContractViolation as error:
            raise self.unusable(request, error, answered) from None

    def unusable(
        self, request: Request, error: ContractViolation, answered: object = None
    ) -> SupermetricsError:
        """The error for a success that is not what the API promises."""
        kind = SupermetricsPaginationError if isinstance(error, NoProgress) else SupermetricsResponseError
        message = self._redact(str(error))
        if isinstance(answered, bytes) and answered.lstrip()[:1] not in (b"{", b"["):
            message += _of_body(excerpt(answered, self._redact))
        message += f"; nothing of this response was used; {request}"
        return kind(message, status_code=200)

    def connectors(self, request: Request, listed: ConnectorList) -> tuple[list[dict[str, Any]], str | None]:
        """All connectors of a list, and what a person should know where there may be more of them.

        :raises SupermetricsResponseError: where the API has cut the list.
        """
        connectors = self.read(request, ConnectorList.all, listed)
        if not listed.is_partial:
            return connectors, None
        counted = "does not count them" if listed.count is None else f"counts {listed.count:,} connectors"
        return connectors, (
            f"The API {counted}, but lists {len(connectors):,} to Connection '{self.settings.conn_id}'; "
            "others are left out. If they are needed, give its credential access, or name their identifiers"
        )

    def check_connector(
        self, connector_identifier: str, team_id: int, listed: ConnectorList | SupermetricsError
    ) -> str | None:
        """Look for a connector whose history is empty; return a warning where it may not exist.

        :param listed: the team's connectors, or why they could not be listed.
        :raises SupermetricsRequestError: where the team has no such connector.
        """
        doubt = None
        if isinstance(listed, SupermetricsError):
            doubt = f"the connectors cannot be listed: {listed}"
        elif all(connector["connector_identifier"] != connector_identifier for connector in listed.items):
            number, conn_id = f"{len(listed.items):,}", self.settings.conn_id
            if not listed.is_partial:
                raise SupermetricsRequestError(
                    f"Team {team_id} has no connector {connector_identifier} that Connection '{conn_id}' can "
                    "see, and the API has no entries of it; check connector_identifier; "
                    f"the closest of {number}: {_closest(connector_identifier, listed.items)}"
                )
            doubt = f"the API lists {number}{f' of {listed.count:,}' if listed.count else ''}, without it"
        self.known_connectors.add((team_id, connector_identifier))
        return doubt and (
            f"The log of {connector_identifier} is empty, and it is unknown whether team {team_id} has such "
            f"a connector: {doubt}; check connector_identifier"
        )

    def _pause_after(self, answer: Answer) -> _Pause | None:
        if answer.meaning in (Meaning.RATE_LIMITED, Meaning.SERVER_FAILED) and answer.retry_after is not None:
            reason = f"the API answered {answer.status} and named a time"
            return _Pause(time_after(answer.retry_after), reason, is_given=True)
        reserve = self.wait_policy.rate_limit_reserve
        remaining = answer.rate_limit.remaining if answer.rate_limit else None
        if answer.meaning is Meaning.OK and reserve and remaining is not None and remaining <= reserve:
            reason = (
                f"{remaining:,} requests are left in the hour, of which {reserve:,} are reserved for others"
            )
            return _Pause(time_after(default_rate_limit_delay(1)), reason, is_given=False)
        return None

    def _describe(self, request: Request, answer: Answer) -> str:
        said = ": ".join(one_line(text) for text in (answer.code, answer.message) if text)
        parts = [f"{answer.status} {said}".rstrip(" .")]
        parts[0] += f" ({one_line(answer.description)})" if answer.description else _of_body(answer.excerpt)
        if answer.details:
            parts.append(f"details: {one_line(answer.details)}")
        parts.append(str(request))
        if answer.request_id:
            parts.append(f"request id {answer.request_id}")
        if advice := self._advice(answer):
            parts.append(advice)
        return "; ".join(parts)

    def _advice(self, answer: Answer) -> str:
        conn_id = self.settings.conn_id
        if answer.meaning is Meaning.RATE_LIMITED:
            if answer.retry_after is None:
                return "wait before asking again; the API did not say how long"
            return f"ask again in {answer.retry_after:.0f} s"
        if answer.meaning is Meaning.EXPIRED:
            return f"renew the access token in the password of Connection '{conn_id}'"
        if answer.meaning is Meaning.NOT_THE_CONTRACT:
            return "redirects are refused, for the credential's sake; check the Connection's host"
        if answer.status == 404 and not answer.is_enveloped:
            return "this is not a response of the Supermetrics API; check the Connection's host"
        return {
            401: f"check the API key or access token in the password of Connection '{conn_id}'",
            403: f"the credential of Connection '{conn_id}' has no right to this team or connector; check "
            "team_id and connector_identifier, or give it access",
            404: "check team_id and connector_identifier, or the entry's id",
        }.get(answer.status, "")


def _of_body(piece: str | None) -> str:
    return f" (body: {piece})" if piece else ""


def connector_label(connector: Mapping[str, Any]) -> str:
    """A connector's identifier and, in parentheses, its name, as one line."""
    identifier, name = one_line(connector["connector_identifier"], 100), connector.get("name")
    return f"{identifier} ({one_line(name, 100)})" if isinstance(name, str) and name else identifier


def _closest(connector_identifier: str, connectors: list[dict[str, Any]]) -> str:
    """The connectors, three at most, whose identifier or name is most like the one that was meant."""

    def likeness(connector: Mapping[str, Any]) -> float:
        texts = (connector["connector_identifier"], connector.get("name"))
        return max(
            SequenceMatcher(None, connector_identifier.casefold(), text[:100].casefold()).ratio()
            for text in texts
            if isinstance(text, str)
        )

    return ", ".join(map(connector_label, sorted(connectors, key=likeness, reverse=True)[:3])) or "none"


def connection_verdict(settings: ConnectionSettings, connectors: ConnectorList | None) -> tuple[bool, str]:
    """What ``test_connection`` says where nothing was raised.

    :param connectors: what the API listed, or None where nothing could be asked for want of a team.
    """
    if connectors is None:
        return (
            False,
            "Not tested: this Connection has no Team ID. Set it (team_id in the extra), or in every task.",
        )
    number, count = len(connectors.items), connectors.count or 0
    seen = f"{number:,} of {count:,}" if count > number else f"{number:,}"
    seen += " connector" if max(number, count) == 1 else " connectors"
    return True, f"Connected to {settings.base_url}: the credential sees {seen} of team {settings.team_id}."


def connection_complaint(error: SupermetricsError, conn_id: str) -> str:
    """What ``test_connection`` says where something was raised: Airflow tests under a made-up id."""
    return str(error).replace(f"Connection '{conn_id}'", "this Connection")
