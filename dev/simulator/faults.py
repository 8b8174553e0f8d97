"""Scripted faults: how single responses deviate from normal ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from dev.simulator.raw import Script
from dev.simulator.responses import JSON, Response, error_response

FaultKind = Literal[
    "response",
    "reset",
    "reset_in_body",
    "truncated",
    "truncated_json",
    "slow_body",
    "drip",
    "not_json",
    "no_logs",
    "no_log_time",
    "bad_log_time",
    "short_page",
]

_HTML: Final = b"<html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>"


@dataclass(frozen=True)
class Fault:
    """How one response deviates from the normal one; `Fault()` does not deviate at all.

    `status` None keeps the normal status. `body` is "envelope" (the error envelope, with `code`, `message`
    and `description`), "html", "empty", or the body to send: another string, bytes, or a dict as JSON. The
    default is the envelope for 4xx and 5xx, empty for 3xx, and otherwise the normal body. `headers` replace
    other headers of the same name. `delay` is in seconds: before the response, or, with "slow_body" and
    "drip", between the parts of the body.

    `kind`: "reset" (TCP RST instead of a response), "reset_in_body" (RST after half the body), "truncated"
    (half the announced body, then a clean close), "truncated_json" (correct HTTP, half the JSON),
    "slow_body" (the body in a few parts), "drip" (the body byte by byte), "not_json" (200 and HTML),
    "no_logs" (200 without the `logs` list), "no_log_time" and "bad_log_time" (one entry of the normal page
    has no `log_time`, or an unreadable one), "short_page" (only the newest entries of the normal page: this
    `share` of them, and at least one).

    `raw` replaces all of the above with the bytes to send, from the status line on (see
    `dev.simulator.raw`); the connection is closed after them.
    """

    status: int | None = None
    body: str | bytes | Mapping[str, Any] | None = None
    code: str | None = None
    message: str | None = None
    description: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    kind: FaultKind = "response"
    raw: Script | None = None
    share: float = 0.5

    def apply(self, normal: Response) -> Response:
        """Return the response with this fault's contents; the server applies the faults of transport."""
        response = self._contents(normal)
        return replace(response, headers={**response.headers, **self.headers})

    def _contents(self, normal: Response) -> Response:
        if self.kind == "not_json":
            return Response(self.status or 200, _HTML, {"Content-Type": "text/html"})
        if self.kind == "no_logs":
            return Response(self.status or 200, b'{"entries":[]}', {"Content-Type": JSON})
        response = self._replaced(normal)
        if self.kind == "truncated_json":
            return replace(response, body=response.body[: len(response.body) // 2])
        if self.kind in ("no_log_time", "bad_log_time"):
            return replace(response, body=self._spoiled(response.body))
        if self.kind == "short_page":
            return replace(response, body=self._shortened(response.body))
        return response

    def _replaced(self, normal: Response) -> Response:
        status = normal.status if self.status is None else self.status
        body = self.body
        if body is None:
            if self.status is None or status < 300:
                return replace(normal, status=status)
            body = "envelope" if status >= 400 else "empty"
        if body == "envelope":
            return error_response(status, code=self.code, message=self.message, description=self.description)
        if body == "html":
            return Response(status, _HTML, {"Content-Type": "text/html"})
        if body == "empty":
            return Response(status, b"")
        if isinstance(body, Mapping):
            body = json.dumps(body)
        return Response(status, body if isinstance(body, bytes) else body.encode(), {"Content-Type": JSON})

    def _spoiled(self, body: bytes) -> bytes:
        page = json.loads(body)
        if entries := page.get("logs"):
            entry = entries[len(entries) // 2]
            if self.kind == "no_log_time":
                del entry["log_time"]
            else:
                entry["log_time"] = "yesterday"
        return json.dumps(page).encode()

    def _shortened(self, body: bytes) -> bytes:
        page = json.loads(body)
        if entries := page.get("logs"):
            del entries[max(1, int(self.share * len(entries))) :]
        return json.dumps(page, separators=(",", ":")).encode()


NO_FAULT: Final = Fault()
