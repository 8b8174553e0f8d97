"""Classify and parse API responses. No I/O."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any, NoReturn

import msgspec

from airflow_provider_supermetrics._api.entry import Fields
from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.text import one_line

#: The most connectors of a team that the API lists.
MAX_CONNECTORS = 1000

# Texts of errors go to logs: the lengths that the API documents hold, whatever is received.
_MAX_CODE_LENGTH = 100
_MAX_MESSAGE_LENGTH = 255
_MAX_DESCRIPTION_LENGTH = 2048
_MAX_REQUEST_ID_LENGTH = 64
_MAX_DETAILS_LENGTH = 1000
# Another body may be a gateway's page, whose beginning says what it is.
_MAX_EXCERPT_LENGTH = 200
_LONGEST_PAGE = 16_384
# The last one is an OAuth server's (RFC 6750).
_TOKEN_CODES = ("ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_INVALID", "invalid_token")
_OAUTH_ERROR = re.compile(r"[A-Za-z0-9_.-]+")
_MARKUP = re.compile(r"(?is)<(script|style)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<[^<>]*>")

# Longer times are beyond a datetime anyway.
_LONGEST_TIME = 1e15

_decoder = msgspec.json.Decoder()


class Outcome(Enum):
    """What the caller should do about a response."""

    OK = auto()
    RATE_LIMITED = auto()
    SERVER_FAILED = auto()
    EXPIRED = auto()
    REFUSED = auto()
    UNEXPECTED = auto()


@dataclass(frozen=True)
class RateLimit:
    """The hourly request budget: ``X-RateLimit-Limit`` and ``X-RateLimit-Remaining`` of a response.

    Either is None if the response has no such header.
    """

    limit: int | None
    remaining: int | None


@dataclass(frozen=True)
class ApiResponse:
    """A response, classified. ``retry_after`` is in seconds; the strings are those of the error envelope.

    ``details`` is JSON. For an error without the envelope, ``is_enveloped`` is false, and ``code`` and
    ``message`` are those of an OAuth server or a gateway, or else ``excerpt`` is the beginning of the body.
    """

    status: int
    outcome: Outcome
    rate_limit: RateLimit | None = None
    retry_after: float | None = None
    code: str | None = None
    message: str | None = None
    description: str | None = None
    details: str | None = None
    excerpt: str | None = None
    is_enveloped: bool = True
    request_id: str | None = None
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class ConnectorList:
    """The connectors that the API lists, and how many it counts, or None if it does not."""

    items: list[dict[str, Any]]
    count: int | None

    @property
    def is_partial(self) -> bool:
        """Whether there may be connectors that are not listed."""
        listed = len(self.items)
        return listed < self.count if self.count is not None else listed >= MAX_CONNECTORS

    def all(self) -> list[dict[str, Any]]:
        """All connectors that the credential can see.

        :raises ContractViolation: if the API has cut the list, because the list has no further pages.
        """
        if self.count is not None and self.count > len(self.items) >= MAX_CONNECTORS:
            _violates(f"has {len(self.items):,} of {self.count:,} connectors; the API cannot list the others")
        return self.items


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    redact: Callable[[str], str] = lambda text: text,
) -> ApiResponse:
    """Classify a response.

    :param headers: in any letter case; several of one name are several items, or joined by commas.
    :param now: the current time (aware), for a ``Retry-After`` that is a date, without a ``Date`` header.
    :param redact: removes secrets from a string of the API's.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    retry_after = [value for name, value in headers.items() if name.lower() == "retry-after"]
    limit, remaining = (_integer(lowered.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining"))
    rate_limit = None if limit is None and remaining is None else RateLimit(limit, remaining)
    if 200 <= status < 300:
        return ApiResponse(status, Outcome.OK, rate_limit, body=body)
    # A date is by the server's clock, which may differ from ours.
    now = _http_date(lowered.get("date")) or now
    document = _object(body)
    error, meta = document.get("error"), document.get("meta")
    is_enveloped = isinstance(error, dict)
    if not isinstance(error, dict):
        error = _error_outside_envelope(document)
    request_id = meta.get("request_id") if isinstance(meta, dict) else None
    code = _short(error.get("code"), _MAX_CODE_LENGTH, redact)
    message = _short(error.get("message"), _MAX_MESSAGE_LENGTH, redact)
    return ApiResponse(
        status,
        _outcome(status, code),
        rate_limit,
        retry_after=_longest(retry_after, now=now),
        code=code,
        message=message,
        description=_short(error.get("description"), _MAX_DESCRIPTION_LENGTH, redact),
        details=_short(_json(error.get("details")), _MAX_DETAILS_LENGTH, redact),
        excerpt=None if code or message else excerpt(body, redact),
        is_enveloped=is_enveloped,
        request_id=_short(request_id, _MAX_REQUEST_ID_LENGTH, redact)
        or _short(lowered.get("x-request-id"), _MAX_REQUEST_ID_LENGTH, redact),
        body=body,
    )


def excerpt(body: bytes, redact: Callable[[str], str]) -> str | None:
    """The beginning of a body that is not the API's own, such as a gateway's page: its words, on one line."""
    try:
        text = _json(_loads(body)) or ""  # its escapes could hide a credential
    except ContractViolation:
        text = redact(body[: 4 * _LONGEST_PAGE].decode("utf-8-sig", "replace"))[:_LONGEST_PAGE]
    if text.lstrip().startswith("<"):
        text = html.unescape(_MARKUP.sub(" ", text))
    return _short(text, _MAX_EXCERPT_LENGTH, redact)


def parse_log_entry(body: bytes) -> Fields:
    """Parse a single entry, which the API sends unwrapped.

    :raises ContractViolation: if it is not a JSON object.
    """
    entry = _loads(body)
    return entry if isinstance(entry, dict) else _violates("is not a JSON object")


def parse_connectors(body: bytes) -> ConnectorList:
    """Parse the connectors of a team, each with a ``connector_identifier``.

    :raises ContractViolation: if it is not JSON, has no ``connectors`` list, or one lacks its identifier.
    """
    document = _loads(body)
    connectors = document.get("connectors") if isinstance(document, dict) else None
    if not isinstance(connectors, list):
        _violates("has no list 'connectors'")
    for connector in connectors:
        if not isinstance(connector, dict) or not isinstance(connector.get("connector_identifier"), str):
            _violates("has a connector without a connector_identifier")
    count = document.get("count")
    return ConnectorList(connectors, count if type(count) is int else None)


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Parse ``Retry-After``, in seconds or an HTTP date: the seconds to wait, or None if it is neither."""
    if value is None:
        return None
    if re.fullmatch(r"\d+(\.\d*)?", value.strip(), re.ASCII):
        return min(float(value), _LONGEST_TIME)
    date = _http_date(value)
    return None if date is None else max(0.0, (date - now).total_seconds())


def _longest(retry_after: list[str], *, now: datetime) -> float | None:
    # A date contains a comma too, before its day.
    values = [part for value in retry_after for part in re.split(r",(?!\s*\d{1,2}[ -])", value)]
    times = [parse_retry_after(value, now=now) for value in values]
    return max((time for time in times if time is not None), default=None)


def _http_date(value: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(value or "")
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return date.replace(tzinfo=timezone.utc) if date.tzinfo is None else date


def _outcome(status: int, code: str | None) -> Outcome:
    if status == 429:
        return Outcome.RATE_LIMITED
    if status >= 500 or status == 408:
        return Outcome.SERVER_FAILED
    if status == 401 and code in _TOKEN_CODES:
        return Outcome.EXPIRED
    if status >= 400:
        return Outcome.REFUSED
    return Outcome.UNEXPECTED


def _integer(value: str | None) -> int | None:
    # "5000, 5000;w=3600" is how gateways that follow the IETF draft write a limit of 5000.
    match = re.match(r"\s*(\d{1,18})\s*(?:[,;].*)?$", value or "", re.ASCII)
    return int(match[1]) if match else None


def _loads(body: bytes) -> Any:
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:  # slower, but it also reads a lone surrogate, which must not block a whole window
        return json.loads(body, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        _violates("is not JSON")


def _finite(text: str) -> float:
    # NaN is not JSON, and no float can be 1e400: it would silently be written as null.
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is out of range")
    return number


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = _loads(body)
    except ContractViolation:
        return {}
    return document if isinstance(document, dict) else {}


def _error_outside_envelope(document: Mapping[str, Any]) -> dict[str, Any]:
    """An error body without the envelope, in the envelope's terms."""
    error, description = document.get("error"), document.get("error_description")
    if isinstance(error, str) and _OAUTH_ERROR.fullmatch(error):
        return {"code": error, "message": description}
    return {"message": error or document.get("message")}


def _json(value: Any) -> str | None:
    if isinstance(value, str) or not value:
        return value or None
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):  # pragma: no cover  # at a depth that differs between Pythons
        return None


def _short(value: Any, longest: int, redact: Callable[[str], str]) -> str | None:
    if not isinstance(value, str):
        return None
    # Redacted before it is cut, because a part of a credential would not be found.
    return one_line(redact(value), longest) or None


def _violates(what: str) -> NoReturn:
    raise ContractViolation(f"the response {what}")
