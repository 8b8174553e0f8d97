"""Exports of a soak: consecutive windows of one log into one folder, each compared with the truth."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any

from airflow_provider_supermetrics._api.times import format_time
from tests.soak.clock import ORIGIN
from tests.soak.folders import Folder, LocalFolder, StoreFaults
from tests.soak.tasks import Soak, Task
from tests.soak.world import Client, ViolationError
from tests.support.table import decompressed, entries_of, exact

#: After this time, entries do not appear in a window that is over.
SETTLE = timedelta(seconds=90)
_FORMATS = [("jsonl", "auto"), ("csv", "auto"), ("parquet", "auto")]


class Exports:
    """The windows of one log, one after the other, in one folder."""

    def __init__(
        self,
        soak: Soak,
        number: int,
        clients: tuple[Client, Client],
        folder: Folder,
        store: StoreFaults | None,
    ) -> None:
        self._soak, self.folder, self._store = soak, folder, store
        self._client, self._other_client = clients
        self._draw = random.Random(f"{soak.seed}/exports/{number}")
        self._format, self._compression = _FORMATS[number % len(_FORMATS)]
        self._window = timedelta(seconds=self._draw.choice([60, 120, 240]))
        self._entries_per_file = self._draw.choice([20, 75, 1000])
        self._is_deferrable = self._draw.random() < 0.7
        self.name = f"{self._client.connector}/{self._format}/{folder.url.partition(':')[0]}"
        #: The windows that are being exported, or have been, for `Reader`.
        self.slugs: list[str] = []

    def run(self) -> None:
        """Export until the soak ends."""
        number = 0
        while not self._soak.ending.is_set():
            self._export(number)
            number += 1

    def _export(self, number: int) -> None:
        start = ORIGIN + number * self._window
        end = start + self._window
        # Sometimes it begins early, and waits for the end itself.
        early = timedelta(seconds=self._draw.choice([0, 0, 0, 10, 100]))
        self._soak.sleep_until(end + SETTLE - early)
        window = Window(self.folder, self._client.connector, start, end, self._entries_per_file)
        self.slugs.append(window.slug)
        if self._draw.random() < 0.12:
            self._soak.count("windows with two attempts at once")
            tasks = [self._task(window, "a"), self._task(window, "b", client=self._other_client)]
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda task: task.run(is_alone=False), tasks))
            window.check_manifest(required=False)
            # What the loser has left.
            self._task(window, "alone").run()
        else:
            self._task(window, "").run()
        expected = self._truth(start, end)
        window.check(*expected)
        self._soak.count("windows")
        self._soak.count("entries", len(expected[0]))
        if self._draw.random() < 0.2:
            self._rerun(window)
        if number > 3 and self._draw.random() < 0.05:
            old = ORIGIN + self._draw.randrange(number - 2) * self._window
            self._rerun(
                Window(self.folder, self._client.connector, old, old + self._window, self._entries_per_file)
            )

    def _rerun(self, window: Window) -> None:
        """Export a window again; if its log has not changed, nothing is written."""
        required, optional = self._truth(window.start, window.end)
        before = self.folder.stamps(window.slug)
        self._task(window, f"again-{self._draw.random()}", kills=False).run(is_calm=True)
        self._soak.count("reruns")
        if not optional and self.folder.stamps(window.slug) != before:
            raise ViolationError(f"{self.name} {window}: a rerun of the same log has written")
        window.check(required, optional)

    def _task(self, window: Window, suffix: str, *, kills: bool = True, client: Client | None = None) -> Task:
        arguments = {
            "connector_identifier": self._client.connector,
            "path": self.folder.url,
            "start": window.start.isoformat(),
            "end": window.end.isoformat(),
            "settle": {"seconds": SETTLE.total_seconds()},
            "format": self._format,
            "compression": self._compression,
            "entries_per_file": self._entries_per_file,
            "deferrable": self._is_deferrable,
            "wait_policy": {"max_attempts": 3},
        }
        folder = str(self.folder.path) if isinstance(self.folder, LocalFolder) else None
        return Task(
            self._soak,
            client or self._client,
            f"{self.name} {window} {suffix}".rstrip(),
            "export",
            arguments,
            run_after=window.end,
            store=self._store,
            folder=folder,
            kills=kills,
        )

    def _truth(self, start: datetime, end: datetime) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The entries of a window, and those that appeared too late to be promised."""
        found = self._soak.world.simulator.truth(self._client.connector, start, end)
        required: list[dict[str, Any]] = []
        optional: list[dict[str, Any]] = []
        for entry in found:
            logged = self._soak.world.logged(self._client.connector, entry["id"])
            in_time = logged is not None and logged.appended <= end + SETTLE
            (required if in_time else optional).append(entry)
        return required, optional


