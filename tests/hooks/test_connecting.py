"""Connections that are missing, refused or unreachable: both hooks raise the same errors."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics.exceptions import (
    SupermetricsConnectionError,
    SupermetricsError,
    SupermetricsValidationError,
)
from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsAsyncHook, SupermetricsHook
from dev.simulator import Simulator
from tests.conftest import KEY, TEAM
from tests.support.certificates import certificate_of, pem_of
from tests.support.raw_server import RawServer
from tests.support.release import RELEASE

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]
Refuse = Callable[..., str]

_KEY = ec.derive_private_key(1, ec.SECP256R1())
PRIVATE_KEY = pem_of(_KEY).decode()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the machine's settings of proxies and certificates."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def refuse(
    simulate: Simulate, connection: Callable[..., None], new_hook: Callable[..., Any]
) -> Iterator[Refuse]:
    """Expect a Connection to be refused before anything is sent; return the message."""
    sim = simulate()

    def refuse(*, conn_id: str = "supermetrics_default", **parts: Any) -> str:
        connection(**{"url": sim.url, "conn_id": conn_id, **parts})
        with pytest.raises(SupermetricsValidationError) as refused:
            new_hook(conn_id).list_connectors()
        message = str(refused.value)
        assert message.startswith(f"Connection '{conn_id}': ")
        tested = new_hook(conn_id).test_connection()
        assert tested == (False, message.replace(f"Connection '{conn_id}'", "this Connection"))
        assert KEY not in "".join(traceback.format_exception(refused.value))
        return message.removeprefix(f"Connection '{conn_id}': ")

    yield refuse
    assert sim.connections == 0


# The type


@pytest.mark.parametrize(
    "conn_type", ["http", "postgres", "Supermetrics", "SUPERMETRICS", "supermetrics_v1", "super metrics", " "]
)
def test_a_connection_of_another_type_sends_no_password(refuse: Refuse, conn_type: str) -> None:
    """A password of another service is sent neither to its host nor to the API."""
    message = refuse(conn_type=conn_type, conn_id="warehouse")
    kind = f"'{conn_type}'" if " " not in conn_type else "another one"
    assert message.startswith(f"conn_type is {kind}, not 'supermetrics'; ")


def test_a_connection_without_a_type_sends_no_password(
    simulate: Simulate, new_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON without conn_type, and a URI with https for a scheme."""
    sim = simulate()
    for definition in (
        json.dumps({"host": sim.url, "password": KEY, "extra": {"team_id": TEAM}}),
        f"http://:{KEY.replace('/', '%2F')}@{sim.url.removeprefix('http://')}/?team_id={TEAM}",
    ):
        monkeypatch.setenv("AIRFLOW_CONN_UNTYPED", definition)
        with pytest.raises(SupermetricsValidationError, match=r"^Connection 'untyped': conn_type is"):
            new_hook("untyped").list_connectors()
    assert sim.connections == 0


def test_the_inherited_methods_refuse_another_type_too(
    simulate: Simulate, connection: Callable[..., None]
) -> None:
    """run() and get_conn(), and config(), by which run() and session() of the async hook go."""
    sim = simulate()
    connection(sim.url, conn_type="http")

    for use in (
        lambda: SupermetricsHook().run("/v1/x"),
        lambda: SupermetricsHook().get_conn(),
        lambda: asyncio.run(SupermetricsAsyncHook().config()),
    ):
        with pytest.raises(SupermetricsValidationError, match="conn_type is 'http'"):
            use()
    assert sim.connections == 0


# The extra


def by_airflow_3_0() -> AbstractContextManager[Any]:
    """Expect Airflow 3.0 and 3.1 not to find the Connection: they take no such extra from a variable."""
    if (3, 0) <= RELEASE < (3, 2):
        return pytest.raises(SupermetricsConnectionError, match="was not found; check that it is defined as")
    return nullcontext()


