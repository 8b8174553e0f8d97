"""The API without HTTP transport: turns the parts of a request into a response."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from random import Random
from typing import Any, Final, Literal, NoReturn
from urllib.parse import parse_qsl, unquote

from dev.simulator.log import Connector, Entry, Log
from dev.simulator.responses import JSON, Response, error_response, json_response
from dev.simulator.times import TimeFormat, microseconds, parse_time

Before = Literal["exclusive", "inclusive"]
UnknownConnector = Literal["forbidden", "not_found", "empty"]
MaxPage = int | Callable[[int, int], int] | None

_ROUTE: Final = re.compile(r"/v1/teams/([^/]+)/connector_builder/connectors(?:/([^/]+)/logs(?:/([^/]+))?)?")
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_INTEGER: Final = re.compile(r"[0-9]{1,19}")
_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_BOOLEAN: Final = re.compile("true|false")
_BEARER: Final = re.compile(r"bearer +(\S+) *", re.IGNORECASE)
_MAX_LIMIT: Final = 1000
_MAX_CONNECTORS: Final = 1000
_MAX_INT64: Final = 2**63 - 1
_CREATED_AT: Final = "2025-01-01T00:00:00+00:00"


class _RefusedError(Exception):
    """Stop handling a request and send an error response."""

    def __init__(self, response: Response) -> None:
        self.response = response


def _refuse(status: int, description: str, headers: Mapping[str, str] | None = None) -> NoReturn:
    raise _RefusedError(error_response(status, description=description, headers=headers))


def named_connector(path: str) -> str | None:
    """Return the connector identifier in a request's path, still percent-encoded."""
    route = _ROUTE.fullmatch(path)
    return route[2] if route else None


class Api:
    """Connectors, credentials and paging; `Simulator` describes the switches. Not thread-safe."""

    def __init__(
        self,
        connectors: Iterable[Connector],
        tokens: Mapping[str, Collection[int]],
        *,
        form: TimeFormat,
        before: Before,
        max_page: MaxPage,
        unknown_connector: UnknownConnector,
        shuffle: Random | None,
    ) -> None:
        self._connectors: dict[str, Connector] = {}
        self._logs: dict[str, Log] = {}
        for connector in connectors:
            if connector.identifier in self._connectors:
                raise ValueError(f"two connectors are called {connector.identifier!r}")
            self._connectors[connector.identifier] = connector
            self._logs[connector.identifier] = Log(connector.entries, form)
        self._tokens = {token: frozenset(teams) for token, teams in tokens.items()}
        self._inclusive = before == "inclusive"
        self._max_page = max_page
        self._unknown_connector = unknown_connector
        self._shuffle = shuffle

    def append(self, identifier: str, entries: Iterable[Entry]) -> None:
        """Add entries to a connector's log."""
        self._logs[identifier].append(entries)

    def truth(self, identifier: str, start: datetime | None, end: datetime | None) -> list[dict[str, Any]]:
        """Return a connector's entries as printed whose printed time is in `[start, end)`, newest first."""
        return self._logs[identifier].truth(
            None if start is None else microseconds(start), None if end is None else microseconds(end)
        )

    def respond(self, method: str, path: str, query: str, authorization: str, number: int) -> Response:
        """Respond to a request. `path` and `query` are percent-encoded; `number` counts requests from 1."""
        try:
            return self._respond(method, path, query, authorization, number)
        except _RefusedError as refused:
            return refused.response

    def _respond(self, method: str, path: str, query: str, authorization: str, number: int) -> Response:
        route = _ROUTE.fullmatch(path)
        if route is None:
            _refuse(404, "There is no such path.")
        if method != "GET":
            _refuse(400, "Only GET is allowed.")
        bearer = _BEARER.fullmatch(authorization)
        visible_teams = self._tokens.get(bearer[1]) if bearer else None
        if visible_teams is None:
            _refuse(401, "The credential is missing or unknown.")

        # Decode after splitting the path: an encoded slash is part of a segment.
        team, identifier, log_id = (part and unquote(part) for part in route.groups())
        allowed = (
            ("include_configs",) if identifier is None else ("limit", "before") if log_id is None else ()
        )
        params = _parameters(query, allowed)
        team_id = _integer("team_id", team, _MAX_INT64)
        limit = _integer("limit", params.get("limit", "100"), _MAX_LIMIT)
        before = _before(params["before"]) if "before" in params else None
        if not _BOOLEAN.fullmatch(params.get("include_configs", "false")):
            _refuse(400, "The parameter 'include_configs' must be true or false.")
        if identifier is not None and not _IDENTIFIER.fullmatch(identifier):
            _refuse(400, "The parameter 'connector_identifier' is invalid.")

        if team_id not in visible_teams:
            _refuse(403, "The credential may not see this team.")
        if identifier is None:
            return self._list_connectors(team_id)
        connector = self._connectors.get(identifier)
        if connector is None or connector.team_id != team_id:
            return self._of_unknown_connector(log_id)
        if log_id is None:
            return self._list_logs(self._logs[identifier], limit, before, number)
        entry = self._logs[identifier].find(log_id)
        if entry is None:
            _refuse(404, "There is no such log entry.")
        return Response(200, entry.json, {"Content-Type": JSON})

    def _of_unknown_connector(self, log_id: str | None) -> Response:
        if self._unknown_connector == "forbidden":
            _refuse(403, "The credential may not see this connector.")
        if self._unknown_connector == "empty" and log_id is None:
            return json_response({"logs": []})
        _refuse(404, "There is no such connector.")

    def _list_logs(self, log: Log, limit: int, before: int | None, number: int) -> Response:
        longest = self._max_page(limit, number) if callable(self._max_page) else self._max_page
        length = limit if longest is None else max(0, min(limit, longest))
        page = log.page(before, inclusive=self._inclusive, length=length, shuffle=self._shuffle)
        return Response(
            200, b'{"logs":[%b]}' % b",".join([entry.json for entry in page]), {"Content-Type": JSON}
        )

    def _list_connectors(self, team_id: int) -> Response:
        connectors = [
            {
                "connector_identifier": connector.identifier,
                "name": connector.name,
                "description": f"Log of {connector.name}",
                "logo_url": f"https://example.com/{connector.identifier}.png",
                "created_at": _CREATED_AT,
                "updated_at": _CREATED_AT,
            }
            for connector in self._connectors.values()
            if connector.team_id == team_id
        ]
        return json_response({"connectors": connectors[:_MAX_CONNECTORS], "count": len(connectors)})


def _parameters(query: str, allowed: Collection[str]) -> dict[str, str]:
    params: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in allowed:
            _refuse(400, f"The parameter '{name}' is unknown.")
        if name in params:
            _refuse(400, f"The parameter '{name}' is repeated.")
        params[name] = value
    return params


def _integer(name: str, value: str, highest: int) -> int:
    if not _INTEGER.fullmatch(value) or not 1 <= int(value) <= highest:
        _refuse(400, f"The parameter '{name}' must be an integer from 1 to {highest}.")
    return int(value)


def _before(value: str) -> int:
    try:
        if _DATE_TIME.fullmatch(value):
            return parse_time(value)
    except ValueError:
        pass
    _refuse(400, "The parameter 'before' must be an ISO 8601 date-time with a zone.")
