"""The hooks: one over requests, one over aiohttp, with the same methods in the same order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import requests
import tenacity
from airflow.providers.http.hooks.http import HttpAsyncHook, HttpHook
from asgiref.sync import sync_to_async

from airflow_provider_supermetrics._api.calls import MAX_LIMIT, Call, Request
from airflow_provider_supermetrics._api.entry import Fields, LogEntry
from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.pager import LogPager
from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics._client import flows, transport
from airflow_provider_supermetrics._client.client import ApiClient
from airflow_provider_supermetrics._client.connection import CONN_TYPE, ConnectionSettings, fetching
from airflow_provider_supermetrics._client.flows import Flow, Pager
from airflow_provider_supermetrics._compat import session_config
from airflow_provider_supermetrics._wait import RequestWaits, WaitPolicy
from airflow_provider_supermetrics.exceptions import SupermetricsError, public_errors
from airflow_provider_supermetrics.provider_info import (
    DEFAULT_CONN_NAME,
    connection_form_widgets,
    ui_field_behaviour,
)

if TYPE_CHECKING:
    from airflow.providers.http.hooks.http import SessionConfig

__all__ = ["LogPage", "SupermetricsAsyncHook", "SupermetricsHook"]

Result = TypeVar("Result")

_ONCE = WaitPolicy(max_attempts=1)


@dataclass(frozen=True)
class LogPage:
    """One page of logs, newest first, and the request budget that the response reports."""

    entries: list[Fields]
    rate_limit: RateLimit | None


class _Hook:
    """What both hooks have in common besides their methods."""

    conn_name_attr = "supermetrics_conn_id"
    default_conn_name = DEFAULT_CONN_NAME
    conn_type = CONN_TYPE
    hook_name = "Supermetrics"

    def __init__(
        self, supermetrics_conn_id: str = DEFAULT_CONN_NAME, *, wait_policy: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(method="GET", http_conn_id=supermetrics_conn_id)  # type: ignore[call-arg]  # a mixin
        self.supermetrics_conn_id = supermetrics_conn_id
        self._wait_policy = dict(wait_policy or {})
        self._client: ApiClient | None = None

    @property
    def rate_limit(self) -> RateLimit | None:
        """The hourly request budget by the latest response that reports it, or None."""
        return self._client.rate_limit if self._client else None

    @property
    def rate_limit_reserve(self) -> int:
        """How many requests of the hour are left to others, by the Connection and the caller."""
        return self._client.wait_policy.rate_limit_reserve if self._client else 0

    @property
    def requests_sent(self) -> int:
        """Requests sent by this hook, repeated ones included."""
        return self._client.requests_sent if self._client else 0

    def _new_client(self) -> ApiClient:
        with fetching(self.supermetrics_conn_id):
            connection = self.get_connection(self.supermetrics_conn_id)  # type: ignore[attr-defined]  # a mixin
        settings = ConnectionSettings.from_connection(connection)
        return ApiClient(settings, self._wait_policy, self.log)  # type: ignore[attr-defined]  # likewise

    def _refused(self, error: SupermetricsError) -> tuple[bool, str]:
        """The result of a failed test: Airflow tests a Connection under a random id."""
        return False, str(error).replace(f"Connection '{self.supermetrics_conn_id}'", "this Connection")


class SupermetricsHook(_Hook, HttpHook):
    """
    Read connector logs from the Supermetrics API.

    One hook keeps one session and one TCP connection for all its requests. Use one per task, and
    close it, or use it as a context manager.

    :param supermetrics_conn_id: :ref:`Supermetrics connection<connection>` to use.
    :param wait_policy: numbers that replace those of the Connection, such as
        ``{"max_inline_wait": 300}``; their names are those of ``WaitPolicy``.
    """

    _session: transport.Session | None = None

    # Of this class itself, not of a base, or Airflow before 3.2 does not see them.
    get_connection_form_widgets = staticmethod(connection_form_widgets)
    get_ui_field_behaviour = staticmethod(ui_field_behaviour)

    def resolve_team_id(self, team_id: int | str | None = None) -> int:
        """
        Return ``team_id`` as an integer, or the Connection's if it is None.

        :raises SupermetricsValidationError: if there is none, or it is not a team's number.
        """
        return self._open().resolve_team_id(team_id)

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
        flow = flows.list_logs(self._open(), connector_identifier, team_id, limit, before)
        return LogPage(self._run(flow), self.rate_limit)

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
        :raises SupermetricsPaginationError: if one single time fills a page.
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
        Request one page after the other, and yield what is new in each.

        If the history is empty, the connectors are listed once, because a mistyped identifier may look the
        same.

        :param pager: decides which page to request next, and what is new in it.
        :param connector_identifier: the connector, such as ``"T3S70"``.
        :param team_id: the team; by default the Connection's.
        :raises SupermetricsError: of the kind that says what to do.
        """
        client = self._open()
        waits = client.waits()
        for flow in flows.read_pages(client, pager, connector_identifier, team_id):
            if (new := self._run(flow, waits)) is not None:
                yield new

    def get_log(self, connector_identifier: str, log_id: str, team_id: int | str | None = None) -> Fields:
        """
        Fetch one log entry.

        :param connector_identifier: the connector, such as ``"T3S70"``.
        :param log_id: the entry's ``id``.
        :param team_id: the team; by default the Connection's.
        :raises SupermetricsError: of the kind that says what to do.
        """
        return self._run(flows.get_log(self._open(), connector_identifier, log_id, team_id))

    def list_connectors(self, team_id: int | str | None = None) -> list[dict[str, Any]]:
        """
        List the connectors of a team that the credential can see.

        :param team_id: the team; by default the Connection's.
        :raises SupermetricsError: of the kind that says what to do.
        """
        return self._run(flows.list_connectors(self._open(), team_id))

    def test_connection(self) -> tuple[bool, str]:
        """Request the connectors of the Connection's team once; return whether that works, and a message."""
        try:
            client = self._open()
            return self._run(flows.test_connection(client), client.waits(_ONCE))
        except SupermetricsError as error:
            return self._refused(error)
        finally:
            self.close()

    def get_conn(
        self,
        headers: dict[Any, Any] | None = None,  # noqa: ARG002  # HttpHook's signature
        extra_options: dict[str, Any] | None = None,
    ) -> requests.Session:
        """
        Return the session of this hook, with the Connection's credential and settings.

        :param headers: accepted for compatibility; the headers of a request are sent with it.
        :param extra_options: options of :meth:`run`.
        """
        self._open()
        # http 5.3.2 and later: run() takes its options from here. Before, it passes them on itself.
        self.merged_extra = dict(extra_options or {})
        assert self._session is not None
        return self._session

    def run_and_check(
        self,
        session: requests.Session,
        prepped_request: requests.PreparedRequest,
        extra_options: dict[Any, Any],
    ) -> Any:
        """
        Send the request of :meth:`HttpHook.run`, with the Connection's settings whatever the options say.

        :raises SupermetricsError: of the kind that says what to do.
        """
        # Not HttpHook's, which also logs what a broken connection received, secrets included.
        client = self._open()
        request = Request(prepped_request.path_url.partition("?")[0], method=str(prepped_request.method))
        try:
            response = session.send(prepped_request)
        except ContractViolation as error:
            raise client.contract_error(request, error) from None
        if extra_options.get("check_response", True):
            self.check_response(response)
        return response

    def check_response(self, response: requests.Response) -> None:
        """
        Raise an error for an error status, without logging the body as :meth:`HttpHook.check_response` does.

        :param response: the response to a request of :meth:`HttpHook.run`.
        :raises SupermetricsError: of the kind that says what to do.
        """
        sent = response.request
        request = Request(sent.path_url.partition("?")[0], method=str(sent.method))
        self._open().raise_for_status(request, transport.reply_of(response))

    def close(self) -> None:
        """Close the session; a later call opens a new one."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def __enter__(self) -> SupermetricsHook:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> ApiClient:
        if self._client is None:
            self._client = self._new_client()
            self.base_url = self._client.settings.base_url
        if self._session is None:
            self._session = transport.Session(self._client)
        return self._client

    def _run(self, flow: Flow[Result], waits: RequestWaits | None = None) -> Result:
        """Send the calls of a flow, and return its result."""
        retrying = tenacity.Retrying(**(waits or self._open().waits()).options)
        try:
            call = next(flow)
            while True:
                try:
                    result = retrying(self._send, call)
                except SupermetricsError as error:
                    # Without its traceback, which would bury the message under tenacity's frames.
                    call = flow.throw(error.with_traceback(None))
                else:
                    call = flow.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # the flow's Result

    def _send(self, call: Call[Result]) -> Result:
        client, request = self._open(), call.request
        with client.sending(request):
            response = self.run(request.path, request.params, extra_options={"check_response": False})
        return client.receive(call, transport.reply_of(response))


class SupermetricsAsyncHook(_Hook, HttpAsyncHook):
    """
    Read connector logs from the Supermetrics API, in a trigger or any other coroutine.

    The methods are those of :class:`SupermetricsHook`, awaited. Within ``async with hook:`` all
    requests share one session, and consecutive ones one TCP connection; otherwise each call has a
    session of its own.

    :param supermetrics_conn_id: :ref:`Supermetrics connection<connection>` to use.
    :param wait_policy: numbers that replace those of the Connection, such as
        ``{"max_inline_wait": 300}``; their names are those of ``WaitPolicy``.
    """

    _session: aiohttp.ClientSession | None = None
    _depth = 0

    @cached_property
    def _opening(self) -> asyncio.Lock:
        return asyncio.Lock()

    async def resolve_team_id(self, team_id: int | str | None = None) -> int:
        """As :meth:`SupermetricsHook.resolve_team_id`."""
        return (await self._open()).resolve_team_id(team_id)

    async def list_logs(
        self,
        connector_identifier: str,
        team_id: int | str | None = None,
        *,
        limit: int = MAX_LIMIT,
        before: datetime | None = None,
    ) -> LogPage:
        """As :meth:`SupermetricsHook.list_logs`."""
        flow = flows.list_logs(await self._open(), connector_identifier, team_id, limit, before)
        return LogPage(await self._run(flow), self.rate_limit)

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
        async with self:
            client = await self._open()
            waits = client.waits()
            for flow in flows.read_pages(client, pager, connector_identifier, team_id):
                if (new := await self._run(flow, waits)) is not None:
                    yield new

    async def get_log(
        self, connector_identifier: str, log_id: str, team_id: int | str | None = None
    ) -> Fields:
        """As :meth:`SupermetricsHook.get_log`."""
        return await self._run(flows.get_log(await self._open(), connector_identifier, log_id, team_id))

    async def list_connectors(self, team_id: int | str | None = None) -> list[dict[str, Any]]:
        """As :meth:`SupermetricsHook.list_connectors`."""
        return await self._run(flows.list_connectors(await self._open(), team_id))

    async def test_connection(self) -> tuple[bool, str]:
        """As :meth:`SupermetricsHook.test_connection`."""
        try:
            client = await self._open()
            return await self._run(flows.test_connection(client), client.waits(_ONCE))
        except SupermetricsError as error:
            return self._refused(error)

    async def config(self) -> SessionConfig:
        """Settings for the inherited ``run()`` and ``session()``: no header from unknown extra keys."""
        client = await self._open()
        return session_config(
            base_url=client.settings.base_url,
            headers={**client.headers, "Authorization": client.authorization},
            extra_options=transport.request_options(client.settings),
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
        return self

    async def __aexit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            await self.close()

    async def _open(self) -> ApiClient:
        async with self._opening:
            if self._client is None:
                # In a thread, because it blocks, as aget_connection does on Airflow 3.1 to 3.3.1. In one of
                # asgiref's, because Airflow 3.0 and 3.1 find the triggerer's event loop through it.
                self._client = await sync_to_async(self._new_client)()
            return self._client

    async def _run(self, flow: Flow[Result], waits: RequestWaits | None = None) -> Result:
        """As :meth:`SupermetricsHook._run`."""
        async with self:
            retrying = tenacity.AsyncRetrying(**(waits or (await self._open()).waits()).options)
            try:
                call = next(flow)
                while True:
                    try:
                        result: Any = await retrying(self._send, call)
                    except SupermetricsError as error:
                        call = flow.throw(error.with_traceback(None))
                    else:
                        call = flow.send(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # the flow's Result

    async def _send(self, call: Call[Result]) -> Result:
        client = await self._open()
        session = self._session = self._session or transport.client_session()
        with client.sending(call.request):
            reply = await transport.get(session, client, call.request)
        return client.receive(call, reply)
