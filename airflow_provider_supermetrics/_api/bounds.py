"""Whether a window's entries are good enough: what was counted so far is certainly too bad, or not yet.

Entries are read newest first, and how many are left is unknown. So only counts that cannot fall are certain
before the window's end: too many errors, and enough entries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from airflow_provider_supermetrics._api.entry import MAX_DURATION, Number
from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._api.text import counted, quoted

_NUMBER = re.compile(r"\d{1,15}(\.\d{0,15})?", re.ASCII)
# Of counts, for which it is beyond any log, and of milliseconds: no entry has a longer duration.
_LARGEST: Final = MAX_DURATION


@dataclass(frozen=True)
class Counts:
    """What was read of the window.

    :param entries: how many entries.
    :param errors: how many of them count as errors.
    :param p95_duration_ms: 95 % of the durations are not longer; None where there are none.
    :param is_complete: whether the whole window was read.
    """

    entries: int = 0
    errors: int = 0
    p95_duration_ms: Number | None = None
    is_complete: bool = False

    @property
    def error_rate(self) -> float:
        """The share of errors, from 0 to 1; 0 without entries."""
        return self.errors / self.entries if self.entries else 0.0

    @property
    def scope(self) -> str:
        """The entries, as messages name them."""
        entries = counted(self.entries, "entry", "entries")
        return entries if self.is_complete else f"the newest {entries}"


@dataclass(frozen=True)
class Violation:
    """A bound that the window violates.

    :param bound: the name of the argument.
    :param limit: its value.
    :param value: what was found instead; at least so much where not the whole window was read.
    """

    bound: str
    limit: Number
    value: Number


@dataclass(frozen=True)
class Bounds:
    """What a window must keep to; None for no bound.

    :param max_errors: the most errors.
    :param max_error_rate: the greatest share of errors, from 0 to 1.
    :param min_entries: the fewest entries.
    :param max_p95_duration_ms: the longest time that 95 % of the durations are not longer than.
    """

    max_errors: int | None = None
    max_error_rate: Number | None = None
    min_entries: int | None = None
    max_p95_duration_ms: Number | None = None

    @classmethod
    def of(cls, **values: Any) -> Bounds:
        """Bounds, of values that were checked; templates give them as strings.

        :raises InvalidRequest: for a value out of range, and where no window can violate any of them.
        """
        read: dict[str, Any] = {name: read_bound(name, value) for name, value in values.items()}
        bounds = cls(**read)
        if bounds.is_decided(Counts()):
            raise InvalidRequest(
                "no bound that a log could violate: give max_errors, max_error_rate (below 1), min_entries "
                "or max_p95_duration_ms"
            )
        return bounds

    def violations(self, counts: Counts) -> list[Violation]:
        """The bounds that are certainly violated, whatever the rest of the window contains."""
        is_complete = counts.is_complete
        upper = (
            ("max_errors", self.max_errors, counts.errors, True),
            # However many entries follow, a share of errors does not fall to 0.
            (
                "max_error_rate",
                self.max_error_rate,
                counts.error_rate,
                is_complete or self.max_error_rate == 0,
            ),
            ("max_p95_duration_ms", self.max_p95_duration_ms, counts.p95_duration_ms or 0, is_complete),
        )
        found = [
            Violation(bound, limit, value)
            for bound, limit, value, is_certain in upper
            if limit is not None and is_certain and value > limit
        ]
        if self.min_entries is not None and is_complete and counts.entries < self.min_entries:
            found.append(Violation("min_entries", self.min_entries, counts.entries))
        return found

    def is_decided(self, counts: Counts) -> bool:
        """Whether it is certain if the window keeps to the bounds, so that nothing more has to be read."""
        if counts.is_complete or self.violations(counts):
            return True
        is_open = (
            self.max_errors is not None,
            self.max_error_rate is not None and self.max_error_rate < 1,
            self.min_entries is not None and counts.entries < self.min_entries,
            self.max_p95_duration_ms is not None,
        )
        return not any(is_open)


def described(violation: Violation, counts: Counts) -> str:
    """What is violated, and by how much."""
    limit = f"{violation.bound}={violation.limit}"
    at_least = "" if counts.is_complete else "at least "
    if violation.bound == "max_errors":
        return f"{at_least}{counted(counts.errors, 'error')}, more than {limit}"
    if violation.bound == "max_error_rate":
        share = f"{counted(counts.errors, 'error')} in {counts.scope}"
        return f"error rate {counts.error_rate:.4g} ({share}), more than {limit}"
    if violation.bound == "min_entries":
        return f"{counted(counts.entries, 'entry', 'entries')}, fewer than {limit}"
    return f"p95 of duration_ms {violation.value:,}, more than {limit}"


def read_bound(name: str, value: Any) -> Number | None:
    """The bound of this name; of a string, the number that it is.

    :raises InvalidRequest: unless it is None or a number in the bound's range.
    """
    number = as_number(value)
    if number is None:
        return None
    kinds, least, most, what = _RANGES[name]
    # Neither True, nor NaN, which is in no range.
    if type(number) not in kinds or not least <= number <= most:
        raise InvalidRequest(f"{name} must be {what}, or None for no bound, not {quoted(value)}")
    return number  # type: ignore[no-any-return]  # of one of the kinds


_RANGES: Final[dict[str, tuple[tuple[type, ...], int, int, str]]] = {
    "max_errors": ((int,), 0, _LARGEST, "an integer of 0 or more"),
    "max_error_rate": ((int, float), 0, 1, "a number from 0 to 1, such as 0.05 for 5 %"),
    "min_entries": ((int,), 1, _LARGEST, "an integer of 1 or more"),
    "max_p95_duration_ms": ((int, float), 0, _LARGEST, "a number of milliseconds, 0 or more"),
}


def as_number(value: Any) -> Any:
    """The number that a template gave as a string, or None where it gave nothing; else the value itself."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text in ("", "None"):
        return None
    if not _NUMBER.fullmatch(text):
        return value
    return float(text) if "." in text else int(text)
