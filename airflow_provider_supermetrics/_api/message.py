"""What a person should read about the errors of a connector."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_supermetrics._api.text import one_line

# What follows the path of a request, and numbers within the path: requests that differ in these count as one.
_VARYING = re.compile(r"(?<=\?).+|\b\d+\b")
_LONGEST_REQUEST = 120


def failures(entries: Iterable[Mapping[str, Any]], most: int = 5) -> Sequence[str]:
    """The most frequent failures, each as one line such as ``3 x 500 GET /reports/…``.

    :param entries: the failing entries.
    :param most: how many lines at most.
    """
    found = Counter((str(entry.get("status")), _folded(entry)) for entry in entries)
    return [
        f"{count:,} x {one_line(status, 20)} {request}"
        for (status, request), count in found.most_common(most)
    ]


def _folded(entry: Mapping[str, Any]) -> str:
    text = entry.get("request") or entry.get("event") or "without a request"
    return one_line(_VARYING.sub("…", one_line(str(text))), _LONGEST_REQUEST)
