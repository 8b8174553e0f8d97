"""Scripted misbehaviour: what goes wrong with one response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from dev.simulator.answers import JSON, Answer, error_answer
from dev.simulator.raw import Script

FaultKind = Literal[
    "answer",
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
]

_HTML: Final = b"<html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>"


@dataclass(frozen=True)
class Fault:
    """How one response deviates from the normal one; `Fault()` does not deviate at all.

    `status` None keeps the normal status. `body`: "envelope" (the error envelope, made of `code`, `message`
    and `description`), "html", "empty", or what to send: other text, bytes, or a dict as JSON. Left out, it
    is the envelope for 4xx and 5xx, empty for 3xx, and else the normal body. `headers` are added last.
    `delay`: seconds before the response, with "slow_body" and "drip" between its parts.

    `kind`: "reset" (TCP RST instead of a response), "reset_in_body" (RST after half the body), "truncated"
    (half the announced body, then a clean close), "truncated_json" (correct HTTP, half the JSON),
    "slow_body" (the body in a few parts), "drip" (the body byte by byte), "not_json" (200 and HTML),
    "no_logs" (200 without the `logs` list), "no_log_time" and "bad_log_time" (one entry of the normal page
    has none, or an unreadable one).

    `raw`: the bytes to send in place of all that, from the status line on (see `dev.simulator.raw`); the
    connection is closed after them.
    """

    status: int | None = None
    body: str | bytes | Mapping[str, Any] | None = None
    code: str | None = None
    message: str | None = None
    description: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    kind: FaultKind = "answer"
    raw: Script | None = None

    def apply(self, normal: Answer) -> Answer:
        """The response with this fault's contents; the server decides how it is sent."""
        answer = self._contents(normal)
        return replace(answer, headers={**answer.headers, **self.headers})

    def _contents(self, normal: Answer) -> Answer:
        if self.kind == "not_json":
            return Answer(self.status or 200, _HTML, {"Content-Type": "text/html"})
        if self.kind == "no_logs":
            return Answer(self.status or 200, b'{"entries":[]}', {"Content-Type": JSON})
        answer = self._replaced(normal)
        if self.kind == "truncated_json":
            return replace(answer, body=answer.body[: len(answer.body) // 2])
        if self.kind in ("no_log_time", "bad_log_time"):
            return replace(answer, body=self._spoiled(answer.body))
        return answer

    def _replaced(self, normal: Answer) -> Answer:
        status = normal.status if self.status is None else self.status
        body = self.body
        if body is None:
            if self.status is None or status < 300:
                return replace(normal, status=status)
            body = "envelope" if status >= 400 else "empty"
        if body == "envelope":
            return error_answer(status, code=self.code, message=self.message, description=self.description)
        if body == "html":
            return Answer(status, _HTML, {"Content-Type": "text/html"})
        if body == "empty":
            return Answer(status, b"")
        if isinstance(body, Mapping):
            body = json.dumps(body)
        return Answer(status, body if isinstance(body, bytes) else body.encode(), {"Content-Type": JSON})

    def _spoiled(self, body: bytes) -> bytes:
        page = json.loads(body)
        if entries := page.get("logs"):
            entry = entries[len(entries) // 2]
            if self.kind == "no_log_time":
                del entry["log_time"]
            else:
                entry["log_time"] = "yesterday"
        return json.dumps(page).encode()


NO_FAULT: Final = Fault()
