"""A task of a soak: its attempts, deferrals and retries, each in a process that may be killed."""

from __future__ import annotations

import json
import random
import signal
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import quote

from tests.conftest import TEAM
from tests.soak.clock import Clock
from tests.soak.folders import CONN_ID, StoreFaults
from tests.soak.processes import Ended, Trap, Worker
from tests.soak.world import Client, ViolationError, World

# Of attempts while there are faults, then without; waits for the API do not count.
_ATTEMPTS_WITH_FAULTS = 6
_CALM_ATTEMPTS = 4
_MOST_WAITS = 60
_RETRY_DELAY = 10.0
_KILLS = {"": 55, "time": 8, "term": 7, "request": 15, "store": 15}


class StoppedError(Exception):
    """The soak ends because something did not hold."""


@dataclass
class Soak:
    """What all parts of a soak share.

    :param stop: set when something did not hold.
    :param ending: set when no new work begins.
    """

    seed: int
    clock: Clock
    world: World
    home: Path
    store_connection: dict[str, Any]
    stop: Event = field(default_factory=Event)
    ending: Event = field(default_factory=Event)
    #: The first failure of each kind, for the summary.
    examples: dict[str, str] = field(default_factory=dict)
    #: How long the process of an attempt takes, in real seconds, lately.
    typical_seconds: float = 1.0

    def count(self, name: str, number: int = 1) -> None:
        """Count something for the summary."""
        self.world.counts[name] += number

    def sleep_until(self, at: datetime) -> None:
        """Sleep until a time of the soak's clock."""
        while (left := (at - self.clock.now()).total_seconds()) > 0:
            self.check()
            self.clock.sleep(min(left, self.clock.speed / 2))

    def check(self) -> None:
        """Stop this thread if the soak has failed."""
        if self.stop.is_set():
            raise StoppedError

    def job(self, client: Client, seed: str) -> dict[str, Any]:
        """What every process of a worker needs."""
        api = {
            "conn_type": "supermetrics",
            "host": self.world.simulator.url,
            "password": client.token,
            "extra": {"team_id": TEAM, "timeout": 20},
        }
        return {
            "environment": {
                "AIRFLOW_CONN_SUPERMETRICS_DEFAULT": json.dumps(api),
                f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(self.store_connection),
            },
            "clock": {"began": self.clock.began, "speed": self.clock.speed},
            "seed": seed,
        }

    def require_no_secret(self, output: str, what: str) -> None:
        """Raise an error if a worker has printed a credential."""
        secrets = [*self.world.secrets, self.store_connection["password"]]
        for secret in secrets:
            if secret in output or quote(secret, safe="") in output:
                raise ViolationError(
                    f"{what}: a credential is in the output of the worker:\n{output[-3000:]}"
                )


