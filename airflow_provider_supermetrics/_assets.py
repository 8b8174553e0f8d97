"""The asset URI of a connector's log, as Airflow finds it in the provider's metadata.

``supermetrics://api.supermetrics.com/teams/936506/connectors/T3S70/logs``
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from airflow_provider_supermetrics._api.calls import valid_connector_identifier, valid_team_id
from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._api.text import quoted
from airflow_provider_supermetrics._compat import Asset
from airflow_provider_supermetrics.exceptions import invalid, public_errors

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset

SCHEME = "supermetrics"

_HOST = "api.supermetrics.com"
_PATH = re.compile(r"/teams/(?P<team>[^/]+)/connectors/(?P<connector>[^/]+)/logs")
_REMEDY = (
    "write supermetrics://HOST/teams/TEAM/connectors/CONNECTOR/logs, such as "
    f"supermetrics://{_HOST}/teams/936506/connectors/T3S70/logs"
)


def create_asset(
    *, connector_identifier: str, team_id: int | str, host: str = _HOST, extra: dict[str, Any] | None = None
) -> Asset:
    """The asset of a connector's log; called by Airflow's hook lineage.

    :raises SupermetricsValidationError: for an identifier or a team that the API does not allow.
    """
    return Asset(uri=log_uri(host, team_id, connector_identifier), extra=extra)


def log_uri(host: str, team_id: int | str, connector_identifier: str) -> str:
    """The URI of a connector's log.

    :param host: the API's host, with its port where it has one.
    :raises SupermetricsValidationError: for an identifier or a team that the API does not allow.
    """
    with public_errors():
        team, connector = valid_team_id(team_id), valid_connector_identifier(connector_identifier)
    return f"{SCHEME}://{host.lower()}/teams/{team}/connectors/{connector}/logs"


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Check a URI, and write its host and team as all others do; called by Airflow for each asset.

    :raises SupermetricsValidationError: for a URI that is not a connector's log.
    """
    path = _PATH.fullmatch(uri.path)
    host = uri.netloc
    # Without what may contain a credential.
    shown = quoted(f"{SCHEME}://{host.rpartition('@')[2]}{uri.path}")
    if path is None or not host or "@" in host or uri.query or uri.fragment:
        raise invalid(f"asset URI {shown} is not that of a connector's log", _REMEDY)
    try:
        team, connector = valid_team_id(path["team"]), valid_connector_identifier(path["connector"])
    except InvalidRequest as error:
        raise invalid(f"asset URI {shown}: {error}", _REMEDY) from None
    return urlsplit(log_uri(host, team, connector))


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:  # noqa: ARG001  # OpenLineage's call
    """The dataset of a connector's log; called by Airflow's OpenLineage provider."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    namespace, name = dataset_of(asset.uri)
    return Dataset(namespace=namespace, name=name)


def dataset_of(uri: str) -> tuple[str, str]:
    """Namespace and name by which OpenLineage knows a connector's log."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}", parts.path.removeprefix("/")
