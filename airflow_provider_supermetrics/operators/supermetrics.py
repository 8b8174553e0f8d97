"""Operators: export a connector's logs to object storage, check and report on exports, list connectors."""

from __future__ import annotations

from airflow_provider_supermetrics.operators._check_exports import SupermetricsCheckExportsOperator
from airflow_provider_supermetrics.operators._check_logs import SupermetricsCheckLogsOperator
from airflow_provider_supermetrics.operators._connectors import SupermetricsListConnectorsOperator
from airflow_provider_supermetrics.operators._export import SupermetricsExportLogsOperator, export_logs
from airflow_provider_supermetrics.operators._health import SupermetricsHealthReportOperator

__all__ = [
    "SupermetricsCheckExportsOperator",
    "SupermetricsCheckLogsOperator",
    "SupermetricsExportLogsOperator",
    "SupermetricsHealthReportOperator",
    "SupermetricsListConnectorsOperator",
    "export_logs",
]

# Airflow stores and shows where a class comes from, which is to be the public name.
for _public in __all__:
    globals()[_public].__module__ = __name__
