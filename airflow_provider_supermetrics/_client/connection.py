"""The settings of a Connection of type ``supermetrics``, checked before anything is sent."""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import re
import ssl
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec
import requests

from airflow_provider_supermetrics._api.calls import MAX_TEAM_ID
from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._compat import AirflowNotFoundException
from airflow_provider_supermetrics._wait import WaitPolicy
from airflow_provider_supermetrics.exceptions import (
    SupermetricsConnectionError,
    SupermetricsValidationError,
    make_error,
)

if TYPE_CHECKING:
    from airflow_provider_supermetrics._compat import Connection

CONN_TYPE = "supermetrics"
DEFAULT_HOST = "https://api.supermetrics.com"
DEFAULT_TIMEOUT = 60.0

_PROXY = '"http://proxy:3128"'
_API_VERSION = re.compile(r"/v[12]\Z")
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")
_HOST_NAME = re.compile(r"(?!.{254})[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[ \t!-~]*")
_CREDENTIAL = re.compile(r"[!-~]+")
# No part of a pasted private key may be quoted, and its base64 looks like a relative path.
_QUOTABLE_PATH = re.compile(r"(?!.*-----)(~|\.{0,2})/.{1,200}")
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True}
_BOOLEANS |= {"false": False, "0": False, "no": False, "off": False}


class _Extra(msgspec.Struct):
    """The keys of the extra and their types. Numbers of the wait policy are checked by it."""

    team_id: Annotated[int, msgspec.Meta(ge=1, le=MAX_TEAM_ID)] | None = None
    timeout: Annotated[float, msgspec.Meta(gt=0, le=3600)] = DEFAULT_TIMEOUT
    proxies: str | dict[str, str] = {}
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    headers: dict[str, str] = {}
    allow_http: bool = False


#: Messages about wrong types. None quotes the value, which may be a secret in the wrong field.
_MUST_BE = {
    "team_id": "must be a positive integer such as 936506",
    "timeout": "must be a number of seconds, more than 0 and at most 3600",
    "proxies": f'must be a URL, or an object such as {{"https": {_PROXY}}}',
    "verify": "must be true, false or the path of a certificate bundle",
    "cert": "must be the path of a certificate, or a list of the paths of certificate and key",
    "headers": 'must be an object of strings, such as {"X-Gateway": "a"}',
    "allow_http": "must be true or false",
}


def _decoded(key: str, value: Any) -> Any:
    """The value of a key of the extra: forms and URIs give all of them as strings, empty ones too."""
    if not isinstance(value, str):
        return value
    value = value.strip()
    if key in ("verify", "allow_http"):
        return _BOOLEANS.get(value.lower(), value or None)
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value or None


