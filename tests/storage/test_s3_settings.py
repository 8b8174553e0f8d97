"""What docs/export.md says of S3's own settings: each arrives in the requests that a worker sends."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dev.simulator import Simulator
from tests.conftest import CONNECTOR
from tests.hooks import conftest as hooks
from tests.support.proxy import FaultProxy
from tests.support.stores import Bucket, writes

pytestmark = pytest.mark.airflow_2

certificate = hooks.certificate

EXPORT = """
import sys

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from tests.support.export import context

SupermetricsExportLogsOperator(
    task_id="export", connector_identifier=sys.argv[1], path=sys.argv[2], entries_per_file=20
).execute(context())
"""


@pytest.fixture
def export(
    simulate: Callable[..., Simulator], new_bucket: Callable[[str], Bucket], repository: Path
) -> Callable[..., Bucket]:
    """Export in a process of its own, because libraries read some of their settings once."""
    simulate()
    bucket = new_bucket("s3")

    def run(url: str | None = None, extra: dict[str, Any] | None = None, **variables: str) -> Bucket:
        connection = bucket.emulator.connection(url or bucket.proxy.url)
        connection["extra"].update(extra or {})
        done = subprocess.run(
            [sys.executable, "-c", EXPORT, CONNECTOR, f"s3://own@{bucket.name}/logs"],
            cwd=repository,
            env={**os.environ, "AIRFLOW_CONN_OWN": json.dumps(connection), **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return bucket

    return run


def documented(repository: Path, part: str) -> str:
    """The value of the one setting in docs/export.md with this text in it."""
    page = (repository / "docs/export.md").read_text()
    [line] = [line for line in page.splitlines() if part in line]
    return line.partition("'")[2].rpartition("'")[0]


def test_encryption_by_a_key_of_ones_own(export: Callable[..., Bucket], repository: Path) -> None:
    """Each object is written with the headers, the checkpoint and the manifest included."""
    bucket = export(FSSPEC_S3=documented(repository, "export FSSPEC_S3="))
    written = [request.headers for request in bucket.requests if writes(request)]
    assert len(written) > 4
    assert {headers.get("x-amz-server-side-encryption") for headers in written} == {"aws:kms"}
    assert {headers.get("x-amz-server-side-encryption-aws-kms-key-id") for headers in written} == {"KEY-ID"}


def test_a_store_that_does_not_support_checksums(export: Callable[..., Bucket], repository: Path) -> None:
    """With the setting no request carries one; without it each write does."""
    extra = json.loads(documented(repository, "AIRFLOW_CONN_R2="))["extra"]
    bucket = export(extra={"config_kwargs": extra["config_kwargs"]})
    assert checksums(bucket) == {False}
    bucket.proxy.clear()
    assert checksums(export()) == {True}


def checksums(bucket: Bucket) -> set[bool]:
    """Whether the writes carry checksums of the newer kinds."""
    return {"x-amz-checksum-crc32" in request.headers for request in bucket.requests if writes(request)}


def test_a_private_authority(export: Callable[..., Bucket], certificate: Path) -> None:
    """The worker's AWS_CA_BUNDLE determines the trusted authorities."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    bucket = export()
    with FaultProxy(bucket.emulator.url) as proxy:
        proxy.socket = context.wrap_socket(proxy.socket, server_side=True, do_handshake_on_connect=False)
        export(proxy.url.replace("http://", "https://"), AWS_CA_BUNDLE=str(certificate))
        assert proxy.requests != []
