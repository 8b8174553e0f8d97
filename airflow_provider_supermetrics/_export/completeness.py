"""Whether exports cover a span of time: what is missing, what is there twice, and what does not count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from airflow_provider_supermetrics._api.text import one_line
from airflow_provider_supermetrics._api.times import format_time
from airflow_provider_supermetrics._coverage import Coverage
from airflow_provider_supermetrics._export.catalog import (
    Catalog,
    ManifestName,
    Place,
    Unreadable,
    are_of_several_teams,
)
from airflow_provider_supermetrics._export.manifest import Manifest
from airflow_provider_supermetrics._schedule import Window

#: So that a result stays small, whatever is missing.
MOST_CONNECTORS = 50
_MOST_RANGES = 5
_MOST_IN_A_MESSAGE = 3
_LONGEST_FAULT = 2000

_T = TypeVar("_T")


@dataclass
class Exports:
    """One connector's exports of a span of time.

    :param team_id: its team, or None where no manifest says it.
    :param label: both for messages, the team only where several have such a connector.
    :param expected: the part of the span that they have to cover; None for a connector that is younger.
    :param windows: the windows that count.
    :param entries: how many entries these windows have, and
    :param errors: how many of them are errors.
    :param faults: what does not count, and why.
    """

    connector_identifier: str
    team_id: int | None
    label: str
    expected: Window | None
    windows: list[Window] = field(default_factory=list)
    entries: int = 0
    errors: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def coverage(self) -> Coverage:
        """What is missing, and what is there twice."""
        return Coverage.of(self.expected, self.windows) if self.expected else Coverage((), ())

    def add(self, window: Window, manifest: Manifest) -> None:
        """Count a window."""
        self.windows.append(window)
        self.entries += manifest.entries
        self.errors += manifest.statistics.errors

    def __str__(self) -> str:
        return f"{self.label} has no export of {listed(map(str, self.coverage.missing), 1)}"

    def result(self) -> dict[str, Any]:
        """The numbers, and the first ranges, as plain JSON values."""
        coverage = self.coverage
        return {
            "connector_identifier": self.connector_identifier,
            "team_id": self.team_id,
            "expected_from": self.expected and format_time(self.expected.start),
            "windows": len(self.windows),
            "entries": self.entries,
            "errors": self.errors,
            **first_of("missing", [_as_json(each) for each in coverage.missing], _MOST_RANGES),
            **first_of("overlapping", [_as_json(each) for each in coverage.overlapping], _MOST_RANGES),
            **first_of("faults", self.faults, _MOST_RANGES),
        }


def find_exports(
    catalog: Catalog, span: Window, connector_identifiers: Collection[str] | None, *, verify: bool
) -> list[Exports]:
    """Read what the manifests under a folder say of a span of time, by connector and team.

    A named connector has to cover all of the span. So has any other one, unless its first manifest is within
    the span while others have earlier ones: such a connector is new, and has to cover what follows.

    :param connector_identifiers: the connectors; None for all that have a manifest.
    :param verify: whether to compare the bytes of the objects with the manifests' digests.
    :raises OSError: where the store refuses or fails.
    """
    places: dict[str, list[Place]] = defaultdict(list)
    read: dict[str, list[tuple[Window, Manifest]]] = defaultdict(list)
    faults: dict[str, list[str]] = defaultdict(list)
    for folder in catalog.folders():
        names = [
            name
            for name in folder.manifests
            if connector_identifiers is None or name.connector_identifier in connector_identifiers
        ]
        near = [name for name in names if _is_near(name, span)]
        here = _places(names, span)
        for identifier, place in here.items():
            places[identifier].append(place)
        for name, manifest in catalog.read(near):
            identifier = name.connector_identifier
            if isinstance(manifest, Unreadable):
                reason: str | None = manifest.reason
            else:
                here[identifier].teams |= {manifest.team_id}
                reason = _fault(catalog, name, manifest, folder.sizes, verify)
                if reason is None:
                    read[identifier].append((name.window, manifest))
            if reason is not None:
                faults[identifier].append(one_line(f"{catalog.url(name)} {reason}", _LONGEST_FAULT))
    _read_teams(catalog, places.values())

    found = []
    has_history = any(place.start < span.start for each in places.values() for place in each)
    for identifier in sorted(places if connector_identifiers is None else connector_identifiers):
        teams: list[int | None] = [*sorted({team for place in places[identifier] for team in place.teams})]
        for team in teams or [None]:
            expected: Window | None = span
            if connector_identifiers is None and has_history:
                # A folder of which nothing says the team may be of any.
                first = min(
                    place.start for place in places[identifier] if team in place.teams or not place.teams
                )
                start = max(first, span.start)
                expected = Window(start, span.end) if start < span.end else None
            label = f"{identifier} of team {team}" if len(teams) > 1 else identifier
            exports = Exports(identifier, team, label, expected, faults=faults[identifier])
            for window, manifest in read[identifier]:
                if manifest.team_id == team:
                    exports.add(window, manifest)
            found.append(exports)
    return found


def _is_near(name: ManifestName, span: Window) -> bool:
    return name.window.start < span.end and span.start < name.window.end


def _places(names: Iterable[ManifestName], span: Window) -> dict[str, Place]:
    """The connectors of one folder; the last manifest is of those outside the span."""
    found: dict[str, Place] = {}
    for name in names:
        window = name.window
        place = found.get(name.connector_identifier)
        if place is None:
            place = found[name.connector_identifier] = Place(window.start, window.end)
        place.add(window)
        if not _is_near(name, span):
            place.keep_last(name)
    return found


def _read_teams(catalog: Catalog, places: Iterable[Collection[Place]]) -> None:
    """Learn the teams of folders with no manifest in the span, where several may have the connector."""
    unknown = [
        (place, place.last)
        for each in places
        if are_of_several_teams(each)
        for place in each
        if place.last and not place.teams
    ]
    for (place, _), (_, manifest) in zip(unknown, catalog.read(name for _, name in unknown), strict=True):
        if isinstance(manifest, Manifest):
            place.teams = frozenset({manifest.team_id})


def summary(found: Sequence[Exports], span: Window, folder: str) -> dict[str, Any]:
    """The result of a check, as small JSON: the connectors with missing ranges come first.

    :param folder: the URL of the folder.
    """
    incomplete = [exports for exports in found if exports.coverage.missing]
    complete = [exports for exports in found if not exports.coverage.missing]
    return {
        "path": folder,
        "start": format_time(span.start),
        "end": format_time(span.end),
        "complete": bool(found) and not incomplete,
        "incomplete_connectors": len(incomplete),
        "windows": sum(len(exports.windows) for exports in found),
        "entries": sum(exports.entries for exports in found),
        "errors": sum(exports.errors for exports in found),
        **first_of("connectors", [exports.result() for exports in incomplete + complete], MOST_CONNECTORS),
    }


def what_is_missing(found: Iterable[Exports]) -> str | None:
    """Which connectors miss what, in words; None where they miss nothing."""
    incomplete = [exports for exports in found if exports.coverage.missing]
    return listed(map(str, incomplete), _MOST_IN_A_MESSAGE, "; ") if incomplete else None


def listed(items: Iterable[str], most: int, separator: str = ", ") -> str:
    """The first items, and how many more there are."""
    texts = list(items)
    more = [f"and {len(texts) - most:,} more"] if len(texts) > most else []
    return separator.join([*texts[:most], *more])


def _fault(
    catalog: Catalog, name: ManifestName, manifest: Manifest, sizes: Mapping[str, int], verify: bool
) -> str | None:
    """Why the objects of a manifest are not those that it lists, or None."""
    for item in manifest.objects:
        path = name.beside(item.name)
        size = sizes.get(path)
        if size is None:
            return f"lists {item.name}, which is not there"
        if size != item.bytes:
            return f"lists {item.name} with {item.bytes:,} bytes, but it has {size:,}"
        if verify and catalog.destination.digest(path, size) != item.sha256:
            return f"lists {item.name} with another digest than it has"
    return None


def first_of(name: str, items: Sequence[_T], most: int) -> dict[str, Any]:
    """The first items under this name, and how many more there are."""
    return {name: list(items[:most]), f"more_{name}": max(0, len(items) - most)}


def _as_json(window: Window) -> dict[str, str]:
    return {"start": format_time(window.start), "end": format_time(window.end)}
