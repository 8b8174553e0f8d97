"""The simulator: a local server with the API, its quota and scripted faults."""

from __future__ import annotations

import ssl
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from random import Random
from threading import RLock
from types import TracebackType
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

from dev.simulator.api import Api, Before, MaxPage, UnknownConnector, named_connector
from dev.simulator.faults import NO_FAULT, Fault
from dev.simulator.log import Connector, Entry
from dev.simulator.rate_limit import RateLimiter, RateLimitWindow, Usage
from dev.simulator.responses import Response, error_response, json_response
from dev.simulator.server import Exchange, Received, Server
from dev.simulator.times import Precision, Rounding, TimeFormat, moment, parse_time

_CONTROL: Final = "/_simulator/"

TieOrder = Literal["stable", "shuffled"]
RateLimitHeaders = Literal["always", "errors", "never"]


class Simulator:
    """The connector-logs API at `url` on 127.0.0.1, listening inside a `with` block. Thread-safe.

    :param connectors: the connectors and their logs.
    :param tokens: credential -> ids of the teams that it may see.
    :param before: whether the parameter `before` includes entries at exactly that time.
    :param precision: the precision of printed times; "minute" prints seconds `00`, "day" a date only, and
        "trimmed" microseconds without an all-zero fraction (as Python's `isoformat`).
    :param zone: the suffix of printed times: "Z", an offset, in whose local time they are printed, or ""
        for UTC without a suffix.
    :param stores_finer: whether the exact microseconds determine order and are compared with `before`, and
        only printed times are truncated; if False, times are truncated before they are stored.
    :param rounding: how printed times are shortened with `stores_finer`.
    :param max_page: the most entries on a page, regardless of `limit`, or a function of the limit and the
        request's number (from 1).
    :param unknown_connector: the response for the logs of a connector that does not exist or belongs to
        another team: a 403, a 404, or an empty page. The API's documentation does not specify it.
    :param tie_order: order within one stored time: newest arrival first, or shuffled for each request.
    :param rate_limit: the request quota; with None, no request is refused.
    :param rate_limit_headers: which responses have `X-RateLimit-*` headers: all, those with 4xx (for which
        the API documents them), or none.
    :param faults: the faults of the first, second, ... response, where None is a normal response, as are all
        later ones; or a function that returns the fault of the response to a request.
    :param arrivals: request number (from 1) -> (connector, entries) to append before its response.
    :param gzip: whether bodies are compressed for clients that accept it.
    :param latency: seconds before each response, as of a distant server; a fault's delay is added.
    :param port: the port to listen on; 0 uses a free one.
    :param seed: the seed of `tie_order="shuffled"`.
    :param tls: the context for HTTPS, with a certificate; None uses HTTP.
    :param clock: a function that returns seconds, for the quota and `Received.time`.
    """

    def __init__(
        self,
        *,
        connectors: Iterable[Connector],
        tokens: Mapping[str, Collection[int]],
        before: Before = "exclusive",
        precision: Precision = "second",
        zone: str = "Z",
        stores_finer: bool = True,
        rounding: Rounding = "truncate",
        max_page: MaxPage = None,
        unknown_connector: UnknownConnector = "forbidden",
        tie_order: TieOrder = "stable",
        rate_limit: RateLimitWindow | None = None,
        rate_limit_headers: RateLimitHeaders = "always",
        faults: Sequence[Fault | None] | Callable[[Received], Fault | None] = (),
        arrivals: Mapping[int, Iterable[tuple[str, Iterable[Entry]]]] | None = None,
        gzip: bool = True,
        latency: float = 0.0,
        port: int = 0,
        seed: int = 1,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = Api(
            connectors,
            tokens,
            form=TimeFormat(precision, zone, stores_finer, rounding),
            before=before,
            max_page=max_page,
            unknown_connector=unknown_connector,
            shuffle=Random(seed) if tie_order == "shuffled" else None,
        )
        self._limiter = RateLimiter(rate_limit, clock)
        self._rate_limit_headers = rate_limit_headers
        self._fault = faults if callable(faults) else _scripted(tuple(faults))
        self._arrivals = dict(arrivals or {})
        self._gzip = gzip
        self._latency = latency
        self._port = port
        self._tls = tls
        self._clock = clock
        self._lock = RLock()
        self._requests: list[Received] = []
        self._control_connections: set[int] = set()
        self._connections_forgotten = 0
        self._server: Server | None = None

    def __enter__(self) -> Simulator:
        self._control_connections.clear()
        self._connections_forgotten = 0
        self._server = Server(
            self._port, self._receive, compress=self._gzip, latency=self._latency, tls=self._tls
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._running.stop()

    @property
    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("the simulator listens only inside its `with` block")
        return self._server

    @property
    def url(self) -> str:
        """Scheme, host and port, as in `http://127.0.0.1:8765`."""
        return self._running.url

    @property
    def requests(self) -> list[Received]:
        """The API requests received so far, in the order of their numbers."""
        with self._lock:
            return list(self._requests)

    @property
    def connections(self) -> int:
        """The number of TCP connections accepted, without those that requested `/_simulator/`."""
        first = self._connections_forgotten
        with self._lock:
            return (
                self._running.accepted - first - sum(number > first for number in self._control_connections)
            )

    def append(self, identifier: str, entries: Iterable[Entry]) -> None:
        """Add entries of any age to a connector's log."""
        with self._lock:
            self._api.append(identifier, entries)

    def truth(
        self, identifier: str, start: datetime | None = None, end: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Return the entries as the API prints them whose printed time is in `[start, end)`, newest first."""
        with self._lock:
            return self._api.truth(identifier, start, end)

    def reset(self) -> None:
        """Forget requests and connections, restart faults and the quota, and keep the logs."""
        with self._lock:
            self._requests.clear()
            self._limiter.reset()
            self._connections_forgotten = self._running.accepted

    def _receive(
        self, method: str, path: str, query: str, headers: Mapping[str, str], connection: int
    ) -> Exchange:
        if path.startswith(_CONTROL):
            with self._lock:
                self._control_connections.add(connection)
            return Exchange(self._control(method, path.removeprefix(_CONTROL), query))
        with self._lock:
            params = dict(parse_qsl(query, keep_blank_values=True))
            number = len(self._requests) + 1
            record = Received(number, method, path, params, dict(headers), connection, self._clock())
            self._requests.append(record)
            for identifier, entries in self._arrivals.pop(number, ()):
                self._api.append(identifier, entries)
            usage = self._limiter.take()
            record.wait = usage.wait
            if usage.wait is None:
                normal = self._api.respond(method, path, query, headers.get("authorization", ""), number)
            else:
                normal = self._limiter.refusal(usage.wait)
        fault = self._fault(record) or NO_FAULT
        return Exchange(self._with_common_headers(fault.apply(normal), usage), fault, record)

    def _with_common_headers(self, response: Response, usage: Usage) -> Response:
        headers = {"Access-Control-Allow-Origin": "*"}
        shown = self._rate_limit_headers
        if shown == "always" or (shown == "errors" and 400 <= response.status < 500):
            headers |= {
                "X-RateLimit-Limit": str(usage.limit),
                "X-RateLimit-Remaining": str(usage.remaining),
            }
        return replace(response, headers={**headers, **response.headers})

    def _control(self, method: str, name: str, query: str) -> Response:
        """Respond to requests for `/_simulator/`, by which other processes control the simulator."""
        params = dict(parse_qsl(query))
        try:
            if (method, name) == ("GET", "truth"):
                return json_response(self._truth_digest(params))
            if (method, name) == ("GET", "requests"):
                return json_response(self._request_counts())
        except (KeyError, ValueError) as error:
            return error_response(400, description=repr(error))
        if (method, name) == ("POST", "reset"):
            self.reset()
            return json_response({})
        return error_response(404)

    def _truth_digest(self, params: Mapping[str, str]) -> dict[str, object]:
        start, end = (
            moment(parse_time(params[name])) if name in params else None for name in ("start", "end")
        )
        ids = sorted(str(entry.get("id", "")) for entry in self.truth(params["connector"], start, end))
        return {"count": len(ids), "sha256": sha256("\n".join(ids).encode()).hexdigest()}

    def _request_counts(self) -> dict[str, object]:
        requests = self.requests
        return {
            "count": len(requests),
            "connections": self.connections,
            "by_connector": Counter(name for request in requests if (name := named_connector(request.path))),
            "by_status": Counter(str(request.status) for request in requests),
        }


def _scripted(faults: Sequence[Fault | None]) -> Callable[[Received], Fault | None]:
    return lambda request: faults[request.number - 1] if request.number <= len(faults) else None
