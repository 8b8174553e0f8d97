"""Run the demo from the command line: `make demo` and `make demo-ui`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

from dev.demo.export import export
from dev.demo.processes import Failed
from dev.demo.ui import serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two demos."""
    parser = argparse.ArgumentParser(prog="python -m dev.demo", description=__doc__)
    parser.add_argument("--ui", action="store_true", help="leave Airflow running, until Ctrl-C")
    options = parser.parse_args(arguments)
    # Stop the started processes on every signal that stops the demo.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return serve() if options.ui else export()
    except Failed as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # Ctrl-C is the usual way to stop the demo with the UI.
        return 0 if options.ui else 130


def _interrupt(*_: object) -> NoReturn:
    # A second Ctrl-C must not interrupt the shutdown.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    print("\nStopping the processes that were started ...")
    raise KeyboardInterrupt


if __name__ == "__main__":
    # Show progress at once, also in a pipe.
    assert isinstance(sys.stdout, TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True, errors="replace")
    sys.exit(main())
