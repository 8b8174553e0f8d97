"""Object stores on this machine, each behind a proxy, and exports to them."""

from __future__ import annotations

import gzip
import json
import os
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from airflow_provider_supermetrics._export.storage import Destination
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from tests.conftest import CONNECTOR
from tests.support.emulators import S3, Azure, Emulator, Gcs
from tests.support.export import context
from tests.support.proxy import Fault, FaultProxy, Request

# gcsfs would try Google's gRPC service for the kind of the bucket, for a minute and before every request:
# the emulator has none. It reads this when it is imported.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

STORES: dict[str, type[S3 | Azure | Gcs]] = {"s3": S3, "azure": Azure, "gcs": Gcs}


class Bucket:
    """A fresh bucket. An Airflow Connection leads there, through a proxy; all else here goes past it."""

    def __init__(self, emulator: Emulator, proxy: FaultProxy, conn_id: str) -> None:
        self.emulator = emulator
        self.proxy = proxy
        self.conn_id = conn_id
        self.name = f"bucket-{uuid.uuid4().hex}"
        emulator.create(self.name)

    @property
    def url(self) -> str:
        """What ObjectStoragePath calls it."""
        return f"{self.emulator.scheme}://{self.conn_id}@{self.name}"

    @property
    def destination(self) -> Destination:
        """A folder in it."""
        return Destination.at(f"{self.url}/a/b")

    @property
    def objects(self) -> dict[str, bytes]:
        """Every object's bytes."""
        return self.emulator.objects(self.name)

    @property
    def unfinished(self) -> list[str]:
        """The objects of which the store holds parts that no reader sees."""
        return self.emulator.unfinished(self.name)

    @property
    def requests(self) -> list[Request]:
        """What came through the proxy."""
        return self.proxy.requests

    def respond(self, status: int, *, times: int, when: Callable[[Request], bool]) -> None:
        """Let the proxy respond as the store would to the first requests for which `when` returns True."""
        headers, body = self.emulator.error(status)
        self.proxy.faults.append(
            Fault("response", status=status, headers=headers, body=body, times=times, when=when)
        )


def writes(request: Request) -> bool:
    """Whether a request puts bytes into the store."""
    return request.method in ("PUT", "POST")


def export_to(bucket: Bucket, **arguments: Any) -> SupermetricsExportLogsOperator:
    """An export of the first hour to the bucket."""
    return SupermetricsExportLogsOperator(
        **{
            "task_id": "export",
            "connector_identifier": CONNECTOR,
            "path": f"{bucket.url}/logs",
            **arguments,
        }
    )


def run_export(bucket: Bucket, **arguments: Any) -> dict[str, Any]:
    """Export the first hour to the bucket; return the result."""
    result: dict[str, Any] = export_to(bucket, **arguments).execute(context())
    return result


def lines(objects: dict[str, bytes], names: Iterable[str]) -> list[dict[str, Any]]:
    """The entries in these objects."""
    return [json.loads(line) for name in names for line in gzip.decompress(objects[name]).splitlines()]