@pytest.mark.filterwarnings("ignore:Encountered ")  # Airflow 2.11's word on it
@pytest.mark.parametrize("extra", ["[1]", "5", '"text"', "null", "true", "{", "not json"])
def test_an_extra_that_is_no_object(refuse: Refuse, extra: str) -> None:
    """The extra is read as JSON, and only an object has settings."""
    with by_airflow_3_0():
        assert refuse(extra=extra) == 'extra is not a JSON object such as {"team_id": 936506}'


@pytest.mark.filterwarnings("ignore:Encountered ")  # likewise
@pytest.mark.parametrize("extra", ["", " ", "{}"])
def test_an_empty_extra(simulate: Simulate, connection: Callable[..., None], hook: Any, extra: str) -> None:
    """An empty extra has no settings and is accepted."""
    sim = simulate()
    connection(sim.url, extra=extra)
    with by_airflow_3_0() if extra == " " else nullcontext():
        assert len(hook.list_connectors(TEAM)) == 1


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**400, 10**401) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_KEYS = (
    "team_id",
    "timeout",
    "proxies",
    "verify",
    "cert",
    "headers",
    "allow_http",
    "max_inline_wait",
    "max_attempts",
    "max_total_wait",
    "backoff_initial",
    "backoff_max",
    "rate_limit_reserve",
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(extra=st.dictionaries(st.sampled_from(_KEYS), _JSON | st.sampled_from(["", "0", "x"]), max_size=3))
def test_any_extra_is_taken_or_refused(
    simulate: Simulate, connection: Callable[..., None], new_hook: Callable[..., Any], extra: dict[str, Any]
) -> None:
    """No value of any setting ends in another kind of error, whoever made it up."""
    connection("http://127.0.0.1:9", extra=json.dumps(extra))
    hook = new_hook(wait_policy={"max_attempts": 1})
    with pytest.raises(SupermetricsError) as raised:
        hook.list_connectors(TEAM)
    if isinstance(raised.value, SupermetricsValidationError):
        named = str(raised.value).removeprefix("Connection 'supermetrics_default': ").partition(" ")[0]
        assert named in extra
    else:
        assert "No response from http://127.0.0.1:9" in str(raised.value)


@pytest.mark.parametrize("team_id", [KEY, f"{KEY} ", [KEY]])
def test_a_credential_in_the_field_of_the_team(refuse: Refuse, team_id: Any) -> None:
    """The value is not quoted in the message."""
    assert refuse(extra={"team_id": team_id}) == "team_id must be a positive integer such as 936506"


def test_a_header_with_its_value_in_its_name(refuse: Refuse) -> None:
    """The value is not quoted in the message."""
    message = refuse(extra={"headers": {f"X-Gateway-Key: {KEY}": ""}})
    assert message == "headers has a name that is not valid for a header"


def test_a_header_that_begins_with_a_space(
    simulate: Simulate, connection: Callable[..., None], hook: Any
) -> None:
    """The libraries differ in what they make of it; the space means nothing."""
    sim = simulate()
    connection(sim.url, extra={"team_id": TEAM, "headers": {"X-A": " b\t"}})
    hook.list_connectors()
    assert sim.requests[0].headers["x-a"] == "b"


# The host


@pytest.mark.parametrize(
    "host",
    [
        "https://api..supermetrics.com",
        "https://.supermetrics.com",
        "https://*.supermetrics.com",
        f"https://{'a' * 64}.com",
        f"https://{'.'.join(['a' * 60] * 5)}.com",
        f"https://{'ä' * 60}.com",
        "https://ä..com",
        "https://a\u200bb.com",
        "https://a b.com",
        "https://a%41.com",
        "https://a\\b.com",
        "https://a^b.com",
        "https://a\x1b[31m.com",
        "https://1.2.3",
        "https://999.1.1.1",
        "https://[::1",
        "https://[::g]",
        "https://[v1.x]",
        "https://api.supermetrics.com:0",
        "https://api.supermetrics.com:65536",
        "https://api.supermetrics.com:-1",
        "https://api.supermetrics.com:8x",
        "https://",
        "https://?",
        "ftp://api.supermetrics.com",
        "https://api.supermetrics.com?x",
        "https://api.supermetrics.com#x",
    ],
)
def test_a_host_that_cannot_be_called(refuse: Refuse, host: str) -> None:
    """Both hooks refuse an invalid host with the same message."""
    assert refuse(url=host) == "host is not a URL such as https://api.supermetrics.com"


@pytest.mark.parametrize("port", [65536, -1])
def test_a_port_that_cannot_be_called(refuse: Refuse, port: int) -> None:
    """The Connection's own field counts like one in the host."""
    message = refuse(url="https://api.supermetrics.com", port=port)
    assert message == "host is not a URL such as https://api.supermetrics.com"


@pytest.mark.parametrize("host", ["https://user:12/ss@x.com", "user:12/ss@x.com", "https://user:12#ss@x.com"])
def test_a_password_in_the_host(refuse: Refuse, host: str) -> None:
    """A password in the host is not quoted, even if it contains a delimiter of URLs."""
    message = refuse(url=host)
    assert message.startswith("host contains a user name or password")
    assert "ss" not in message.replace("password", "")


@pytest.mark.parametrize("suffix", ["/v1", "/v2", "/v1/", "/v2//", "/", ""])
@pytest.mark.parametrize("path", ["", "/gateway"])
def test_a_host_with_the_version_of_the_api(
    simulate: Simulate, connection: Callable[..., None], hook: Any, path: str, suffix: str
) -> None:
    """People copy it from the API's documents. It is taken without it; any other path is a gateway's."""
    sim = simulate()
    connection(f"{sim.url}{path}{suffix}")
    with pytest.raises(SupermetricsError) if path else nullcontext():
        hook.list_connectors()
    assert sim.requests[0].path == f"{path}/v1/teams/{TEAM}/connector_builder/connectors"


@pytest.mark.parametrize("suffix", ["/v1/v1", "/v3", "/v10", "/xv1", "/v1/x", "/V1"])
def test_a_path_that_is_not_the_version(
    simulate: Simulate, connection: Callable[..., None], hook: Any, suffix: str
) -> None:
    """Only the end is taken off, and only once, so that a gateway may have any path."""
    sim = simulate()
    connection(f"{sim.url}{suffix}")
    with pytest.raises(SupermetricsError):
        hook.list_connectors()
    kept = suffix.replace("/v1/v1", "/v1")
    assert sim.requests[0].path == f"{kept}/v1/teams/{TEAM}/connector_builder/connectors"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_uri_with_the_version_of_the_api(
    simulate: Simulate, hook: Any, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """A version in a URI, which Airflow parses as the schema, is accepted."""
    sim = simulate()
    quoted = sim.url.replace(":", "%3A").replace("/", "%2F")
    key = KEY.replace("/", "%2F").replace("+", "%2B")
    uri = f"supermetrics://:{key}@{quoted}/{version}?team_id={TEAM}"
    monkeypatch.setenv("AIRFLOW_CONN_SUPERMETRICS_DEFAULT", uri)
    assert len(hook.list_connectors()) == 1


def test_a_uri_with_a_path(refuse: Refuse) -> None:
    """Airflow cuts it from the host; it is not ignored."""
    assert refuse(schema="gateway") == "schema must be empty, 'https' or 'http'; a path belongs in the host"


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("http://LOCALHOST:{port}", ""),
        ("HTTP://localhost:{port}/", ""),
        ("http://localhost:{port}/a b", None),
        ("http://localhost:{port}/%7Ea/ä", "/~a/%C3%A4"),
        ("http://localhost:{port}/a/../b", "/b"),
    ],
)
def test_a_host_in_another_spelling_gets_the_credential(
    simulate: Simulate, connection: Callable[..., None], hook: Any, host: str, path: str | None
) -> None:
    """The libraries normalize URLs, and the credential is still sent."""
    sim = simulate()
    connection(host.format(port=sim.url.rpartition(":")[2]))
    if path is None:
        assert not hook.test_connection()[0]
        assert sim.connections == 0
        return
    hook.test_connection()
    assert sim.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert sim.requests[0].path == f"{path}/v1/teams/{TEAM}/connector_builder/connectors"


