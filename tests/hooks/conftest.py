"""Both hooks behind one interface, so that the same tests run with both."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_supermetrics._api.entry import Fields
from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsAsyncHook, SupermetricsHook
from tests.support.raw_server import RawHandler, RawServer


class _Awaited:
    """The async hook, with each method run to its end in its own event loop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.hook = SupermetricsAsyncHook(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.hook, name)
        if not callable(attribute):
            return attribute
        return lambda *args, **kwargs: asyncio.run(attribute(*args, **kwargs))

    def iter_logs(self, *args: Any, **kwargs: Any) -> list[Fields]:
        iterator = self.hook.iter_logs(*args, **kwargs)

        async def collect() -> list[Fields]:
            return [entry async for entry in iterator]

        return asyncio.run(collect())


@pytest.fixture(params=["requests", "aiohttp"])
def new_hook(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Make a hook: the one over requests, then the one over aiohttp."""

    def make(*args: Any, **kwargs: Any) -> Any:
        if request.param == "aiohttp":
            return _Awaited(*args, **kwargs)
        hook = SupermetricsHook(*args, **kwargs)
        request.addfinalizer(hook.close)
        return _Listed(hook)

    return make


class _Listed:
    """The hook over requests, with iter_logs read to its end."""

    def __init__(self, hook: SupermetricsHook) -> None:
        self.hook = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self.hook, name)

    def iter_logs(self, *args: Any, **kwargs: Any) -> list[Fields]:
        return list(self.hook.iter_logs(*args, **kwargs))


@pytest.fixture
def hook(new_hook: Callable[..., Any]) -> Any:
    """A hook for the Connection `supermetrics_default`."""
    return new_hook()


@pytest.fixture
def raw_server() -> Iterator[RawServer]:
    """A server whose bytes a test writes itself."""
    server = RawServer(0, RawHandler, "raw server")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody has signed, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path
