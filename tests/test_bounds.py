"""The lower bounds of the package, and the versions that Airflow's releases pin and that tests run with."""

from __future__ import annotations

import re
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from dev.matrix import PYTHONS
from tests.support.constraints import CONSTRAINTS, of_release, versions

#: Of the package and all its extras.
REQUIREMENTS = [Requirement(line) for line in requires("airflow-provider-supermetrics") or ()]


@pytest.mark.parametrize("release", PYTHONS)
def test_bounds_admit_the_pins_of_a_release(release: str) -> None:
    """None excludes a version that a supported release of Airflow pins."""
    pins = versions(of_release(release).read_text())
    refused = [
        str(requirement)
        for requirement in REQUIREMENTS
        if (pin := pins.get(canonicalize_name(requirement.name))) and not requirement.specifier.contains(pin)
    ]
    assert refused == []


def test_each_bound_is_the_lowest_version_that_is_tested() -> None:
    """`make test-2.11` runs with the bounds themselves."""
    lowest = versions((CONSTRAINTS / "airflow-2.11.txt").read_text())
    for requirement in REQUIREMENTS:
        [bound] = [each.version for each in requirement.specifier if each.operator == ">="]
        assert Version(lowest[canonicalize_name(requirement.name)]) == Version(bound), requirement


def test_the_constraints_are_names_and_versions_only() -> None:
    """No URL, no path, no comment; and every release that is supported is there."""
    files = sorted((CONSTRAINTS / "releases").iterdir())
    assert files == sorted(map(of_release, PYTHONS))
    for file in files:
        for line in file.read_text().splitlines():
            assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!]+", line), line
