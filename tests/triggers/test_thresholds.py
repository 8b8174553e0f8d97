"""How many errors an event needs: added up, or within a rolling span."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_supermetrics.triggers.supermetrics import SupermetricsErrorLogEventTrigger
from dev.simulator import Simulator
from tests.conftest import CONNECTOR, TEAM
from tests.support.release import AIRFLOW_2
from tests.support.triggers import Store, Triggerer, error, ids

pytestmark = pytest.mark.skipif(AIRFLOW_2, reason="events came with Airflow 3")

Simulate = Callable[..., Simulator]
HOUR = timedelta(hours=1)


@pytest.fixture
def virtual(simulate: Simulate, waits: list[float]) -> Simulate:
    """Start simulators whose clock is the virtual one."""
    return lambda *args, **kwargs: simulate(*args, clock=lambda: time.monotonic(), **kwargs)


def appending(sim: Simulator, polls: dict[int, int], prefix: str = "e") -> Callable[[int], None]:
    """Let so many errors happen before these polls."""

    def between(number: int) -> None:
        sim.append(CONNECTOR, [error(f"{prefix}{number}-{i}") for i in range(polls.get(number, 0))])

    return between


def test_three_errors_and_three_more(virtual: Simulate, waits: list[float]) -> None:
    """Six within an hour are reported once, in whichever polls they were found; so are six later ones."""
    sim = virtual([error("before", 4000)])
    polls = {2: 3, 6: 3, 9: 1, 20: 2, 90: 3, 95: 3, 97: 9}
    payloads = Triggerer(waits, min_matches=6, within=HOUR).run(100, appending(sim, polls))
    assert [payload["matches"] for payload in payloads] == [6, 6]
    assert ids(payloads)[0] == [f"e{number}-{i}" for number in (6, 2) for i in (2, 1, 0)]
    first = payloads[0]
    assert first["team_id"] == TEAM
    assert first["since"] == first["entries"][-1]["log_time"]
    assert first["until"] == first["entries"][0]["log_time"]
    assert first["message"].startswith(f"T3S70: 6 errors from {first['since']} to {first['until']}\n")


def test_no_span_holds_enough(virtual: Simulate, waits: list[float]) -> None:
    """Five errors every hour are never six within an hour."""
    sim = virtual([error("before", 4000)])
    polls = dict.fromkeys(range(2, 200, 62), 5)
    assert Triggerer(waits, min_matches=6, within=3600).run(200, appending(sim, polls)) == []


@pytest.mark.parametrize("arguments", [{"within": HOUR}, {}], ids=["rolling", "adding up"])
def test_a_restart_neither_repeats_nor_misses(
    virtual: Simulate, waits: list[float], arguments: dict[str, Any]
) -> None:
    """The errors so far are in the asset's store, and whether they have been reported."""
    sim = virtual([error("before", 4000)])
    store = Store()
    arguments = {"min_matches": 6, **arguments}
    assert Triggerer(waits, store, **arguments).run(4, appending(sim, {2: 3}, "a")) == []
    [payload] = Triggerer(waits, store, **arguments).run(4, appending(sim, {2: 3}, "b"))
    assert payload["matches"] == 6
    assert {entry["id"][0] for entry in payload["entries"]} == {"a", "b"}
    assert Triggerer(waits, store, **arguments).run(4, appending(sim, {2: 3}, "c")) == []
    assert Triggerer(waits, store, **arguments).run(4) == []


def test_errors_add_up(virtual: Simulate, waits: list[float]) -> None:
    """Without a span they may be days apart; an event has all since the one before."""
    sim = virtual([error("before", 4000)])
    polls = {2: 3, 50: 2, 90: 2, 91: 4, 92: 2}
    payloads = Triggerer(waits, min_matches=6).run(100, appending(sim, polls))
    assert [payload["matches"] for payload in payloads] == [7, 6]
    assert payloads[1]["since"] == payloads[0]["until"]


def test_a_watermark_of_an_earlier_version_is_continued(virtual: Simulate, waits: list[float]) -> None:
    """A trigger with default arguments finds it under its key, and its own is read by that version."""
    sim = virtual([error("before", 4000)])
    store = Store()
    Triggerer(waits, store).run(2, appending(sim, {2: 1}))
    [(key, state)] = store.values.items()
    # As version 0.1 stored it.
    assert set(state) == {
        *("since", "overlap", "first_limit", "watermark", "seen", "oldest_key", "last_new_at", "is_known"),
        "poll",
    }
    assert key == "supermetrics_error_log/T3S70/8c8e46096ff0c42c"
    waits.append(7200)
    sim.append(CONNECTOR, [error("down", 3600)])
    assert ids(Triggerer(waits, store).run(2)) == [["down"]]


@pytest.mark.parametrize("value", [None, 5, "x", [], {"cells": [{"number": "x"}]}, {"matches": 5}], ids=str)
def test_a_damaged_count_is_not_used(virtual: Simulate, waits: list[float], value: Any) -> None:
    """The trigger starts over, and fires when there are enough errors."""
    sim = virtual([error("before", 4000)])
    store = Store()
    arguments = {"min_matches": 2, "within": HOUR}
    Triggerer(waits, store, **arguments).run(2, appending(sim, {2: 1}))
    [(key, state)] = store.values.items()
    assert state["alarm"]["cells"]
    store.values[key] = {**state, "alarm": value}
    waits.append(7200)
    [payload] = Triggerer(waits, store, **arguments).run(2, appending(sim, {1: 2}, "after"))
    assert payload["matches"] == 2


def test_other_thresholds_are_other_watermarks(virtual: Simulate, waits: list[float]) -> None:
    """Two triggers of one asset do not share their counts."""
    virtual([error("before", 4000), error("now")])
    store = Store()
    for arguments in ({}, {"min_matches": 3}, {"min_matches": 3, "within": HOUR}, {"within": 60}):
        Triggerer(waits, store, **arguments).run(2)
    assert len(store.values) == 4


def test_what_is_stored_of_it() -> None:
    """Plain values, from which the same trigger can be made."""
    trigger = SupermetricsErrorLogEventTrigger(connector_identifier=CONNECTOR, min_matches=6, within=HOUR)
    path, kwargs = trigger.serialize()
    assert (kwargs["min_matches"], kwargs["within"]) == (6, 3600.0)
    assert SupermetricsErrorLogEventTrigger(**kwargs).serialize() == (path, kwargs)
