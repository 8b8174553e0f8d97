"""Certificates: which are trusted, and which setting decides."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import SupermetricsConnectionError
from tests.conftest import TEAM

pytestmark = pytest.mark.airflow_2


class _Handler(BaseHTTPRequestHandler):
    """A handler that returns an empty list of connectors."""

    def do_GET(self) -> None:  # the name that http.server looks up
        body = b'{"connectors": [], "count": 0}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def server(certificate: Path) -> Iterator[str]:
    """Yield the URL of a server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    httpd = HTTPServer(("127.0.0.1", 0), _Handler)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def list_connectors(new_hook: Callable[..., Any]) -> list[dict[str, Any]]:
    """List connectors with a single attempt."""
    connectors: list[dict[str, Any]] = new_hook(wait_policy={"max_attempts": 1}).list_connectors()
    return connectors


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the machine's settings of certificates."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def test_an_unknown_certificate_is_refused(
    server: str, connection: Callable[..., None], new_hook: Callable[..., Any]
) -> None:
    """An unknown certificate is refused by default, and the error gives the reason."""
    connection(server)
    with pytest.raises(SupermetricsConnectionError, match=r"(?i)certificate"):
        list_connectors(new_hook)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # urllib3's warning about verify=false
@pytest.mark.parametrize("bundle", ["", "/no/such/bundle.pem"])
def test_verify_false(
    server: str,
    connection: Callable[..., None],
    new_hook: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    bundle: str,
) -> None:
    """The Connection's verify=false takes precedence over the environment."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    connection(server, extra={"team_id": TEAM, "verify": False})
    assert list_connectors(new_hook) == []


def test_verify_with_a_bundle(
    server: str,
    certificate: Path,
    connection: Callable[..., None],
    new_hook: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The Connection's bundle takes precedence over the environment's."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
    connection(server, extra={"team_id": TEAM, "verify": str(certificate)})
    assert list_connectors(new_hook) == []


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_environments_bundle(
    server: str,
    certificate: Path,
    connection: Callable[..., None],
    new_hook: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Without a bundle in the Connection, both hooks use the environment's."""
    monkeypatch.setenv(name, str(certificate))
    connection(server)
    assert list_connectors(new_hook) == []
