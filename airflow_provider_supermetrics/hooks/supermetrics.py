"""The hooks: twins, one over requests and one over aiohttp, same methods in the same order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import aiohttp
import requests
import tenacity
from airflow.providers.http.hooks.http import HttpAsyncHook, HttpHook
from asgiref.sync import sync_to_async

from airflow_provider_supermetrics._api import calls, responses
from airflow_provider_supermetrics._api.calls import MAX_LIMIT, Request
from airflow_provider_supermetrics._api.entry import Fields, LogEntry, read_page
from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.pager import LogPager, PageRequest
from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics._client import transport
from airflow_provider_supermetrics._client.client import (
    Exchange,
    connection_complaint,
    connection_verdict,
)
from airflow_provider_supermetrics._client.connection import CONN_TYPE, ConnectionSettings, fetching
from airflow_provider_supermetrics._client.form import connection_form_widgets, ui_field_behaviour
from airflow_provider_supermetrics._compat import Connection, get_async_connection, session_config
from airflow_provider_supermetrics._wait import RequestWaits, WaitPolicy
from airflow_provider_supermetrics.exceptions import (
    SupermetricsError,
    SupermetricsRequestError,
    SupermetricsResponseError,
    public_errors,
)

if TYPE_CHECKING:
    from airflow.providers.http.hooks.http import SessionConfig

__all__ = ["LogPage", "SupermetricsAsyncHook", "SupermetricsHook"]

CONN_NAME_ATTR = "supermetrics_conn_id"
DEFAULT_CONN_NAME = "supermetrics_default"
HOOK_NAME = "Supermetrics"

Parsed = TypeVar("Parsed")

_ONCE = WaitPolicy(max_attempts=1)


class Pager(Protocol):
    """What says which page to request next, and what of it is new."""

    @property
    def next(self) -> PageRequest | None:
        """The page to request next, or None when all has been read."""

    @property
    def is_known(self) -> bool:
        """Whether the connector is known to exist, so that a history without entries needs no check."""

    def receive(self, page: Sequence[LogEntry]) -> list[LogEntry]:
        """Take the page that was requested; return what is new in it.

        :raises ContractViolation: when it is not what was requested; then nothing has changed.
        """


@dataclass(frozen=True)
class LogPage:
    """One page of logs, newest first, and the request budget that the answer told of."""

    entries: list[Fields]
    rate_limit: RateLimit | None


class _BearerAuth(requests.auth.AuthBase):
    """As an auth object, not as a header, requests does not prefer an entry of a .netrc file to it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        # Whoever uses the session for another address does not send the credential there.
        if (prepared.url or "").startswith(self._exchange.settings.base_url + "/"):
            prepared.headers["Authorization"] = self._exchange.authorization
        return prepared


