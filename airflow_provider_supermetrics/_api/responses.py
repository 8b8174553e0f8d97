"""What an answer means: status, headers and body in, plain values out."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, NoReturn

import msgspec

from airflow_provider_supermetrics._api.entry import Fields
from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.text import one_line

#: The API lists no more of a team's connectors.
MAX_CONNECTORS = 1000

# Error texts end in logs: keep to the lengths that the API's page promises, whatever arrives.
_MAX_CODE_LENGTH = 100
_MAX_MESSAGE_LENGTH = 255
_MAX_DESCRIPTION_LENGTH = 2048
_MAX_REQUEST_ID_LENGTH = 64
_MAX_DETAILS_LENGTH = 1000
# What is not the API's own may be a page of a gateway's: its beginning says what it is.
_MAX_EXCERPT_LENGTH = 200
_LONGEST_PAGE = 16_384
# The last one is an OAuth server's (RFC 6750).
_TOKEN_CODES = ("ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_INVALID", "invalid_token")
_OAUTH_ERROR = re.compile(r"[A-Za-z0-9_.-]+")
_MARKUP = re.compile(r"(?is)<(script|style)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<[^<>]*>")

# Millions of years mean the same as any number that is beyond a float.
_LONGEST_TIME = 1e15

_decoder = msgspec.json.Decoder()


class Meaning(Enum):
    """What the caller should do about an answer."""

    OK = "use it"
    RATE_LIMITED = "wait as long as it says, then ask again"
    SERVER_FAILED = "ask again later"
    EXPIRED = "renew the access token, then retry"
    REFUSED = "change the request"
    NOT_THE_CONTRACT = "report it"


@dataclass(frozen=True)
class RateLimit:
    """The hourly request budget as last told: ``X-RateLimit-Limit`` and ``X-RateLimit-Remaining``.

    Either is None where the API did not say.
    """

    limit: int | None
    remaining: int | None


@dataclass(frozen=True)
class Answer:
    """One answer, classified. ``retry_after`` is in seconds; the texts are those of the error envelope.

    ``details`` is JSON. Where an error came without the envelope, ``is_enveloped`` is false, and ``code`` and
    ``message`` are those of an OAuth server or a gateway, or else ``excerpt`` is how the body begins.
    """

    status: int
    meaning: Meaning
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
    """The connectors that the API lists, and how many it counts; None where it does not say."""

    items: list[dict[str, Any]]
    count: int | None

    @property
    def is_partial(self) -> bool:
        """Whether there may be connectors that it does not list."""
        listed = len(self.items)
        return listed < self.count if self.count is not None else listed >= MAX_CONNECTORS

    def all(self) -> list[dict[str, Any]]:
        """All connectors that the credential can see.

        :raises ContractViolation: when the API has cut the list, for it does not page.
        """
        if self.count is not None and self.count > len(self.items) >= MAX_CONNECTORS:
            _not_the_contract(
                f"has {len(self.items):,} of {self.count:,} connectors; the API cannot list the others"
            )
        return self.items


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    redact: Callable[[str], str] = lambda text: text,
) -> Answer:
    """Say what an answer means.

    :param headers: any letter case; several of one name are several items, or joined by commas.
    :param now: the current time (aware), for a ``Retry-After`` that is a date where no ``Date`` comes along.
    :param redact: takes what nobody may read out of a text of the API's.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    retry_after = [value for name, value in headers.items() if name.lower() == "retry-after"]
    rate_limit = _rate_limit(lowered)
    if 200 <= status < 300:
        return Answer(status, Meaning.OK, rate_limit, body=body)
    # A date means the server's clock, which may differ from ours.
    now = _http_date(lowered.get("date")) or now
    document = _object(body)
    error, meta = document.get("error"), document.get("meta")
    is_enveloped = isinstance(error, dict)
    if not isinstance(error, dict):
        error = _foreign_error(document)
    if not isinstance(meta, dict):
        meta = {}
    code = _text(error.get("code"), _MAX_CODE_LENGTH, redact)
    message = _text(error.get("message"), _MAX_MESSAGE_LENGTH, redact)
    return Answer(
        status,
        _meaning(status, code),
        rate_limit,
        retry_after=_longest(retry_after, now=now),
        code=code,
        message=message,
        description=_text(error.get("description"), _MAX_DESCRIPTION_LENGTH, redact),
        details=_text(_json(error.get("details")), _MAX_DETAILS_LENGTH, redact),
        excerpt=None if code or message else excerpt(body, redact),
        is_enveloped=is_enveloped,
        request_id=_text(meta.get("request_id"), _MAX_REQUEST_ID_LENGTH, redact)
        or _text(lowered.get("x-request-id"), _MAX_REQUEST_ID_LENGTH, redact),
        body=body,
    )


