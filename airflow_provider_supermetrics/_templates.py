"""Arguments of tasks that may be templates, which are known only when the task runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from airflow_provider_supermetrics.exceptions import public_errors

_TEMPLATE = re.compile(r"\{[{%#]")


def is_template(value: Any) -> bool:
    """Whether Airflow replaces the value when the task runs: a template, another task's output, or a list."""
    if isinstance(value, str):
        return _TEMPLATE.search(value) is not None
    if isinstance(value, (list, tuple, set)):
        return any(map(is_template, value))
    return hasattr(value, "iter_references")


def check_unless_template(read: Callable[..., object], *arguments: Any) -> None:
    """Let arguments be read as a run will read them, unless the run replaces one of them first."""
    if not any(map(is_template, arguments)):
        with public_errors():
            read(*arguments)
