"""The release of Airflow that the tests run in."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

RELEASE: Final = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
AIRFLOW_2: Final = RELEASE < (3, 0)
