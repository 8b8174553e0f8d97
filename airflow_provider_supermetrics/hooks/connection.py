"""What a Connection of type ``supermetrics`` says, checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from airflow_provider_supermetrics.protocol.errors import InvalidRequest
from airflow_provider_supermetrics.protocol.request import valid_team_id
from airflow_provider_supermetrics.protocol.retry import WaitPolicy

if TYPE_CHECKING:
    from airflow_provider_supermetrics._compat import Connection

DEFAULT_HOST = "https://api.supermetrics.com"
DEFAULT_TIMEOUT = 60.0

_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[ \t!-~]*")
_CREDENTIAL = re.compile(r"[!-~]+")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


@dataclass(frozen=True)
class ConnectionSettings:
    """A Connection's settings, valid and typed. What may hold a secret is left out of the repr.

    :param conn_id: the Connection's id, for messages.
    :param base_url: scheme, host, port and any path in front of ``/v1``; no slash at the end.
    :param credential: API key or OAuth access token.
    :param team_id: the team that is meant where a call names none.
    :param timeout: seconds to wait for a connection, and for each piece of an answer.
    :param proxies: proxy URL by scheme.
    :param verify: whether to verify the server's certificate, or the path of a bundle to verify it with.
    :param cert: path of a client certificate, or the paths of certificate and key.
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
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    wait_policy: WaitPolicy = field(default_factory=WaitPolicy)

    @property
    def answer_timeout(self) -> float:
        """Seconds for a whole answer, because one whose pieces just come in time may never end."""
        return 10 * self.timeout

    @classmethod
    def from_connection(cls, conn: Connection, extra: Mapping[str, Any]) -> ConnectionSettings:
        """Read a Connection.

        :param extra: its extra, deserialized; the caller knows which way is safe where it runs.
        :raises SupermetricsValidationError: for anything that cannot work or is not safe.
        """
        reader = _Reader(conn.conn_id, extra)
        return cls(
            conn_id=conn.conn_id,
            base_url=reader.base_url(conn.host, conn.schema, conn.port),
            credential=reader.credential(conn.password),
            team_id=reader.team_id(),
            timeout=reader.timeout(),
            proxies=reader.proxies(),
            verify=reader.verify(),
            cert=reader.cert(),
            headers=reader.headers(),
            wait_policy=reader.wait_policy(),
        )


class _Reader:
    """Reads one setting after the other; forms and URIs give every extra as a text, empty ones too."""

    def __init__(self, conn_id: str, extra: Mapping[str, Any]) -> None:
        self._conn_id = conn_id
        self._extra = extra

    def base_url(self, host: str | None, schema: str | None, port: int | None) -> str:
        host = (host or "").strip() or DEFAULT_HOST
        if "://" not in host:
            if schema not in (None, "", "https", "http"):
                raise self._wrong("schema", "must be empty, 'https' or 'http'")
            host = f"{schema or 'https'}://{host}"
        try:
            url = urlsplit(host)
            has_port = url.port is not None
        except ValueError:
            raise self._wrong("host", "is not a URL such as https://api.supermetrics.com") from None
        if url.scheme not in ("https", "http") or not url.hostname or url.query or url.fragment:
            raise self._wrong("host", "is not a URL such as https://api.supermetrics.com")
        if url.username is not None or url.password is not None:
            raise self._wrong(
                "host", "has a user name or password in it; the credential belongs in the password"
            )
        if url.scheme == "http" and not _LOOPBACK.fullmatch(url.hostname) and not self._flag("allow_http"):
            raise self._wrong(
                "host",
                "says http://, which would send the credential readable for everyone on the way; "
                'write https://, or set "allow_http": true in the extra',
            )
        netloc = url.netloc if has_port or not port else f"{url.netloc}:{port}"
        return f"{url.scheme}://{netloc}{url.path.rstrip('/')}"

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
        except InvalidRequest as error:
            raise self._wrong("team_id", str(error).removeprefix("team_id ")) from None

    def timeout(self) -> float:
        value = self._get("timeout")
        try:
            timeout = DEFAULT_TIMEOUT if value is None else float(value)
        except (TypeError, ValueError):
            timeout = 0.0
        if isinstance(value, bool) or not 0 < timeout <= 3600:
            raise self._wrong("timeout", "must be a number of seconds, more than 0 and at most 3600")
        return timeout

    def proxies(self) -> Mapping[str, str]:
        value = self._object("proxies", accept_text=True)
        proxies = {"http": value, "https": value} if isinstance(value, str) else value
        for url in proxies.values():
            try:
                parts = urlsplit(url if isinstance(url, str) else "")
                is_proxy = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            except ValueError:
                is_proxy = False
            if not is_proxy or re.search(r"\s", url):
                # Not quoted: a proxy's URL may hold a password.
                raise self._wrong(
                    "proxies", 'must be a URL, or an object such as {"https": "http://proxy:3128"}'
                )
        return proxies

    def verify(self) -> bool | str:
        value = self._get("verify")
        if value is None or isinstance(value, bool):
            return value is not False
        if not isinstance(value, str):
            raise self._wrong("verify", "must be true, false or the path of a certificate bundle")
        if value.lower() in _TRUE + _FALSE:
            return value.lower() in _TRUE
        return self._path("verify", value)

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

    def wait_policy(self) -> WaitPolicy:
        policy = WaitPolicy()
        for name in (item.name for item in fields(WaitPolicy)):
            if (value := self._get(name)) is not None:
                try:
                    policy = policy.changed({name: value})
                except InvalidRequest as error:
                    raise self._wrong(name, str(error).removeprefix(f"{name} ")) from None
        return policy

    def _path(self, key: str, value: str) -> str:
        if not Path(value).exists():
            raise self._wrong(key, f"names a file that does not exist here: {value}")
        return value

    def headers(self) -> Mapping[str, str]:
        headers = self._object("headers")
        assert isinstance(headers, dict)
        for name, value in headers.items():
            if (
                not _HEADER_NAME.fullmatch(name)
                or not isinstance(value, str)
                or not _HEADER_VALUE.fullmatch(value)
            ):
                raise self._wrong(
                    "headers", f"has a header {name!r} that is not a name with a text of plain ASCII"
                )
            if name.lower() == "authorization":
                raise self._wrong(
                    "headers", "may not have Authorization; the credential belongs in the password"
                )
        return headers

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
            except ValueError:
                if accept_text:
                    return str(value)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(key, "must be an object")
        return dict(value)

    def _wrong(self, name: str, what: str) -> SupermetricsValidationError:
        return SupermetricsValidationError(f"Connection '{self._conn_id}': {name} {what}")
