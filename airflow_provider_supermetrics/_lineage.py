"""What an export tells those who follow data: hook lineage, and OpenLineage where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_supermetrics._api.entry import SCHEMA
from airflow_provider_supermetrics._compat import get_hook_lineage_collector
from airflow_provider_supermetrics._export.receipt import Receipt
from airflow_provider_supermetrics._export.storage import Destination

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


def tell_hook_lineage(hook: Any, destination: Destination, receipt: Receipt) -> None:
    """Tell Airflow which objects were written: the final ones, and no temporary or checkpoint.

    :param hook: who has read the entries.
    """
    collector = get_hook_lineage_collector()
    for item in receipt.objects:
        collector.add_output_asset(context=hook, uri=destination.uri(item.name))


def openlineage_of(base_url: str, destination: Destination, receipt: Receipt) -> OperatorLineage[Any, Any]:
    """One input, the connector's log, and one output, the folder, with its schema and the sums of the window.

    :param base_url: where the API is.
    """
    from airflow.providers.common.compat.openlineage.facet import (
        Dataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
        SchemaDatasetFacet,
        SchemaDatasetFacetFields,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage

    def schema(fields: Sequence[tuple[str, str]]) -> SchemaDatasetFacet:
        return SchemaDatasetFacet(
            fields=[SchemaDatasetFacetFields(name=name, type=kind) for name, kind in fields]
        )

    statistics = OutputStatisticsOutputDatasetFacet(
        rowCount=sum(item.entries for item in receipt.objects),
        size=sum(item.bytes for item in receipt.objects),
        fileCount=len(receipt.objects),
    )
    plan = receipt.plan
    namespace, name = destination.dataset
    is_jsonl = plan.file_format.format == "jsonl"
    return OperatorLineage(
        inputs=[
            Dataset(
                namespace=f"supermetrics://{urlsplit(base_url).netloc}",
                name=f"teams/{plan.team_id}/connectors/{plan.connector_identifier}/logs",
                facets={"schema": schema(SCHEMA)},
            )
        ],
        outputs=[
            OutputDataset(
                namespace=namespace,
                name=name,
                facets={"schema": schema(SCHEMA if is_jsonl else (*SCHEMA, ("extra", "string")))},
                outputFacets={"outputStatistics": statistics},
            )
        ],
    )
