"""The settings of a Connection, valid and invalid."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import certifi
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_provider_supermetrics._client.connection import ConnectionSettings
from airflow_provider_supermetrics.exceptions import (
    SupermetricsRequestError,
    SupermetricsResponseError,
    SupermetricsServerError,
    SupermetricsValidationError,
)
from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsHook
from dev.simulator import Fault, Simulator
from dev.simulator.raw import bomb
from tests.conftest import KEY, TEAM
from tests.support.certificates import certificate_of, pem_of
from tests.support.compat import AirflowOptionalProviderFeatureException, Connection
from tests.support.release import AIRFLOW_2

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]


def settings(**parts: Any) -> ConnectionSettings:
    """The settings of a Connection with these parts."""
    extra = parts.pop("extra", {})
    parts = {"conn_id": "c", "conn_type": "supermetrics", "password": KEY, **parts}
    return ConnectionSettings.from_connection(Connection(**parts, extra=json.dumps(extra)))


@pytest.mark.parametrize(
    ("parts", "url"),
    [
        ({}, "https://api.supermetrics.com"),
        ({"host": ""}, "https://api.supermetrics.com"),
        ({"host": "api.example.com"}, "https://api.example.com"),
        ({"host": "api.example.com", "port": 8443}, "https://api.example.com:8443"),
        ({"host": "https://api.example.com/"}, "https://api.example.com"),
        ({"host": "https://api.example.com:8443", "port": 1}, "https://api.example.com:8443"),
        ({"host": "https://gateway.example.com/supermetrics/"}, "https://gateway.example.com/supermetrics"),
        ({"host": "http://127.0.0.1:8000"}, "http://127.0.0.1:8000"),
        ({"host": "localhost", "schema": "http", "port": 8000}, "http://localhost:8000"),
        ({"host": "http://[::1]:8000"}, "http://[::1]:8000"),
        ({"host": "http://proxy.internal", "extra": {"allow_http": True}}, "http://proxy.internal"),
        ({"host": "http://proxy.internal", "extra": {"allow_http": "true"}}, "http://proxy.internal"),
    ],
)
def test_where_requests_go(parts: dict[str, Any], url: str) -> None:
    """https, unless the host says http and is this machine or the extra allows it."""
    assert settings(**parts).base_url == url


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({"host": "http://api.supermetrics.com"}, "host says http://"),
        ({"host": "http://127.0.0.1.evil.com"}, "host says http://"),
        ({"host": "http://localhost.evil.com", "extra": {"allow_http": ""}}, "host says http://"),
        ({"host": "api.supermetrics.com", "schema": "http"}, "host says http://"),
        ({"host": "http://x", "extra": {"allow_http": "perhaps"}}, "allow_http must be true or false"),
        ({"host": "ftp://x"}, "host is not a URL"),
        ({"host": "https://"}, "host is not a URL"),
        ({"host": "https://x?y=1"}, "host is not a URL"),
        ({"host": "https://x:port"}, "host is not a URL"),
        ({"host": "https://user:secret@x"}, "host contains a user name or password"),
        ({"host": "x", "schema": "v3"}, "schema must be"),
        ({"password": None}, "password is empty"),
        ({"password": "  "}, "password is empty"),
        ({"password": "Bearer abc"}, "password contains a space"),
        ({"password": "abc\ndef"}, "password contains a space"),
        ({"password": "schlüssel"}, "password contains a space"),
        ({"extra": {"team_id": "seven"}}, "team_id must be a positive integer"),
        ({"extra": {"timeout": 0}}, "timeout must be a number"),
        ({"extra": {"timeout": "nan"}}, "timeout must be a number"),
        ({"extra": {"timeout": True}}, "timeout must be a number"),
        ({"extra": {"verify": 1}}, "verify must be"),
        ({"extra": {"verify": "/no/such/bundle.pem"}}, "verify names a file that does not exist here"),
        ({"extra": {"cert": "/no/such/cert.pem"}}, "cert names a file that does not exist here"),
        ({"extra": {"cert": ["/no/such/cert.pem", "/x"]}}, "cert names a file that does not exist here"),
        ({"extra": {"proxies": "proxy:3128"}}, "proxies must be"),
        ({"extra": {"proxies": {"https": "http://u:secret@proxy:port"}}}, "proxies must be"),
        ({"extra": {"proxies": {"https": "http://u:secret@ proxy"}}}, "proxies must be"),
        ({"extra": {"cert": ["one"]}}, "cert must be"),
        ({"extra": {"proxies": {"https": 1}}}, "proxies must be"),
        ({"extra": {"headers": "X: y"}}, "headers must be an object"),
        ({"extra": {"headers": ["X"]}}, "headers must be an object"),
        ({"extra": {"headers": {"X": 1}}}, "headers must be an object of strings"),
        ({"extra": {"headers": {"X Y": "1"}}}, "headers has a name that is not valid for a header"),
        ({"extra": {"headers": {"X": "a\r\nY: b"}}}, "headers has a header 'X'"),
        ({"extra": {"headers": {"authorization": "x"}}}, "headers must not contain Authorization"),
    ],
)
def test_invalid_settings_are_refused_at_once(parts: dict[str, Any], complaint: str) -> None:
    """The message names the Connection and the setting, never the credential."""
    with pytest.raises(SupermetricsValidationError) as refused:
        settings(**parts)
    assert str(refused.value).startswith(f"Connection 'c': {complaint}")
    for secret in (KEY, "abc", "schlüssel", "secret"):
        assert secret not in str(refused.value)


def test_every_setting_is_typed(tmp_path: Path) -> None:
    """Settings in JSON keep their types."""
    (tmp_path / "bundle.pem").write_bytes(Path(certifi.where()).read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "a.key").write_bytes(pem_of(key))
    (tmp_path / "a.crt").write_bytes(certificate_of(key))
    made = settings(
        extra={
            "team_id": 7,
            "timeout": 1.5,
            "proxies": {"https": "http://p:1"},
            "verify": f"{tmp_path}/bundle.pem",
            "cert": [f"{tmp_path}/a.crt", f"{tmp_path}/a.key"],
            "headers": {"X-A": "b"},
        }
    )
    assert (made.team_id, made.timeout, made.proxies) == (7, 1.5, {"https": "http://p:1"})
    assert made.verify == f"{tmp_path}/bundle.pem"
    assert made.cert == (f"{tmp_path}/a.crt", f"{tmp_path}/a.key")
    assert made.headers == {"X-A": "b"}


def test_strings_of_forms_and_uris_are_understood() -> None:
    """Forms and URIs give strings only, empty ones included."""
    made = settings(
        extra={
            "team_id": "7",
            "timeout": "30",
            "verify": "False",
            "proxies": "http://p:1",
            "headers": '{"X-A": "b"}',
            "cert": "",
        }
    )
    assert (made.team_id, made.timeout, made.verify, made.cert) == (7, 30.0, False, None)
    assert made.proxies == {"https": "http://p:1"}
    assert made.headers == {"X-A": "b"}
    empty = settings(extra=dict.fromkeys(("team_id", "timeout", "verify", "proxies", "headers"), ""))
    assert empty == settings()


def test_the_repr_contains_no_secret() -> None:
    """Credential, proxies and headers may hold secrets; none is in the repr."""
    made = settings(extra={"proxies": {"https": "http://u:hidden1@p"}, "headers": {"X-Key": "hidden2"}})
    assert "hidden" not in repr(made)
    assert KEY not in repr(made)


def test_a_connection_as_json(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    """AIRFLOW_CONN_… in JSON works."""
    sim = simulate()
    monkeypatch.setenv(
        "AIRFLOW_CONN_AS_JSON",
        json.dumps(
            {"conn_type": "supermetrics", "host": sim.url, "password": KEY, "extra": {"team_id": TEAM}}
        ),
    )
    with SupermetricsHook("as_json") as hook:
        assert len(hook.list_connectors()) == 1


@pytest.mark.parametrize(
    "form",
    ["supermetrics://:{key}@{quoted}/?team_id={team}", "supermetrics://:{key}@{netloc}/http?team_id={team}"],
)
def test_a_connection_as_uri(simulate: Simulate, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """AIRFLOW_CONN_… as a URI works, with a quoted URL for a host, or with the scheme as the path."""
    sim = simulate()
    uri = form.format(
        key=quote(KEY, safe=""),
        quoted=quote(sim.url, safe=""),
        netloc=sim.url.removeprefix("http://"),
        team=TEAM,
    )
    monkeypatch.setenv("AIRFLOW_CONN_AS_URI", uri)
    with SupermetricsHook("as_uri") as hook:
        assert len(hook.list_connectors()) == 1
    assert sim.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_inherited_run_is_as_safe(simulate: Simulate, connection: Callable[..., None]) -> None:
    """HttpHook's own run() sends the credential and uses the timeout, and sends no header from the extra."""
    sim = simulate()
    connection(sim.url, extra={"team_id": TEAM, "X-Unknown": "leak"})
    with SupermetricsHook() as hook:
        response = hook.run(f"/v1/teams/{TEAM}/connector_builder/connectors")
        assert response.json()["count"] == 1
    assert "x-unknown" not in sim.requests[0].headers
    assert sim.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_inherited_run_has_the_timeout_of_the_connection(
    simulate: Simulate, connection: Callable[..., None]
) -> None:
    """run() uses the Connection's timeout, whatever the http provider's version."""
    sim = simulate(faults=[Fault(delay=5)])
    connection(sim.url, extra={"team_id": TEAM, "timeout": 0.2})
    with SupermetricsHook() as hook, pytest.raises(requests.Timeout):
        hook.run(f"/v1/teams/{TEAM}/connector_builder/connectors")


