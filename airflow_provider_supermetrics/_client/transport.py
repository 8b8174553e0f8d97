"""The sessions of both HTTP libraries: bounded in time and size, without redirects and cookies."""

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
from urllib.parse import urlencode

import aiohttp
import requests
import requests.auth
import urllib3
from aiohttp.client_proto import ResponseHandler
from requests_toolbelt.adapters.socket_options import TCPKeepAliveAdapter

from airflow_provider_supermetrics._api.body import Body
from airflow_provider_supermetrics._api.calls import Request
from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._client.client import ApiClient, Reply
from airflow_provider_supermetrics._client.connection import ConnectionSettings
from airflow_provider_supermetrics._client.reasons import LOST

_PIECE = 1 << 16
# multidict's time for headers of one name grows with the square of their number: minutes for 1 MB.
_MOST_BEFORE_THE_BODY = 1 << 17
# aiohttp keeps a part of a body as long as the reader is slower.
_MOST_BESIDE_THE_BODY = 1 << 20


class _Deadline:
    """The time by which a response must be complete, by the seconds for a piece of it and for all of it."""

    def __init__(self, timeout: float, total: float) -> None:
        self._timeout = timeout
        self._total = total
        self._end = time.monotonic() + total

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end

    def next_wait(self) -> float:
        """Seconds to wait for the next piece."""
        if self.is_over:
            raise _incomplete(self._total)
        return max(0.001, min(self._timeout, self._end - time.monotonic()))


_deadline: ContextVar[_Deadline] = ContextVar("deadline")


