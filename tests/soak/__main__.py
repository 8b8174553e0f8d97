"""Run a soak: ``make soak ARGS="--minutes 30 --seed 7"``.

The clock of all workers, and of the simulated API, is faster than the machine's (`--speed`), so that waits of
minutes take seconds.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Lock, Thread

from tests.soak.alerts import Follower, Sensors
from tests.soak.clock import Clock
from tests.soak.exports import Exports, Reader
from tests.soak.folders import BucketFolder, Folder, LocalFolder, SoakProxy, StoreFaults
from tests.soak.tasks import Soak, StoppedError
from tests.soak.world import ViolationError, World
from tests.support.emulators import S3

_BUCKET = "soak"


class Run:
    """A soak, with a thread for each of its tasks."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._failure: tuple[str, BaseException] | None = None
        self._lock = Lock()
        self._began = time.monotonic()

    def fail(self, name: str, error: BaseException) -> None:
        """Stop the soak, because something did not hold."""
        with self._lock:
            if self._failure is None and not isinstance(error, StoppedError):
                self._failure = (name, error)
        self._soak.stop.set()
        self._soak.ending.set()

    def run(self) -> bool:
        """Run it; return whether everything held."""
        options = self._options
        print(f"seed {options.seed}, {options.speed:g} times as fast as real time", flush=True)
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
            clock = Clock(time.monotonic(), options.speed)
            world = World(options.seed, clock, options.exports, lambda error: self.fail("the API", error))
            emulator = stack.enter_context(S3.run())
            emulator.create(_BUCKET)
            proxy = stack.enter_context(SoakProxy(emulator.url, world.counts))
            self._soak = Soak(options.seed, clock, world, home, emulator.connection(proxy.url))
            stack.enter_context(world)
            switches = ", ".join(f"{name} {value}" for name, value in world.switches.items())
            print(f"the API: {switches}", flush=True)
            threads = [
                Thread(target=self._guarded, args=(name, run), name=name, daemon=True)
                for name, run in self._parts(emulator, proxy)
            ]
            for thread in threads:
                thread.start()
            self._wait()
            self._soak.ending.set()
            world.pause_faults()
            proxy.pause_faults()
            for thread in threads:
                while thread.is_alive():
                    thread.join(60)
                    if thread.is_alive():
                        self._progress(f"waiting for {thread.name}")
        return self._report()

    def _parts(self, emulator: S3, proxy: SoakProxy) -> list[tuple[str, Callable[[], None]]]:
        options, world, soak = self._options, self._soak.world, self._soak
        parts: list[tuple[str, Callable[[], None]]] = []
        exports = []
        for number, connector in enumerate(world.logs):
            clients = (world.client(connector, options.faults), world.client(connector, options.faults))
            folder: Folder
            store = StoreFaults(random.Random(f"{options.seed}/store/{number}"), options.faults / 3)
            if number % 2:
                folder = BucketFolder(emulator, proxy, _BUCKET, f"logs-{number}")
                proxy.folders[f"logs-{number}"] = store
                exports.append(Exports(soak, number, clients, folder, store))
            else:
                folder = LocalFolder(soak.home / f"logs-{number}")
                exports.append(Exports(soak, number, clients, folder, None))
        parts += [(one.name, one.run) for one in exports]
        for number, connector in enumerate(world.logs):
            client = world.client(connector, options.faults / 2)
            if number < options.followers:
                follower = Follower(soak, number, client)
                parts.append((follower.name, follower.run))
            elif number < options.followers + options.sensors:
                sensors = Sensors(soak, number, client)
                parts.append((sensors.name, sensors.run))
        parts.append(("reader", Reader(soak, exports).run))
        return parts

    def _guarded(self, name: str, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:
            self.fail(name, error)

    def _wait(self) -> None:
        last = time.monotonic()
        while not self._soak.ending.wait(0.2):
            elapsed = time.monotonic() - self._began
            if self._options.windows is not None:
                if self._soak.world.counts["windows"] >= self._options.windows:
                    return
            elif elapsed >= self._options.minutes * 60:
                return
            if time.monotonic() - last >= 60:
                last = time.monotonic()
                self._progress("")

    def _progress(self, more: str) -> None:
        counts = self._soak.world.counts
        elapsed = (time.monotonic() - self._began) / 60
        kills = sum(number for name, number in counts.items() if name.startswith(("SIGKILL", "SIGTERM")))
        parts = [
            f"{counts['windows']} windows",
            f"{counts['entries']:,} entries",
            f"{counts['attempts']:,} attempts",
            f"{kills} kills",
            f"{counts['deferrals']} deferrals",
            f"{counts['errors reported']:,} errors reported",
            more,
        ]
        print(f"{elapsed:5.1f} min: " + ", ".join(part for part in parts if part), flush=True)

    def _report(self) -> bool:
        print("\nsummary:")
        for name, number in sorted(self._soak.world.counts.items()):
            print(f"{number:>12,} {name}")
        print("\nthe first failure of each kind:")
        for name, example in sorted(self._soak.examples.items()):
            print(f"{name}: {example}")
        minutes = (time.monotonic() - self._began) / 60
        if self._failure is None:
            print(f"\nno violation in {minutes:.1f} minutes, seed {self._options.seed}")
            return True
        name, error = self._failure
        print(f"\nVIOLATION after {minutes:.1f} minutes, seed {self._options.seed}, {name}:\n{error}")
        if not isinstance(error, ViolationError):
            traceback.print_exception(error, file=sys.stdout)
        return False


def main() -> None:
    """Run a soak; fail at the first violation."""
    parser = argparse.ArgumentParser(prog="make soak", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long")
    parser.add_argument("--windows", type=int, help="how many windows to export, instead of --minutes")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of all that is drawn")
    parser.add_argument("--speed", type=float, default=20.0, help="of the clock of workers and API")
    parser.add_argument("--faults", type=float, default=0.12, help="share of the responses with a fault")
    parser.add_argument("--exports", type=int, default=6, help="connectors, each with an export")
    parser.add_argument("--followers", type=int, default=2, help="of them with event triggers")
    parser.add_argument("--sensors", type=int, default=2, help="of the others with sensors")
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    if not Run(parser.parse_args()).run():
        raise SystemExit(1)


if __name__ == "__main__":
    main()
