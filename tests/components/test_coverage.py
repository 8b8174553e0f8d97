"""Which parts of a time windows cover, compared with a model that looks at each minute."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_supermetrics._coverage import Coverage
from airflow_provider_supermetrics._schedule import Window
from tests.conftest import START

pytestmark = pytest.mark.airflow_2

MINUTES = 20
SPAN = (5, 15)


def window(start: int, end: int) -> Window:
    """A window by its minutes."""
    return Window(START + timedelta(minutes=start), START + timedelta(minutes=end))


def minutes(windows: tuple[Window, ...]) -> list[tuple[int, int]]:
    """The windows by their minutes."""
    return [
        tuple(round((time - START) / timedelta(minutes=1)) for time in (each.start, each.end))
        for each in windows
    ]


def ranges(chosen: set[int]) -> list[tuple[int, int]]:
    """Minutes as ranges that are as long as possible."""
    starts = sorted(minute for minute in chosen if minute - 1 not in chosen)
    ends = sorted(minute + 1 for minute in chosen if minute + 1 not in chosen)
    return list(zip(starts, ends))


@given(st.lists(st.tuples(st.integers(0, MINUTES), st.integers(0, MINUTES)).filter(lambda w: w[0] < w[1])))
def test_each_minute_is_missing_covered_or_overlapping(found: list[tuple[int, int]]) -> None:
    """Whatever the windows, in any order."""
    covering = {minute: sum(start <= minute < end for start, end in found) for minute in range(*SPAN)}
    coverage = Coverage.of(window(*SPAN), [window(*each) for each in found])
    assert minutes(coverage.missing) == ranges({m for m, count in covering.items() if count == 0})
    assert minutes(coverage.overlapping) == ranges({m for m, count in covering.items() if count > 1})


@pytest.mark.parametrize(
    ("found", "missing", "overlapping"),
    [
        ([], [(5, 15)], []),
        ([(0, 5), (15, 20)], [(5, 15)], []),
        ([(0, 20)], [], []),
        ([(5, 10), (10, 15)], [], []),
        ([(5, 9), (10, 15)], [(9, 10)], []),
        ([(0, 20), (5, 10), (10, 12)], [], [(5, 12)]),
        ([(5, 15), (5, 15)], [], [(5, 15)]),
    ],
)
def test_examples(
    found: list[tuple[int, int]], missing: list[tuple[int, int]], overlapping: list[tuple[int, int]]
) -> None:
    """Windows that end where the span begins; that touch; that are within another one; that are equal."""
    coverage = Coverage.of(window(*SPAN), [window(*each) for each in found])
    assert (minutes(coverage.missing), minutes(coverage.overlapping)) == (missing, overlapping)
