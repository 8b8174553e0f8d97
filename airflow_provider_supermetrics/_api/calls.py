"""Calls of the API: what to send, and how to read the response.

The limits of arguments are those of the API's page for "List connector logs".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from airflow_provider_supermetrics._api.entry import Fields, LogEntry, read_page
from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._api.responses import ConnectorList, parse_connectors, parse_log_entry
from airflow_provider_supermetrics._api.text import one_line, quoted
from airflow_provider_supermetrics._api.times import format_time, to_utc

MAX_LIMIT = 1000
MAX_TEAM_ID = 2**63 - 1

_CONNECTOR_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,100}")
_MAX_LOG_ID_LENGTH = 255

Result = TypeVar("Result")


@dataclass(frozen=True)
class Request:
    """One HTTP request: ``path`` starts with ``/v1`` and is percent-encoded, ``params`` are not."""

    path: str
    params: dict[str, str] = field(default_factory=dict)
    method: str = "GET"

    def __str__(self) -> str:
        """Method and path, for messages."""
        return one_line(f"{self.method} {self.path}")


@dataclass(frozen=True)
class Call(Generic[Result]):
    """A request, and how to read the body of its response.

    :param parse: raises ContractViolation for a body that is not as documented.
    """

    request: Request
    parse: Callable[[bytes], Result]


def list_logs(
    team_id: int | str, connector_identifier: str, *, limit: int = MAX_LIMIT, before: datetime | None = None
) -> Call[list[LogEntry]]:
    """One page of a connector's logs, newest first, older than ``before`` (without it, the latest).

    :raises InvalidRequest: for an argument that the API does not allow, or a naive ``before``.
    """
    params = {"limit": str(valid_integer("limit", limit, 1, MAX_LIMIT))}
    if before is not None:
        params["before"] = format_time(to_utc("before", before))
    request = Request(f"{_connector_path(team_id, connector_identifier)}/logs", params)
    return Call(request, partial(read_page, limit=limit))


def get_log(team_id: int | str, connector_identifier: str, log_id: str) -> Call[Fields]:
    """One log entry.

    :raises InvalidRequest: for an argument that the API does not allow.
    """
    if not isinstance(log_id, str) or not 1 <= len(log_id) <= _MAX_LOG_ID_LENGTH or log_id in (".", ".."):
        raise InvalidRequest(
            f"log_id must be a string of 1 to {_MAX_LOG_ID_LENGTH} characters, not {quoted(log_id)}"
        )
    try:
        segment = quote(log_id, safe="")
    except UnicodeEncodeError:
        raise InvalidRequest(
            f"log_id has half a surrogate pair, which no URL can contain: {quoted(log_id)}"
        ) from None
    return Call(Request(f"{_connector_path(team_id, connector_identifier)}/logs/{segment}"), parse_log_entry)


def list_connectors(team_id: int | str) -> Call[ConnectorList]:
    """All connectors of a team that the credential can see.

    :raises InvalidRequest: for a ``team_id`` that the API does not allow.
    """
    path = f"/v1/teams/{valid_team_id(team_id)}/connector_builder/connectors"
    return Call(Request(path), parse_connectors)


def valid_team_id(team_id: int | str) -> int:
    """Return ``team_id`` as an integer; templates and URIs give strings of digits.

    :raises InvalidRequest: unless it is an integer from 1 to 2**63 - 1.
    """
    return parse_integer("team_id", team_id, 1, MAX_TEAM_ID)


def parse_integer(name: str, value: int | str, least: int, most: float = math.inf) -> int:
    """Return ``value`` as an integer; templates give strings of digits.

    :param name: the argument's name, for the message.
    :raises InvalidRequest: unless it is an integer, and no bool, from ``least`` to ``most``, if there is one.
    """
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,19}", value.strip(), re.ASCII):
        value = int(value)
    return valid_integer(name, value, least, most)


def parse_boolean(name: str, value: bool | str) -> bool:
    """Return ``value`` as a Boolean; templates give strings.

    :param name: the argument's name, for the message.
    :raises InvalidRequest: unless it is a Boolean, or ``"true"`` or ``"false"`` in any case.
    """
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower(), value)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name} must be True or False, not {quoted(value)}")
    return value


def valid_integer(name: str, value: Any, least: int, most: float = math.inf) -> int:
    """Return ``value``.

    :param name: the argument's name, for the message.
    :raises InvalidRequest: unless it is an integer, and no bool, from ``least`` to ``most``, if there is one.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        if most == math.inf:
            raise InvalidRequest(f"{name} must be an integer of {least} or more, not {quoted(value)}")
        raise InvalidRequest(f"{name} must be an integer from {least} to {most}, not {quoted(value)}")
    return value


def valid_connector_identifier(connector_identifier: str) -> str:
    """Return ``connector_identifier``.

    :raises InvalidRequest: unless it is 1 to 100 letters, digits, ``_`` or ``-``.
    """
    if not isinstance(connector_identifier, str) or not _CONNECTOR_IDENTIFIER.fullmatch(connector_identifier):
        raise InvalidRequest(
            "connector_identifier must be 1 to 100 letters, digits, '_' or '-' (such as 'T3S70'), "
            f"not {quoted(connector_identifier)}"
        )
    return connector_identifier


def _connector_path(team_id: int | str, connector_identifier: str) -> str:
    identifier = valid_connector_identifier(connector_identifier)
    return f"/v1/teams/{valid_team_id(team_id)}/connector_builder/connectors/{identifier}"
