"""JSON libraries and compressors on what an export reads and writes."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final
from urllib.request import Request, urlopen

import msgspec

from benchmarks.log import CONNECTOR, KEY, TEAM_ID, Log
from benchmarks.table import table
from dev.simulator import Connector, Simulator, generate_entries

_LINES: Final = 100_000
_PAGE: Final = 1000
_PIECE: Final = 1 << 18
_BEYOND_INT64: Final = 2**64 + 1

Decode = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]


def main() -> None:
    """Measure and print both tables."""
    log = Log(_LINES)
    entries = generate_entries(log.entries, log.start, log.end, seed=log.seed, ties=log.ties)
    connector = Connector(CONNECTOR, entries, team_id=TEAM_ID)
    with Simulator(connectors=[connector], tokens={KEY: {TEAM_ID}}) as simulator:
        url = f"{simulator.url}/v1/teams/{TEAM_ID}/connector_builder/connectors/{CONNECTOR}/logs"
        with urlopen(
            Request(f"{url}?limit={_PAGE}", headers={"Authorization": f"Bearer {KEY}"}), timeout=60
        ) as response:
            page = response.read()
        lines = [msgspec.json.encode(entry) + b"\n" for entry in simulator.truth(CONNECTOR)]

    head = ["JSON library", "decode ms", "encode ms", "both ms", f"what becomes of {_BEYOND_INT64}"]
    print(f"CPU for one page of {_PAGE:,} entries: decode the page, encode each entry as a line\n")
    print(table([head, *(_json_row(name, page) for name in ("msgspec", "orjson", "json"))]))
    print("\nHow to read it: the median of 15 times 10 pages. 'exact': the number comes back with all its")
    print("digits; anything else is what an export would write in its place.\n")

    print(f"gzip of {_LINES:,} such lines, {sum(map(len, lines)):,} bytes\n")
    levels = [("isal.isal_zlib", level) for level in (1, 2, 3)] + [("zlib", level) for level in (1, 4, 6, 9)]
    head = ["library", "level", "CPU s", "bytes"]
    print(table([head, *(_gzip_row(library, level, lines) for library, level in levels)]))
    print("\nHow to read it: CPU for one object of an export, which isal compresses at level 1.")


def _json_row(name: str, page: bytes) -> list[str]:
    try:
        decode, encode = _codec(name)
    except ModuleNotFoundError:
        return [name, "", "", "", "not installed"]
    logs = decode(page)["logs"]

    def encode_lines() -> None:
        for entry in logs:
            encode(entry)

    decoding, encoding = 1000 * _cpu(lambda: decode(page)), 1000 * _cpu(encode_lines)
    return [name, f"{decoding:.2f}", f"{encoding:.2f}", f"{decoding + encoding:.2f}", _fate(decode, encode)]


def _codec(name: str) -> tuple[Decode, Encode]:
    if name == "msgspec":
        return msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
    if name == "json":
        encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
        return json.loads, lambda value: encoder.encode(value).encode()
    module = importlib.import_module(name)
    return module.loads, module.dumps


def _fate(decode: Decode, encode: Encode) -> str:
    number = str(_BEYOND_INT64).encode()
    try:
        again = encode(decode(number))
    except (TypeError, ValueError, OverflowError) as error:
        return type(error).__name__
    return "exact" if again == number else again.decode()


def _cpu(work: Callable[[], object], *, repetitions: int = 15, calls: int = 10) -> float:
    """CPU seconds of one call, the median of some repetitions."""
    times = []
    for _ in range(repetitions):
        begun = time.process_time()
        for _ in range(calls):
            work()
        times.append((time.process_time() - begun) / calls)
    return median(times)


def _gzip_row(library: str, level: int, lines: list[bytes]) -> list[str]:
    """CPU and size of all lines, in pieces as an export compresses them."""
    data = b"".join(lines)
    sizes = []

    def compress() -> None:
        compressor = importlib.import_module(library).compressobj(level, wbits=31)
        pieces = (data[i : i + _PIECE] for i in range(0, len(data), _PIECE))
        sizes.append(sum(len(compressor.compress(piece)) for piece in pieces) + len(compressor.flush()))

    cpu = _cpu(compress, repetitions=3, calls=1)
    return [library.rpartition(".")[2], str(level), f"{cpu:.2f}", f"{sizes[-1]:,}"]


if __name__ == "__main__":
    main()
