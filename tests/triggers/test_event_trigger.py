"""The guarantees of the event trigger, in virtual time and without a triggerer."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from airflow_provider_supermetrics.triggers.supermetrics import SupermetricsErrorLogEventTrigger
from dev.simulator import Fault, Simulator
from tests.conftest import CONNECTOR, KEY, TEAM
from tests.support.compat import AirflowOptionalProviderFeatureException
from tests.support.release import AIRFLOW_2
from tests.support.triggers import Store, Triggerer, error, ids

Simulate = Callable[..., Simulator]
needs_events = pytest.mark.skipif(AIRFLOW_2, reason="events came with Airflow 3")


@pytest.mark.airflow_2
@pytest.mark.skipif(not AIRFLOW_2, reason="here it works")
def test_airflow_2_says_why_not() -> None:
    """On Airflow 2 the module can be imported, and using the class raises an error with the alternative."""
    with pytest.raises(AirflowOptionalProviderFeatureException, match=r"Airflow 3\.0.*Sensor"):
        SupermetricsErrorLogEventTrigger(connector_identifier=CONNECTOR)


@pytest.fixture
def virtual(simulate: Simulate, waits: list[float]) -> Simulate:
    """Start simulators whose clock is the virtual one."""
    return lambda *args, **kwargs: simulate(*args, clock=lambda: time.monotonic(), **kwargs)


@needs_events
def test_one_event_for_each_poll_that_finds_errors(virtual: Simulate, waits: list[float]) -> None:
    """One event lists all errors of a poll, a poll without new errors fires none, for one request each."""
    sim = virtual([error("old", 4000), error("ok", 20, 200)])

    def between(number: int) -> None:
        if number == 3:
            sim.append(CONNECTOR, [error("a", 1), error("b"), error("fine", 0, 200)])
        if number == 5:
            sim.append(CONNECTOR, [error("late", 150), error("c", 0, 404)])

    payloads = Triggerer(waits).run(8, between)
    assert ids(payloads) == [["b", "a"], ["c", "late"]]
    first = payloads[0]
    assert set(first) == {
        *("connector_identifier", "team_id", "matches", "entries", "since", "until", "message")
    }
    assert first["message"].startswith(f"T3S70: 2 errors from {first['since']} to {first['until']}\n")
    assert (first["connector_identifier"], first["team_id"], first["matches"]) == (CONNECTOR, TEAM, 2)
    assert first["entries"][0]["request"] == "GET /b"
    assert first["until"] >= first["entries"][0]["log_time"] > first["since"]
    assert len(sim.requests) <= 9
    assert all(59 <= nap <= 61 or nap == 3 for nap in waits)


@needs_events
def test_a_restart_neither_repeats_nor_misses(virtual: Simulate, waits: list[float]) -> None:
    """The watermark is in the asset's store: what came meanwhile is found, what was reported is not."""
    sim = virtual([error("before", 4000)])
    store = Store()
    arguments: dict[str, Any] = {"min_status": 400}

    def appending(at: int, *names: str) -> Callable[[int], None]:
        return lambda number: sim.append(CONNECTOR, [error(n) for n in names]) if number == at else None

    assert ids(Triggerer(waits, store, **arguments).run(4, appending(2, "up"))) == [["up"]]
    waits.append(7200)
    sim.append(CONNECTOR, [error("down-1", 3600), error("down-2", 1)])
    assert ids(Triggerer(waits, store, **arguments).run(3)) == [["down-2", "down-1"]]
    waits.append(7200)
    assert ids(Triggerer(waits, store, **arguments).run(3)) == []
    assert ids(Triggerer(waits, store, **arguments).run(3, appending(3, "again"))) == [["again"]]
    assert KEY not in str(store.values)


@needs_events
def test_a_restart_costs_one_more_poll(virtual: Simulate, waits: list[float]) -> None:
    """However old the watermark is: a watcher makes its first poll itself, the stream makes the others."""
    sim = virtual([error("before", 4000)])
    store = Store()
    Triggerer(waits, store).run(1)
    sim.append(CONNECTOR, [error("reported")])
    Triggerer(waits, store).run(2)
    waits.append(7200)
    earlier = len(sim.requests)
    assert ids(Triggerer(waits, store).run(20)) == []
    assert len(sim.requests) - earlier == 21


