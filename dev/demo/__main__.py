"""Command line: `make demo` and `make demo-ui`."""

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
    # Whatever signal ends it, it ends what it has started.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return serve() if options.ui else export()
    except Failed as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # For the one that stays until then, it is the usual end.
        return 0 if options.ui else 130


def _interrupt(*_: object) -> NoReturn:
    # A second Ctrl-C must not stop the ending.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    print("\nEnding what was started ...")
    raise KeyboardInterrupt


if __name__ == "__main__":
    # Progress is to be seen while it happens, in a pipe also.
    assert isinstance(sys.stdout, TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True, errors="replace")
    sys.exit(main())
