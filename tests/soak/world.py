"""The simulated API of a soak: logs that grow, faults, and the record of what a client may be held to."""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import formatdate
from threading import Event, Lock, Thread
from typing import Any

from dev.simulator import Connector, Fault, RateLimitWindow, Received, Simulator, generate_entries
from dev.simulator.times import TimeFormat, microseconds, moment, parse_time
from tests.conftest import TEAM
from tests.soak.clock import ORIGIN, Clock
from tests.soak.processes import Trap
from tests.support.table import ODD

#: How late an entry may be found: the package's default `overlap`.
OVERLAP = timedelta(seconds=60)
_LATEST = 45.0
_SECONDS_BETWEEN_APPENDS = 0.2
# Fewer than the smallest page has: what one time fills cannot be read.
_MOST_AT_ONCE = 30
# What an odd entry has; its own time and id are needed.
_ODD = [change for change, _, _ in ODD if not {"log_time", "id"} & change.keys()]
# The sleeps of a client may end so much early, and clocks are read one after the other.
_EARLY = 0.2


class ViolationError(Exception):
    """Something that the package promises did not hold."""


@dataclass
class Logged:
    """An entry of a log.

    :param printed: its time, as the API prints it.
    :param appended: when it was certainly in the log.
    :param is_error: whether the default filter counts it.
    :param is_timely: whether it was at most the overlap behind the newest one, so that polls must find it.
    """

    id: str
    printed: datetime
    appended: datetime
    is_error: bool
    is_timely: bool
    status: Any


class Log:
    """A connector's log, which grows."""

    def __init__(self, identifier: str, seed: str, form: TimeFormat) -> None:
        self.identifier = identifier
        self._form = form
        self._draw = random.Random(seed)
        self._until = ORIGIN
        self._number = 0
        self._late: list[tuple[datetime, int, dict[str, Any]]] = []
        self._newest = ORIGIN
        self.entries: dict[str, Logged] = {}

    def grow(self, simulator: Simulator, clock: Clock, rate: float, extra_error: bool = False) -> None:
        """Append what was logged until now, some entries late."""
        draw, now = self._draw, clock.now()
        made = self._made(now, rate)
        if extra_error:
            made.append(self._last(now))
        due = [entry for entry in made if extra_error or not self._is_held_back(entry, now)]
        while self._late and (extra_error or self._late[0][0] <= now):
            due.append(heapq.heappop(self._late)[2])
        draw.shuffle(due)
        if not due:
            return
        printed = [self._printed(entry) for entry in due]
        self._newest = max(self._newest, *printed)
        simulator.append(self.identifier, due)
        appended = clock.now()
        for entry, at in zip(due, printed, strict=True):
            status = entry.get("status")
            is_error = isinstance(status, int) and not isinstance(status, bool) and status >= 400
            logged = Logged(entry["id"], at, appended, is_error, at >= self._newest - OVERLAP, status)
            self.entries[entry["id"]] = logged

    def _made(self, now: datetime, rate: float) -> list[dict[str, Any]]:
        draw, seconds = self._draw, (now - self._until).total_seconds()
        if seconds < 2.5:
            return []
        if draw.random() < 0.02:
            rate *= 60  # a burst
        count = min(_MOST_AT_ONCE, int(draw.expovariate(1 / max(rate * seconds, 0.01))))
        begin, self._until = self._until, now
        entries = generate_entries(
            count,
            begin,
            now,
            seed=draw.getrandbits(32),
            error_rate=draw.choice([0, 0, 0.05, 0.3]),
            ties=draw.choice([1, 3, 20]),
            precision="microsecond" if draw.random() < 0.3 else "second",
            first_number=self._number,
        )
        self._number += count
        for entry in entries:
            if draw.random() < 0.03:
                entry |= draw.choice(_ODD)
            if draw.random() < 0.02:
                entry["log_time"] = entry["log_time"].replace(microsecond=0).isoformat()
        return entries

    def _last(self, now: datetime) -> dict[str, Any]:
        self._number += 1
        return {"id": f"last-{self._number}", "log_time": now, "status": 500, "event": "data.fetch"}

    def _is_held_back(self, entry: dict[str, Any], now: datetime) -> bool:
        if self._draw.random() >= 0.05:
            return False
        at = now + timedelta(seconds=self._draw.uniform(1, _LATEST))
        heapq.heappush(self._late, (at, self._number, entry))
        self._number += 1
        return True

    def _printed(self, entry: dict[str, Any]) -> datetime:
        log_time = entry["log_time"]
        if isinstance(log_time, str):
            return moment(parse_time(log_time))
        return moment(self._form.printed(microseconds(log_time)))


