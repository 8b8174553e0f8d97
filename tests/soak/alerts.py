"""Alerts of a soak: event triggers that follow a log, and sensors, compared with the truth.

docs/alerts.md promises of an event trigger: from its stored watermark on, each error is in an event, if it
appeared at most the overlap behind the newest entry. It is in one event only, unless the triggerer ended
before the watermark of that event was stored.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.soak.clock import ORIGIN
from tests.soak.processes import Trap, Worker
from tests.soak.tasks import Soak, Task
from tests.soak.world import OVERLAP, Client, Logged, ViolationError

_POLL = 10.0
_MOST = 100_000
# Of a triggerer; and how many of them, without faults, may be needed to report all.
_MOST_SECONDS = 60.0
_CALM_TRIGGERERS = 3


@dataclass
class Ledger:
    """What one event trigger has reported, and what is stored for it.

    :param reported: all reports, by the id of the entry.
    :param unsaved: those whose watermark is not stored yet, of the triggerer that runs.
    :param repeatable: those whose watermark was not stored when their triggerer ended.
    :param since: when the first watermark was stored; before that nothing is promised.
    :param saved: when the last one was.
    """

    name: str
    min_status: int
    store: dict[str, Any] = field(default_factory=dict)
    reported: set[str] = field(default_factory=set)
    unsaved: set[str] = field(default_factory=set)
    repeatable: set[str] = field(default_factory=set)
    since: datetime | None = None
    saved: datetime = ORIGIN

    def counts(self, entry: Logged) -> bool:
        """Whether the trigger's filter matches."""
        return entry.is_error and entry.status >= self.min_status


class Follower:
    """Two event triggers that share the polls of one log, in triggerers that are killed and replaced."""

    def __init__(self, soak: Soak, number: int, client: Client) -> None:
        self._soak, self._client = soak, client
        self._draw = random.Random(f"{soak.seed}/follower/{number}")
        self.name = f"{client.connector}/events"
        self._ledgers = {"all": Ledger("all", 400), "5xx": Ledger("5xx", 500)}
        self._output = ""

    def run(self) -> None:
        """Follow the log until the soak ends, then check that nothing is missing."""
        number = 0
        while not self._soak.ending.is_set():
            self._soak.check()
            self._run_triggerer()
            number += 1
            if number % 4 == 0:
                self._catch_up()
        self._catch_up()

    def _job(self, is_calm: bool) -> dict[str, Any]:
        common = {
            "connector_identifier": self._client.connector,
            "poll_interval": _POLL,
            "overlap": OVERLAP.total_seconds(),
            "max_entries": _MOST,
        }
        return {
            **self._soak.job(self._client, f"{self.name}/{self._draw.random()}"),
            "do": "follow",
            "triggers": [
                (name, {**common, "min_status": ledger.min_status}) for name, ledger in self._ledgers.items()
            ],
            "stores": {name: ledger.store for name, ledger in self._ledgers.items()},
            "store_faults": 0.0 if is_calm else self._draw.choice([0.0, 0.0, 0.2]),
        }

    def _run_triggerer(self, until: Callable[[], bool] | None = None) -> None:
        """Run a triggerer until it is killed at random; or, without faults, until a condition holds."""
        draw, is_calm = self._draw, until is not None
        kill = "" if is_calm else draw.choice(["time", "request", "message", "message"])
        messages = Trap(draw.randint(0, 6))

        def receive(message: dict[str, Any]) -> None:
            self._receive(message)
            if kill == "message":
                messages.step()

        worker = Worker(self._job(is_calm), receive)
        messages.victim = worker
        self._client.trap = Trap(draw.randint(0, 40), worker) if kill == "request" else None
        number = signal.SIGTERM if is_calm or draw.random() < 0.3 else signal.SIGKILL
        seconds = draw.uniform(0.5, 15) if kill == "time" else _MOST_SECONDS
        self._soak.count("triggerers")
        try:
            ended = worker.wait({int(number): seconds}, until)
        finally:
            self._client.trap = None
        self._output = ended.output
        if ended.exit_code == -signal.SIGKILL:
            self._soak.count("SIGKILL (triggerer)")
        elif ended.exit_code == -signal.SIGTERM or ended.state == "stopped":
            self._soak.count("SIGTERM (triggerer)")
        else:
            raise ViolationError(f"{self.name}: the triggerer ended by itself:\n{ended.output[-6000:]}")
        self._soak.require_no_secret(ended.output, self.name)
        for ledger in self._ledgers.values():
            ledger.repeatable |= ledger.unsaved
            ledger.unsaved = set()

    def _receive(self, message: dict[str, Any]) -> None:
        if "trigger" not in message:
            return
        ledger = self._ledgers[message["trigger"]]
        if "set" in message:
            ledger.store[message["set"]] = message["value"]
            ledger.unsaved = set()
            ledger.saved = self._soak.clock.now()
            ledger.since = ledger.since or ledger.saved
            return
        payload = message["event"]
        self._soak.count("events")
        entries = payload["entries"]
        ids = {entry["id"] for entry in entries}
        if len(ids) != len(entries) or payload["matches"] != len(entries) or not entries:
            raise self._fail(ledger, f"an event counts {payload['matches']} entries, and has {len(entries)}")
        for entry in entries:
            logged = self._soak.world.logged(self._client.connector, entry["id"])
            if logged is None or not ledger.counts(logged):
                raise self._fail(ledger, f"an event has an entry that does not match: {entry}")
        if again := (ids & ledger.reported) - ledger.repeatable:
            raise self._fail(
                ledger, f"reported again, although the watermark was stored: {sorted(again)[:5]}"
            )
        self._soak.count("errors reported again", len(ids & ledger.reported))
        self._soak.count("errors reported", len(ids - ledger.reported))
        ledger.reported |= ids
        ledger.repeatable -= ids
        ledger.unsaved |= ids

    def _catch_up(self) -> None:
        """Pause the faults until all that was logged so far has been polled; check that it was reported."""
        clock = self._soak.clock
        self._client.calm += 1
        try:
            self._soak.world.append_error(self._client.connector)
            due = self._due(clock.now())
            # Late entries below a poll's first page are found when the overlap has passed. A watermark that
            # is stored after this time is that of a later poll.
            polled = clock.now() + OVERLAP + timedelta(seconds=5 * _POLL)

            def is_done() -> bool:
                is_stopped = self._soak.stop.is_set()
                return is_stopped or all(ledger.saved > polled for ledger in self._ledgers.values())

            for _ in range(_CALM_TRIGGERERS):
                self._run_triggerer(is_done)
                self._soak.check()
                if is_done():
                    break
            else:
                raise ViolationError(
                    f"{self.name}: {_CALM_TRIGGERERS} triggerers that met no faults have stored no watermark "
                    f"after {polled}; the last one printed:\n{self._output[-6000:]}"
                )
            for name, ids in self._missing(due).items():
                if ids:
                    raise self._fail(self._ledgers[name], f"{len(ids)} errors were not reported: {ids[:5]}")
            self._soak.count("logs followed without a gap")
        finally:
            self._client.calm -= 1

    def _due(self, until: datetime) -> dict[str, list[str]]:
        """What must have been reported of what was logged until then."""
        errors = self._soak.world.errors(self._client.connector)
        return {
            name: [
                entry.id
                for entry in errors
                if entry.is_timely
                and ledger.since is not None
                and ledger.since < entry.appended <= until
                and ledger.counts(entry)
            ]
            for name, ledger in self._ledgers.items()
        }

    def _missing(self, due: dict[str, list[str]]) -> dict[str, list[str]]:
        return {
            name: [id_ for id_ in ids if id_ not in self._ledgers[name].reported] for name, ids in due.items()
        }

    def _fail(self, ledger: Ledger, what: str) -> ViolationError:
        return ViolationError(f"{self.name}, trigger {ledger.name!r}: {what}")