class Task:
    """One task instance.

    :param name: for messages, and the seed of its kills.
    :param operator: "export" or "sensor".
    :param arguments: of the operator.
    :param store: the faults of its store, if it has one.
    :param kills: whether its processes are killed at random.
    """

    def __init__(
        self,
        soak: Soak,
        client: Client,
        name: str,
        operator: str,
        arguments: dict[str, Any],
        *,
        run_after: datetime,
        store: StoreFaults | None = None,
        folder: str | None = None,
        has_state_store: bool = False,
        kills: bool = True,
    ) -> None:
        self._soak, self._client, self._store, self._folder = soak, client, store, folder
        self.name = name
        self._draw = random.Random(f"{soak.seed}/{name}")
        self._job = {
            "do": "task",
            "operator": operator,
            "arguments": arguments,
            "run": name,
            "run_after": run_after.isoformat(),
        }
        self._state: dict[str, Any] | None = {} if has_state_store else None
        self._first_start: datetime | None = None
        self._kills = kills
        self._is_calm = False
        self.attempts = 0
        self.output = ""
        #: The last poll has begun after this time. A poll that fails may be continued by the next process.
        self.polled_after = run_after
        self._has_open_poll = False

    def run(self, *, is_calm: bool = False, is_alone: bool = True) -> dict[str, Any] | None:
        """Run until it succeeds; return the result, or None if it was skipped.

        :param is_alone: if not, it may also end because another task replaces its objects.
        :raises ViolationError: if it does not end within some attempts once the faults have paused.
        """
        job: dict[str, Any] = {}
        waits = calm = 0
        has_failed = False
        if is_calm:
            self._pause_faults()
        try:
            while True:
                self._soak.check()
                if has_failed:
                    self.attempts += 1
                    self._soak.count("retries")
                    if self._is_calm:
                        calm += 1
                    elif self.attempts >= _ATTEMPTS_WITH_FAULTS:
                        self._pause_faults()
                    if calm > _CALM_ATTEMPTS:
                        raise ViolationError(
                            f"{self.name} did not end within {_CALM_ATTEMPTS} attempts after the faults had "
                            f"paused; the last one printed:\n{self.output[-6000:]}"
                        )
                if waits > _MOST_WAITS:
                    raise ViolationError(f"{self.name} waited {waits} times:\n{self.output[-6000:]}")
                ended = self._attempt(job)
                has_failed, job = False, {}
                if ended.state == "success":
                    result: dict[str, Any] = ended.last["result"]
                    return result
                if ended.state == "skipped":
                    return None
                if ended.state == "deferred":
                    waits += 1
                    self._soak.count("deferrals")
                    event = self._triggered(ended.last["trigger"])
                    job = {"event": event, "method": ended.last["method"], "kwargs": ended.last["kwargs"]}
                elif ended.state == "rescheduled":
                    waits += 1
                    self._soak.count("reschedules")
                    self._client.not_before = self._client.refused_until
                    self._soak.sleep_until(datetime.fromisoformat(ended.last["at"]))
                elif not is_alone and ended.last.get("error") == "SupermetricsConflictError":
                    self._soak.count("conflicts of two attempts")
                    return None
                else:
                    has_failed = self._retried(ended)
                    waits += not has_failed
        finally:
            self._resume_faults()

    def _pause_faults(self) -> None:
        self._is_calm = True
        self._client.calm += 1
        if self._store is not None:
            self._store.calm += 1

    def _resume_faults(self) -> None:
        if self._is_calm:
            self._is_calm = False
            self._client.calm -= 1
            if self._store is not None:
                self._store.calm -= 1

    def _retried(self, ended: Ended) -> bool:
        """Wait for the retry; return whether the attempt counts as failed, not as a wait for the API."""
        delay = _RETRY_DELAY
        is_wait = False
        if ended.state is None:
            self._soak.count("attempts that were killed")
        else:
            error = ended.last["error"]
            self._soak.count(f"failed: {error}")
            self._soak.examples.setdefault(error, f"{self.name}: {ended.last['why']}")
            if ended.last["is_final"]:
                self._soak.count("cleared")
            is_wait = error == "SupermetricsRateLimitError"
            if ended.last["delay"] is not None:
                delay = ended.last["delay"]
                # The retry policy promises it.
                self._client.not_before = self._client.refused_until
        self._soak.sleep_until(self._soak.clock.now() + timedelta(seconds=delay))
        return not is_wait

    def _attempt(self, more: dict[str, Any]) -> Ended:
        self._soak.count("attempts")
        now = self._soak.clock.now()
        self._first_start = self._first_start or now
        if "event" not in more:
            self._begin_polls(now)
        job = {
            **self._soak.job(self._client, f"{self.name}/{self._draw.random()}"),
            **self._job,
            **more,
            "try_number": self.attempts + 1,
            "first_start": self._first_start.isoformat(),
            "state": self._state,
        }
        self._client.refused_until = 0.0
        kill = self._drawn_kill()
        if self._folder is not None:
            if kill == "store":
                job |= {"file_steps": self._draw.randint(1, 40), "folder": self._folder}
            elif not self._is_calm and self._draw.random() < 0.05:
                job["largest_file"] = self._draw.randint(200, 20_000)
                self._soak.count("store: full disk")
        if kill == "term":
            job["raises_on_term"] = self._draw.random() < 0.5
        return self._watched(job, kill, receive=self._receive)

    def _begin_polls(self, now: datetime) -> None:
        if not self._has_open_poll:
            self.polled_after = now

    def _receive(self, message: dict[str, Any]) -> None:
        if self._state is not None and "set" in message:
            self._state[message["set"]] = message["value"]
        elif self._state is not None and "delete" in message:
            self._state.pop(message["delete"], None)

    def _triggered(self, trigger: Any) -> Any:
        """The event of the trigger, which another triggerer runs again if one is killed."""
        # A triggerer that starts later knows no more than this deferral.
        self._client.not_before = self._client.refused_until
        for _ in range(20):
            self._soak.check()
            self._begin_polls(self._soak.clock.now())
            job = {
                **self._soak.job(self._client, f"{self.name}/{self._draw.random()}"),
                "do": "trigger",
                "trigger": trigger,
            }
            kill = self._drawn_kill()
            ended = self._watched(job, kill if kill in ("time", "request") else "")
            if ended.state == "fired":
                return ended.last["event"]
            self._soak.count("triggers that were killed")
            if ended.exit_code not in (-signal.SIGKILL, -signal.SIGTERM):
                raise ViolationError(f"{self.name}: the trigger ended by itself:\n{ended.output[-6000:]}")
        raise ViolationError(f"{self.name}: the trigger does not fire")

    def _drawn_kill(self) -> str:
        if self._is_calm or not self._kills or self._soak.ending.is_set():
            return ""
        return self._draw.choices(list(_KILLS), weights=list(_KILLS.values()))[0]

    def _watched(self, job: dict[str, Any], kill: str, receive: Any = lambda _: None) -> Ended:
        draw = self._draw
        signals = {}
        trap = Trap(draw.randint(0, 12)) if kill == "request" else None
        store_trap = Trap(draw.randint(0, 25)) if kill == "store" and self._folder is None else None
        if kill in ("time", "term"):
            number = signal.SIGKILL if kill == "time" else signal.SIGTERM
            signals = {int(number): draw.uniform(0, 1.2 * self._soak.typical_seconds)}
        worker = Worker(job, receive)
        for armed in (trap, store_trap):
            if armed is not None:
                armed.victim = worker
        self._client.trap = trap or self._client.trap
        if self._store is not None and store_trap is not None:
            self._store.trap = store_trap
        try:
            ended = worker.wait(signals)
        finally:
            if trap is not None:
                self._client.trap = None
            if self._store is not None and store_trap is not None:
                self._store.trap = None
        if ended.state is not None:
            self._soak.typical_seconds += (ended.seconds - self._soak.typical_seconds) / 10
        self.output = ended.output
        self._has_open_poll |= ended.state == "failed" or "Poll of connector" in ended.output
        if "Resuming from the checkpoint" in ended.output:
            self._soak.count("attempts that resumed from a checkpoint")
        if ended.exit_code == -signal.SIGKILL:
            self._soak.count(f"SIGKILL ({kill})")
        elif kill == "term" and ended.state is None:
            self._soak.count("SIGTERM")
        self._soak.require_no_secret(ended.output, self.name)
        return ended