class Window:
    """The objects of one window."""

    def __init__(
        self, folder: Folder, connector: str, start: datetime, end: datetime, entries_per_file: int
    ) -> None:
        self._folder, self._entries_per_file = folder, entries_per_file
        self.start, self.end = start, end
        self.slug = f"{connector}-{start:%Y%m%dT%H%M%SZ}-{end:%Y%m%dT%H%M%SZ}"

    def __str__(self) -> str:
        return f"{self.start:%dT%H:%M:%S}/{self.end:%dT%H:%M:%S}"

    def _fail(self, what: str) -> ViolationError:
        names = self._folder.names(self.slug)
        return ViolationError(f"{self._folder.url} {self.slug}: {what}. The window's objects: {names}")

    def check_manifest(self, *, required: bool) -> dict[str, Any] | None:
        """Check that the manifest, if there is one, and the parts belong together; return it."""
        data = self._folder.get(f"_manifest-{self.slug}.json")
        if data is None:
            if required:
                raise self._fail("there is no manifest")
            return None
        manifest: dict[str, Any] = json.loads(data)
        if manifest["complete"] is not True or manifest["start"] != format_time(self.start):
            raise self._fail(f"the manifest is not of this window: {data!r}")
        for item in manifest["objects"]:
            part = self._folder.get(item["name"])
            if part is None:
                raise self._fail(f"the manifest lists {item['name']}, which is not there")
            if len(part) != item["bytes"] or hashlib.sha256(part).hexdigest() != item["sha256"]:
                raise self._fail(f"the manifest lists another {item['name']} ({len(part)} bytes): {item}")
        return manifest

    def check(self, required: Sequence[dict[str, Any]], optional: Sequence[dict[str, Any]]) -> None:
        """Check that the window is complete, that the manifest is true, and that nothing else is there."""
        manifest = self.check_manifest(required=True)
        assert manifest is not None
        parts = [item["name"] for item in manifest["objects"]]
        names = self._folder.names(self.slug)
        if stray := set(names) - {*parts, f"_manifest-{self.slug}.json"}:
            raise self._fail(f"these objects are left: {sorted(stray)}")
        entries: list[dict[str, Any]] = []
        for item in manifest["objects"]:
            found = read(self._folder, item["name"])
            if len(found) != item["entries"]:
                raise self._fail(f"{item['name']} has {len(found)} entries: {item}")
            if item != manifest["objects"][-1] and len(found) != self._entries_per_file:
                raise self._fail(f"{item['name']} has {len(found)} entries, not {self._entries_per_file}")
            if (found[0]["log_time"], found[-1]["log_time"]) != (
                item["first_log_time"],
                item["last_log_time"],
            ):
                raise self._fail(f"the times of {item['name']} are not those of its entries: {item}")
            entries += found
        if manifest["entries"] != len(entries):
            raise self._fail(f"the manifest counts {manifest['entries']} entries of {len(entries)}")
        got, due = Counter(map(exact, entries)), Counter(map(exact, required))
        late = Counter(map(exact, optional))
        if missing := due - got:
            raise self._fail(f"{missing.total()} of {len(required)} entries are missing: {_some(missing)}")
        if extra := got - due - late:
            raise self._fail(f"{extra.total()} entries are too many, or changed: {_some(extra)}")


def read(folder: Folder, name: str) -> list[dict[str, Any]]:
    """The entries of a part; an error if it is not whole."""
    data = folder.get(name)
    assert data is not None
    suffix = "".join(PurePath(name).suffixes)
    if suffix.startswith(".jsonl"):
        assert decompressed(data, suffix).endswith(b"\n")
    return entries_of(data, suffix)


def _some(entries: Counter[str]) -> str:
    return "\n".join(["", *sorted(entries)[:5]])


class Reader:
    """Reads the folders at any moment, as other programs do."""

    def __init__(self, soak: Soak, exports: Sequence[Exports]) -> None:
        self._soak, self._exports = soak, exports
        self._draw = random.Random(f"{soak.seed}/reader")

    def run(self) -> None:
        """Read until the soak ends."""
        while not self._soak.ending.is_set():
            self._soak.check()
            self._soak.stop.wait(0.4)
            one = self._draw.choice(self._exports)
            if one.slugs:
                self._read(one, self._draw.choice(one.slugs[-2:]))

    def _read(self, exports: Exports, slug: str) -> None:
        folder = exports.folder
        manifest_name = f"_manifest-{slug}.json"
        manifest = folder.get(manifest_name)
        found = {}
        for name in folder.names(slug):
            if name.startswith(slug) and (data := folder.get(name)) is not None:
                found[name] = hashlib.sha256(data).hexdigest()
                try:
                    entries_of(data, "".join(PurePath(name).suffixes))
                except Exception as error:
                    raise ViolationError(
                        f"{folder.url}/{name} can be read, but not whole: {error!r}"
                    ) from error
        self._soak.count("reads of a window by others")
        # Only if it was there all the time, its parts must have been.
        if manifest is None or folder.get(manifest_name) != manifest:
            return
        for item in json.loads(manifest)["objects"]:
            if found.get(item["name"]) != item["sha256"]:
                raise ViolationError(
                    f"{folder.url}/{manifest_name} lists {item['name']}, of which a reader found "
                    f"{found.get(item['name'])} in place of {item['sha256']}"
                )
