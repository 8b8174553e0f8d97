"""An S3 server on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest


class Bucket:
    """A bucket of the local S3 server, and what the server was asked."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name

    @property
    def objects(self) -> dict[str, bytes]:
        """Every object's bytes."""
        listed = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {
            item["Key"]: self.client.get_object(Bucket=self.name, Key=item["Key"])["Body"].read()
            for item in listed
        }


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The server's URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Bucket:
    """A fresh bucket, reachable with the Airflow connection `aws_local`."""
    import boto3

    monkeypatch.setenv(
        "AIRFLOW_CONN_AWS_LOCAL",
        json.dumps(
            {
                "conn_type": "aws",
                "login": "local-access-key",
                "password": "local-secret-key",
                "extra": {"endpoint_url": s3_server, "region_name": "us-east-1"},
            }
        ),
    )
    client = boto3.client(
        "s3",
        endpoint_url=s3_server,
        region_name="us-east-1",
        aws_access_key_id="local-access-key",
        aws_secret_access_key="local-secret-key",
    )
    name = f"bucket-{abs(hash(request.node.nodeid))}"
    client.create_bucket(Bucket=name)
    return Bucket(client, name)
