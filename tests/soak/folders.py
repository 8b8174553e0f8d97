"""The folders that a soak exports to: a local disk, and a bucket behind a proxy with faults."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from tests.soak.processes import Trap
from tests.support.emulators import S3
from tests.support.proxy import Fault, FaultProxy, Request

CONN_ID = "soak_store"


@dataclass
class StoreFaults:
    """The faults of the store that one export meets.

    :param calm: how many exports are to meet none.
    :param trap: kills its worker at a request to the store.
    """

    draw: random.Random
    share: float
    calm: int = 0
    trap: Trap | None = None


class Folder(Protocol):
    """A folder as a reader sees it."""

    url: str

    def names(self, slug: str) -> list[str]:
        """The names of all objects of a window, hidden ones included."""

    def get(self, name: str) -> bytes | None:
        """An object's bytes, or None without it."""

    def stamps(self, slug: str) -> dict[str, Any]:
        """For each object of a window: something that changes when it is written again."""


class LocalFolder:
    """A folder on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"file://{path}"

    def names(self, slug: str) -> list[str]:
        """See `Folder`."""
        return sorted(path.name for path in self.path.glob(f"*{slug}*"))

    def get(self, name: str) -> bytes | None:
        """See `Folder`."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def stamps(self, slug: str) -> dict[str, Any]:
        """See `Folder`."""
        stats = {name: (self.path / name).stat() for name in self.names(slug)}
        return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


class BucketFolder:
    """A folder of a bucket."""

    def __init__(self, emulator: S3, proxy: SoakProxy, bucket: str, folder: str) -> None:
        self._emulator, self._proxy, self._bucket, self._folder = emulator, proxy, bucket, folder
        self.url = f"s3://{CONN_ID}@{bucket}/{folder}"

    def names(self, slug: str) -> list[str]:
        """See `Folder`."""
        starts = [f"{self._folder}/{kind}{slug}" for kind in ("", "_manifest-", "_checkpoint-")]
        found = [name for start in starts for name in self._emulator.names(self._bucket, start)]
        return sorted(name.removeprefix(f"{self._folder}/") for name in found)

    def get(self, name: str) -> bytes | None:
        """See `Folder`."""
        return self._emulator.get(self._bucket, f"{self._folder}/{name}")

    def stamps(self, slug: str) -> dict[str, Any]:
        """See `Folder`."""
        return {name: self._proxy.writes[f"{self._folder}/{name}"] for name in self.names(slug)}


class SoakProxy(FaultProxy):
    """A proxy that draws its faults, for each folder on its own, and counts what is written.

    Nothing of the requests is kept, because a soak sends many.
    """

    def __init__(self, upstream: str, counts: Counter[str]) -> None:
        self.folders: dict[str, StoreFaults] = {}
        self.writes: Counter[str] = Counter()
        self._counts = counts
        self._drawing = Lock()
        super().__init__(upstream)
        # It does not wait forever for a body while it has any.
        self.faults.append(Fault(times=0))

    def pause_faults(self) -> None:
        """Let no request fail any more."""
        for faults in self.folders.values():
            faults.calm += 1

    def receive(self, request: Request) -> Fault | None:
        """Draw the fault of a request."""
        key = request.params.get("prefix") or request.path.lstrip("/").partition("/")[2]
        faults = self.folders.get(key.partition("/")[0])
        with self._drawing:
            self._counts["requests to the store"] += 1
            if request.method in ("PUT", "POST"):
                self.writes[key] += 1
            if faults is None:
                return None
            if faults.trap is not None:
                faults.trap.step()
                if faults.trap.fired and faults.draw.random() < 0.5:
                    return Fault("cut")
            if faults.calm or faults.draw.random() >= faults.share:
                return None
            kind = faults.draw.choice(["500", "503", "cut", "lost", "lost", "403"])
            if kind == "403" and faults.draw.random() < 0.8:
                kind = "500"
            self._counts[f"store: {kind}"] += 1
            if kind.isdigit():
                headers, body = _error(int(kind))
                return Fault("response", status=int(kind), headers=headers, body=body)
            return Fault("cut") if kind == "cut" else Fault("lost")


def _error(status: int) -> tuple[dict[str, str], bytes]:
    code = {403: "AccessDenied", 500: "InternalError", 503: "SlowDown"}[status]
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>by the soak</Message></Error>"
    return {"Content-Type": "application/xml"}, body.encode()