class Session(requests.Session):
    """A session with the settings of a Connection that reads each response completely, within bounds.

    A library's timeout counts for each read from the socket, of which a server can cause any number. Here
    everything from connecting to the last byte has one deadline.
    """

    def __init__(self, client: ApiClient) -> None:
        super().__init__()
        self._client, settings = client, client.settings
        # The environment is part of the settings; .netrc must not replace the credential.
        self.trust_env = False
        self.auth = self._authorize
        self.headers.update(client.headers)
        self.proxies.update(settings.proxies)
        self.verify = settings.verify
        self.cert = settings.cert
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter())
        self._template: tuple[object, requests.PreparedRequest] | None = None

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare a request; reuse address and headers of the last one where only the parameters differ.

        requests would take a seventh of an export's CPU time to prepare them again for each page.
        """
        if not self._is_plain(request):
            return super().prepare_request(request)
        key = (request.method, request.url, list(self.headers.items()))
        template = self._template
        if template is None or template[0] != key:
            bare = requests.Request(request.method, request.url, auth=_anonymous)
            self._template = template = key, super().prepare_request(bare)
        prepared = template[1].copy()
        prepared.hooks = {event: [] for event in prepared.hooks}
        prepared.prepare_auth(self.auth)
        if request.params:
            prepared.url = f"{prepared.url}?{urlencode(request.params)}"
        return prepared

    def _is_plain(self, request: requests.Request) -> bool:
        """Whether only the address, the headers of the session and simple parameters are to be prepared."""
        parts = (request.headers, request.files, request.data, request.auth, request.cookies, self.params)
        hooks = (*request.hooks.values(), *self.hooks.values())
        if any(parts) or any(hooks) or self.cookies or request.json is not None:
            return False
        values = request.params.values() if isinstance(request.params, dict) else [None]
        return not {"?", "#"}.intersection(str(request.url)) and {str, int}.issuperset(map(type, values))

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request, and read the response.

        ``flaw`` of the response says why the body of an error is missing.

        :raises ContractViolation: for a success with a body that is too large, or has another encoding than
            those requested.
        """
        settings = self._client.settings
        deadline = _Deadline(settings.timeout, settings.total_timeout)
        token = _deadline.set(deadline)
        try:
            with super().send(request, **{**kwargs, "timeout": settings.timeout, "stream": True}) as response:
                response._content, response.flaw = _read(response)  # type: ignore[attr-defined]  # ours
                response._content_consumed = True  # type: ignore[attr-defined]  # not in the stubs
            return response
        except LOST:
            if not deadline.is_over:
                raise
        finally:
            _deadline.reset(token)
        # Here, so that its context is not what the library made of it.
        raise _incomplete(settings.total_timeout)

    def _authorize(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """Send the credential to the API only, whatever address the session is used for."""
        if (prepared.url or "").startswith(self._client.settings.base_url + "/"):
            prepared.headers["Authorization"] = self._client.authorization
        return prepared

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow no redirect, and do not read its Location, which may be anything."""


def _anonymous(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    return prepared


def reply_of(response: requests.Response) -> Reply:
    """What a session has received."""
    flaw = getattr(response, "flaw", None)
    return Reply(response.status_code, response.headers, response.content, flaw)


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
        """Read the head, and skip interim responses; http.client skips 100 only."""
        super().begin()
        while 100 <= self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment]  # so that there is another head to read
            super().begin()


class _Connection:
    """Makes a connection of urllib3 keep to the deadline, the responses of a proxy included."""

    response_class = _Response

    def _connect_tls_proxy(self, *args: Any) -> _ProxySocket:
        return _ProxySocket(super()._connect_tls_proxy(*args))  # type: ignore[misc]  # a mixin


class _File(io.RawIOBase):
    """A socket's file; no read takes longer than the deadline."""

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
    """TLS to a proxy: urllib3 reads from it any number of times for one read of the TLS inside."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock

    def recv(self, *args: Any) -> bytes:
        self._sock.settimeout(_deadline.get().next_wait())
        return self._sock.recv(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def client_session() -> aiohttp.ClientSession:
    """A session of aiohttp for :func:`get`, without settings, so that its repr shows none."""
    session = aiohttp.ClientSession(
        auto_decompress=False, connector=_Connector(), cookie_jar=aiohttp.DummyCookieJar()
    )
    # aiohttp would repeat a GET by itself after a lost connection: immediately, without a log, uncounted.
    session._retry_connection = False
    return session


def request_options(settings: ConnectionSettings) -> dict[str, Any]:
    """A Connection's settings, as arguments of aiohttp's requests."""
    return {
        "timeout": aiohttp.ClientTimeout(
            total=settings.total_timeout, sock_connect=settings.timeout, sock_read=settings.timeout
        ),
        "allow_redirects": False,
        "proxy": next(iter(settings.proxies.values()), None),
        "ssl": settings.tls,
    }


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
        # Small chunks have much framing: only what comes before the body, or after it, counts.
        self._beside = self._beside + len(data) if size == self._body_size else 0
        self._body_size = size
        most = _MOST_BEFORE_THE_BODY if self._body is None else _MOST_BESIDE_THE_BODY
        if self._beside > most and self.transport is not None:
            self.set_exception(aiohttp.ClientPayloadError("too many headers"))
            self.transport.abort()


class _Connector(aiohttp.TCPConnector):
    def __init__(self) -> None:
        super().__init__()
        self._factory = partial(_Protocol, asyncio.get_running_loop())  # type: ignore[assignment]  # a factory

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        # TLS would wait for the close of a server that has just been given up.
        if should_close and protocol.transport is not None:
            protocol.transport.abort()
        super()._release(key, protocol, should_close=should_close)


async def get(session: aiohttp.ClientSession, client: ApiClient, request: Request) -> Reply:
    """Send a request, and read the response, as :meth:`Session.send` does."""
    settings = client.settings
    try:
        async with session.get(
            settings.base_url + request.path,
            params=request.params,
            headers={**client.headers, "Authorization": client.authorization},
            **request_options(settings),
        ) as response:
            return Reply(response.status, response.headers, *await _read_async(response))
    except asyncio.TimeoutError as error:
        if isinstance(error, aiohttp.ClientError):
            raise
        raise _incomplete(settings.total_timeout) from None


async def _read_async(response: aiohttp.ClientResponse) -> tuple[bytes, str | None]:
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
    """Why the body of an error is missing; a success without its body raises ``error``."""
    if 200 <= status < 300:
        raise error
    return str(error) if isinstance(error, ContractViolation) else "its body did not arrive completely"


def _incomplete(seconds: float) -> TimeoutError:
    """The error for a response that takes too long."""
    return TimeoutError(f"the response was not complete after {seconds:g} s")
