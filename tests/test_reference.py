"""docs/reference.md matches the docstrings."""

from __future__ import annotations

import pytest

from dev import reference
from tests.support.release import RELEASE

pytestmark = pytest.mark.skipif(
    RELEASE < (3, 3), reason="the page is written with the newest Airflow, which has all classes"
)


def test_the_reference_is_up_to_date() -> None:
    """`make reference` would change nothing."""
    assert reference.PAGE.read_text(encoding="utf-8") == reference.render(), "run: make reference"