class Sensors:
    """Sensors, one after the other, each from a time on and in one of the modes."""

    def __init__(self, soak: Soak, number: int, client: Client) -> None:
        self._soak, self._client = soak, client
        self._draw = random.Random(f"{soak.seed}/sensors/{number}")
        self.name = f"{client.connector}/sensor"

    def run(self) -> None:
        """Wait for errors until the soak ends."""
        number = 0
        self._soak.sleep_until(ORIGIN + timedelta(seconds=60))
        while not self._soak.ending.is_set():
            self._soak.check()
            self._wait(number)
            number += 1

    def _wait(self, number: int) -> None:
        mode = self._draw.choice(["deferrable", "reschedule", "reschedule", "poke"])
        since = self._soak.clock.now() - timedelta(seconds=self._draw.choice([0, 30, 300]))
        since = max(ORIGIN, since.replace(microsecond=0))
        least = self._draw.choice([1, 1, 5, 40])
        arguments = {
            "connector_identifier": self._client.connector,
            "since": since.isoformat(),
            "min_matches": least,
            "max_entries": _MOST,
            "poke_interval": 20.0,
            "timeout": 900.0,
            "soft_fail": True,
            "mode": "reschedule" if mode == "reschedule" else "poke",
            "deferrable": mode == "deferrable",
            "wait_policy": {"max_attempts": 3},
        }
        task = Task(
            self._soak,
            self._client,
            f"{self.name}/{number} ({mode})",
            "sensor",
            arguments,
            run_after=since,
            has_state_store=mode == "reschedule",
        )
        result = task.run(is_calm=self._draw.random() < 0.2)
        self._soak.count(f"sensors ({mode})")
        if result is None:
            self._soak.count("sensors that were skipped")
            return
        self._check(task, since, least, result)

    def _check(self, task: Task, since: datetime, least: int, result: dict[str, Any]) -> None:
        ids = [entry["id"] for entry in result["entries"]]
        if len(set(ids)) != len(ids) or result["matches"] != len(ids) or len(ids) < least:
            raise ViolationError(f"{task.name}: {result['matches']} matches, {len(ids)} entries: {ids[:5]}")
        errors = {entry.id: entry for entry in self._soak.world.errors(self._client.connector)}
        wrong = [id_ for id_ in ids if id_ not in errors or errors[id_].printed < since]
        if wrong:
            raise ViolationError(f"{task.name}: reported, but no error since {since}: {wrong[:5]}")
        missing = [
            entry.id
            for entry in errors.values()
            if entry.is_timely and entry.printed >= since and entry.appended < task.polled_after
        ]
        missing = [id_ for id_ in missing if id_ not in ids]
        if missing:
            raise ViolationError(
                f"{task.name}: {len(missing)} errors since {since} that were logged before "
                f"{task.polled_after} are missing: {missing[:5]}, newest entry read: {result['until']}"
            )
        self._soak.count("errors found by sensors", len(ids))
