"""docs/reference.md matches the docstrings."""

from __future__ import annotations

from dev import reference


def test_the_reference_is_up_to_date() -> None:
    """`make reference` would change nothing."""
    assert reference.PAGE.read_text(encoding="utf-8") == reference.render(), "run: make reference"
