"""The API's responses: success bodies are bare, errors come in an envelope."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

JSON: Final = "application/json"

_ERRORS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("BAD_REQUEST", "The request was invalid."),
    401: ("UNAUTHORIZED", "Authentication is required."),
    403: ("FORBIDDEN", "You do not have access to this resource."),
    404: ("NOT_FOUND", "The resource was not found."),
    409: ("CONFLICT_ERROR", "The request conflicts with the resource."),
    422: ("UNPROCESSABLE_ENTITY", "The request could not be processed."),
    429: ("TOO_MANY_REQUESTS", "Rate limit exceeded. Retry later."),
    500: ("INTERNAL_SERVER_ERROR", "An unexpected error occurred."),
    503: ("SERVICE_UNAVAILABLE", "The service is unavailable."),
}


@dataclass(frozen=True)
class Answer:
    """An HTTP response before compression and before the headers that every response has."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A response with `value` as JSON."""
    return Answer(status, json.dumps(value).encode(), {"Content-Type": JSON, **(headers or {})})


def error_answer(
    status: int,
    *,
    code: str | None = None,
    message: str | None = None,
    description: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """The error envelope; `code` and `message` default to what the API says for this status."""
    usual_code, usual_message = _ERRORS.get(status) or _ERRORS[500 if status >= 500 else 400]
    error: dict[str, Any] = {"code": code or usual_code, "message": message or usual_message}
    if description is not None:
        error["description"] = description
    challenge = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    envelope = {"meta": {"request_id": secrets.token_urlsafe(24)}, "error": error}
    return json_answer(envelope, status, {**challenge, **(headers or {})})
