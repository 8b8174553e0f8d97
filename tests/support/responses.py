"""Responses of the API, and parts of them, that tests of several components use."""

from __future__ import annotations

from typing import Any

from dev.simulator import Fault

# Colours and a title for the terminal, a forged second line, bidirectional and invisible characters, NUL, and
# half of a surrogate pair.
HOSTILE = "a\x1b]0;title\x07b\x1b[31m\x9b2Jc\r\n[INFO] d\u2028e\u2029f\u202eg\u2066h\x00i\ud800j\u200bk"


def listed(number: int, count: Any) -> Fault:
    """A list of so many connectors of which the API counts others."""
    connectors = [{"connector_identifier": f"C{i}", "name": "n"} for i in range(number)]
    return Fault(200, body={"connectors": connectors, "count": count})
