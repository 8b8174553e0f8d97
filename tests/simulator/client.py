"""A plain HTTP client for the simulator's tests, standard library only."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from dev.simulator import Simulator

TEAM = 936506
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
LOGS = f"/v1/teams/{TEAM}/connector_builder/connectors/T3S70/logs"


@dataclass(frozen=True)
class Reply:
    """A whole response; header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, unpacked and parsed."""
        packed = self.headers.get("content-encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if packed else self.body)

    @property
    def ids(self) -> list[str]:
        """The ids of a page's entries, in order."""
        return [entry["id"] for entry in self.json["logs"]]

    @property
    def code(self) -> str:
        """The error code of the envelope."""
        code = self.json["error"]["code"]
        assert isinstance(code, str)
        return code


class Client:
    """One kept connection to a simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self.connection = HTTPConnection(urlsplit(simulator.url).netloc, timeout=5)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def get(
        self,
        path: str = LOGS,
        *,
        method: str = "GET",
        key: str | None = "good-key",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        **params: object,
    ) -> Reply:
        """Send a request with `params` as its query and read the whole response."""
        sent = {"Authorization": f"Bearer {key}"} if key else {}
        target = f"{path}?{urlencode(params)}" if params else path
        self.connection.request(method, target, body=body, headers={**sent, **(headers or {})})
        response = self.connection.getresponse()
        received = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, received, response.read())
