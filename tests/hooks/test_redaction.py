"""Secrets in any form are redacted from messages."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics.exceptions import (
    SupermetricsConnectionError,
    SupermetricsRequestError,
    SupermetricsResponseError,
)
from tests.conftest import CONNECTOR, KEY, TEAM
from tests.support.raw_server import RawServer

pytestmark = pytest.mark.airflow_2


def _base64(secret: str, before: str = "", after: str = "") -> str:
    return base64.b64encode(f"{before}{secret}{after}".encode()).decode()


def _escaped(secret: str, form: str) -> str:
    return "".join(form.format(ord(character)) for character in secret)


#: By name, the ways in which a server or a library may write what it was sent.
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "percent-encoded": lambda s: quote(s, safe=""),
    "percent-encoded, slashes kept": quote,
    "percent-encoded in lower case": lambda s: "".join(c if c.isalnum() else f"%{ord(c):02x}" for c in s),
    "percent-encoded as a form": quote_plus,
    "percent-encoded throughout": lambda s: _escaped(s, "%{:02X}"),
    "percent-encoded throughout in lower case": lambda s: _escaped(s, "%{:02x}"),
    "percent-encoded twice": lambda s: quote(quote(s, safe=""), safe=""),
    "JSON": lambda s: json.dumps(s)[1:-1],
    "JSON with escaped slashes": lambda s: json.dumps(s)[1:-1].replace("/", "\\/"),
    "JSON escaped throughout": lambda s: _escaped(s, "\\u{:04x}"),
    "JSON escaped throughout in upper case": lambda s: _escaped(s, "\\u{:04X}"),
    "JSON within JSON": lambda s: json.dumps(json.dumps(s)[1:-1].replace("/", "\\/"))[1:-1],
    "repr": lambda s: repr(s)[1:-1],
    "repr with double quotes within": lambda s: repr(s + "'\"")[1:-4],
    "repr of bytes": lambda s: repr(s.encode())[2:-1],
    "Python escaped throughout": lambda s: _escaped(s, "\\x{:02x}"),
    "HTML": html.escape,
    "HTML with decimal entities": lambda s: _escaped(s, "&#{};"),
    "HTML with hexadecimal entities": lambda s: _escaped(s, "&#x{:x};"),
    "percent-encoded JSON": lambda s: quote(json.dumps(s)[1:-1], safe=""),
    "JSON within HTML": lambda s: html.escape(json.dumps(s)[1:-1]),
    "base64": _base64,
    "base64 without padding": lambda s: _base64(s).rstrip("="),
    "base64 for URLs": lambda s: _base64(s).translate(str.maketrans("+/", "-_")),
    "base64, percent-encoded": lambda s: quote(_base64(s), safe=""),
    "base64, JSON with escaped slashes": lambda s: _base64(s).replace("/", "\\/"),
    "base64 after one byte": lambda s: _base64(s, ":"),
    "base64 after two bytes": lambda s: _base64(s, "u:"),
    "base64 after three bytes": lambda s: _base64(s, "us:"),
    "base64 between others": lambda s: _base64(s, "user:", ":more"),
    "base64 for URLs between others": lambda s: _base64(s, "user:", "\n").translate(
        str.maketrans("+/", "-_")
    ),
}

_CREDENTIALS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=5, max_size=60)


def body_of(text: str) -> bytes:
    """An error of the API with this text wherever it has one."""
    return json.dumps({"error": {"code": text, "message": text, "description": text}}).encode()


def check(new_hook: Callable[..., Any], raw_server: RawServer, secret: str, forms: Iterable[str]) -> None:
    """Let the API quote the secret in each of these forms; nothing of it may be in the error."""
    hook = new_hook()
    for form in forms:
        raw_server.error(400, body_of(f"sent <{FORMS[form](secret)}>!"))
        with pytest.raises(SupermetricsRequestError) as raised:
            hook.list_connectors()
        error = raised.value
        assert (error.code, error.description) == ("sent <***>!", "sent <***>!"), form
        assert str(error).startswith("400 sent <***>!: sent <***>! (sent <***>!); GET "), form


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(credential=_CREDENTIALS, forms=st.lists(st.sampled_from(sorted(FORMS)), min_size=1, max_size=3))
def test_a_credential_quoted_in_any_form(
    connection: Callable[..., None],
    new_hook: Callable[..., Any],
    raw_server: RawServer,
    credential: str,
    forms: list[str],
) -> None:
    """No part of a credential is left in a message, in plain or encoded form."""
    connection(raw_server.url, password=credential)
    check(new_hook, raw_server, credential, forms)


@pytest.mark.parametrize(
    "credential",
    [
        KEY,
        'a"b\\c/d%41&amp;e+f',
        "\\\\\\\\u0041",
        "%%%25%",
        "&lt;&#65;",
        "nnnnn",
        "=====",
        "a1+/=" * 300,
    ],
)
def test_each_form_of_a_credential(
    connection: Callable[..., None], new_hook: Callable[..., Any], raw_server: RawServer, credential: str
) -> None:
    """Each form of a credential is redacted, even if the credential resembles an escape."""
    connection(raw_server.url, password=credential)
    check(new_hook, raw_server, credential, FORMS)


@pytest.mark.parametrize("where", ["header", "header's token", "proxy's password", "user and password"])
def test_other_secrets_of_a_connection(
    connection: Callable[..., None], new_hook: Callable[..., Any], raw_server: RawServer, where: str
) -> None:
    """What a gateway or proxy is sent may be quoted just as well."""
    secret, url = "gw/key+of=100%&<'\\>", raw_server.url
    extra: dict[str, Any] = {"team_id": TEAM}
    if "header" in where:
        extra["headers"] = {"X-Gateway": secret if where == "header" else f"Token {secret}"}
    else:
        extra["proxies"] = url.replace("http://", f"http://corp:{quote(secret, safe='')}@")
        url = "http://localhost:9"
    connection(url, extra=extra)
    check(new_hook, raw_server, f"corp:{secret}" if where == "user and password" else secret, FORMS)


def test_a_short_secret_leaves_messages_readable(
    connection: Callable[..., None], hook: Any, raw_server: RawServer
) -> None:
    """Secrets of fewer than five characters are not redacted, as in Airflow's logs."""
    connection(raw_server.url, password="a", extra={"team_id": TEAM, "headers": {"X-Env": "bad"}})
    raw_server.error(400, body_of("a bad key"))
    with pytest.raises(SupermetricsRequestError, match="a bad key"):
        hook.list_connectors()


