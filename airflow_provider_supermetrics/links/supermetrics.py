"""Extra links: buttons in a task's page in Airflow that lead to what the task has written."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow_provider_supermetrics._compat import BaseOperator, BaseOperatorLink, task_result

__all__ = ["SupermetricsExportFolderLink", "SupermetricsHealthReportLink", "SupermetricsManifestLink"]

# Azure's portal has no address for a container without its subscription and resource group.
_FOLDERS = {
    "s3": "https://console.aws.amazon.com/s3/buckets/{bucket}?prefix={key}",
    "gs": "https://console.cloud.google.com/storage/browser/{bucket}/{key}",
}
_OBJECTS = {
    "s3": "https://console.aws.amazon.com/s3/object/{bucket}?prefix={key}",
    "gs": "https://console.cloud.google.com/storage/browser/_details/{bucket}/{key}",
}
_SAME = {"s3a": "s3", "gcs": "gs"}


class SupermetricsExportFolderLink(BaseOperatorLink):
    """The folder of an export in the web console of Amazon S3 or Google Cloud Storage."""

    name = "Exported folder"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address, or an empty string where there is none; called by Airflow."""
        path = _written(operator, ti_key, "path")
        return _address(_FOLDERS, f"{path.rstrip('/')}/")


class SupermetricsManifestLink(BaseOperatorLink):
    """The manifest of an export in the web console of Amazon S3 or Google Cloud Storage."""

    name = "Manifest"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address, or an empty string where there is none; called by Airflow."""
        return _address(_OBJECTS, _written(operator, ti_key, "manifest"))


class SupermetricsHealthReportLink(BaseOperatorLink):
    """The page about the connectors' health in the web console of Amazon S3 or Google Cloud Storage."""

    name = "Health page"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address, or an empty string where there is none; called by Airflow."""
        return _address(_OBJECTS, _written(operator, ti_key, "report"))


def _written(operator: BaseOperator, ti_key: Any, name: str) -> str:
    """A URL in a task's result, or an empty string without a result."""
    result = task_result(operator, ti_key)
    url = result.get(name) if isinstance(result, dict) else None
    return url if isinstance(url, str) else ""


def _address(addresses: dict[str, str], url: str) -> str:
    # Not urlsplit: '?' and '#' are characters of the store's keys.
    scheme, _, rest = url.partition("://")
    authority, _, key = rest.partition("/")
    address = addresses.get(_SAME.get(scheme, scheme), "")
    bucket = authority.rpartition("@")[2]
    return address.format(bucket=quote(bucket, safe=""), key=quote(key)) if bucket else ""
