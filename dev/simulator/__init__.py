"""The Supermetrics connector-logs API as a local HTTP server, for tests, benchmarks and the demo.

It uses the standard library only. Everything that the API's documentation leaves open is a switch of
`Simulator`, so that tests can show that a client is correct whichever way the real API behaves.
"""

from __future__ import annotations

from dev.simulator.faults import Fault
from dev.simulator.generate import generate_entries
from dev.simulator.log import Connector
from dev.simulator.rate_limit import RateLimitWindow
from dev.simulator.server import Received
from dev.simulator.simulator import Simulator

__all__ = ["Connector", "Fault", "RateLimitWindow", "Received", "Simulator", "generate_entries"]