@dataclass
class Client:
    """One user of the API, known by its credential, and the faults that it meets.

    :param outage: how many requests in a row are still to fail.
    :param calm: how many of its tasks are to meet none.
    :param trap: kills its worker at a request.
    :param not_before: it has promised to send nothing before this time, in seconds of the clock.
    """

    token: str
    connector: str
    draw: random.Random
    share: float
    outage: int = 0
    calm: int = 0
    trap: Trap | None = None
    not_before: float = 0.0
    not_before_by_connection: dict[int, float] = field(default_factory=dict)
    #: The latest `Retry-After` received since this was set to 0.
    refused_until: float = 0.0
    requests: int = 0


def _drawn_fault(draw: random.Random) -> tuple[str, Fault, float | None]:
    """A name, a fault, and the seconds of its `Retry-After`."""
    kind = draw.choices(list(_FAULTS), weights=[weight for weight, _ in _FAULTS.values()])[0]
    fault, seconds = _FAULTS[kind][1](draw)
    return kind, fault, seconds


def _refusal(status: int, seconds: int) -> tuple[Fault, float]:
    return Fault(status=status, headers={"Retry-After": str(seconds)}), float(seconds)


def _dated(seconds: int) -> tuple[Fault, float]:
    now = int(time.time())
    headers = {"Date": formatdate(now, usegmt=True), "Retry-After": formatdate(now + seconds, usegmt=True)}
    return Fault(status=429, headers=headers), float(seconds)


_Made = tuple[Fault, float | None]
_FAULTS: dict[str, tuple[float, Callable[[random.Random], _Made]]] = {
    "429": (3, lambda draw: _refusal(429, draw.randint(1, 20))),
    # Longer than the processes of a deferral take to start on a busy machine.
    "429 for long": (4, lambda draw: _refusal(429, draw.choice([61, 100, 200, 900]))),
    "429 with a date": (2, lambda draw: _dated(draw.choice([5, 90]))),
    "429 without Retry-After": (0.4, lambda _: (Fault(status=429), None)),
    "5xx": (8, lambda draw: (Fault(status=draw.choice([500, 502, 503, 504])), None)),
    "5xx, HTML": (1, lambda draw: (Fault(status=draw.choice([500, 502]), body="html"), None)),
    "503 with Retry-After": (2, lambda draw: _refusal(503, draw.randint(1, 70))),
    "reset": (3, lambda _: (Fault(kind="reset"), None)),
    "reset in the body": (3, lambda _: (Fault(kind="reset_in_body"), None)),
    "cut body": (3, lambda _: (Fault(kind="truncated"), None)),
    "cut JSON": (1, lambda _: (Fault(kind="truncated_json"), None)),
    "slow body": (2, lambda _: (Fault(kind="slow_body", delay=0.05), None)),
    "drip": (2, lambda _: (Fault(kind="drip"), None)),
    "not JSON": (0.5, lambda _: (Fault(kind="not_json"), None)),
    "no logs": (0.5, lambda _: (Fault(kind="no_logs"), None)),
    "a time is missing": (0.5, lambda _: (Fault(kind="no_log_time"), None)),
    "short page": (12, lambda draw: (Fault(kind="short_page", share=draw.random()), None)),
    "expired token": (0.7, lambda _: (Fault(status=401, code="ACCESS_TOKEN_EXPIRED"), None)),
    "403": (0.3, lambda _: (Fault(status=403), None)),
}


