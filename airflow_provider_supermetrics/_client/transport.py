"""How responses travel: within a time and a size, and without what they would leave behind."""

from __future__ import annotations

import asyncio
import http.client
import io
import socket
import ssl
import time
import types
from collections.abc import Generator
from contextvars import ContextVar
from functools import cache, partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import aiohttp
import requests
import urllib3
from aiohttp.client_proto import ResponseHandler
from requests_toolbelt.adapters.socket_options import TCPKeepAliveAdapter

from airflow_provider_supermetrics._api.body import Body
from airflow_provider_supermetrics._api.errors import ContractViolation

_PIECE = 1 << 16
_MOST_BESIDE_THE_BODY = 1 << 20

LOST = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    aiohttp.ClientError,
    asyncio.TimeoutError,
    OSError,
)
"""What either library raises for a response that does not arrive completely."""


class _Deadline:
    """When an exchange must be over.

    :param timeout: the longest wait for a piece of it, in seconds.
    :param seconds: the longest time for all of it.
    """

    def __init__(self, timeout: float, seconds: float) -> None:
        self._timeout = timeout
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end

    @property
    def error(self) -> TimeoutError:
        """What to raise once it is over."""
        return incomplete(self._seconds)

    def next_wait(self) -> float:
        """Seconds to wait for the next piece."""
        if self.is_over:
            raise self.error
        return max(0.001, min(self._timeout, self._end - time.monotonic()))


_deadline: ContextVar[_Deadline] = ContextVar("deadline")


class Session(requests.Session):
    """A session that reads each response as a whole, within bounds.

    A library's timeout counts for each read from the socket, of which a server can cause any number. Here
    all of an exchange, from connecting to the last byte, has one deadline.

    :param timeout: the longest wait for a piece of a response, in seconds.
    :param seconds: the longest time for an exchange.
    """

    def __init__(self, timeout: float, seconds: float) -> None:
        super().__init__()
        self._limits = timeout, seconds
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter())

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request, and read the response.

        ``flaw`` of the response says why the body of an error is not there.

        :raises ContractViolation: for a success with a body that is too large, or has another encoding than
            those requested.
        """
        deadline = _Deadline(*self._limits)
        token = _deadline.set(deadline)
        try:
            with super().send(request, **{**kwargs, "stream": True}) as response:
                response._content, response.flaw = _read(response)  # type: ignore[attr-defined]
                response._content_consumed = True  # type: ignore[attr-defined]
            return response
        except LOST:
            if not deadline.is_over:
                raise
        finally:
            _deadline.reset(token)
        raise deadline.error  # here, so that its context is not what the library made of it

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow no redirect, nor read its Location, which may be anything."""


def flaw(response: requests.Response) -> str | None:
    """Why the body of a session's response is missing."""
    return getattr(response, "flaw", None)


def _read(response: requests.Response) -> tuple[bytes, str | None]:
    """The body, and why it is missing."""
    try:
        body = Body(response.status_code, response.headers.get("Content-Encoding", ""))
        while data := response.raw.read1(_PIECE, decode_content=False):
            for _ in body.feed(data):
                pass
        return body.complete(), None
    except (ContractViolation, *LOST) as error:
        # The connection is of no more use.
        response.raw.close()
        return b"", _flaw(response.status_code, error)


class _Adapter(TCPKeepAliveAdapter):  # type: ignore[misc]  # it has no types
    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> urllib3.HTTPConnectionPool:
        pool: urllib3.HTTPConnectionPool = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _bounded(pool.ConnectionCls)
        return pool


@cache
def _bounded(connection: type[Any]) -> type[Any]:
    if issubclass(connection, _Connection):
        return connection
    return type(connection.__name__, (_Connection, connection), {})


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_File(sock, self.fp.detach()))

    def begin(self) -> None:
        """Read the head; http.client skips no interim response but 100, and takes others for the last."""
        super().begin()
        while 100 <= self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment]  # so that there is another head to read
            super().begin()


class _Connection:
    """What makes a connection of urllib3's keep to the deadline, the proxy's own responses included."""

    response_class = _Response

    def _connect_tls_proxy(self, *args: Any) -> _ProxySocket:
        return _ProxySocket(super()._connect_tls_proxy(*args))  # type: ignore[misc]


class _File(io.RawIOBase):
    """A socket's file, of which no read outlasts the deadline."""

    def __init__(self, sock: socket.socket, file: io.RawIOBase) -> None:
        self._sock = sock
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_deadline.get().next_wait())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _ProxySocket:
    """TLS to a proxy, of which urllib3 reads any number of times for one read of the TLS within it."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock

    def recv(self, *args: Any) -> bytes:
        self._sock.settimeout(_deadline.get().next_wait())
        return self._sock.recv(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def client_session() -> aiohttp.ClientSession:
    """The other library's session, to be read with :func:`read`: its deadline is a request's option."""
    session = aiohttp.ClientSession(
        auto_decompress=False, connector=_Connector(), cookie_jar=aiohttp.DummyCookieJar()
    )
    # aiohttp would repeat a GET by itself when the connection is lost: unseen, uncounted, at once.
    session._retry_connection = False
    return session


class _Protocol(ResponseHandler):
    """Ends a response that sends much besides its body: aiohttp before 3.13.5 keeps any number of headers."""

    _body: Any = None
    _body_size = 0
    _beside = 0

    def set_response_params(self, **params: Any) -> None:
        self._body, self._body_size, self._beside = None, 0, 0
        super().set_response_params(**params)

    def feed_data(self, data: Any, size: int = 0) -> None:
        self._body = data[1]
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        size = getattr(self._body, "total_bytes", 0)
        # Small chunks have much around them: only what comes before the body, or after it, counts.
        self._beside = self._beside + len(data) if size == self._body_size else 0
        self._body_size = size
        if self._beside > _MOST_BESIDE_THE_BODY and self.transport is not None:
            self.set_exception(aiohttp.ClientPayloadError("too many headers"))
            self.transport.abort()


class _Connector(aiohttp.TCPConnector):
    def __init__(self) -> None:
        super().__init__()
        self._factory = partial(_Protocol, asyncio.get_running_loop())  # type: ignore[assignment]

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        # TLS would wait for the goodbye of a server that has just been given up.
        if should_close and protocol.transport is not None:
            protocol.transport.abort()
        super()._release(key, protocol, should_close=should_close)


async def read(response: aiohttp.ClientResponse) -> tuple[bytes, str | None]:
    """The body, and why it is missing where it is an error's.

    :raises ContractViolation: for a success with a body that is too large, or has another encoding than
        those requested.
    """
    try:
        body = Body(response.status, ", ".join(response.headers.getall("Content-Encoding", ())))
        async for data in response.content.iter_any():
            for _ in body.feed(data):
                await _let_others_run()
        return body.complete(), None
    except (ContractViolation, *LOST) as error:
        response.close()
        return b"", _flaw(response.status, error)


@types.coroutine
def _let_others_run() -> Generator[None, None, None]:
    yield


def _flaw(status: int, error: Exception) -> str:
    """Why the body of an error is missing, which its status and headers make up for; nothing does for a page.

    :raises Exception: the error, for a success.
    """
    if 200 <= status < 300:
        raise error
    return str(error) if isinstance(error, ContractViolation) else "its body did not arrive completely"


def incomplete(seconds: float) -> TimeoutError:
    """What went wrong where an exchange takes too long."""
    return TimeoutError(f"the response was not complete after {seconds:g} s")
