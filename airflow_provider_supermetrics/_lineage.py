"""Lineage of an export: Airflow's hook lineage, and OpenLineage where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_supermetrics._api.entry import SCHEMA
from airflow_provider_supermetrics._compat import get_hook_lineage_collector
from airflow_provider_supermetrics._export.manifest import Manifest
from airflow_provider_supermetrics._export.storage import Destination

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


def report_hook_lineage(hook: Any, destination: Destination, manifest: Manifest) -> None:
    """Report the parts to Airflow as outputs, and no manifest or checkpoint.

    :param hook: the hook that read the entries.
    """
    collector = get_hook_lineage_collector()
    for item in manifest.objects:
        collector.add_output_asset(context=hook, uri=destination.uri(item.name))


def openlineage_facets(
    base_url: str, destination: Destination, manifest: Manifest
) -> OperatorLineage[Any, Any]:
    """One input, the connector's log, and one output, the folder, with its schema and statistics.

    :param base_url: the address of the API.
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
        rowCount=manifest.entries, size=manifest.bytes, fileCount=len(manifest.objects)
    )
    namespace, name = destination.dataset
    is_jsonl = manifest.format == "jsonl"
    return OperatorLineage(
        inputs=[
            Dataset(
                namespace=f"supermetrics://{urlsplit(base_url).netloc}",
                name=f"teams/{manifest.team_id}/connectors/{manifest.connector_identifier}/logs",
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
