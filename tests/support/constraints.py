"""The constraints of Airflow's releases, as the project has them."""

from __future__ import annotations

from pathlib import Path

from packaging.utils import canonicalize_name

from dev.matrix import ROOT

CONSTRAINTS = ROOT / "constraints"


def of_release(release: str) -> Path:
    """Return the file with the constraints of a release."""
    return CONSTRAINTS / "releases" / f"airflow-{release}.txt"


def versions(requirements: str) -> dict[str, str]:
    """Version by normalized name; the first one where markers choose one of several."""
    found: dict[str, str] = {}
    for line in requirements.splitlines():
        name, _, version = line.partition(";")[0].partition("==")
        if version:
            found.setdefault(canonicalize_name(name.strip()), version.strip())
    return found