@needs_events
def test_a_corrected_connection_is_used(
    virtual: Simulate, connection: Callable[..., None], waits: list[float]
) -> None:
    """A wrong key, no key, no Connection at all: polls succeed again once that is corrected."""
    sim = virtual([error("now")])
    for wrong in ({"password": "revoked"}, {"password": ""}):
        connection(sim.url, **wrong)
        naps = len(waits)

        async def first(number: int = naps) -> Any:
            trigger = SupermetricsErrorLogEventTrigger(connector_identifier=CONNECTOR, lookback=10**9)
            running = asyncio.ensure_future(anext(aiter(trigger.run())))
            while len(waits) < number + 3:
                await asyncio.sleep(0)
                waits.pop()
                await asyncio.wait([running], timeout=0.01)
            connection(sim.url)
            return (await running).payload

        assert asyncio.run(first())["matches"] == 1


@needs_events
def test_a_watcher_that_joins_late(virtual: Simulate, waits: list[float]) -> None:
    """It also receives what the stream has yielded before it joined, as far back as its lookback."""
    virtual([error("before", 4000), error("lately", 60)])

    async def run() -> list[list[str]]:
        trigger = SupermetricsErrorLogEventTrigger(connector_identifier=CONNECTOR, lookback=600)
        _, kwargs = trigger.serialize()

        async def later() -> AsyncIterator[Any]:
            number = 0
            async for batch in SupermetricsErrorLogEventTrigger.open_shared_stream(kwargs):
                number += 1
                if number > 2:
                    yield batch
                if number == 4:
                    return

        return ids([e.payload async for e in trigger.filter_shared_stream(later())])

    assert asyncio.run(run()) == [["lately"]]


@needs_events
def test_idle_polls_write_nothing(virtual: Simulate, waits: list[float]) -> None:
    """The store is written where the watermark moves, and once at first."""
    sim = virtual([error("before", 4000)])
    store = Store()
    Triggerer(waits, store).run(20)
    assert store.writes == 1
    assert len(sim.requests) == 20


@needs_events
def test_other_filters_are_other_watermarks(virtual: Simulate, waits: list[float]) -> None:
    """Two triggers may keep theirs in one asset."""
    sim = virtual([error("before", 4000)])
    store = Store()
    for arguments in ({"statuses": [500]}, {"statuses": [404]}):
        Triggerer(waits, store, **arguments).run(1)
    sim.append(CONNECTOR, [error("five"), error("four", 0, 404)])
    assert ids(Triggerer(waits, store, statuses=[500]).run(2)) == [["five"]]
    assert ids(Triggerer(waits, store, statuses=[404]).run(2)) == [["four"]]
    assert len(store.values) == 2


@needs_events
def test_without_a_store_it_begins_some_time_ago(virtual: Simulate, waits: list[float]) -> None:
    """Without a store, as before Airflow 3.3, the trigger begins at now minus lookback."""
    virtual([error("long ago", 700), error("a while ago", 200)])
    assert ids(Triggerer(waits).run(2)) == [["a while ago"]]
    assert ids(Triggerer(waits, lookback=timedelta(minutes=15)).run(1)) == [["a while ago", "long ago"]]