def excerpt(body: bytes, redact: Callable[[str], str]) -> str | None:
    """How a body begins that is not the API's own, such as a gateway's page: its words, as one line."""
    try:
        text = _json(_loads(body)) or ""  # its escapes could hide a credential
    except ContractViolation:
        text = redact(body[: 4 * _LONGEST_PAGE].decode("utf-8-sig", "replace"))[:_LONGEST_PAGE]
    if text.lstrip().startswith("<"):
        text = html.unescape(_MARKUP.sub(" ", text))
    return _text(text, _MAX_EXCERPT_LENGTH, redact)


def parse_log_entry(body: bytes) -> Fields:
    """A single entry, which the API sends unwrapped.

    :raises ContractViolation: when it is not a JSON object.
    """
    entry = _loads(body)
    return entry if isinstance(entry, dict) else _not_the_contract("is not a JSON object")


def parse_connectors(body: bytes) -> ConnectorList:
    """The connectors of a team, each with a ``connector_identifier``.

    :raises ContractViolation: when it is not JSON, has no ``connectors`` list, or one lacks its identifier.
    """
    connectors = _items(body, "connectors")
    if not all(isinstance(connector.get("connector_identifier"), str) for connector in connectors):
        _not_the_contract("has a connector without a connector_identifier")
    count = _loads(body).get("count")
    return ConnectorList(
        connectors, count if isinstance(count, int) and not isinstance(count, bool) else None
    )


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Seconds to wait, from ``Retry-After`` in seconds or as an HTTP date; None where it says neither."""
    if value is None:
        return None
    if re.fullmatch(r"\d+(\.\d*)?", value.strip(), re.ASCII):
        return min(float(value), _LONGEST_TIME)
    date = _http_date(value)
    return None if date is None else max(0.0, (date - now).total_seconds())


def _longest(retry_after: list[str], *, now: datetime) -> float | None:
    # A comma is also in a date, before its day.
    values = [part for value in retry_after for part in re.split(r",(?!\s*\d{1,2}[ -])", value)]
    times = [parse_retry_after(value, now=now) for value in values]
    return max((time for time in times if time is not None), default=None)


def _http_date(value: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(value or "")
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return date.replace(tzinfo=timezone.utc) if date.tzinfo is None else date


def _meaning(status: int, code: str | None) -> Meaning:
    if status == 429:
        return Meaning.RATE_LIMITED
    if status >= 500 or status == 408:
        return Meaning.SERVER_FAILED
    if status == 401 and code in _TOKEN_CODES:
        return Meaning.EXPIRED
    if status >= 400:
        return Meaning.REFUSED
    return Meaning.NOT_THE_CONTRACT


def _rate_limit(headers: Mapping[str, str]) -> RateLimit | None:
    limit = _whole_number(headers.get("x-ratelimit-limit"))
    remaining = _whole_number(headers.get("x-ratelimit-remaining"))
    return None if limit is None and remaining is None else RateLimit(limit, remaining)


def _whole_number(value: str | None) -> int | None:
    # "5000, 5000;w=3600" is how gateways that follow the IETF draft write a limit of 5000.
    match = re.match(r"\s*(\d{1,18})\s*(?:[,;].*)?$", value or "", re.ASCII)
    return int(match[1]) if match else None


def _items(body: bytes, key: str) -> list[dict[str, Any]]:
    document = _loads(body)
    if not isinstance(document, dict):
        _not_the_contract("is not a JSON object")
    items = document.get(key)
    if not isinstance(items, list):
        _not_the_contract(f"has no list '{key}'")
    if not all(isinstance(item, dict) for item in items):
        _not_the_contract(f"has something other than objects in '{key}'")
    return items


def _loads(body: bytes) -> Any:
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:  # slower, but it also reads a lone surrogate, which must not block a whole window
        return json.loads(body, parse_constant=_not_json, parse_float=_finite)
    except (ValueError, RecursionError):
        _not_the_contract("is not JSON")


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    # No float holds 1e400; written on as it would be read, it would silently become null.
    if math.isinf(number := float(text)):
        raise ValueError(f"{text} is out of range")
    return number


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = _loads(body)
    except ContractViolation:
        return {}
    return document if isinstance(document, dict) else {}


def _foreign_error(document: Mapping[str, Any]) -> dict[str, Any]:
    """What an error body outside the envelope says, in the envelope's terms."""
    error, description = document.get("error"), document.get("error_description")
    if isinstance(error, str) and _OAUTH_ERROR.fullmatch(error):
        return {"code": error, "message": description}
    return {"message": error or document.get("message")}


def _json(value: Any) -> str | None:
    if isinstance(value, str) or not value:
        return value or None
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _text(value: Any, longest: int, redact: Callable[[str], str]) -> str | None:
    if not isinstance(value, str):
        return None
    # Redacted before it is cut, for a part of a credential would not be found.
    return one_line(redact(value), longest) or None


def _not_the_contract(what: str) -> NoReturn:
    raise ContractViolation(f"the response {what}")
