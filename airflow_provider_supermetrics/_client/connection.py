"""What a Connection of type ``supermetrics`` says, checked before anything is sent."""

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
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

import requests

from airflow_provider_supermetrics._api.calls import valid_team_id
from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._compat import AirflowNotFoundException
from airflow_provider_supermetrics._wait import WaitPolicy
from airflow_provider_supermetrics.exceptions import (
    SupermetricsConnectionError,
    SupermetricsValidationError,
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
# Of a pasted private key, nothing may be quoted, and its base64 looks like a relative path.
_QUOTABLE_PATH = re.compile(r"(?!.*-----)(~|\.{0,2})/.{1,200}")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


@contextmanager
def fetching(conn_id: str) -> Iterator[None]:
    """Turn whatever Airflow raises while it fetches a Connection into an error that names it.

    Each of them may be gone at the next attempt: Airflow also says "not defined" where a secrets backend or
    its API server was unreachable. Airflow's own message is not quoted, because it may quote the Connection.

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
        raise SupermetricsConnectionError(
            f"Connection '{conn_id}' {what}; check that it is defined as Airflow expects, and that "
            "the secrets backend and Airflow's API server can be reached"
        ) from None


@dataclass(frozen=True)
class ConnectionSettings:
    """A Connection's settings, valid and typed. What may hold a secret is left out of the repr.

    :param conn_id: the Connection's id, for messages.
    :param base_url: scheme, host, port and any path in front of ``/v1``, normalized; no slash at the end.
    :param credential: API key or OAuth access token.
    :param team_id: the team that is meant where a call names none.
    :param timeout: seconds to wait for a connection, and for each piece of a response.
    :param proxies: the proxy for ``base_url``, by its scheme: the Connection's or the environment's.
    :param verify: whether to verify the server's certificate, or the path of a bundle to verify it with.
    :param cert: path of a client certificate, or the paths of certificate and key.
    :param tls: what verifies the server and identifies the client; a boolean where no file is needed.
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
    def answer_timeout(self) -> float:
        """Seconds for a whole answer, because one whose pieces just come in time may never end."""
        return 10 * self.timeout

    @property
    def secrets(self) -> Iterator[str]:
        """What no message may contain: the credential, proxy passwords, values of headers."""
        yield self.credential
        for url in self.proxies.values():
            user_info = urlsplit(url).netloc.rpartition("@")[0]
            for secret in (user_info, user_info.partition(":")[2]):
                yield from (secret, unquote(secret))
        for value in self.headers.values():
            yield from (value, value.partition(" ")[2])

    @classmethod
    def from_connection(cls, conn: Connection) -> ConnectionSettings:
        """Read a Connection; blocks, because Airflow masks its secrets and certificates are files.

        :raises SupermetricsConnectionError: where Airflow cannot read the Connection.
        :raises SupermetricsValidationError: for anything that cannot work or is not safe.
        """
        with fetching(conn.conn_id):
            conn_type, host, schema, port = conn.conn_type, conn.host, conn.schema, conn.port
            password, extra = conn.password, conn.extra
        reader = _Reader(conn.conn_id)
        reader.check_type(conn_type)
        reader.read_extra(extra)
        with fetching(conn.conn_id):
            conn.extra_dejson  # noqa: B018  # for Airflow to mask its secrets
        base_url = reader.base_url(host, schema, port)
        return cls(
            conn_id=conn.conn_id,
            base_url=base_url,
            credential=reader.credential(password),
            team_id=reader.team_id(),
            timeout=reader.timeout(),
            proxies=reader.proxies(base_url),
            verify=reader.verify(),
            cert=reader.cert(),
            tls=reader.tls(base_url),
            headers=reader.headers(),
            wait_policy=reader.wait_policy(),
        )


def _web_url(url: str) -> SplitResult:
    """The parts of an http or https URL that both HTTP libraries understand, and alike; normalized.

    :raises ValueError: for any other; its message may quote the URL.
    """
    if not url.isprintable() or any(character in url for character in " \\?#"):
        raise ValueError("a character that libraries read in different ways, or a query")
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or parts.port == 0 or "%" in (parts.hostname or "%"):
        raise ValueError("no http or https URL")
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
        raise ValueError("no name of a host")
    return normalized._replace(netloc=user_info + at + normalized.netloc)


def _proxy_url(url: str) -> str:
    """A proxy's URL, normalized.

    :raises ValueError: for one that cannot work in both HTTP libraries; its message may quote the URL.
    """
    parts = _web_url(url)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    if parts.path != "/" or ":" in unquote(user):
        raise ValueError("a path, or a colon in the user name")
    unquote(user + password).encode("latin-1")  # as both libraries send them
    return parts._replace(path="").geturl()


class _Reader:
    """Reads one setting after the other; forms and URIs give every extra as a string, empty ones too."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._extra: dict[str, Any] = {}

    def check_type(self, conn_type: str | None) -> None:
        if conn_type == CONN_TYPE:
            return
        # A password that was stored for another service must not be sent to this one, nor to its host.
        kind = f"'{conn_type}'" if conn_type and re.fullmatch(r"[\w.-]{1,50}", conn_type) else "another one"
        raise self._wrong(
            "conn_type",
            f"is {kind if conn_type else 'empty'}, not '{CONN_TYPE}'; choose the type Supermetrics, "
            "or name another Connection in supermetrics_conn_id",
        )

    def read_extra(self, extra: str | None) -> None:
        if not (extra or "").strip():
            return
        try:
            value = json.loads(str(extra))
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise self._wrong("extra", 'is not a JSON object such as {"team_id": 936506}')
        self._extra = value

    def base_url(self, host: str | None, schema: str | None, port: int | None) -> str:
        host = (host or "").strip() or DEFAULT_HOST
        if "@" in host:
            raise self._wrong(
                "host", "has a user name or password in it; the credential belongs in the password"
            )
        # In a URI, Airflow takes what follows the host for the schema.
        schema = (schema or "").strip("/ ")
        if schema not in ("", "https", "http") and not _API_VERSION.fullmatch(f"/{schema}"):
            raise self._wrong("schema", "must be empty, 'https' or 'http'; a path belongs in the host")
        if "://" not in host:
            host = f"{'http' if schema == 'http' else 'https'}://{host}"
        try:
            url = _web_url(host)
            if port and url.port is None:
                url = _web_url(url._replace(netloc=f"{url.netloc}:{port}").geturl())
        except ValueError:
            raise self._wrong("host", "is not a URL such as https://api.supermetrics.com") from None
        if (
            url.scheme == "http"
            and not _LOOPBACK.fullmatch(str(url.hostname))
            and not self._flag("allow_http")
        ):
            raise self._wrong(
                "host",
                "says http://, which would send the credential readable for everyone on the way; "
                'write https://, or set "allow_http": true in the extra',
            )
        return url._replace(path=_API_VERSION.sub("", url.path.rstrip("/"))).geturl()

    def credential(self, password: str | None) -> str:
        credential = (password or "").strip()
        if not credential:
            raise self._wrong("password", "is empty; put the API key or access token there")
        if not _CREDENTIAL.fullmatch(credential):
            raise self._wrong(
                "password",
                "has a space or another character that no API key has; put the bare key there, no Bearer",
            )
        return credential

    def team_id(self) -> int | None:
        value = self._get("team_id")
        try:
            return None if value is None else valid_team_id(value)
        except InvalidRequest:
            # Not quoted: the field beside it in the form is the credential's.
            raise self._wrong("team_id", "must be a positive integer such as 936506") from None

    def timeout(self) -> float:
        value = self._get("timeout")
        try:
            timeout = DEFAULT_TIMEOUT if value is None else float(value)
        except (TypeError, ValueError, OverflowError):
            timeout = 0.0
        if isinstance(value, bool) or not 0 < timeout <= 3600:
            raise self._wrong("timeout", "must be a number of seconds, more than 0 and at most 3600")
        return timeout

    def proxies(self, base_url: str) -> Mapping[str, str]:
        value = self._object("proxies", accept_text=True)
        own = {"http": value, "https": value} if isinstance(value, str) else value
        try:
            own = {scheme: _proxy_url(url if isinstance(url, str) else "") for scheme, url in own.items()}
        except ValueError:
            # Not quoted: a proxy's URL may hold a password.
            raise self._wrong(
                "proxies", f'must be a URL, or an object such as {{"https": {_PROXY}}}'
            ) from None
        scheme = urlsplit(base_url).scheme
        if proxy := requests.utils.select_proxy(base_url, own):
            return {scheme: proxy}
        # aiohttp's trust_env would also bring in .netrc, whose entries it cannot combine with a header.
        environment = requests.utils.get_environ_proxies(base_url)
        proxy = requests.utils.select_proxy(base_url, environment)
        if not proxy:
            return {}
        try:
            return {scheme: _proxy_url(proxy if "://" in proxy else f"http://{proxy}")}
        except ValueError:
            raise self._wrong(
                f"{scheme.upper()}_PROXY",
                f"of the environment (or ALL_PROXY) must be a URL such as {_PROXY}; "
                "percent-encode special characters of its user name and password",
            ) from None

    def verify(self) -> bool | str:
        value = self._get("verify")
        if value is None or isinstance(value, bool):
            return value is not False
        if not isinstance(value, str):
            raise self._wrong("verify", "must be true, false or the path of a certificate bundle")
        if value.lower() in _TRUE + _FALSE:
            return value.lower() in _TRUE
        return self._path("verify", value, folders=True)

    def cert(self) -> str | tuple[str, str] | None:
        value = self._get("cert")
        if value is None:
            return None
        if isinstance(value, str):
            return self._path("cert", value)
        if isinstance(value, list) and len(value) == 2 and all(isinstance(path, str) for path in value):
            return (self._path("cert", value[0]), self._path("cert", value[1]))
        raise self._wrong(
            "cert", "must be the path of a certificate, or a list of the paths of certificate and key"
        )

    def tls(self, base_url: str) -> ssl.SSLContext | bool:
        name, bundle, cert = "verify", self.verify(), self.cert()
        if bundle is True and base_url.startswith("https:"):
            # requests knows these two variables, aiohttp does not.
            for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
                if value := os.environ.get(variable):
                    name, bundle = variable, self._path(variable, value, folders=True)
                    break
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
            self._load_cert(context, *([cert] if isinstance(cert, str) else cert))
        return context

    def _load_cert(self, context: ssl.SSLContext, cert: str, key: str | None = None) -> None:
        is_encrypted = False

        def passphrase() -> str:
            # Without this, OpenSSL asks for it on the terminal, and waits.
            nonlocal is_encrypted
            is_encrypted = True
            return ""

        with self._loading("cert", "no certificate with its private key in PEM format"):
            try:
                context.load_cert_chain(cert, key, password=passphrase)
            finally:
                if is_encrypted:
                    raise self._wrong(
                        "cert", "has an encrypted private key; store the key without a passphrase"
                    ) from None

    def wait_policy(self) -> WaitPolicy:
        policy = WaitPolicy()
        for name in (item.name for item in fields(WaitPolicy)):
            if (value := self._get(name)) is not None:
                try:
                    policy = policy.override({name: value})
                except InvalidRequest as error:
                    raise self._wrong(name, str(error).removeprefix(f"{name} ")) from None
        return policy

    def headers(self) -> Mapping[str, str]:
        headers = self._object("headers")
        assert isinstance(headers, dict)
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name):
                # Not quoted: it may be "name: value" in one.
                raise self._wrong("headers", "has a name that no header can have")
            if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
                raise self._wrong("headers", f"has a header {name[:100]!r} whose value is no ASCII string")
            if name.lower() == "authorization":
                raise self._wrong(
                    "headers", "may not have Authorization; the credential belongs in the password"
                )
        return {name: value.strip() for name, value in headers.items()}

    def _path(self, name: str, value: str, *, folders: bool = False) -> str:
        if not value.isprintable() or "-----" in value:
            raise self._wrong(
                name, "must be a path; store the certificate or key in a file and name that here"
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

    def _get(self, key: str) -> Any:
        value = self._extra.get(key)
        return None if isinstance(value, str) and not value.strip() else value

    def _flag(self, key: str) -> bool:
        value = self._get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
            return value.lower() in _TRUE
        raise self._wrong(key, "must be true or false")

    def _object(self, key: str, *, accept_text: bool = False) -> dict[str, Any] | str:
        value: Any = self._get(key)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                if accept_text:
                    return str(value)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(key, "must be an object")
        return dict(value)

    def _wrong(self, name: str, what: str) -> SupermetricsValidationError:
        return SupermetricsValidationError(f"Connection '{self._conn_id}': {name} {what}")
