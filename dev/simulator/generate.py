"""Generate log entries that vary like real ones and are the same for the same seed."""

from __future__ import annotations

from datetime import datetime
from itertools import product
from random import Random
from string import ascii_lowercase, digits
from typing import Any, Final

from dev.simulator.times import UNITS, Precision, microseconds, moment

_Call = tuple[str | None, str | None, int | None, int | None]

# Event, request, typical duration in ms, status of a success. Repeated lines are more frequent.
_HTTP_CALLS: Final[tuple[_Call, ...]] = (
    ("data.fetch", "GET /v2/orders?page={n}", 420, 200),
    ("data.fetch", "GET /v2/orders?page={n}", 420, 200),
    ("data.fetch", "GET /v2/orders?page={n}", 420, 200),
    ("data.fetch", "GET /v2/customers?cursor=c{n}", 310, 200),
    ("data.fetch", "GET /v2/customers?cursor=c{n}", 310, 200),
    ("data.fetch", "GET /v2/invoices/{n}", 95, 200),
    ("auth.token.refresh", "POST /api/oauth/token_refresh", 253, 200),
    ("account.list", "GET /v2/accounts", 140, 200),
    ("field.list", "GET /v2/metadata/fields", 180, 200),
    ("report.create", "POST /v2/reports", 640, 201),
    ("report.poll", "GET /v2/reports/{n}", 70, 202),
    ("report.delete", "DELETE /v2/reports/{n}", 60, 204),
    ("data.fetch.timeout", "GET /v2/orders?page={n}", 30_000, None),
    (None, "GET /v2/ping", 12, 200),
)
# The HTTP calls, and events inside the connector that have no HTTP exchange.
_CALLS: Final[tuple[_Call, ...]] = (
    *_HTTP_CALLS,
    ("query.start", None, None, None),
    ("query.finish", None, 2_400, None),
    ("transform.rows", None, 35, None),
)
_ERRORS: Final = (400, 401, 403, 404, 404, 408, 422, 429, 429, 500, 500, 502, 503, 504)
_SUFFIXES: Final = tuple("".join(letters) for letters in product(digits + ascii_lowercase, repeat=3))


def generate_entries(
    count: int,
    start: datetime,
    end: datetime,
    *,
    seed: int = 1,
    error_rate: float = 0.02,
    ties: float = 3.0,
    precision: Precision = "second",
    first_number: int = 0,
) -> list[dict[str, Any]]:
    """Generate `count` log entries with times in `[start, end)`, oldest first.

    The same arguments return the same entries.

    `log_time` is an aware UTC datetime to the microsecond. `error_rate` is the share with status 400 or
    above. `ties` is the mean number of entries that share one time at `precision`; it is exceeded if the
    window has too few distinct times. `first_number` is the number at the beginning of the first `id`.
    """
    random = Random(seed)
    times = _times(random, count, start, end, ties, UNITS[precision])
    # Drawing in bulk takes half the time.
    calls = random.choices(_CALLS, k=count)
    suffixes = random.choices(_SUFFIXES, k=count)
    entries = []
    for number, time in enumerate(times):
        event, request, duration, status = calls[number]
        if random.random() < error_rate:
            event, request, duration, _ = random.choice(_HTTP_CALLS)
            status = random.choice(_ERRORS)
        if request is not None:
            request = request.replace("{n}", str(int(5_000 * random.random())))
        if duration is not None:
            duration = int(duration * random.lognormvariate(0, 0.5))
        hexes = f"{random.getrandbits(128):032x}"
        entries.append(
            {
                "id": f"{first_number + number:06d}-{suffixes[number]}",
                "log_time": moment(time),
                "status": status,
                "event": event,
                "request": request,
                "duration_ms": duration,
                "request_id": f"{hexes[:8]}-{hexes[8:12]}-4{hexes[13:16]}-a{hexes[17:20]}-{hexes[20:]}",
            }
        )
    return entries


def _times(random: Random, count: int, start: datetime, end: datetime, ties: float, unit: int) -> list[int]:
    """Return sorted times in microseconds: some distinct steps of `unit`, each used at least once."""
    steps = range(-(-microseconds(start) // unit), microseconds(end) // unit)
    if count and not steps:
        raise ValueError(f"no whole {unit} microseconds between {start} and {end}")
    used = random.sample(steps, min(len(steps), count, max(1, round(count / ties))))
    used += random.choices(used, k=count - len(used)) if used else []
    return sorted(step * unit + int(random.random() * unit) for step in used)