def test_the_inherited_run_raises_what_our_methods_raise(
    simulate: Simulate, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """run() raises typed errors, and does not log the response's body, which may quote the credential."""
    sim = simulate(faults=[Fault(403, message=f"not for {KEY}"), Fault(302, headers={"Location": "/x"})])
    with SupermetricsHook() as hook:
        for kind in (SupermetricsRequestError, SupermetricsResponseError):
            with pytest.raises(kind):
                hook.run(f"/v1/teams/{TEAM}/connector_builder/connectors")
        assert hook.get_conn().get(f"{sim.url}/elsewhere").status_code == 404
    assert len(sim.requests) == 3
    assert KEY not in caplog.text + "".join(capfd.readouterr())


def test_the_inherited_run_is_as_bounded(simulate: Simulate) -> None:
    """Its responses are read as ours are, whatever its options say of redirects and of the check."""
    faults = [Fault(raw=bomb(status, ["gzip"], 1 << 30, [("Location", "/")])) for status in (500, 302, 302)]
    page = Fault(raw=bomb(200, ["gzip"], 1 << 30))
    simulate(faults=[*faults, Fault(headers={"Set-Cookie": "a=b"}), page])
    path = f"/v1/teams/{TEAM}/connector_builder/connectors"
    with SupermetricsHook() as hook:
        for kind in (SupermetricsServerError, SupermetricsResponseError):
            with pytest.raises(kind, match="1 MB"):
                hook.run(path)
        unchecked = hook.run(path, extra_options={"check_response": False, "allow_redirects": True})
        assert (unchecked.status_code, unchecked.content) == (302, b"")
        assert hook.run(path, extra_options={"stream": True}).json()["count"] == 1
        assert not hook.get_conn().cookies
        with pytest.raises(SupermetricsResponseError, match="64 MB"):
            hook.run(path)


def test_the_session_keeps_the_credential_to_the_api(simulate: Simulate) -> None:
    """The session does not send the credential to another address."""
    simulate()
    other = Simulator(connectors=[], tokens={})
    with other, SupermetricsHook() as hook:
        hook.get_conn().get(other.url + "/v1/x")
    assert "authorization" not in other.requests[0].headers


def test_the_inherited_async_session_is_as_safe(simulate: Simulate, connection: Callable[..., None]) -> None:
    """The same for HttpAsyncHook's session; and its settings do not contain the credential."""
    import asyncio

    from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsAsyncHook

    sim = simulate()
    connection(sim.url, extra={"team_id": TEAM, "X-Unknown": "leak"})

    path = f"/v1/teams/{TEAM}/connector_builder/connectors"

    async def config_repr() -> str:
        hook = SupermetricsAsyncHook()
        async with hook.session() as session:
            response = await session.run(path)
            assert (await response.json())["count"] == 1
        return repr(await hook.config())

    if not hasattr(SupermetricsAsyncHook, "session"):
        # This http provider's own run() would send the extra as headers, and no credential.
        with pytest.raises(AirflowOptionalProviderFeatureException, match=r"http 6\.0\.1 or later"):
            asyncio.run(SupermetricsAsyncHook().run(None, path))
        assert sim.requests == []
        return
    assert KEY not in asyncio.run(config_repr())
    assert "x-unknown" not in sim.requests[0].headers
    assert sim.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_form_is_described_once() -> None:
    """The hook's form methods, for old Airflow, and the provider's metadata, for new, say the same."""
    from airflow_provider_supermetrics.provider_info import get_provider_info

    [connection_type] = get_provider_info()["connection-types"]
    behaviour = SupermetricsHook.get_ui_field_behaviour()
    assert behaviour["relabeling"] == connection_type["ui-field-behaviour"]["relabeling"]
    assert behaviour["relabeling"]["password"] == "API key or access token"
    for field in connection_type["conn-fields"].values():
        assert "null" in field["schema"]["type"], "the form would demand an optional field"
    assert connection_type["hook-name"] == SupermetricsHook.hook_name
    assert connection_type["connection-type"] == SupermetricsHook.conn_type


def test_the_form_widgets() -> None:
    """Airflow before 3.2 builds the same fields with its form libraries, which newer ones do not have."""
    if not AIRFLOW_2:
        with pytest.raises(ImportError):
            SupermetricsHook.get_connection_form_widgets()
        return
    widgets = SupermetricsHook.get_connection_form_widgets()
    assert set(widgets) == {"team_id", "timeout"}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"params": {"limit": 1000, "before": "2026-01-01T00:00:00.000001+00:00"}},
        {"params": {"text": "a b&c=d/é?#%"}},
        {"params": {"no": None, "list": ["a", "b"]}},
        {"params": [("a", "1")]},
        {"params": "a=1"},
        {"headers": {"Accept": "text/plain"}},
        {"url": "http://127.0.0.1/v1/x?a=1", "params": {"b": "2"}},
        {"url": "http://127.0.0.1/v1/é x"},
        {"method": "POST", "json": {"a": 1}},
        {"method": "POST", "json": {}},
        {"data": {"a": "1"}, "cookies": {"c": "1"}, "auth": ("user", "password")},
        {"hooks": {"response": print}},
    ],
    ids=str,
)
def test_a_request_is_prepared_as_requests_prepares_it(
    simulate: Callable[..., Simulator], arguments: dict[str, Any]
) -> None:
    """A request that differs in nothing but its parameters from an earlier one gets that one's headers."""
    sim = simulate([])
    made = {"method": "GET", "url": f"{sim.url}/v1/x", **arguments}
    with SupermetricsHook() as hook:
        session = hook.get_conn()
        for _ in range(2):
            session.prepare_request(requests.Request("GET", f"{sim.url}/v1/x", params={"other": "1"}))
            found = session.prepare_request(requests.Request(**made))
            expected = requests.Session.prepare_request(session, requests.Request(**made))
            for part in ("method", "url", "headers", "body", "hooks"):
                assert getattr(found, part) == getattr(expected, part)
            session.headers["X-Changed"] = "yes"
            found.headers["X-Own"] = "yes"
            found.hooks["response"].append(print)


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session.params.update(team="1"),
        lambda session: setattr(session, "auth", None),
        lambda session: setattr(session, "auth", ("user", "password")),
        lambda session: session.cookies.set("a", "b"),
        lambda session: session.hooks["response"].append(print),
    ],
    ids=["params", "no auth", "auth", "cookies", "hooks"],
)
def test_a_session_that_has_changed_prepares_as_requests_does(
    simulate: Callable[..., Simulator], change: Callable[[requests.Session], object]
) -> None:
    """The session of get_conn() is the caller's, too."""
    sim = simulate([])
    request = requests.Request("GET", f"{sim.url}/v1/x", params={"a": "1"})
    with SupermetricsHook() as hook:
        session = hook.get_conn()
        session.prepare_request(request)
        change(session)
        found, expected = session.prepare_request(request), requests.Session.prepare_request(session, request)
        for part in ("url", "headers", "hooks"):
            assert getattr(found, part) == getattr(expected, part)
