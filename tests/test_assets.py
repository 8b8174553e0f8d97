"""The asset URIs of connectors' logs, as Airflow registers and checks them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics._assets import convert_asset_to_openlineage, create_asset, log_uri
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from tests.support.compat import Asset
from tests.support.release import AIRFLOW_2

try:
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime as ProvidersManager
except ImportError:  # Airflow before 3.2
    from airflow.providers_manager import ProvidersManager

pytestmark = pytest.mark.airflow_2

URI = "supermetrics://api.supermetrics.com/teams/936506/connectors/T3S70/logs"

REFUSED = r"asset URI '.*; write supermetrics://HOST"


def registered(kind: str) -> Any:
    """What Airflow has registered for the scheme."""
    manager: Any = ProvidersManager()
    return getattr(manager, kind if not AIRFLOW_2 else kind.replace("asset", "dataset"))["supermetrics"]


def test_airflow_makes_an_asset_by_the_scheme() -> None:
    """The factory, the check and the conversion are those that Airflow finds in the provider's metadata."""
    asset = registered("asset_factories")(connector_identifier="T3S70", team_id=936506, extra={"a": 1})
    assert (asset.uri, asset.extra) == (URI, {"a": 1})
    assert registered("asset_uri_handlers").__name__ == "sanitize_uri"
    dataset = registered("asset_to_openlineage_converters")(asset, None)
    assert dataset.namespace == "supermetrics://api.supermetrics.com"
    assert dataset.name == "teams/936506/connectors/T3S70/logs"


@pytest.mark.parametrize(
    "uri",
    [
        URI,
        f"{URI}/",
        "supermetrics://API.supermetrics.com/teams/0936506/connectors/T3S70/logs",
        "Supermetrics://api.supermetrics.com/teams/936506/connectors/T3S70/logs#part",
    ],
)
def test_a_log_has_one_uri(uri: str) -> None:
    """However it is written, Airflow stores the same asset."""
    assert Asset(uri).uri == URI


@pytest.mark.parametrize(
    "uri",
    [
        "supermetrics://api.supermetrics.com",
        "supermetrics:///teams/936506/connectors/T3S70/logs",
        "supermetrics://api.supermetrics.com/teams/936506/connectors/T3S70",
        "supermetrics://api.supermetrics.com/v1/teams/936506/connectors/T3S70/logs",
        "supermetrics://api.supermetrics.com/teams/team/connectors/T3S70/logs",
        "supermetrics://api.supermetrics.com/teams/936506/connectors/T3%2F70/logs",
        f"{URI}?token=SECRET",
    ],
)
def test_what_is_no_log_is_refused(uri: str) -> None:
    """Airflow 3 refuses it with our words, Airflow 2 warns with them; neither repeats a query."""
    if not AIRFLOW_2:
        with pytest.raises(SupermetricsValidationError, match=REFUSED) as no:
            Asset(uri)
        assert "SECRET" not in str(no.value)
        return
    with pytest.warns(UserWarning, match=REFUSED):
        Asset(uri)


@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 removes it itself")
@pytest.mark.filterwarnings("ignore:An Asset URI should not contain auth info")  # Airflow 3's
def test_a_name_before_the_host_is_not_kept() -> None:
    """It may be a key: a Connection's URI looks similar. Airflow 3.0 leaves it out itself."""
    try:
        kept = Asset(URI.replace("//", "//SECRET@")).uri
    except SupermetricsValidationError as refused:
        kept = str(refused)
    assert "SECRET" not in kept


@settings(deadline=None)  # the first example loads the providers
@given(
    st.integers(1, 2**63 - 1),
    st.from_regex(r"\A[A-Za-z0-9_-]{1,100}\Z"),
    st.sampled_from(["api.supermetrics.com", "gateway.example.com:8443", "[::1]:80"]),
)
def test_every_log_has_a_uri(team_id: int, connector_identifier: str, host: str) -> None:
    """A URI that lineage reports is as Airflow would write it, and leads to OpenLineage's name."""
    uri = log_uri(host, team_id, connector_identifier)
    asset = create_asset(connector_identifier=connector_identifier, team_id=team_id, host=host)
    assert asset.uri == uri
    dataset = convert_asset_to_openlineage(asset, None)
    assert f"{dataset.namespace}/{dataset.name}" == uri
    assert dataset.name == f"teams/{team_id}/connectors/{connector_identifier}/logs"