@contextmanager
def fetching(conn_id: str) -> Iterator[None]:
    """Translate whatever Airflow raises while it provides a Connection.

    Each of them may be gone at the next attempt: Airflow also says "not defined" if a secrets backend or
    its API server was unreachable. Airflow's message is not quoted, because it may quote the Connection.

    :raises SupermetricsConnectionError: for any exception.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, AirflowNotFoundException):
            what = "was not found"
        else:
            name = type(error).__name__
            if name == "AirflowRuntimeError":  # of the task SDK; it begins with a code
                name += f" {str(error).partition(':')[0]}"
            what = f"could not be read ({name})"
        raise make_error(
            SupermetricsConnectionError,
            f"Connection '{conn_id}' {what}",
            "check that it is defined as Airflow expects, and that the secrets backend and Airflow's API "
            "server can be reached",
        ) from None


@dataclass(frozen=True)
class ConnectionSettings:
    """A Connection's settings, valid and typed. The repr leaves out what may contain a secret.

    :param conn_id: the Connection's id, for messages.
    :param base_url: scheme, host, port and any path in front of ``/v1``, normalized; no slash at the end.
    :param credential: API key or OAuth access token.
    :param team_id: the team of calls without one.
    :param timeout: seconds to wait for a connection, and for each piece of a response.
    :param proxies: the proxy for ``base_url``, by its scheme: the Connection's or the environment's.
    :param verify: whether to verify the server's certificate, or the path of a bundle to verify it with:
        the Connection's or the environment's.
    :param cert: path of a client certificate, or the paths of certificate and key.
    :param tls: ``verify`` and ``cert`` for aiohttp; a boolean if no file is needed.
    :param headers: further headers of every request.
    :param wait_policy: how long to wait for a failing API, and how much of its budget to leave to others.
    """

    conn_id: str
    base_url: str
    credential: str = field(repr=False)
    team_id: int | None = None
    timeout: float = DEFAULT_TIMEOUT
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    tls: ssl.SSLContext | bool = field(default=True, repr=False, compare=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    wait_policy: WaitPolicy = field(default_factory=WaitPolicy)

    @property
    def total_timeout(self) -> float:
        """Seconds for a complete response: one whose pieces just arrive in time may never end."""
        return 10 * self.timeout

    @property
    def secrets(self) -> Iterator[str]:
        """What must not be in a message: the credential, proxy passwords, values of headers."""
        yield self.credential
        for url in self.proxies.values():
            user_info = urlsplit(url).netloc.rpartition("@")[0]
            for secret in (user_info, user_info.partition(":")[2]):
                yield from (secret, unquote(secret))
        for value in self.headers.values():
            yield from (value, value.partition(" ")[2])

    @classmethod
    def from_connection(cls, conn: Connection) -> ConnectionSettings:
        """Read a Connection. Blocks, because certificates are files, and so may be the masking of secrets.

        :raises SupermetricsConnectionError: if Airflow cannot read the Connection.
        :raises SupermetricsValidationError: for a setting that cannot work or is not safe.
        """
        with fetching(conn.conn_id):
            conn_type, host, schema, port = conn.conn_type, conn.host, conn.schema, conn.port
            password, extra = conn.password, conn.extra
        reader = _Reader(conn.conn_id, conn_type, extra)
        with fetching(conn.conn_id):
            conn.extra_dejson  # noqa: B018  # for Airflow to mask its secrets
        base_url = reader.base_url(host, schema, port)
        _, verify = reader.verify(base_url)
        return cls(
            conn_id=conn.conn_id,
            base_url=base_url,
            credential=reader.credential(password),
            team_id=reader.extra.team_id,
            timeout=reader.extra.timeout,
            proxies=reader.proxies(base_url),
            verify=verify,
            cert=reader.cert(),
            tls=reader.tls(base_url),
            headers=reader.headers(),
            wait_policy=reader.wait_policy,
        )


def _web_url(url: str) -> SplitResult:
    """Split and normalize an http or https URL that both HTTP libraries read alike.

    :raises ValueError: for any other URL; its message may quote it.
    """
    if not url.isprintable() or any(character in url for character in " \\?#"):
        raise ValueError("a query, or a character that libraries read in different ways")
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or parts.port == 0 or "%" in (parts.hostname or "%"):
        raise ValueError("not an http or https URL")
    user_info, at, _ = parts.netloc.rpartition("@")
    host_and_port = parts.netloc[len(user_info + at) :]
    prepared = requests.Request("GET", f"{parts.scheme}://{host_and_port}{parts.path}").prepare()
    normalized = urlsplit(str(prepared.url))
    host = normalized.hostname or ""
    if ":" in host:
        ipaddress.IPv6Address(host)
    elif host.rstrip(".").rpartition(".")[2].isdigit():
        ipaddress.IPv4Address(host)
    elif not _HOST_NAME.fullmatch(host):
        raise ValueError("not a host name")
    return normalized._replace(netloc=user_info + at + normalized.netloc)


def _proxy_url(url: str) -> str:
    """Normalize a proxy's URL that works in both HTTP libraries; see :func:`_web_url` for others."""
    parts = _web_url(url)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    if parts.path != "/" or ":" in unquote(user):
        raise ValueError("a path, or a colon in the user name")
    unquote(user + password).encode("latin-1")  # as both libraries send them
    return parts._replace(path="").geturl()


