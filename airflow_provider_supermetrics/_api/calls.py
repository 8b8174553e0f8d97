"""Validated queries, as method, path and parameters.

The limits are those of the API's page for "List connector logs".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._api.text import one_line, quoted
from airflow_provider_supermetrics._api.times import format_time, to_utc

MAX_LIMIT = 1000
MAX_TEAM_ID = 2**63 - 1

_CONNECTOR_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,100}")
_MAX_LOG_ID_LENGTH = 255


@dataclass(frozen=True)
class Request:
    """One HTTP request: ``path`` starts with ``/v1`` and is percent-encoded, ``params`` are not."""

    path: str
    params: dict[str, str] = field(default_factory=dict)
    method: str = "GET"

    def __str__(self) -> str:
        """Method and path, as messages name the request."""
        return one_line(f"{self.method} {self.path}")


def list_logs(
    team_id: int | str, connector_identifier: str, *, limit: int = MAX_LIMIT, before: datetime | None = None
) -> Request:
    """One page of a connector's logs, newest first, older than ``before`` (the latest ones without it).

    :raises InvalidRequest: for a value that the API's page does not allow, or a naive ``before``.
    """
    params = {"limit": str(valid_limit(limit))}
    if before is not None:
        params["before"] = format_time(to_utc("before", before))
    return Request(f"{_connector_path(team_id, connector_identifier)}/logs", params)


def get_log(team_id: int | str, connector_identifier: str, log_id: str) -> Request:
    """One log entry.

    :raises InvalidRequest: for a value that the API's page does not allow.
    """
    if not isinstance(log_id, str) or not 1 <= len(log_id) <= _MAX_LOG_ID_LENGTH or log_id in (".", ".."):
        raise InvalidRequest(
            f"log_id must be a string of 1 to {_MAX_LOG_ID_LENGTH} characters, not {quoted(log_id)}"
        )
    try:
        segment = quote(log_id, safe="")
    except UnicodeEncodeError:
        raise InvalidRequest(
            f"log_id has half a surrogate pair, which no URL can hold: {quoted(log_id)}"
        ) from None
    return Request(f"{_connector_path(team_id, connector_identifier)}/logs/{segment}")


def list_connectors(team_id: int | str) -> Request:
    """All connectors of a team that the credential can see.

    :raises InvalidRequest: for a ``team_id`` that the API's page does not allow.
    """
    return Request(f"/v1/teams/{valid_team_id(team_id)}/connector_builder/connectors")


def valid_team_id(team_id: int | str) -> int:
    """``team_id`` as a number; digits in a text are accepted, because templates and URIs give texts.

    :raises InvalidRequest: unless it is a whole number from 1 to 2**63 - 1.
    """
    number = team_id
    if isinstance(number, str) and re.fullmatch(r"[0-9]{1,19}", number.strip(), re.ASCII):
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_TEAM_ID:
        raise InvalidRequest(f"team_id must be a whole number from 1 to {MAX_TEAM_ID}, not {quoted(team_id)}")
    return number


def valid_limit(limit: int) -> int:
    """``limit`` itself.

    :raises InvalidRequest: unless it is a whole number from 1 to 1000.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(f"limit must be a whole number from 1 to {MAX_LIMIT}, not {quoted(limit)}")
    return limit


def valid_integer(name: str, value: Any, least: int) -> int:
    """``value`` itself.

    :param name: the argument's name, for the message.
    :raises InvalidRequest: unless it is an integer of ``least`` or more, and no bool.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidRequest(f"{name} must be an integer of {least} or more, not {quoted(value)}")
    return value


def valid_connector_identifier(connector_identifier: str) -> str:
    """``connector_identifier`` itself.

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
