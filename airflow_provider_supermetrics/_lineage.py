"""Lineage of an export: Airflow's hook lineage, and OpenLineage where it is installed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

from airflow_provider_supermetrics._api.entry import SCHEMA
from airflow_provider_supermetrics._api.text import counted
from airflow_provider_supermetrics._assets import dataset_of, log_uri
from airflow_provider_supermetrics._export.formats.rows import COLUMNS
from airflow_provider_supermetrics._export.manifest import Manifest
from airflow_provider_supermetrics._export.storage import Destination
from airflow_provider_supermetrics.exceptions import reason

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

log = logging.getLogger(__name__)


def report_hook_lineage(hook: Any, destination: Destination, manifest: Manifest) -> None:
    """Report the log to Airflow as the input of the hook, the parts as outputs; no manifest or checkpoint.

    Only logs what Airflow refuses, such as a very long URI, because the export is complete.
    """
    refused: list[tuple[str, str]] = []
    for part in (None, *(item.name for item in manifest.objects)):
        try:
            collector = get_hook_lineage_collector()
            if part is None:
                collector.add_input_asset(context=hook, uri=_log_uri(hook.base_url, manifest))
            else:
                collector.add_output_asset(context=hook, uri=destination.uri(part))
        except Exception as error:
            refused.append((part or f"the log of {manifest.connector_identifier}", reason(error)))
    if refused:
        (first, why), *others = refused
        log.warning(
            "The lineage of this export lacks %s%s: %s. The export is complete",
            first,
            f" and {counted(len(others), 'other')}" if others else "",
            why,
        )


def openlineage_facets(
    base_url: str, destination: Destination, manifest: Manifest
) -> OperatorLineage[Any, Any]:
    """One input, the connector's log, and one output, the folder, each with its schema and statistics."""
    from airflow.providers.common.compat.openlineage.facet import (
        InputDataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
        SchemaDatasetFacet,
        SchemaDatasetFacetFields,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.facet_v2 import data_quality_metrics_input_dataset as quality

    def schema(fields: Mapping[str, str]) -> SchemaDatasetFacet:
        columns = [
            SchemaDatasetFacetFields(name=name, type="integer" if kind.startswith("int") else kind)
            for name, kind in fields.items()
        ]
        return SchemaDatasetFacet(fields=columns)

    durations = manifest.statistics.duration_ms
    metrics = quality.DataQualityMetricsInputDatasetFacet(
        rowCount=manifest.entries,
        columnMetrics={
            "status": quality.ColumnMetrics(nullCount=manifest.statistics.statuses.get("none", 0)),
            "duration_ms": quality.ColumnMetrics(
                nullCount=manifest.entries - durations.entries,
                count=durations.entries,
                max=durations.max,
                quantiles={
                    quantile: value
                    for quantile, value in (("0.5", durations.p50), ("0.95", durations.p95))
                    if value is not None
                },
            ),
        },
    )
    statistics = OutputStatisticsOutputDatasetFacet(
        rowCount=manifest.entries, size=manifest.bytes, fileCount=len(manifest.objects)
    )
    log_namespace, log_name = dataset_of(_log_uri(base_url, manifest))
    namespace, name = destination.dataset
    columns = SCHEMA if manifest.format == "jsonl" else COLUMNS
    return OperatorLineage(
        inputs=[
            InputDataset(
                namespace=log_namespace,
                name=log_name,
                facets={"schema": schema(SCHEMA)},
                inputFacets={"dataQualityMetrics": metrics},
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


def _log_uri(base_url: str, manifest: Manifest) -> str:
    return log_uri(urlsplit(base_url).netloc, manifest.team_id, manifest.connector_identifier)
