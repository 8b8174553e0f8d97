"""Check that the alert of an example DAG reports the errors that the API had."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

DAG_ID: Final = "supermetrics_error_alert"

# The task prints it, so nothing stands before it on its line.
_ALERT: Final = re.compile(r"^\S+: [\d,]+ errors? from .*?^Newest: [^\n]*", re.DOTALL | re.MULTILINE)


def alert_text(log: str) -> str:
    """Return the alert in the output of `airflow dags test`, or an empty string."""
    found = _ALERT.search(log)
    return found[0].rstrip() if found else ""


def alert_problem(text: str, truth: Sequence[Mapping[str, Any]]) -> str:
    """Return what is wrong with the alert, or an empty string.

    :param truth: the entries of the API from the start of the time that the alert covers, newest first.
    """
    errors = [entry for entry in truth if (entry["status"] or 0) >= 400]
    if not text:
        return "there was no alert"
    if f": {len(errors):,} error" not in text.partition("\n")[0]:
        return f"the alert does not report {len(errors)} errors"
    if f"log entry {errors[0]['id']}," not in text:
        return f"the alert does not name the last error, {errors[0]['id']}"
    return ""
