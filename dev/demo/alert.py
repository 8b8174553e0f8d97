"""Does the alert of an example DAG report what the API had?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

DAG_ID: Final = "supermetrics_error_alert"

_BEGIN: Final = "[warning  ] "
_END: Final = f"{DAG_ID}.LogNotifier]"


def alert_text(log: str) -> str:
    """The alert, out of what `airflow dags test` prints; empty where there is none."""
    before, found, _ = log.partition(_END)
    # What names the logger begins with a bracket, behind the last word.
    return before.rpartition(_BEGIN)[2].rpartition(" [")[0].rstrip() if found else ""


def alert_problem(text: str, truth: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with the alert, or nothing.

    :param truth: the entries that the API has since the time that the alert covers, newest first.
    """
    errors = [entry for entry in truth if (entry["status"] or 0) >= 400]
    if not text:
        return "there was no alert"
    if not text.partition("\n")[0].endswith(f": {len(errors)}"):
        return f"the alert does not tell of {len(errors)} errors"
    if f"log entry {errors[0]['id']}," not in text:
        return f"the alert does not name the last error, {errors[0]['id']}"
    return ""