class World:
    """The simulator and the logs.

    :param violated: called with what did not hold.
    """

    def __init__(
        self, seed: int, clock: Clock, connectors: int, violated: Callable[[Exception], None]
    ) -> None:
        self.clock = clock
        self.counts: Counter[str] = Counter()
        self._violated = violated
        draw = random.Random(f"{seed}/world")
        #: How the simulated API behaves, for the report.
        self.switches: dict[str, Any] = {
            "before": draw.choice(["exclusive", "inclusive"]),
            "precision": draw.choice(["second", "second", "millisecond", "microsecond"]),
            "stores_finer": draw.random() < 0.5,
            "tie_order": draw.choice(["stable", "shuffled"]),
            "max_page": draw.choice([40, 40, 100, 250]),
            "gzip": draw.random() < 0.7,
        }
        quota = RateLimitWindow(
            draw.choice([1000, 2000]), 900.0, retry_after=draw.choice(["seconds", "seconds", "none"])
        )
        form = TimeFormat(self.switches["precision"], stores_finer=self.switches["stores_finer"])
        names = [f"S{number}K{draw.randrange(10, 99)}" for number in range(connectors)]
        self.logs = {name: Log(name, f"{seed}/log/{name}", form) for name in names}
        self._rates = {name: draw.choice([0.5, 2.0, 4.0]) for name in names}
        self._clients: dict[str, Client] = {}
        self._seed = seed
        self._lock = Lock()
        self._growing = Lock()
        # Nothing of them is read: windows and polls begin after it, so that no history's end is near.
        first = [{"id": "first", "log_time": ORIGIN - timedelta(days=1), "status": 200}]
        tokens = {self._token(number): {TEAM} for number in range(100)}
        self.simulator = Simulator(
            connectors=[Connector(name, first, team_id=TEAM) for name in names],
            tokens=tokens,
            rate_limit=quota,
            faults=self._fault,
            seed=seed,
            clock=clock.seconds,
            **self.switches,
        )
        self.switches |= {"quota": quota.requests, "quota's Retry-After": quota.retry_after}
        self._stop = Event()
        self._grower = Thread(target=self._grow, name="grower", daemon=True)

    def __enter__(self) -> World:
        self.simulator.__enter__()
        self._grower.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._grower.join()
        self.simulator.__exit__(None, None, None)

    def _token(self, number: int) -> str:
        return f"sm-soak-key-{self._seed}/{number}+odd=characters"

    def client(self, connector: str, share: float) -> Client:
        """A new user of the API, which reads one log."""
        number = len(self._clients)
        client = Client(self._token(number), connector, random.Random(f"{self._seed}/faults/{number}"), share)
        self._clients[client.token] = client
        return client

    @property
    def secrets(self) -> list[str]:
        """All credentials."""
        return list(self._clients)

    def pause_faults(self) -> None:
        """Let no request fail any more, but for the quota."""
        for client in self._clients.values():
            client.calm += 1

    def append_error(self, connector: str) -> None:
        """Append an error, and all late entries."""
        with self._growing:
            self.logs[connector].grow(self.simulator, self.clock, 0.0, extra_error=True)

    def errors(self, connector: str) -> list[Logged]:
        """The errors of a log so far."""
        with self._growing:
            return [logged for logged in self.logs[connector].entries.values() if logged.is_error]

    def logged(self, connector: str, id_: str) -> Logged | None:
        """An entry of a log by its id."""
        return self.logs[connector].entries.get(id_)

    def _grow(self) -> None:
        while not self._stop.wait(_SECONDS_BETWEEN_APPENDS):
            with self._growing:
                for name, log in self.logs.items():
                    log.grow(self.simulator, self.clock, self._rates[name])

    def _fault(self, request: Received) -> Fault | None:
        client = self._clients.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if client is None:
            self._violated(ViolationError(f"a request without a known credential: {request}"))
            return None
        with self._lock:
            self.counts["requests"] += 1
            client.requests += 1
            self._require_in_time(client, request)
            if client.trap is not None:
                client.trap.step()
            name, fault, seconds = "", None, None
            if request.wait is not None:
                name = "429 of the quota"
                if self.switches["quota's Retry-After"] == "seconds":
                    seconds = max(1.0, request.wait)
            elif client.outage and not client.calm:
                client.outage -= 1
                name, fault = "outage", Fault(status=client.draw.choice([500, 503]))
            elif not client.calm and client.draw.random() < client.share:
                name, fault, seconds = _drawn_fault(client.draw)
                if client.draw.random() < 0.1:
                    client.outage = client.draw.randint(2, 8)
            if name:
                self.counts[f"API: {name}"] += 1
            if seconds is not None:
                until = request.time + seconds
                client.refused_until = max(client.refused_until, until)
                client.not_before_by_connection[request.connection] = until
            return fault

    def _require_in_time(self, client: Client, request: Received) -> None:
        not_before = max(client.not_before, client.not_before_by_connection.get(request.connection, 0.0))
        if request.time < not_before - _EARLY:
            at = datetime.fromtimestamp(not_before, timezone.utc)
            self._violated(
                ViolationError(
                    f"{client.connector}: request {request.number} ({request.path}, {request.params}) was "
                    f"sent {not_before - request.time:.1f} s before {at.isoformat()}, in spite of Retry-After"
                )
            )