@needs_events
@pytest.mark.parametrize("lookback", [0, 300])
def test_watchers_share_their_polls(virtual: Simulate, waits: list[float], lookback: float) -> None:
    """Five watchers with different filters: one stream, one request a poll, to each its own errors."""
    sim = virtual([error("before", 4000)])
    watchers = [
        SupermetricsErrorLogEventTrigger(
            connector_identifier=CONNECTOR, statuses=[status], max_entries=status % 7 + 1, lookback=lookback
        )
        for status in (500, 501, 502, 503, 504)
    ]
    assert len({watcher.shared_stream_key() for watcher in watchers}) == 1
    other = SupermetricsErrorLogEventTrigger(connector_identifier="OTHER")
    assert other.shared_stream_key() != watchers[0].shared_stream_key()

    async def run() -> list[list[list[str]]]:
        queues: list[asyncio.Queue[Any]] = [asyncio.Queue() for _ in watchers]

        async def read(queue: asyncio.Queue[Any]) -> AsyncIterator[Any]:
            while (batch := await queue.get()) is not None:
                yield batch

        async def watch(index: int) -> list[list[str]]:
            trigger = watchers[index]
            trigger.asset_state_store = Store()
            return ids([e.payload async for e in trigger.filter_shared_stream(read(queues[index]))])

        tasks = [asyncio.create_task(watch(index)) for index in range(5)]
        number = 0
        async for batch in SupermetricsErrorLogEventTrigger.open_shared_stream(watchers[2].serialize()[1]):
            for queue in queues:
                queue.put_nowait(batch)
            number += 1
            if number == 2:
                sim.append(CONNECTOR, [error(f"e{status}", 0, status) for status in range(500, 505)])
            if number == 5:
                break
        for queue in queues:
            queue.put_nowait(None)
        return await asyncio.gather(*tasks)

    assert asyncio.run(run()) == [[["e500"]], [["e501"]], [["e502"]], [["e503"]], [["e504"]]]
    assert len(sim.requests) == 5


@needs_events
def test_a_refusal_is_waited_for(virtual: Simulate, waits: list[float]) -> None:
    """After a refusal, the trigger waits without a request or a busy loop, and loses no entry."""
    sim = virtual([error("before", 4000)], faults=[None, Fault(429, headers={"Retry-After": "3600"})])

    def between(number: int) -> None:
        if number == 2:
            sim.append(CONNECTOR, [error("meanwhile")])

    assert ids(Triggerer(waits).run(3, between)) == [["meanwhile"]]
    assert sim.requests[2].time - sim.requests[1].time >= 3600
    assert len(sim.requests) <= 5
    assert len(waits) <= 5


@needs_events
@pytest.mark.parametrize(
    "fault",
    [Fault(401), Fault(401, code="ACCESS_TOKEN_EXPIRED"), Fault(500), Fault(kind="not_json"), Fault(404)],
    ids=str,
)
def test_it_continues_whatever_happens(virtual: Simulate, waits: list[float], fault: Fault) -> None:
    """After any error, the trigger logs it, waits some minutes and polls again."""
    sim = virtual([error("before", 4000)], faults=[None, *[fault] * 4])

    def between(number: int) -> None:
        if number == 2:
            sim.append(CONNECTOR, [error("meanwhile")])

    payloads = Triggerer(waits, wait_policy={"max_attempts": 1}).run(3, between)
    assert ids(payloads) == [["meanwhile"]]
    assert len([nap for nap in waits if nap >= 300]) == 4


