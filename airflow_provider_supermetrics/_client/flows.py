"""What each method of the hooks does, once for both of them: its calls, and what it makes of their results.

A flow is a generator that yields a call, receives its result (or its error, raised there), and returns what
the method returns. The hooks send the calls: ``SupermetricsHook._run`` and ``SupermetricsAsyncHook._run``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import datetime
from difflib import SequenceMatcher
from typing import Any, Protocol, TypeAlias, TypeVar

from airflow_provider_supermetrics._api import calls
from airflow_provider_supermetrics._api.calls import Call
from airflow_provider_supermetrics._api.entry import Fields, LogEntry
from airflow_provider_supermetrics._api.pager import PageRequest
from airflow_provider_supermetrics._api.responses import ConnectorList
from airflow_provider_supermetrics._api.text import one_line
from airflow_provider_supermetrics._client.client import ApiClient
from airflow_provider_supermetrics.exceptions import (
    SupermetricsRequestError,
    SupermetricsResponseError,
    make_error,
    public_errors,
)

Result = TypeVar("Result")

Flow: TypeAlias = Generator[Call[Any], Any, Result]


class Pager(Protocol):
    """Decides which page to request next, and what is new in it."""

    @property
    def next(self) -> PageRequest | None:
        """The page to request next, or None when everything has been read."""

    @property
    def is_known(self) -> bool:
        """Whether the connector is known to exist, so that an empty history needs no check."""

    def receive(self, page: Sequence[LogEntry]) -> list[LogEntry]:
        """Take the page that was requested; return what is new in it.

        :raises ContractViolation: if it is not the page that was requested; then nothing has changed.
        """


def list_logs(
    client: ApiClient,
    connector_identifier: str,
    team_id: int | str | None,
    limit: int,
    before: datetime | None,
) -> Flow[list[Fields]]:
    """The entries of one page."""
    page = yield _call(client, team_id, calls.list_logs, connector_identifier, limit=limit, before=before)
    return [entry.fields for entry in page]


def get_log(
    client: ApiClient, connector_identifier: str, log_id: str, team_id: int | str | None
) -> Flow[Fields]:
    """One entry."""
    entry: Fields = yield _call(client, team_id, calls.get_log, connector_identifier, log_id)
    return entry


def list_connectors(client: ApiClient, team_id: int | str | None) -> Flow[list[dict[str, Any]]]:
    """All connectors of a team; a warning where there may be others."""
    call = _call(client, team_id, calls.list_connectors)
    listed: ConnectorList = yield call
    connectors = client.parse(call.request, ConnectorList.all, listed)
    if listed.is_partial:
        counted = "does not count them" if listed.count is None else f"counts {listed.count:,} connectors"
        client.log.warning(
            f"The API {counted}, but lists {len(connectors):,} to Connection '{client.settings.conn_id}'; "
            "others are left out. To include them, give its credential access, or pass their identifiers"
        )
    return connectors


def test_connection(client: ApiClient) -> Flow[tuple[bool, str]]:
    """Whether the Connection works, and what its credential can see."""
    team_id = client.settings.team_id
    if team_id is None:
        return False, "Not tested: this Connection has no Team ID. Set it, or pass team_id to every task."
    listed: ConnectorList = yield _call(client, team_id, calls.list_connectors)
    number, count = len(listed.items), listed.count or 0
    seen = f"{number:,} of {count:,}" if count > number else f"{number:,}"
    seen += " connector" if max(number, count) == 1 else " connectors"
    return True, f"Connected to {client.settings.base_url}: the credential sees {seen} of team {team_id}."


def read_pages(
    client: ApiClient, pager: Pager, connector_identifier: str, team_id: int | str | None
) -> Iterator[Flow[list[LogEntry] | None]]:
    """Flows to run one after the other: one for each page, and one for a check of an empty history.

    The first ones return what is new in the page, the last one returns None.
    """
    team_id = client.resolve_team_id(team_id)
    while wanted := pager.next:
        yield _read_page(client, pager, wanted, connector_identifier, team_id)
    if not pager.is_known and (team_id, connector_identifier) not in client.known_connectors:
        yield _check_connector(client, connector_identifier, team_id)


def _read_page(
    client: ApiClient, pager: Pager, wanted: PageRequest, connector_identifier: str, team_id: int
) -> Flow[list[LogEntry]]:
    call = _call(
        client, team_id, calls.list_logs, connector_identifier, limit=wanted.limit, before=wanted.before
    )
    page = yield call
    if page:
        client.known_connectors.add((team_id, connector_identifier))
    return client.parse(call.request, pager.receive, page)


def _check_connector(client: ApiClient, connector_identifier: str, team_id: int) -> Flow[None]:
    """List the connectors, because the history of a mistyped identifier, which is refused, is empty, too."""
    doubt = None
    try:
        listed: ConnectorList = yield _call(client, team_id, calls.list_connectors)
    except (SupermetricsRequestError, SupermetricsResponseError) as error:
        doubt = f"the connectors cannot be listed: {error}"
    else:
        if all(connector["connector_identifier"] != connector_identifier for connector in listed.items):
            number = f"{len(listed.items):,}"
            if not listed.is_partial:
                raise make_error(
                    SupermetricsRequestError,
                    f"Team {team_id} has no connector {connector_identifier} that Connection "
                    f"'{client.settings.conn_id}' can see, and the API has no entries of it",
                    "check connector_identifier; the closest of "
                    f"{number}: {_closest(connector_identifier, listed.items)}",
                )
            doubt = f"the API lists {number}{f' of {listed.count:,}' if listed.count else ''}, without it"
    client.known_connectors.add((team_id, connector_identifier))
    if doubt:
        client.log.warning(
            f"The log of {connector_identifier} is empty, and it is unknown whether team {team_id} has such "
            f"a connector: {doubt}; check connector_identifier"
        )


def _call(
    client: ApiClient,
    team_id: int | str | None,
    build: Callable[..., Call[Result]],
    *arguments: Any,
    **options: Any,
) -> Call[Result]:
    with public_errors():
        return build(client.resolve_team_id(team_id), *arguments, **options)


def connector_label(connector: Mapping[str, Any]) -> str:
    """A connector's identifier and, in parentheses, its name, on one line."""
    identifier, name = one_line(connector["connector_identifier"], 100), connector.get("name")
    return f"{identifier} ({one_line(name, 100)})" if isinstance(name, str) and name else identifier


def _closest(connector_identifier: str, connectors: list[dict[str, Any]]) -> str:
    """Up to three connectors whose identifier or name is most similar."""

    def likeness(connector: Mapping[str, Any]) -> float:
        texts = (connector["connector_identifier"], connector.get("name"))
        return max(
            SequenceMatcher(None, connector_identifier.casefold(), text[:100].casefold()).ratio()
            for text in texts
            if isinstance(text, str)
        )

    return ", ".join(map(connector_label, sorted(connectors, key=likeness, reverse=True)[:3])) or "none"
