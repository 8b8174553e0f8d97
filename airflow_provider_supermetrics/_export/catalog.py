"""The manifests under a folder: found by their names, and read where they are needed.

The name of a manifest has its connector and its window, so a listing says which ones to read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, pairwise
from operator import attrgetter
from typing import Final

import msgspec

from airflow_provider_supermetrics._api.text import counted, one_line
from airflow_provider_supermetrics._api.times import format_time
from airflow_provider_supermetrics._export.manifest import Manifest
from airflow_provider_supermetrics._export.storage import Destination, Listed
from airflow_provider_supermetrics._schedule import Window
from airflow_provider_supermetrics.exceptions import invalid

#: The most folders that one listing reads.
MOST_FOLDERS = 10_000
#: The most bytes of a manifest: more than one of 50,000 objects has.
MOST_BYTES = 32 << 20
# A store takes most of the time to respond. Results of one batch are in memory at once.
_THREADS = 16
_BATCH = 256
_LONGEST_URL = 1000
# The identifier may contain hyphens, too, so the window is what the name ends with.
_NAME = re.compile(r"_manifest-([A-Za-z0-9_-]{1,100})-([0-9TZ.]{16,23}-[0-9TZ.]{16,23})\.json")


class ManifestName(msgspec.Struct, frozen=True, gc=False):
    """What a listing says of a manifest; there may be tens of thousands.

    :param path: its path within the catalog's folder.
    :param version: changes when the manifest is replaced.
    :param size: its bytes.
    """

    path: str
    connector_identifier: str
    window: Window
    version: str
    size: int

    def beside(self, name: str) -> str:
        """The path of another object in the manifest's folder."""
        return _join(self.path.rpartition("/")[0], name)


@dataclass(frozen=True)
class Unreadable:
    """A manifest that says nothing, and why.

    :param reason: continues a sentence that begins with the manifest.
    """

    reason: str


#: It need not be so any more: an export that runs again removes its manifest, then writes another one.
REMOVED: Final = Unreadable("was removed meanwhile")


@dataclass(frozen=True)
class Folder:
    """What a listing says of one folder, without the folders in it.

    :param manifests: in the order of the listing.
    :param sizes: the bytes of each object, by its path within the catalog's folder.
    """

    manifests: list[ManifestName]
    sizes: dict[str, int]


@dataclass(slots=True)
class Place:
    """One connector's manifests in one folder, as far as a reader counts them.

    :param start: the first start of a window, and
    :param end: the last end.
    :param last: the last manifest of those from which the reader may have to learn the team.
    :param teams: those that manifests say.
    """

    start: datetime
    end: datetime
    last: ManifestName | None = None
    teams: frozenset[int] = frozenset()

    def add(self, window: Window) -> None:
        """Count a window."""
        self.start = min(self.start, window.start)
        self.end = max(self.end, window.end)

    def keep_last(self, name: ManifestName) -> None:
        """Replace the last manifest by a later one."""
        if self.last is None or name.window.end > self.last.window.end:
            self.last = name


def are_of_several_teams(places: Collection[Place]) -> bool:
    """Whether the manifests of a connector have to be taken for those of several teams.

    Only their content says the team. Those of one team follow each other, such as in a folder for each day;
    to read one in each such folder would be many requests.
    """
    if len({team for place in places for team in place.teams}) > 1:
        return True
    ordered = sorted(places, key=attrgetter("start"))
    return any(later.start < earlier.end for earlier, later in pairwise(ordered))


def _raise(error: OSError) -> None:
    raise error


class Catalog:
    """The manifests in a folder and in all folders below it.

    :param destination: the folder; it need not exist.
    """

    def __init__(self, destination: Destination) -> None:
        self.destination = destination

    def folders(self) -> Iterator[Folder]:
        """List the manifests and all other objects; see :meth:`names`."""
        for folder, found in self._listings(_raise):
            yield Folder(
                list(_manifests(folder, found)),
                {_join(folder, item.name): item.size for item in found if not item.is_folder},
            )

    def names(self, failed: Callable[[OSError], None] = _raise) -> Iterator[ManifestName]:
        """List the manifests of one folder after another, so that only one listing is in memory.

        :param failed: called where the store refuses or fails to list a folder below the catalog's. If it
            returns, that folder is left out.
        :raises SupermetricsValidationError: where there are more than :data:`MOST_FOLDERS`.
        :raises OSError: where the store refuses or fails.
        """
        for folder, found in self._listings(failed):
            yield from _manifests(folder, found)

    def _listings(self, failed: Callable[[OSError], None]) -> Iterator[tuple[str, list[Listed]]]:
        """What is in each folder, by its path within the catalog's."""
        pending = [""]
        count = 0
        while pending:
            count += 1
            if count > MOST_FOLDERS:
                raise invalid(
                    f"path has more than {MOST_FOLDERS:,} folders: {self.destination}",
                    "give a folder nearer to the manifests",
                )
            folder = pending.pop()
            try:
                found = self.destination.listing(folder)
            except OSError as error:
                if not folder:
                    raise
                failed(error)
                continue
            pending += [_join(folder, item.name) for item in found if item.is_folder]
            yield folder, found

    def read(self, names: Iterable[ManifestName]) -> Iterator[tuple[ManifestName, Manifest | Unreadable]]:
        """Read manifests, several at a time, in their order.

        :raises OSError: where the store refuses or fails.
        """
        for name, found in self.attempt(names):
            if isinstance(found, OSError):
                raise found
            yield name, found

    def attempt(
        self, names: Iterable[ManifestName]
    ) -> Generator[tuple[ManifestName, Manifest | Unreadable | OSError], None, None]:
        """As :meth:`read`, for a reader who wants the others, too, where the store refuses or fails."""
        remaining = iter(names)
        pool = ThreadPoolExecutor(_THREADS)
        try:
            while batch := list(islice(remaining, _BATCH)):
                yield from zip(batch, pool.map(self._read_or_error, batch), strict=True)
        finally:
            # The reader may have seen enough of a store that does not respond.
            pool.shutdown(cancel_futures=True)

    def url(self, name: ManifestName) -> str:
        """A manifest, for messages: the name of its folder may contain a line break."""
        return one_line(self.destination.url(name.path), _LONGEST_URL)

    def _read_or_error(self, name: ManifestName) -> Manifest | Unreadable | OSError:
        try:
            return self._read(name)
        except OSError as error:
            return error

    def _read(self, name: ManifestName) -> Manifest | Unreadable:
        if name.size > MOST_BYTES:
            return Unreadable(f"is not read, because it has {counted(name.size, 'byte')}")
        data = self.destination.read(name.path)
        if data is None:
            return REMOVED
        try:
            manifest = msgspec.json.decode(data, type=Manifest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Unreadable(f"is damaged, or of another version of this package: {one_line(str(error))}")
        if not manifest.complete:
            return Unreadable("says that its window is not complete")
        says = (manifest.connector_identifier, manifest.start, manifest.end)
        if says != (name.connector_identifier, format_time(name.window.start), format_time(name.window.end)):
            return Unreadable(f"is of another window: {one_line(' '.join(says))}")
        return manifest


def _manifests(folder: str, found: Iterable[Listed]) -> Iterator[ManifestName]:
    """What the names of a folder's manifests say."""
    for item in found:
        match = None if item.is_folder else _NAME.fullmatch(item.name)
        if match and (window := Window.of_slug(match[2])):
            yield ManifestName(_join(folder, item.name), match[1], window, item.version, item.size)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