# Certificates


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are no certificate with its key."""
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "text.pem").write_text("no certificate\n")
    (folder / "empty.pem").touch()
    certificate, encrypted = certificate_of(_KEY), pem_of(_KEY, b"passphrase")
    (folder / "key.pem").write_text(PRIVATE_KEY)
    (folder / "certificate.pem").write_bytes(certificate)
    (folder / "encrypted.pem").write_bytes(encrypted)
    (folder / "both-encrypted.pem").write_bytes(encrypted + certificate)
    (folder / "other.pem").write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1())))
    return folder


@pytest.mark.parametrize(
    ("cert", "message"),
    [
        ("{}/text.pem", "cert names a file with no certificate with its private key in PEM format"),
        ("{}/empty.pem", "cert names a file with no certificate with its private key in PEM format"),
        ("{}/certificate.pem", "cert names a file with no certificate with its private key in PEM format"),
        ("{}/key.pem", "cert names a file with no certificate with its private key in PEM format"),
        ("{}", "cert must name a file: {}"),
        ("{}/none.pem", "cert names a file that does not exist here: {}/none.pem"),
        ("{}/key.pem/x", "cert names a file that does not exist here: {}/key.pem/x"),
        ("/dev/null", "cert must name a file: /dev/null"),
        ("/proc/self/mem", None),
        ("{}/both-encrypted.pem", "cert has an encrypted private key; store the key without a passphrase"),
        (
            ["{}/certificate.pem", "{}/encrypted.pem"],
            "cert has an encrypted private key; store the key without a passphrase",
        ),
        (
            ["{}/certificate.pem", "{}/other.pem"],
            "cert names a file with a private key that does not belong to the certificate",
        ),
        (["{}/certificate.pem", "{}"], "cert must name a file: {}"),
    ],
    ids=str,
)
def test_a_client_certificate_that_cannot_be_loaded(
    refuse: Refuse, files: Path, cert: Any, message: str | None
) -> None:
    """It is refused before a connection is made, and no passphrase is requested on the terminal."""
    filled = [part.format(files) for part in cert] if isinstance(cert, list) else cert.format(files)
    said = refuse(url="https://127.0.0.1:9", extra={"team_id": TEAM, "cert": filled})
    if message is not None:
        assert said == message.format(files)
    else:
        assert said.startswith("cert names a file ")


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        ("{}/text.pem", "names a file with no certificate in PEM format"),
        ("{}/empty.pem", "names a file with no certificate in PEM format"),
        ("{}/none.pem", "names a file that does not exist here: {}/none.pem"),
        ("/dev/null", "must name a file: /dev/null"),
    ],
)
@pytest.mark.parametrize("setting", ["verify", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_that_cannot_be_loaded(
    refuse: Refuse, files: Path, monkeypatch: pytest.MonkeyPatch, setting: str, bundle: str, message: str
) -> None:
    """The Connection's and the environment's are judged alike, and the one that counts is named."""
    extra: dict[str, Any] = {"team_id": TEAM}
    if setting == "verify":
        extra["verify"] = bundle.format(files)
    else:
        monkeypatch.setenv(setting, bundle.format(files))
    assert refuse(url="https://127.0.0.1:9", extra=extra) == f"{setting} {message.format(files)}"


def test_an_environments_bundle_that_does_not_count(
    simulate: Simulate, hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain HTTP needs no certificates."""
    simulate()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
    assert len(hook.list_connectors()) == 1