def log_lines(
    pattern: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """What the trigger has logged; Airflow 3 may write it past logging."""
    return re.findall(pattern, caplog.text) or re.findall(pattern, capsys.readouterr().out)


# Some have no form in UTF-8, or none in PostgreSQL; with a question mark instead they were equal.
ODD_IDS = ["x\ud800", "x\ud801", "x?", "x\0", "\U0001f98a", "é" * 400]


@needs_events
def test_an_id_that_no_store_takes_does_not_repeat_events(virtual: Simulate, waits: list[float]) -> None:
    """One entry with such an id was an event at every poll, because the watermark could not be saved."""
    sim = virtual([error("before", 4000)])
    store = Store()

    def between(number: int) -> None:
        if number == 2:
            sim.append(CONNECTOR, [error(odd) for odd in ODD_IDS])

    [first] = Triggerer(waits, store).run(5, between)
    assert first["matches"] == len(ODD_IDS)
    assert Triggerer(waits, store).run(3) == []
    sim.append(CONNECTOR, [error("x\ud802")])
    [again] = Triggerer(waits, store).run(3)
    assert again["matches"] == 1


@needs_events
def test_a_watermark_that_cannot_be_saved_stays_in_memory(
    virtual: Simulate,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Events continue, none twice; the log says so once for each kind; it is saved as soon as that works."""
    sim = virtual([error("before", 4000)])
    store = Store(set_errors=[RuntimeError("down")] * 3 + [OSError("full")] * 3)

    def between(number: int) -> None:
        if number in (2, 4):
            sim.append(CONNECTOR, [error(f"at {number}")])

    assert ids(Triggerer(waits, store).run(5, between)) == [["at 2"], ["at 4"]]
    assert store.writes == 0
    waits.append(600)
    lines = log_lines(r"The watermark of connector T3S70 could not be stored: (\w+)", caplog, capsys)
    assert lines == ["RuntimeError", "OSError"]

    # The same process, as the store comes back: what has been read is saved although nothing new is logged.
    store = Store(set_errors=[RuntimeError("down")] * 2)
    sim.append(CONNECTOR, [error("reported")])
    assert ids(Triggerer(waits, store).run(6)) == [["reported"]]
    assert store.writes == 1
    assert ids(Triggerer(waits, store).run(2)) == []


@needs_events
def test_a_watermark_that_cannot_be_read_is_waited_for(
    virtual: Simulate,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without it, the trigger would miss for good what was logged while no triggerer ran."""
    sim = virtual([error("before", 4000)])
    store = Store()
    Triggerer(waits, store).run(2)
    waits.append(7200)
    sim.append(CONNECTOR, [error("down", 3600), error("up", 5)])
    down = [RuntimeError("down"), UnicodeDecodeError("utf-8", b"", 0, 1, "damaged"), TimeoutError()]
    store.get_errors = down
    assert ids(Triggerer(waits, store).run(6)) == [["up", "down"]]
    lines = log_lines(r"The watermark of connector T3S70 could not be read: (\w+)", caplog, capsys)
    assert lines == ["RuntimeError", "UnicodeDecodeError", "TimeoutError"]
    assert ids(Triggerer(waits, store).run(2)) == []


@needs_events
@pytest.mark.parametrize(
    "value", [None, 5, -1, 1e300, "x", "2026-01-01T00:00:00", [], [1], {}, {"x": "y"}], ids=str
)
def test_a_damaged_watermark_is_not_used(virtual: Simulate, waits: list[float], value: Any) -> None:
    """Whatever is stored instead: errors are found at the next poll, as by a trigger without a watermark."""
    sim = virtual([error("before", 4000)])
    store = Store()
    Triggerer(waits, store).run(2)
    [(key, state)] = store.values.items()
    assert state
    for name in state:
        store.values[key] = {**state, name: value}
        sim.append(CONNECTOR, [error(f"{name} {value}")])
        found = ids(Triggerer(waits, store).run(2))
        assert [f"{name} {value}" in payload for payload in found][:1] == [True], (name, value)
    store.values[key] = value
    sim.append(CONNECTOR, [error("last")])
    assert "last" in ids(Triggerer(waits, store).run(2))[0]


@needs_events
def test_a_trigger_of_several_assets_has_no_watermark(
    virtual: Simulate,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Airflow raises a ValueError for it; events continue without one."""
    virtual([error("lately", 60)])
    store = Store(get_errors=[ValueError("Task has 2 concrete inlets and outlets")])
    assert ids(Triggerer(waits, store).run(3)) == [["lately"]]
    assert store.writes == 0
    assert log_lines(r"No watermark is stored for connector T3S70, .*2 concrete inlets", caplog, capsys)


@needs_events
def test_a_shared_stream_that_ends_is_replaced(virtual: Simulate, waits: list[float]) -> None:
    """Airflow ends it for a trigger that falls behind the others; that one polls by itself from then on."""
    sim = virtual([error("before", 4000), error("first", 5)])

    async def run() -> list[list[str]]:
        trigger = SupermetricsErrorLogEventTrigger(connector_identifier=CONNECTOR)
        _, kwargs = trigger.serialize()

        async def ending() -> AsyncIterator[Any]:
            async for batch in SupermetricsErrorLogEventTrigger.open_shared_stream(kwargs):
                yield batch
                # Longer ago than the lookback of any new stream.
                waits.append(3600)
                sim.append(CONNECTOR, [error("missed", 3500), error("second")])
                raise RuntimeError("subscriber queue exceeded maxsize")

        found = []
        async for event in trigger.filter_shared_stream(ending()):
            found.append([entry["id"] for entry in event.payload["entries"]])
            if len(found) == 2:
                sim.append(CONNECTOR, [error("third")])
            if len(found) == 3:
                break
        return found

    assert asyncio.run(run()) == [["first"], ["second", "missed"], ["third"]]


@needs_events
def test_entries_of_any_content_end_nothing(virtual: Simulate, waits: list[float]) -> None:
    """Entries of any content do not end the trigger, and errors among them are found."""
    odd = [error(f"odd {i}") for i in range(5)]
    odd[0]["status"] = "5" * 5000
    odd[1] |= {"status": "503", "event": ["data.fetch"], "request": {"a": 1}}
    odd[2] |= {"__classname__": "builtins.int", "__data__": 1, "__type": "x", "__var": 1}
    odd[3]["request"] = "\ud800\0"
    odd[4]["nested"] = json.loads("[" * 500 + "]" * 500)
    virtual(odd)
    [payload] = Triggerer(waits).run(2)
    assert payload["matches"] == 4


@needs_events
@pytest.mark.parametrize("fault", [Fault(kind="not_json"), Fault(kind="no_log_time"), Fault(500)], ids=str)
def test_a_poll_that_fails_at_its_second_page_loses_no_entry_of_the_first(
    virtual: Simulate, waits: list[float], fault: Fault
) -> None:
    """Whether the next poll resumes there or begins from scratch: each error once."""
    log = [error("newest", 1), *(error(f"ok-{number}", 2, 200) for number in range(150)), error("oldest", 60)]
    virtual(log, faults=[None, fault])
    payloads = Triggerer(waits, wait_policy={"max_attempts": 1}).run(2)
    assert ids(payloads) == [["newest", "oldest"]]


@needs_events
def test_run_is_the_same_without_sharing(virtual: Simulate, waits: list[float]) -> None:
    """Airflow before 3.3 calls run()."""
    virtual([error("now", 5)])

    async def first() -> Any:
        trigger = SupermetricsErrorLogEventTrigger(connector_identifier=CONNECTOR)
        async for event in trigger.run():
            return event.payload

    assert asyncio.run(first())["matches"] == 1


@needs_events
def test_what_is_stored_of_it() -> None:
    """Plain values, the same for the same arguments; from them the same trigger can be made."""
    arguments: dict[str, Any] = {
        "connector_identifier": CONNECTOR,
        "team_id": 5,
        "statuses": {503, 500},
        "events": ("a", "b"),
        "request_contains": "x",
        "poll_interval": timedelta(minutes=2),
        "lookback": timedelta(hours=1),
        "wait_policy": {"rate_limit_reserve": 10},
    }
    path, kwargs = SupermetricsErrorLogEventTrigger(**arguments).serialize()
    assert path.endswith("triggers.supermetrics.SupermetricsErrorLogEventTrigger")
    again = SupermetricsErrorLogEventTrigger(**json.loads(json.dumps(kwargs)))
    assert again.serialize() == (path, kwargs)
    assert kwargs["statuses"] == [500, 503]
    assert (kwargs["poll_interval"], kwargs["lookback"]) == (120.0, 3600.0)


@needs_events
@pytest.mark.parametrize(
    "arguments",
    [
        {"connector_identifier": "../x"},
        {"statuses": []},
        {"events": "x"},
        {"wait_policy": {"x": 1}},
        {"poll_interval": 0},
        {"lookback": -1},
        {"max_entries": 0},
        {"team_id": 0},
        {"min_status": 1000},
        {"min_matches": 0},
        {"within": "1 hour"},
        {"within": timedelta(days=32)},
    ],
    ids=str,
)
def test_invalid_arguments_fail_when_the_dag_is_read(arguments: dict[str, Any]) -> None:
    """Invalid arguments are refused when the DAG is read, not in the triggerer."""
    with pytest.raises(SupermetricsValidationError):
        SupermetricsErrorLogEventTrigger(**{"connector_identifier": "A", **arguments})
