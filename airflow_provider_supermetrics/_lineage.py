"""Lineage of an export: Airflow's hook lineage, and OpenLineage where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

from airflow_provider_supermetrics._api.entry import SCHEMA
from airflow_provider_supermetrics._export.manifest import Manifest
from airflow_provider_supermetrics._export.storage import Destination

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


def report_hook_lineage(hook: Any, destination: Destination, manifest: Manifest) -> None:
    """Report the parts to Airflow as outputs of the hook, and no manifest or checkpoint."""
    collector = get_hook_lineage_collector()
    for item in manifest.objects:
        collector.add_output_asset(context=hook, uri=destination.uri(item.name))


def openlineage_facets(
    base_url: str, destination: Destination, manifest: Manifest
) -> OperatorLineage[Any, Any]:
    """One input, the connector's log, and one output, the folder, with its schema and statistics."""
    from airflow.providers.common.compat.openlineage.facet import (
        Dataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
        SchemaDatasetFacet,
        SchemaDatasetFacetFields,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage

    def schema(fields: Mapping[str, str]) -> SchemaDatasetFacet:
        columns = [
            SchemaDatasetFacetFields(name=name, type="integer" if kind.startswith("int") else kind)
            for name, kind in fields.items()
        ]
        return SchemaDatasetFacet(fields=columns)

    statistics = OutputStatisticsOutputDatasetFacet(
        rowCount=manifest.entries, size=manifest.bytes, fileCount=len(manifest.objects)
    )
    namespace, name = destination.dataset
    columns = SCHEMA if manifest.format == "jsonl" else {**SCHEMA, "extra": "string"}
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
                facets={"schema": schema(columns)},
                outputFacets={"outputStatistics": statistics},
            )
        ],
    )
