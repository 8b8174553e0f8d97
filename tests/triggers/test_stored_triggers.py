"""Rows that an earlier version has stored: what this version refuses must not end the triggerer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from airflow_provider_supermetrics.triggers.supermetrics import (
    SupermetricsErrorLogEventTrigger,
    SupermetricsErrorLogTrigger,
)
from tests.support.release import AIRFLOW_2

TIME = "2026-01-01T00:00:00+00:00"
STORED = {
    SupermetricsErrorLogTrigger: {
        "connector_identifier": "T3S70",
        "since": TIME,
        "deadline": TIME,
        "not_before": TIME,
        "error_filter": {"min_status": 400},
        "min_matches": 1,
        "within": None,
        "max_entries": 20,
        "overlap": 60.0,
        "poke_interval": 60.0,
        "max_consecutive_failures": 5,
        "longest_interval": None,
        "team_id": 7,
        "state": None,
        "wait_policy": {"max_attempts": 2},
        "supermetrics_conn_id": "supermetrics_default",
    },
    SupermetricsErrorLogEventTrigger: {
        "connector_identifier": "T3S70",
        "team_id": 7,
        "min_status": 400,
        "statuses": None,
        "events": None,
        "request_contains": None,
        "min_matches": 6,
        "within": 3600.0,
        "max_entries": 20,
        "poll_interval": 60.0,
        "lookback": 300.0,
        "overlap": 60.0,
        "wait_policy": {"max_attempts": 2},
        "supermetrics_conn_id": "supermetrics_default",
    },
}
if AIRFLOW_2:
    del STORED[SupermetricsErrorLogEventTrigger]
KINDS = pytest.mark.parametrize("kind", STORED, ids=lambda kind: kind.__name__)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(TIME),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def inflate(kind: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What the triggerer makes of a row, or the only kind of error that it survives."""
    try:
        return kind(**arguments)
    except TypeError as error:
        return error


@KINDS
@pytest.mark.airflow_2
def test_what_is_stored_is_taken(kind: Any) -> None:
    """A row of this version comes back as it went."""
    trigger = inflate(kind, STORED[kind])
    assert json.loads(json.dumps(trigger.serialize()[1])) == STORED[kind]


@KINDS
@pytest.mark.airflow_2
@given(data=st.data())
def test_no_row_ends_the_triggerer(kind: Any, data: st.DataObject) -> None:
    """Whatever it holds: a trigger, or a TypeError, which fails this one alone."""
    name = data.draw(st.sampled_from([*STORED[kind], "unknown"]))
    inflate(kind, {**STORED[kind], name: data.draw(json_values)})


@KINDS
@pytest.mark.airflow_2
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"min_status": "x", "error_filter": {"min_status": "x"}}, "min_status must be"),
        ({"since": "yesterday", "poll_interval": 0.1}, "yesterday|poll_interval must be"),
        ({"since": "2026-01-01T00:00:00", "overlap": -1}, "since .* has no time zone|overlap must be"),
        ({"deadline": "2026-01-01T00:00:00", "overlap": -1}, "deadline .* has no time zone|overlap must be"),
        ({"overlap": float("nan")}, "overlap must be"),
        ({"overlap": 1e300}, "overlap must be"),
        ({"min_matches": 0}, "min_matches must be"),
        ({"within": 0}, "within must be a timedelta"),
        ({"within": -1}, "within must be 0 seconds or more"),
        ({"min_matches": 1001, "within": 1}, "min_matches must be at most 1,000 together with within"),
    ],
)
def test_what_is_refused(kind: Any, arguments: dict[str, Any], complaint: str) -> None:
    """The error says why, and is the public one where a DAG is read."""
    known = {name: value for name, value in arguments.items() if name in STORED[kind]}
    error = inflate(kind, {**STORED[kind], **known})
    assert isinstance(error, SupermetricsValidationError)
    assert re.search(complaint, str(error), re.IGNORECASE)


@pytest.mark.airflow_2
@pytest.mark.parametrize("state", [{}, {"pace": {}}, {"pace": {"failures": "x"}}, "x", [1]])
def test_a_state_that_cannot_be_read(state: Any) -> None:
    """The trigger starts over."""
    stored = STORED[SupermetricsErrorLogTrigger]
    assert isinstance(
        inflate(SupermetricsErrorLogTrigger, {**stored, "state": state}), SupermetricsErrorLogTrigger
    )