class SupermetricsHook(HttpHook):
    """
    Read connector logs from the Supermetrics API.

    One hook keeps one session and one TCP connection for all its requests. Use one per task, and
    close it, or use it as a context manager.

    :param supermetrics_conn_id: :ref:`Supermetrics connection<connection>` to use.
    :param wait_policy: what of the Connection's waiting is different here, such as
        ``{"max_inline_wait": 300}``; the numbers are those of ``WaitPolicy``.
    """

    conn_name_attr = CONN_NAME_ATTR
    default_conn_name = DEFAULT_CONN_NAME
    conn_type = CONN_TYPE
    hook_name = HOOK_NAME

    def __init__(
        self, supermetrics_conn_id: str = DEFAULT_CONN_NAME, *, wait_policy: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(method="GET", http_conn_id=supermetrics_conn_id)
        self.supermetrics_conn_id = supermetrics_conn_id
        self._wait_policy = dict(wait_policy or {})
        self._exchange: Exchange | None = None
        self._session: requests.Session | None = None

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Fields of the Connection form, for Airflow before 3.2."""
        return connection_form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Labels and placeholders of the Connection form, for Airflow before 3.2."""
        return ui_field_behaviour()

    @property
    def rate_limit(self) -> RateLimit | None:
        """The hourly request budget as last told, or None when no answer has told it."""
        return self._exchange.rate_limit if self._exchange else None

    @property
    def rate_limit_reserve(self) -> int:
        """How many requests of the hour are left to others, as the Connection and the caller say."""
        return self._exchange.wait_policy.rate_limit_reserve if self._exchange else 0

    @property
    def requests_sent(self) -> int:
        """Requests sent by this hook, repeated ones included."""
        return self._exchange.requests_sent if self._exchange else 0

    def team_id(self, team_id: int | str | None = None) -> int:
        """
        Return the team that a call with this argument means: ``team_id``, or the Connection's.

        :raises SupermetricsValidationError: where neither names one, or it is no team's number.
        """
        return self._open().team_id(team_id)

    def list_logs(
        self,
        connector_identifier: str,
        team_id: int | str | None = None,
        *,
        limit: int = MAX_LIMIT,
        before: datetime | None = None,
    ) -> LogPage:
        """
        Fetch one page of a connector's logs, newest first, with one request.

        :param connector_identifier: the connector, such as ``"T3S70"``.
        :param team_id: the team; by default the Connection's.
        :param limit: entries at most, 1 to 1000.
        :param before: only entries older than this time (aware); by default the latest.
        :raises SupermetricsError: of the kind that says what to do.
        """
        exchange = self._open()
        request = exchange.list_logs(connector_identifier, team_id, limit=limit, before=before)
        page = self._get(request, partial(read_page, limit=limit))
        return LogPage([entry.fields for entry in page], exchange.rate_limit)

    def iter_logs(
        self,
        connector_identifier: str,
        team_id: int | str | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        page_size: int = MAX_LIMIT,
    ) -> Iterator[Fields]:
        """
        Yield the entries with ``start <= log_time < end``, newest first, each once.

        :param connector_identifier: the connector, such as ``"T3S70"``.
        :param team_id: the team; by default the Connection's.
        :param start: first time of the window (aware); by default the beginning of the history.
        :param end: the time at which the window ends (aware); by default there is no end.
        :param page_size: entries per request, 1 to 1000.
        :raises SupermetricsPaginationError: where one single time fills a page.
        :raises SupermetricsError: of the kind that says what to do.
        """
        with public_errors():
            pager = LogPager(start=start, end=end, limit=page_size)
        pages = self.read_pages(pager, connector_identifier, team_id)
        return (entry.fields for page in pages for entry in page)

    def read_pages(
        self, pager: Pager, connector_identifier: str, team_id: int | str | None = None
    ) -> Iterator[list[LogEntry]]:
        """
        Request the pages that ``pager`` names, until it has read all; yield what is new after each.

        Where there is no entry at all before the window's end, the connectors are listed once, because the
        history of a mistyped connector may look the same.

        :param pager: which page to request next, and what is new in it.
        :param connector_identifier: the connector, such as ``"T3S70"``.
        :param team_id: the team; by default the Connection's.
        :raises SupermetricsError: of the kind that says what to do.
        """
        exchange = self._open()
        waiting = RequestWaits(exchange.wait_policy, self.log)
        is_known = pager.is_known
        while ask := pager.next:
            request = exchange.list_logs(connector_identifier, team_id, limit=ask.limit, before=ask.before)
            page = self._get(request, partial(read_page, limit=ask.limit), waiting)
            is_known = is_known or bool(page)
            yield exchange.read(request, pager.receive, page)
        if not is_known:
            self._check_connector(connector_identifier, exchange.team_id(team_id), waiting)

    def _check_connector(self, connector_identifier: str, team_id: int, waiting: RequestWaits) -> None:
        exchange = self._open()
        if (team_id, connector_identifier) in exchange.known_connectors:
            return
        listed: responses.ConnectorList | SupermetricsError
        try:
            listed = self._get(calls.list_connectors(team_id), responses.parse_connectors, waiting)
        except (SupermetricsRequestError, SupermetricsResponseError) as error:
            listed = error
        if doubt := exchange.check_connector(connector_identifier, team_id, listed):
            self.log.warning(doubt)

    def get_log(self, connector_identifier: str, log_id: str, team_id: int | str | None = None) -> Fields:
        """
        Fetch one log entry.

        :param connector_identifier: the connector, such as ``"T3S70"``.
        :param log_id: the entry's ``id``.
        :param team_id: the team; by default the Connection's.
        :raises SupermetricsError: of the kind that says what to do.
        """
        with public_errors():
            request = calls.get_log(self._open().team_id(team_id), connector_identifier, log_id)
        return self._get(request, responses.parse_log_entry)

    def list_connectors(self, team_id: int | str | None = None) -> list[dict[str, Any]]:
        """
        List the connectors of a team that the credential can see.

        :param team_id: the team; by default the Connection's.
        :raises SupermetricsError: of the kind that says what to do.
        """
        request = calls.list_connectors(self._open().team_id(team_id))
        listed = self._get(request, responses.parse_connectors)
        connectors, note = self._open().connectors(request, listed)
        if note:
            self.log.warning(note)
        return connectors

    def test_connection(self) -> tuple[bool, str]:
        """Ask once for the connectors of the Connection's team; say what is wrong and what to do."""
        try:
            settings = self._open().settings
            connectors = None
            if settings.team_id is not None:
                request = calls.list_connectors(settings.team_id)
                connectors = self._get(request, responses.parse_connectors, RequestWaits(_ONCE, self.log))
            return connection_verdict(settings, connectors)
        except SupermetricsError as error:
            return False, connection_complaint(error, self.supermetrics_conn_id)
        finally:
            self.close()

    def get_conn(
        self,
        headers: dict[Any, Any] | None = None,  # noqa: ARG002  # HttpHook's signature
        extra_options: dict[str, Any] | None = None,
    ) -> requests.Session:
        """
        Return the session of this hook, with the Connection's credential and settings.

        :param headers: taken for compatibility; a request's headers go with the request.
        :param extra_options: options of :meth:`run`.
        """
        settings = self._open().settings
        # What the inherited run() goes by. Redirects stay off: they would carry headers elsewhere.
        self.merged_extra = {
            **(extra_options or {}),
            "timeout": settings.timeout,
            "allow_redirects": False,
            "proxies": dict(settings.proxies),
            "verify": settings.verify,
            "cert": settings.cert,
        }
        assert self._session is not None
        return self._session

    def run_and_check(
        self,
        session: requests.Session,
        prepped_request: requests.PreparedRequest,
        extra_options: dict[Any, Any],
    ) -> Any:
        """
        As :meth:`HttpHook.run_and_check`, with the Connection's settings.

        :raises SupermetricsError: of the kind that says what to do.
        """
        # http before 5.3.2 does not read merged_extra itself.
        self.get_conn(extra_options=extra_options)
        try:
            return super().run_and_check(session, prepped_request, self.merged_extra)
        except ContractViolation as error:
            request = Request(prepped_request.path_url, method=str(prepped_request.method))
            raise self._open().unusable(request, error) from None

    def check_response(self, response: requests.Response) -> None:
        """
        Raise for an error that the inherited :meth:`run` got, as our own methods do.

        :raises SupermetricsError: of the kind that says what to do.
        """
        request = Request(response.request.path_url, method=str(response.request.method))
        self._open().body(
            request, response.status_code, response.headers, response.content, transport.flaw(response)
        )

    def close(self) -> None:
        """Close the session; a later call opens a new one."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def __enter__(self) -> SupermetricsHook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Exchange:
        if self._exchange is None:
            with fetching(self.supermetrics_conn_id):
                connection = self.get_connection(self.supermetrics_conn_id)
            self._exchange = Exchange(ConnectionSettings.from_connection(connection), self._wait_policy)
        if self._session is None:
            self._session = self._new_session(self._exchange)
        return self._exchange

    def _new_session(self, exchange: Exchange) -> requests.Session:
        settings = exchange.settings
        self.base_url, self._base_url_initialized = settings.base_url, True
        session = transport.Session(settings.timeout, settings.answer_timeout)
        session.auth = _BearerAuth(exchange)
        session.headers.update(exchange.headers)
        session.proxies.update(settings.proxies)
        session.verify = settings.verify
        session.cert = settings.cert
        return session

    def _get(
        self, request: Request, parse: Callable[[bytes], Parsed], waiting: RequestWaits | None = None
    ) -> Parsed:
        waiting = waiting or RequestWaits(self._open().wait_policy, self.log)
        retrying = tenacity.Retrying(**waiting.options)
        try:
            body: bytes = retrying(self._send, request)
        except SupermetricsError as error:
            # The message says it all; the way through tenacity would only bury it in the task's log.
            raise error.with_traceback(None) from None
        return self._open().read(request, parse, body)

    def _send(self, request: Request) -> bytes:
        exchange, session = self._open(), self.get_conn()
        exchange.admit(request)
        exchange.requests_sent += 1
        try:
            response = session.get(
                exchange.settings.base_url + request.path,
                params=request.params,
                timeout=exchange.settings.timeout,
                allow_redirects=False,
                # requests prefers the environment to what only its session says.
                proxies=dict(exchange.settings.proxies),
                verify=exchange.settings.verify,
            )
        except ContractViolation as error:
            raise exchange.unusable(request, error) from None
        except transport.LOST as error:
            raise exchange.lost(request, error) from None
        body = exchange.body(
            request, response.status_code, response.headers, response.content, transport.flaw(response)
        )
        if scarcity := exchange.scarcity():
            self.log.warning(scarcity)
        return body


class SupermetricsAsyncHook(HttpAsyncHook):
    """
    Read connector logs from the Supermetrics API, in a trigger or any other coroutine.

    The methods are those of :class:`SupermetricsHook`, awaited. Within ``async with hook:`` all
    requests share one session, and those that follow each other one TCP connection; otherwise each
    call has a session of its own.

    :param supermetrics_conn_id: :ref:`Supermetrics connection<connection>` to use.
    :param wait_policy: what of the Connection's waiting is different here, such as
        ``{"max_inline_wait": 300}``; the numbers are those of ``WaitPolicy``.
    """

    conn_name_attr = CONN_NAME_ATTR
    default_conn_name = DEFAULT_CONN_NAME
    conn_type = CONN_TYPE
    hook_name = HOOK_NAME

    def __init__(
        self, supermetrics_conn_id: str = DEFAULT_CONN_NAME, *, wait_policy: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(method="GET", http_conn_id=supermetrics_conn_id)
        self.supermetrics_conn_id = supermetrics_conn_id
        self._wait_policy = dict(wait_policy or {})
        self._exchange: Exchange | None = None
        self._session: aiohttp.ClientSession | None = None
        self._depth = 0
        self._opening = asyncio.Lock()
        self._options: dict[str, Any] = {}

    @property
    def rate_limit(self) -> RateLimit | None:
        """The hourly request budget as last told, or None when no answer has told it."""
        return self._exchange.rate_limit if self._exchange else None

    @property
    def rate_limit_reserve(self) -> int:
        """How many requests of the hour are left to others, as the Connection and the caller say."""
        return self._exchange.wait_policy.rate_limit_reserve if self._exchange else 0

    @property
    def requests_sent(self) -> int:
        """Requests sent by this hook, repeated ones included."""
        return self._exchange.requests_sent if self._exchange else 0

    async def team_id(self, team_id: int | str | None = None) -> int:
        """As :meth:`SupermetricsHook.team_id`."""
        return (await self._open()).team_id(team_id)

    async def list_logs(
        self,
        connector_identifier: str,
        team_id: int | str | None = None,
        *,
        limit: int = MAX_LIMIT,
        before: datetime | None = None,
    ) -> LogPage:
        """As :meth:`SupermetricsHook.list_logs`."""
        exchange = await self._open()
        request = exchange.list_logs(connector_identifier, team_id, limit=limit, before=before)
        page = await self._get(request, partial(read_page, limit=limit))
        return LogPage([entry.fields for entry in page], exchange.rate_limit)

    def iter_logs(
        self,
        connector_identifier: str,
        team_id: int | str | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        page_size: int = MAX_LIMIT,
    ) -> AsyncIterator[Fields]:
        """As :meth:`SupermetricsHook.iter_logs`."""
        with public_errors():
            pager = LogPager(start=start, end=end, limit=page_size)
        pages = self.read_pages(pager, connector_identifier, team_id)
        return (entry.fields async for page in pages for entry in page)

    async def read_pages(
        self, pager: Pager, connector_identifier: str, team_id: int | str | None = None
    ) -> AsyncIterator[list[LogEntry]]:
        """As :meth:`SupermetricsHook.read_pages`."""
        exchange = await self._open()
        waiting = RequestWaits(exchange.wait_policy, self.log)
        is_known = pager.is_known
        async with self._borrowed_session() as session:
            while ask := pager.next:
                request = exchange.list_logs(
                    connector_identifier, team_id, limit=ask.limit, before=ask.before
                )
                page = await self._get(request, partial(read_page, limit=ask.limit), waiting, session)
                is_known = is_known or bool(page)
                yield exchange.read(request, pager.receive, page)
            if not is_known:
                await self._check_connector(connector_identifier, exchange.team_id(team_id), waiting, session)

    async def _check_connector(
        self, connector_identifier: str, team_id: int, waiting: RequestWaits, session: aiohttp.ClientSession
    ) -> None:
        exchange = await self._open()
        if (team_id, connector_identifier) in exchange.known_connectors:
            return
        listed: responses.ConnectorList | SupermetricsError
        try:
            request = calls.list_connectors(team_id)
            listed = await self._get(request, responses.parse_connectors, waiting, session)
        except (SupermetricsRequestError, SupermetricsResponseError) as error:
            listed = error
        if doubt := exchange.check_connector(connector_identifier, team_id, listed):
            self.log.warning(doubt)

    async def get_log(
        self, connector_identifier: str, log_id: str, team_id: int | str | None = None
    ) -> Fields:
        """As :meth:`SupermetricsHook.get_log`."""
        exchange = await self._open()
        with public_errors():
            request = calls.get_log(exchange.team_id(team_id), connector_identifier, log_id)
        return await self._get(request, responses.parse_log_entry)

    async def list_connectors(self, team_id: int | str | None = None) -> list[dict[str, Any]]:
        """As :meth:`SupermetricsHook.list_connectors`."""
        exchange = await self._open()
        request = calls.list_connectors(exchange.team_id(team_id))
        listed = await self._get(request, responses.parse_connectors)
        connectors, note = exchange.connectors(request, listed)
        if note:
            self.log.warning(note)
        return connectors

    async def test_connection(self) -> tuple[bool, str]:
        """As :meth:`SupermetricsHook.test_connection`."""
        try:
            settings = (await self._open()).settings
            connectors = None
            if settings.team_id is not None:
                request = calls.list_connectors(settings.team_id)
                connectors = await self._get(
                    request, responses.parse_connectors, RequestWaits(_ONCE, self.log)
                )
            return connection_verdict(settings, connectors)
        except SupermetricsError as error:
            return False, connection_complaint(error, self.supermetrics_conn_id)

    async def config(self) -> SessionConfig:
        """Settings for the inherited ``run()`` and ``session()``: no header from unknown extra keys."""
        exchange = await self._open()
        return session_config(
            base_url=exchange.settings.base_url,
            headers={**exchange.headers, "Authorization": exchange.authorization},
            extra_options=self._options,
        )

    async def run(self, *args: Any, **kwargs: Any) -> aiohttp.ClientResponse:
        """As :meth:`HttpAsyncHook.run`.

        :raises AirflowOptionalProviderFeatureException: on http providers that do not use :meth:`config`.
        """
        await self.config()
        return await super().run(*args, **kwargs)

    async def close(self) -> None:
        """Close the session of ``async with``; a later call opens its own."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> SupermetricsAsyncHook:
        await self._open()
        self._depth += 1
        if self._session is None:
            self._session = transport.client_session()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            await self.close()

    async def _open(self) -> Exchange:
        async with self._opening:
            if self._exchange is None:
                with fetching(self.supermetrics_conn_id):
                    connection: Connection = await get_async_connection(self.supermetrics_conn_id, hook=self)
                # Not on this loop, because it blocks.
                settings = await sync_to_async(ConnectionSettings.from_connection)(connection)
                self._options = _options(settings)
                self._exchange = Exchange(settings, self._wait_policy)
            return self._exchange

    @asynccontextmanager
    async def _borrowed_session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """The session of ``async with``, or one for the time being."""
        if self._session is not None:
            yield self._session
        else:
            async with transport.client_session() as session:
                yield session

    async def _get(
        self,
        request: Request,
        parse: Callable[[bytes], Parsed],
        waiting: RequestWaits | None = None,
        session: aiohttp.ClientSession | None = None,
    ) -> Parsed:
        exchange = await self._open()
        if session is None:
            async with self._borrowed_session() as borrowed:
                return await self._get(request, parse, waiting, borrowed)
        waiting = waiting or RequestWaits(exchange.wait_policy, self.log)
        retrying = tenacity.AsyncRetrying(**waiting.options)
        try:
            body: bytes = await retrying(self._send, exchange, session, request)
        except SupermetricsError as error:
            raise error.with_traceback(None) from None
        return exchange.read(request, parse, body)

    async def _send(self, exchange: Exchange, session: aiohttp.ClientSession, request: Request) -> bytes:
        exchange.admit(request)
        exchange.requests_sent += 1
        try:
            async with session.get(
                exchange.settings.base_url + request.path,
                params=request.params,
                # Not the session's own headers, which its repr tells.
                headers={**exchange.headers, "Authorization": exchange.authorization},
                **self._options,
            ) as response:
                content, flaw = await transport.read(response)
        except ContractViolation as error:
            raise exchange.unusable(request, error) from None
        except transport.LOST as error:
            if isinstance(error, asyncio.TimeoutError) and not isinstance(error, aiohttp.ClientError):
                error = transport.incomplete(exchange.settings.answer_timeout)
            raise exchange.lost(request, error) from None
        body = exchange.body(request, response.status, response.headers, content, flaw)
        if scarcity := exchange.scarcity():
            self.log.warning(scarcity)
        return body


def _options(settings: ConnectionSettings) -> dict[str, Any]:
    """The Connection's settings as aiohttp takes them."""
    return {
        "timeout": aiohttp.ClientTimeout(
            total=settings.answer_timeout, sock_connect=settings.timeout, sock_read=settings.timeout
        ),
        "allow_redirects": False,
        "proxy": next(iter(settings.proxies.values()), None),
        "ssl": settings.tls,
    }
