"""What a person should read about the errors of a connector."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_supermetrics._api.text import counted, one_line

# What follows the path of a request, and numbers within the path: requests that differ in these count as one.
_VARYING = re.compile(r"(?<=\?).+|\b\d+\b")
_LONGEST_REQUEST = 120
_MOST_KINDS = 5


def with_message(
    connector_identifier: str, team_id: int, found: Mapping[str, Any], *, is_rest: bool = False
) -> dict[str, Any]:
    """The result of a sensor, or the payload of an event, as plain JSON values.

    :param found: ``matches``, ``entries`` (newest first), ``since`` and ``until``.
    :param is_rest: whether other errors of this time have been reported before.
    """
    text = message(connector_identifier, **found, is_rest=is_rest)
    return {"connector_identifier": connector_identifier, "team_id": team_id, **found, "message": text}


def message(
    connector_identifier: str,
    matches: int,
    entries: Sequence[Mapping[str, Any]],
    since: str,
    until: str | None,
    *,
    is_rest: bool = False,
) -> str:
    """A few lines of plain text: how many errors, the most frequent failures, and the newest error.

    No value from the log can begin a line of its own, or contain what a terminal obeys.

    :param matches: how many errors there are.
    :param entries: the newest of them, newest first.
    :param since: the time from which they count.
    :param until: the newest time that was read.
    :param is_rest: whether other errors of this time have been reported before.
    """
    errors = counted(matches, "new error" if is_rest else "error")
    lines = [f"{connector_identifier}: {errors} from {since}" + (f" to {until}" if until else "")]
    if entries:
        lines += failures(entries, matches)
    return "\n".join(lines)


def failures(entries: Sequence[Mapping[str, Any]], matches: int) -> list[str]:
    """The most frequent failures, each as one line such as ``3 x 500 GET /reports/…``, and the newest one.

    :param entries: the newest failing entries, newest first; at least one.
    :param matches: how many there are.
    """
    known = "" if len(entries) == matches else f" among the newest {len(entries):,}"
    kinds = Counter((str(entry.get("status")), _folded(entry)) for entry in entries)
    shown = kinds.most_common(_MOST_KINDS)
    lines = [f"Most frequent{known}:"]
    lines += [f"  {count:,} x {one_line(status, 20)} {request}" for (status, request), count in shown]
    if others := len(entries) - sum(count for _, count in shown):
        lines.append(f"  and {counted(others, 'other')}")
    return [*lines, f"Newest: {_identity(entries[0])}"]


def _identity(entry: Mapping[str, Any]) -> str:
    parts = (
        f"{name} {one_line(str(entry[field]), 100)}"
        for name, field in (("log entry", "id"), ("at", "log_time"), ("request id", "request_id"))
        if entry.get(field) is not None
    )
    return ", ".join(parts)


def _folded(entry: Mapping[str, Any]) -> str:
    text = entry.get("request") or entry.get("event") or "without a request"
    return one_line(_VARYING.sub("…", one_line(str(text))), _LONGEST_REQUEST)
