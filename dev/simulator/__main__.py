"""Run the simulator from the command line, until SIGTERM or SIGINT: `python -m dev.simulator --port 8765`."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from random import Random
from string import ascii_uppercase
from threading import Event, Thread
from typing import Final, get_args

from dev.simulator import Connector, RateLimitWindow, Simulator, generate_entries
from dev.simulator.api import Before, UnknownConnector
from dev.simulator.simulator import RateLimitHeaders, TieOrder
from dev.simulator.times import Precision, Rounding, moment, parse_time

_FIRST_IDENTIFIER: Final = "T3S70"
_NAMES: Final = (
    "Webshop orders",
    "CRM contacts",
    "Loyalty programme",
    "Store visits",
    "Ad server",
    "Invoices",
)
_LIVE_PER_SECOND: Final = 3
# Higher than every number in a generated log, so that ids stay unique.
_FIRST_LIVE_NUMBER: Final = 500_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve generated logs until SIGTERM or SIGINT is received."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.count is not None and not (options.start and options.end):
        parser.error("--count needs --start and --end")
    connectors = _one_connector(options) if options.count is not None else _connectors(options)
    simulator = Simulator(
        connectors=connectors,
        tokens={options.key: {options.team_id}},
        before=options.before,
        precision=options.precision,
        zone=options.zone,
        stores_finer=options.stores_finer,
        rounding=options.rounding,
        max_page=options.max_page,
        unknown_connector=options.unknown_connector,
        tie_order=options.tie_order,
        rate_limit=options.rate_limit and RateLimitWindow(options.rate_limit, options.window),
        rate_limit_headers=options.rate_limit_headers,
        gzip=options.gzip,
        latency=options.latency,
        port=options.port,
        seed=options.seed,
    )
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with simulator:
        print(f"listening on {simulator.url}", flush=True)
        if options.live:
            identifiers = [connector.identifier for connector in connectors]
            Thread(target=_live, args=(simulator, identifiers, options.seed, stop), daemon=True).start()
        stop.wait()


def _connectors(options: argparse.Namespace) -> list[Connector]:
    end = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    start = end - timedelta(hours=options.hours)
    return [
        Connector(
            identifier,
            generate_entries(
                int(options.hours * options.entries_per_hour),
                start,
                end,
                seed=options.seed + number,
                error_rate=options.error_rate,
                ties=options.ties,
                precision=options.precision,
            ),
            name=_NAMES[number % len(_NAMES)],
            team_id=options.team_id,
        )
        for number, identifier in enumerate(_identifiers(options.connectors, options.seed))
    ]


def _one_connector(options: argparse.Namespace) -> list[Connector]:
    entries = generate_entries(
        options.count,
        options.start,
        options.end,
        seed=options.seed,
        error_rate=options.error_rate,
        ties=options.ties,
        precision=options.precision,
    )
    return [Connector(_FIRST_IDENTIFIER, entries, name=_NAMES[0], team_id=options.team_id)]


def _identifiers(count: int, seed: int) -> list[str]:
    """Return `count` different identifiers that resemble the API's example."""
    random = Random(seed)
    identifiers = dict.fromkeys([_FIRST_IDENTIFIER])
    while len(identifiers) < count:
        first, second = random.choices(ascii_uppercase, k=2)
        identifiers[f"{first}{random.randrange(10)}{second}{random.randrange(10, 100)}"] = None
    return list(identifiers)[:count]


def _live(simulator: Simulator, identifiers: Sequence[str], seed: int, stop: Event) -> None:
    """Append entries with times of the last second every second, until `stop` is set."""
    random = Random(seed)
    number = _FIRST_LIVE_NUMBER
    last = datetime.now(timezone.utc)
    while not stop.wait(1.0):
        now = datetime.now(timezone.utc)
        for identifier in identifiers:
            count = random.randint(1, 2 * _LIVE_PER_SECOND - 1)
            simulator.append(
                identifier,
                generate_entries(count, last, now, seed=number, precision="microsecond", first_number=number),
            )
            number += count
        last = now


def _time(value: str) -> datetime:
    return moment(parse_time(value))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dev.simulator",
        description="The Supermetrics connector-logs API on 127.0.0.1, with generated logs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    flag = argparse.BooleanOptionalAction
    parser.add_argument("--port", type=int, default=8765, help="0 uses a free port")
    parser.add_argument("--key", default="demo-key", help="the credential to accept")
    parser.add_argument("--team-id", type=int, default=936506)

    logs = parser.add_argument_group("logs", "up to the start of the current hour")
    logs.add_argument("--connectors", type=int, default=3)
    logs.add_argument("--hours", type=float, default=48)
    logs.add_argument("--entries-per-hour", type=int, default=2000)
    logs.add_argument("--live", action="store_true", help="append new entries as time passes")
    logs.add_argument("--seed", type=int, default=1)
    logs.add_argument("--ties", type=float, default=3.0, help="mean number of entries that share a time")
    logs.add_argument("--error-rate", type=float, default=0.02, help="share of entries with status >= 400")

    one = parser.add_argument_group(
        f"one log ({_FIRST_IDENTIFIER}) for a fixed window, instead of the logs above"
    )
    one.add_argument("--count", type=int, help="number of entries")
    one.add_argument("--start", type=_time, help="ISO 8601, inclusive")
    one.add_argument("--end", type=_time, help="ISO 8601, exclusive")

    api = parser.add_argument_group("how the API behaves")
    api.add_argument("--before", choices=get_args(Before), default="exclusive")
    api.add_argument("--precision", choices=get_args(Precision), default="second")
    api.add_argument("--zone", default="Z")
    api.add_argument("--stores-finer", action=flag, default=True)
    api.add_argument("--rounding", choices=get_args(Rounding), default="truncate")
    api.add_argument("--max-page", type=int)
    api.add_argument("--unknown-connector", choices=get_args(UnknownConnector), default="forbidden")
    api.add_argument("--tie-order", choices=get_args(TieOrder), default="stable")
    api.add_argument("--rate-limit", type=int, help="requests per window")
    api.add_argument("--window", type=float, default=3600.0, help="seconds")
    api.add_argument("--rate-limit-headers", choices=get_args(RateLimitHeaders), default="always")
    api.add_argument("--gzip", action=flag, default=True)
    api.add_argument("--latency", type=float, default=0.0, help="seconds before each response")
    return parser


if __name__ == "__main__":
    main()
