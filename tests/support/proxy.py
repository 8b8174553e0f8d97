"""A loopback proxy in front of an object store: it records the requests, and injects faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from threading import Lock
from types import TracebackType
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from dev.simulator.loopback import LoopbackHandler, LoopbackServer

_PATIENCE = 2
# They belong to one connection; the proxy has two.
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "proxy-connection", "te", "upgrade"}


FaultKind = Literal["response", "cut", "lost"]


@dataclass
class Request:
    """A request as it arrived. `head`: the first of its body. `status`: what the client received."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    size: int
    head: bytes
    status: int | None = None

    def __str__(self) -> str:
        query = "&".join(f"{name}={value}" for name, value in self.params.items())
        return f"{self.method} {self.path}{'?' if query else ''}{query} {self.size} B -> {self.status}"


@dataclass
class Fault:
    """A fault of the first `times` requests for which `when` returns True.

    `kind`: "response" (`status` and `body`, and the store sees nothing), "cut" (half the body, if there is
    one, reaches the store, then both connections are reset), "lost" (the store does it, and the client gets a
    reset instead of the response).
    """

    kind: FaultKind = "response"
    status: int = 500
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    when: Callable[[Request], bool] = lambda _: True


class FaultProxy(LoopbackServer):
    """Forwards to `upstream`, a URL without a path, from `url`, while inside the `with` block."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self._lock = Lock()
        super().__init__(0, _Handler, "proxy")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def clear(self) -> None:
        """Forget the requests and the faults."""
        self.requests.clear()
        self.faults.clear()

    def receive(self, request: Request) -> Fault | None:
        """Record the request, and return its fault."""
        with self._lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.times > 0 and fault.when(request):
                    fault.times -= 1
                    return fault
        return None


class _Handler(LoopbackHandler):
    server: FaultProxy

    def _handle(self) -> None:
        try:
            body = self._body()
        except TimeoutError:
            self.reset()
            return
        split = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(
            self.command,
            unquote(split.path),
            dict(parse_qsl(split.query, keep_blank_values=True)),
            headers,
            len(body),
            body[:1000],
        )
        fault = self.server.receive(request)
        if fault and fault.kind == "response":
            request.status = fault.status
            self._respond(fault.status, list(fault.headers.items()), fault.body)
        elif fault and fault.kind == "cut":
            if body:
                self._forward_half(body)
            self.reset()
        else:
            status, response_headers, response = self._forward(body)
            if fault:
                self.reset()
                return
            request.status = status
            self._respond(status, response_headers, response)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            length = int(self.headers.get("Content-Length", "0"))
            if length and self.server.faults:
                # aiohttp before 3.14.4 sends a PUT whose connection broke again, without its body. Stores do
                # not wait for it forever.
                self.connection.settimeout(_PATIENCE)
                self.rfile.peek(1)
                self.connection.settimeout(None)
            return self.rfile.read(length)
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _head(self, length: int) -> list[tuple[str, str]]:
        kept = [(name, value) for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP]
        if self.command in ("POST", "PUT", "PATCH"):
            kept = [(name, value) for name, value in kept if name.lower() != "content-length"]
            kept.append(("Content-Length", str(length)))
        return kept

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = HTTPConnection(self.server.upstream.removeprefix("http://"))
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self._head(len(body)):
                upstream.putheader(name, value)
            upstream.endheaders(body or None)
            response = upstream.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            upstream.close()

    def _forward_half(self, body: bytes) -> None:
        upstream = HTTPConnection(self.server.upstream.removeprefix("http://"))
        with suppress(OSError, HTTPException):
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self._head(len(body)):
                upstream.putheader(name, value)
            upstream.endheaders(body[: len(body) // 2] or None)
        upstream.close()

    def _respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        lines = [f"HTTP/1.1 {status} -"]
        lines += [f"{name}: {value}" for name, value in headers if name.lower() not in _HOP_BY_HOP]
        # HEAD, 204 and 304 keep the length that the store sent; the others get the length of what is sent.
        if self.command == "HEAD" or status in (204, 304):
            body = b""
        else:
            lines = [line for line in lines if not line.lower().startswith("content-length:")]
            lines.append(f"Content-Length: {len(body)}")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
