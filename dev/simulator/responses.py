"""The API's responses: success bodies have no envelope, errors have one."""

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
class Response:
    """An HTTP response without compression and without the headers that all responses share."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response whose body is `value` as JSON."""
    return Response(status, json.dumps(value).encode(), {"Content-Type": JSON, **(headers or {})})


def error_response(
    status: int,
    *,
    code: str | None = None,
    message: str | None = None,
    description: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an error envelope; `code` and `message` default to those that the API uses for this status."""
    usual_code, usual_message = _ERRORS.get(status) or _ERRORS[500 if status >= 500 else 400]
    error: dict[str, Any] = {"code": code or usual_code, "message": message or usual_message}
    if description is not None:
        error["description"] = description
    challenge = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    envelope = {"meta": {"request_id": secrets.token_urlsafe(24)}, "error": error}
    return json_response(envelope, status, {**challenge, **(headers or {})})