_BODY = "".join(PRIVATE_KEY.splitlines()[1:-1])


@pytest.mark.parametrize(
    "pasted",
    [
        PRIVATE_KEY,
        PRIVATE_KEY.replace("\n", " "),
        PRIVATE_KEY.replace("\n", ""),
        PRIVATE_KEY.replace("\n", "\\n"),
        _BODY,
        _BODY[:64],
        "/" + PRIVATE_KEY,
        "x" * 5000,
        "./" + "x" * 300,
    ],
)
@pytest.mark.parametrize("setting", ["cert", "key", "verify"])
def test_a_private_key_pasted_for_a_path_is_not_quoted(refuse: Refuse, setting: str, pasted: str) -> None:
    """A private key in place of a path is not quoted; only a short path of one line is."""
    value: Any = pasted
    if setting == "key":
        setting, value = "cert", [__file__, pasted]
    message = refuse(url="https://127.0.0.1:9", extra={"team_id": TEAM, setting: value})
    assert message.startswith(f"{setting} ")
    assert "\n" not in message
    assert len(message) < 120
    assert _BODY[:16] not in message
    assert "xxx" not in message


# Proxies


@pytest.mark.parametrize(
    "password", ["se/cret", "se#cret", "se?cret", "12/secret", "12#secret", "12?secret", "se\\cret", "€cret"]
)
@pytest.mark.parametrize("where", ["environment", "ALL_PROXY", "connection", "connection's object"])
def test_a_proxys_password_that_is_not_encoded(
    refuse: Refuse, monkeypatch: pytest.MonkeyPatch, where: str, password: str
) -> None:
    """Libraries take a part of it for the host, and quote it."""
    proxy = f"http://corp-user:{password}@127.0.0.1:9"
    extra: dict[str, Any] = {"team_id": TEAM}
    if where == "environment":
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    elif where == "ALL_PROXY":
        monkeypatch.setenv("ALL_PROXY", proxy)
    else:
        extra["proxies"] = proxy if where == "connection" else {"https": proxy}
    message = refuse(url="https://api.supermetrics.com", extra=extra)
    assert message.startswith(
        "proxies must be" if "connection" in where else "HTTPS_PROXY of the environment"
    )
    assert "secret" not in message
    assert "corp-user" not in message


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://127.0.0.1:9",
        "http://",
        "http://a..b:1",
        "http://x:99999",
        "http://us%3Aer:w@x",
        "http://x/path",
    ],
)
def test_a_proxy_that_one_library_would_refuse(
    refuse: Refuse, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """Both hooks refuse it, and name the variable."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    message = refuse(url="https://api.supermetrics.com")
    assert message.startswith("HTTPS_PROXY of the environment (or ALL_PROXY) must be a URL such as")


def test_a_proxy_for_other_hosts_is_not_judged(
    simulate: Simulate, hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An invalid proxy that applies to other hosts only is ignored."""
    simulate()
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pass/word@proxy")
    monkeypatch.setenv("HTTP_PROXY", "nonsense://")
    monkeypatch.setenv("http_proxy", "nonsense://")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert len(hook.list_connectors()) == 1


@pytest.mark.parametrize(
    ("user_info", "sent"),
    [
        ("user:word", b"user:word"),
        ("user:p%2Fs%23s%3F%40%3A", b"user:p/s#s?@:"),
        ("user:p@ss:word", b"user:p@ss:word"),
        ("user:w%C3%B6rd", "user:wörd".encode("latin-1")),
        ("user:", b"user:"),
        ("user:a^b|c{d}`\"'<>~!$&()*+,;=", b"user:a^b|c{d}`\"'<>~!$&()*+,;="),
    ],
)
@pytest.mark.parametrize("where", ["environment", "connection"])
def test_a_proxys_password_arrives(
    simulate: Simulate,
    connection: Callable[..., None],
    hook: Any,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    user_info: str,
    sent: bytes,
) -> None:
    """Encoded, or where nothing needs to be; by both hooks alike."""
    import base64

    sim = simulate()
    proxy = sim.url.replace("http://", f"http://{user_info}@")
    monkeypatch.setenv("no_proxy", "")
    if where == "environment":
        monkeypatch.setenv("http_proxy", proxy)
    connection(
        "http://localhost:9",
        extra={"team_id": TEAM, **({} if where == "environment" else {"proxies": proxy})},
    )
    with pytest.raises(SupermetricsError):
        hook.list_connectors()
    authorization = sim.requests[0].headers["proxy-authorization"]
    assert base64.b64decode(authorization.removeprefix("Basic ")) == sent


# Airflow

# It has moved between Airflow's versions.
BaseHook = next(base for base in SupermetricsHook.__mro__ if base.__name__ == "BaseHook")


class Unreachable:
    """A secrets backend whose server is down; Airflow finds it by its path."""

    def __init__(self, **_: Any) -> None:
        """Airflow passes what is configured."""

    def get_connection(self, conn_id: str) -> None:
        """Fail as a client library does."""
        raise ConnectionError(f"vault of {conn_id} at //token:{KEY}@vault")


def not_fetched(new_hook: Callable[..., Any], conn_id: str) -> str:
    """The message of both hooks for a Connection that Airflow cannot provide; the error is retried."""
    with pytest.raises(SupermetricsConnectionError) as raised:
        new_hook(conn_id).list_connectors()
    message = str(raised.value)
    assert message.startswith(f"Connection '{conn_id}' ")
    assert new_hook(conn_id).test_connection() == (
        False,
        message.replace(f"Connection '{conn_id}'", "this Connection"),
    )
    assert KEY not in "".join(traceback.format_exception(raised.value))
    return message


def test_a_connection_that_does_not_exist(new_hook: Callable[..., Any]) -> None:
    """Airflow says the same where a secrets backend is down, so that a retry is right."""
    assert not_fetched(new_hook, "no_such").startswith("Connection 'no_such' was not found; check that it is")


def test_a_secrets_backend_that_is_down(
    new_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry may find it up again; Airflow does not pass on the message of its library."""
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", f"{__name__}.Unreachable")
    assert "secrets backend" in not_fetched(new_hook, "in_vault")


@pytest.mark.parametrize(
    "definition",
    [
        json.dumps({"conn_type": "supermetrics", "password": KEY, "port": "x"}),
        json.dumps({"conn_type": "supermetrics", "password": KEY, "unknown": "x"}),
        json.dumps({"conn_type": "supermetrics", "password": KEY})[:-1],
        f"supermetrics://:{KEY}@https://a://b",
    ],
)
def test_a_definition_that_airflow_cannot_read(
    new_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, definition: str
) -> None:
    """The message does not quote it."""
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", definition)
    not_fetched(new_hook, "broken")


class AirflowRuntimeError(Exception):
    """As the task SDK of Airflow 3 raises it where the API server fails; Airflow 2 has none."""


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (
            AirflowRuntimeError(f"API_SERVER_ERROR: {{'status_code': 500, 'detail': '{KEY}'}}"),
            "could not be read (AirflowRuntimeError API_SERVER_ERROR)",
        ),
        (PermissionError(f"Access denied {KEY}"), "could not be read (PermissionError)"),
        (RuntimeError(f"deadlock {KEY}"), "could not be read (RuntimeError)"),
        (ValueError(f"{KEY}"), "could not be read (ValueError)"),
        (OSError("broken pipe"), "could not be read (OSError)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_airflow_fails_while_it_fetches_the_connection(
    new_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: Exception, what: str
) -> None:
    """Whatever it raises, the message names the Connection and the kind of error; it quotes nothing else."""

    def fail(conn_id: str) -> None:
        raise error

    async def fail_async(conn_id: str) -> None:
        raise error

    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(fail))
    monkeypatch.setattr(BaseHook, "aget_connection", staticmethod(fail_async), raising=False)
    assert not_fetched(new_hook, "some").startswith(f"Connection 'some' {what}; check that")


def test_a_password_that_airflow_cannot_decrypt(
    new_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some Airflows decrypt where a field is read, which fails without the right Fernet key."""

    class Encrypted:
        conn_type, host, schema, port, extra = "supermetrics", None, None, None, None

        def __init__(self, conn_id: str) -> None:
            self.conn_id = conn_id

        @property
        def password(self) -> str:
            raise ValueError(f"cannot decrypt {KEY}")

    async def get_async(conn_id: str) -> Any:
        return Encrypted(conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", Encrypted)
    monkeypatch.setattr(BaseHook, "aget_connection", staticmethod(get_async), raising=False)
    assert not_fetched(new_hook, "encrypted").startswith(
        "Connection 'encrypted' could not be read (ValueError)"
    )


# The network


def unreachable(connection: Callable[..., None], new_hook: Callable[..., Any], **parts: Any) -> str:
    """Why no response came, in both hooks' words."""
    connection(**parts)
    with pytest.raises(SupermetricsConnectionError) as raised:
        new_hook(wait_policy={"max_attempts": 1}).list_connectors()
    message = str(raised.value)
    assert new_hook().test_connection() == (
        False,
        message.replace("Connection 'supermetrics_default'", "this Connection"),
    )
    begin, end = (
        f"No response from {parts['url']} (",
        (
            "); check the host of Connection 'supermetrics_default', the network and any proxy; "
            f"GET /v1/teams/{TEAM}/connector_builder/connectors"
        ),
    )
    assert message.startswith(begin)
    assert message.endswith(end)
    return message[len(begin) : -len(end)]


def test_nothing_listens(connection: Callable[..., None], new_hook: Callable[..., Any]) -> None:
    """The message says so in the system's words."""
    assert unreachable(connection, new_hook, url="http://127.0.0.1:9") == "Connection refused"


def test_a_host_that_does_not_exist(connection: Callable[..., None], new_hook: Callable[..., Any]) -> None:
    """The resolver's words follow."""
    reason = unreachable(connection, new_hook, url="https://no-such-host.invalid")
    assert reason.startswith("the host name cannot be resolved: ")


def test_a_connection_closed_without_a_response(
    connection: Callable[..., None], new_hook: Callable[..., Any], raw_server: RawServer
) -> None:
    """A connection that is closed without a response raises a connection error."""
    reason = unreachable(connection, new_hook, url=raw_server.url)
    assert reason == "the connection was closed before a response"


def test_a_server_without_tls(
    connection: Callable[..., None], new_hook: Callable[..., Any], raw_server: RawServer
) -> None:
    """A server without TLS at an https:// URL raises a connection error."""
    raw_server.response = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    reason = unreachable(connection, new_hook, url=raw_server.url.replace("http://", "https://"))
    assert reason in ("TLS failed: wrong version number", "TLS failed: record layer failure")


def test_a_proxy_that_refuses(
    connection: Callable[..., None], new_hook: Callable[..., Any], raw_server: RawServer
) -> None:
    """The message contains the proxy's status, but not its password."""
    raw_server.error(407, b"")
    proxy = raw_server.url.replace("http://", "http://corp-user:corp-password@")
    extra = {"team_id": TEAM, "proxies": proxy}
    reason = unreachable(connection, new_hook, url="https://api.supermetrics.com", extra=extra)
    assert reason == "the proxy refused with status 407"


def test_a_proxy_that_is_down(connection: Callable[..., None], new_hook: Callable[..., Any]) -> None:
    """A proxy that is down raises the same error as a host that is down."""
    extra = {"team_id": TEAM, "proxies": "http://corp-user:corp-password@127.0.0.1:9"}
    reason = unreachable(connection, new_hook, url="https://api.supermetrics.com", extra=extra)
    assert reason == "Connection refused"
