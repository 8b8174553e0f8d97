"""HTTP over TCP: passes requests to a function and sends the responses that it returns, with faults."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from dev.simulator.faults import NO_FAULT, Fault
from dev.simulator.loopback import LoopbackHandler, LoopbackServer
from dev.simulator.raw import Script
from dev.simulator.responses import Response

_SLOW_BODY_PARTS: Final = 4


@dataclass
class Received:
    """A received request: `path` without the query and still percent-encoded, header names in lower case.

    `connection` numbers the TCP connections from 1; `status` is None as long as no response is sent;
    `time` is in seconds on the simulator's clock (`time.monotonic`); `wait` is the seconds until the quota's
    window ends, if the quota refuses the request.
    """

    number: int
    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    connection: int
    time: float
    status: int | None = None
    wait: float | None = None


@dataclass(frozen=True)
class Exchange:
    """A response, its fault, and the record of the request (None for control requests)."""

    response: Response
    fault: Fault = NO_FAULT
    record: Received | None = None


Receive = Callable[[str, str, str, Mapping[str, str], int], Exchange]
"""Method, path and query (both percent-encoded), headers, connection number -> the exchange to send."""


class Server(LoopbackServer):
    """A server that sends for each request what `receive` returns."""

    def __init__(
        self,
        port: int,
        receive: Receive,
        *,
        compress: bool,
        latency: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.receive = receive
        self.compress = compress
        self.latency = latency
        super().__init__(port, _Handler, "simulator", tls)


class _Handler(LoopbackHandler):
    server: Server

    def _handle(self) -> None:
        self._skip_body()
        path, _, query = self.path.partition("?")
        exchange = self.server.receive(
            self.command,
            path,
            query,
            {name.lower(): value for name, value in self.headers.items()},
            self.server.open_connections[self.request],
        )
        if exchange.record:
            self._pause(self.server.latency)
        fault = exchange.fault
        if fault.kind not in ("slow_body", "drip"):
            self._pause(fault.delay)
        if fault.kind == "reset":
            self.reset()
            return
        if exchange.record:
            exchange.record.status = exchange.response.status
        if fault.raw:
            self._send_raw(fault.raw)
        else:
            self._send(exchange.response, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_CONNECT = _handle

    def _skip_body(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self.close_connection = True
        else:
            self.rfile.read(int(length))

    def _send(self, response: Response, fault: Fault) -> None:
        head, body = self._encoded(response)
        # Send head and body together: a head on its own would wake the client once more.
        message = head + body
        half = len(head) + len(body) // 2
        if fault.kind == "reset_in_body":
            self.wfile.write(message[:half])
            # A reset discards the bytes that the kernel has not delivered yet.
            self._pause(0.02)
            self.reset()
        elif fault.kind == "truncated":
            self.wfile.write(message[:half])
            self.close_connection = True
        elif fault.kind in ("slow_body", "drip"):
            step = 1 if fault.kind == "drip" else max(1, -(-len(body) // _SLOW_BODY_PARTS))
            self.wfile.write(message[: len(head) + step])
            for begin in range(len(head) + step, len(message), step):
                self._pause(fault.delay)
                self.wfile.write(message[begin : begin + step])
        else:
            self.wfile.write(message)

    def _send_raw(self, script: Script) -> None:
        self.close_connection = True
        for part in script():
            if isinstance(part, float):
                self._pause(part)
            else:
                self.wfile.write(part)

    def _encoded(self, response: Response) -> tuple[bytes, bytes]:
        headers, body = dict(response.headers), response.body
        if self.server.compress and body and self._accepts_gzip() and "Content-Encoding" not in headers:
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        headers = {"Date": formatdate(usegmt=True), "Content-Length": str(len(body)), **headers}
        if self.close_connection:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {response.status} {_reason(response.status)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return head, b"" if self.command == "HEAD" else body

    def _accepts_gzip(self) -> bool:
        codings = self.headers.get("Accept-Encoding", "").replace(" ", "").lower().split(",")
        return any(coding.partition(";")[0] == "gzip" and not coding.endswith(";q=0") for coding in codings)

    def _pause(self, seconds: float) -> None:
        if seconds and self.server.stopping.wait(seconds):
            raise ConnectionAbortedError("the simulator stops")


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