@pytest.mark.parametrize("noise", ["", "%41", "\\u0041", "&#65;", "\\\\", "%25"])
def test_a_long_message(
    connection: Callable[..., None], hook: Any, raw_server: RawServer, noise: str
) -> None:
    """A long message contains no part of a credential, wherever it is cut."""
    blank = " " * 32_760 if not noise else f" {noise}" * 7_000
    connection(raw_server.url)
    raw_server.error(400, body_of(f"x{blank}{KEY}{blank}{KEY}"))
    with pytest.raises(SupermetricsRequestError) as raised:
        hook.list_connectors()
    assert "sm-t" not in f"{raised.value} {raised.value.description}"
    assert len(str(raised.value)) < 4_000


def test_a_server_that_does_not_speak_http_quotes_the_credential(
    connection: Callable[..., None], new_hook: Callable[..., Any], raw_server: RawServer
) -> None:
    """The libraries quote its line in their errors."""
    encoded = quote(KEY, safe="")
    connection(raw_server.url)
    raw_server.response = f"220 {encoded} {_base64(KEY, 'user:')}\r\n\r\n".encode()
    with pytest.raises(SupermetricsConnectionError, match="220 ") as raised:
        new_hook(wait_policy={"max_attempts": 1}).list_connectors()
    assert encoded[:8] not in str(raised.value)
    assert _base64(KEY, "user:")[:10] not in str(raised.value)


def test_a_page_that_is_not_the_contract_quotes_the_credential(
    connection: Callable[..., None], hook: Any, raw_server: RawServer
) -> None:
    """The message about an invalid page quotes it without the credential."""
    connection(raw_server.url)
    encoded = quote(KEY, safe="")
    raw_server.error(200, json.dumps({"logs": [{"id": "1", "log_time": encoded}]}).encode())
    with pytest.raises(SupermetricsResponseError) as raised:
        hook.list_logs(CONNECTOR)
    assert encoded[:8] not in str(raised.value)
    raw_server.error(200, f"<p>{html.escape(encoded)}</p>".encode())
    with pytest.raises(SupermetricsResponseError) as raised:
        hook.list_logs(CONNECTOR)
    assert encoded[:8] not in str(raised.value)
