"""A connector's log: entries sorted by their stored times, and the pages of them."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from random import Random
from typing import Any, Final

from dev.simulator.times import TimeFormat, checked_length, microseconds, parse_time

Entry = Mapping[str, Any]

_stored: Final = attrgetter("stored")
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class Connector:
    """A connector and its log at the start of the simulation.

    `entries` are mappings with a `log_time`: an aware datetime, which the simulator prints according to its
    switches, or a string, which it prints unchanged. `id` is optional, and other keys are kept. Identifiers
    are unique per simulator.
    """

    identifier: str
    entries: Iterable[Entry] = ()
    name: str = "Simulated connector"
    team_id: int = 936506


class StoredEntry:
    """An entry as the API stores it: `fields` as printed; `stored` and `printed` times in microseconds."""

    __slots__ = ("_json", "fields", "printed", "stored")

    def __init__(self, entry: Entry, form: TimeFormat) -> None:
        log_time = entry["log_time"]
        if isinstance(log_time, str):
            self.stored = self.printed = parse_time(checked_length(log_time))
        else:
            exact = microseconds(log_time)
            self.stored, self.printed = form.stored(exact), form.printed(exact)
            log_time = form.text(exact)
        self.fields: dict[str, Any] = {**entry, "log_time": log_time}
        self._json: bytes | None = None

    @property
    def json(self) -> bytes:
        """The entry as JSON, encoded once."""
        if self._json is None:
            self._json = _encode(self.fields).encode()
        return self._json


class Log:
    """The log of one connector. Not thread-safe."""

    def __init__(self, entries: Iterable[Entry], form: TimeFormat) -> None:
        self._form = form
        self._entries = sorted((StoredEntry(entry, form) for entry in entries), key=_stored)
        self._by_id = {entry.fields["id"]: entry for entry in self._entries if "id" in entry.fields}

    def append(self, entries: Iterable[Entry]) -> None:
        """Add entries of any age, each after those with the same stored time."""
        for entry in entries:
            stored = StoredEntry(entry, self._form)
            insort(self._entries, stored, key=_stored)
            if "id" in stored.fields:
                self._by_id[stored.fields["id"]] = stored

    def find(self, log_id: str) -> StoredEntry | None:
        """Return the entry with this id, or None."""
        return self._by_id.get(log_id)

    def page(
        self, before: int | None, *, inclusive: bool, length: int, shuffle: Random | None
    ) -> list[StoredEntry]:
        """Return the newest `length` entries before a time, newest first; `shuffle` mixes ties."""
        bisect = bisect_right if inclusive else bisect_left
        end = len(self._entries) if before is None else bisect(self._entries, before, key=_stored)
        start = max(0, end - length)
        if shuffle is None or start == end:
            return self._entries[start:end][::-1]
        # If the end of the page cuts a tie, any of its entries may be on the page, so mix the whole tie.
        tie_start = bisect_left(self._entries, self._entries[start].stored, key=_stored)
        mixed = sorted(self._entries[tie_start:end], key=lambda entry: (-entry.stored, shuffle.random()))
        return mixed[: end - start]

    def truth(self, start: int | None, end: int | None) -> list[dict[str, Any]]:
        """Return the entries as printed whose printed time is in `[start, end)`, newest first."""
        return [
            dict(entry.fields)
            for entry in reversed(self._entries)
            if (start is None or start <= entry.printed) and (end is None or entry.printed < end)
        ]