class _Reader:
    """Checks and normalizes the settings of one Connection; raises SupermetricsValidationError for others."""

    def __init__(self, conn_id: str, conn_type: str | None, extra: str | None) -> None:
        self._conn_id = conn_id
        if conn_type != CONN_TYPE:
            # A password that was stored for another service must not be sent to this one, nor to its host.
            is_quotable = conn_type and re.fullmatch(r"[\w.-]{1,50}", conn_type)
            kind = f"'{conn_type}'" if is_quotable else "another one" if conn_type else "empty"
            raise self._wrong(
                "conn_type",
                f"is {kind}, not '{CONN_TYPE}'",
                "choose the type Supermetrics, or pass another Connection as supermetrics_conn_id",
            )
        try:
            given = json.loads(extra) if extra and extra.strip() else {}
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise self._wrong("extra", 'is not a JSON object such as {"team_id": 936506}')
        settings = {key: value for key in given if (value := _decoded(key, given[key])) is not None}
        waits = {item.name: settings[item.name] for item in fields(WaitPolicy) if item.name in settings}
        try:
            self.wait_policy = WaitPolicy().override(waits)
            self.extra = msgspec.convert(settings, _Extra)
        except InvalidRequest as error:
            name, _, what = str(error).partition(" ")
            raise self._wrong(name, what) from None
        except msgspec.ValidationError as error:
            name = str(error).rpartition("$.")[2].partition("`")[0].partition("[")[0]
            raise self._wrong(name, _MUST_BE[name]) from None

    def base_url(self, host: str | None, schema: str | None, port: int | None) -> str:
        host = (host or "").strip() or DEFAULT_HOST
        if "@" in host:
            raise self._wrong(
                "host", "contains a user name or password", "the credential belongs in the password"
            )
        # In a URI, Airflow takes what follows the host for the schema.
        schema = (schema or "").strip("/ ")
        if schema not in ("", "https", "http") and not _API_VERSION.fullmatch(f"/{schema}"):
            raise self._wrong("schema", "must be empty, 'https' or 'http'", "a path belongs in the host")
        if "://" not in host:
            host = f"{'http' if schema == 'http' else 'https'}://{host}"
        try:
            url = _web_url(host)
            if port and url.port is None:
                url = _web_url(url._replace(netloc=f"{url.netloc}:{port}").geturl())
        except ValueError:
            raise self._wrong("host", "is not a URL such as https://api.supermetrics.com") from None
        is_open = url.scheme == "http" and not _LOOPBACK.fullmatch(str(url.hostname))
        if is_open and not self.extra.allow_http:
            raise self._wrong(
                "host",
                "says http://, which would send the credential without encryption",
                'write https://, or set "allow_http": true in the extra',
            )
        return url._replace(path=_API_VERSION.sub("", url.path.rstrip("/"))).geturl()

    def credential(self, password: str | None) -> str:
        credential = (password or "").strip()
        if not credential:
            raise self._wrong("password", "is empty", "enter the API key or access token there")
        if not _CREDENTIAL.fullmatch(credential):
            raise self._wrong(
                "password",
                "contains a space or another character that no API key has",
                "enter the bare key there, without Bearer",
            )
        return credential

    def proxies(self, base_url: str) -> Mapping[str, str]:
        own = self.extra.proxies
        if isinstance(own, str):
            own = {"http": own, "https": own}
        scheme = urlsplit(base_url).scheme
        wrong = self._wrong("proxies", _MUST_BE["proxies"])
        try:
            own = {scheme: _proxy_url(url) for scheme, url in own.items()}
            proxy = requests.utils.select_proxy(base_url, own)
            if not proxy:
                wrong = self._wrong(
                    f"{scheme.upper()}_PROXY",
                    f"of the environment (or ALL_PROXY) must be a URL such as {_PROXY}",
                    "percent-encode special characters of its user name and password",
                )
                # Not aiohttp's trust_env: it also reads .netrc, which it cannot combine with a header.
                environment = requests.utils.get_environ_proxies(base_url)
                proxy = requests.utils.select_proxy(base_url, environment)
                proxy = proxy and _proxy_url(proxy if "://" in proxy else f"http://{proxy}")
        except ValueError:
            raise wrong from None
        return {scheme: proxy} if proxy else {}

    def verify(self, base_url: str) -> tuple[str, bool | str]:
        """What to verify the server's certificate with, after the name of the setting."""
        value = self.extra.verify
        if isinstance(value, str):
            return "verify", self._path("verify", value, folders=True)
        # The variables of requests, for aiohttp as well.
        for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            if value and base_url.startswith("https:") and (path := os.environ.get(variable)):
                return variable, self._path(variable, path, folders=True)
        return "verify", value

    def cert(self) -> str | tuple[str, str] | None:
        value = self.extra.cert
        if isinstance(value, tuple):
            return (self._path("cert", value[0]), self._path("cert", value[1]))
        return value and self._path("cert", value)

    def tls(self, base_url: str) -> ssl.SSLContext | bool:
        (name, bundle), cert = self.verify(base_url), self.cert()
        if cert is None and isinstance(bundle, bool):
            return bundle
        with self._loading(name, "no certificate in PEM format"):
            path = bundle if isinstance(bundle, str) else None
            is_folder = path is not None and Path(path).is_dir()
            context = ssl.create_default_context(
                cafile=None if is_folder else path, capath=path if is_folder else None
            )
        if bundle is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if cert is not None:
            with self._loading("cert", "no certificate with its private key in PEM format"):
                certificate, key = (cert, None) if isinstance(cert, str) else cert
                context.load_cert_chain(certificate, key, self._passphrase)
        return context

    def _passphrase(self) -> NoReturn:
        # Without this, OpenSSL prompts for it on the terminal, and waits.
        raise self._wrong("cert", "has an encrypted private key", "store the key without a passphrase")

    def headers(self) -> Mapping[str, str]:
        for name, value in self.extra.headers.items():
            if not _HEADER_NAME.fullmatch(name):
                # Not quoted: it may be "name: value".
                raise self._wrong("headers", "has a name that is not valid for a header")
            if not _HEADER_VALUE.fullmatch(value):
                raise self._wrong("headers", f"has a header {name[:100]!r} whose value is not ASCII text")
            if name.lower() == "authorization":
                raise self._wrong(
                    "headers", "must not contain Authorization", "the credential belongs in the password"
                )
        return {name: value.strip() for name, value in self.extra.headers.items()}

    def _path(self, name: str, value: str, *, folders: bool = False) -> str:
        if not value.isprintable() or "-----" in value:
            raise self._wrong(
                name, "must be a path", "store the certificate or key in a file and put its path here"
            )
        quoted = f": {value}" if _QUOTABLE_PATH.fullmatch(value) else ""
        try:
            mode = Path(value).stat().st_mode
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                raise self._wrong(name, f"names a file that does not exist here{quoted}") from None
            raise self._wrong(name, f"names a file that cannot be read here{quoted}") from None
        if not stat.S_ISREG(mode) and not (folders and stat.S_ISDIR(mode)):
            raise self._wrong(name, f"must name a file{quoted}")
        return value

    @contextmanager
    def _loading(self, name: str, what: str) -> Iterator[None]:
        try:
            yield
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                what = "a private key that does not belong to the certificate"
            raise self._wrong(name, f"names a file with {what}") from None
        except OSError as error:
            raise self._wrong(name, f"names a file that cannot be read here ({error.strerror})") from None

    def _wrong(self, name: str, what: str, remedy: str | None = None) -> SupermetricsValidationError:
        what = f"Connection '{self._conn_id}': {name} {what}"
        return make_error(SupermetricsValidationError, what, remedy)
