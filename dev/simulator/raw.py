"""Responses as bytes and pauses, generated while they are sent, that no correct server would send."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Final

Script = Callable[[], Iterable[bytes | float]]
"""Returns what to send: bytes, and pauses in seconds."""

_BLOCK: Final = b" " * (1 << 20)


def response(status: int, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> Script:
    """Return a complete response with these headers, in this order; names may be repeated."""
    head = _head(status, [*headers, ("Content-Length", str(len(body))), ("Connection", "close")])
    return lambda: [head + body]


def drip(
    before: bytes, piece: bytes, after: bytes = b"", *, pause: float, seconds: float, flood: int = 1
) -> Script:
    """Send `before`, then `flood` copies of `piece` after each pause, for `seconds` in all, then `after`."""

    def script() -> Iterator[bytes | float]:
        yield before
        for _ in range(round(seconds / pause)):
            yield pause
            yield piece * flood
        yield after

    return script


def flood(before: bytes, piece: bytes, size: int, after: bytes = b"") -> Script:
    """Send `before`, then `piece` repeatedly up to `size` bytes, then `after`, without a pause."""

    def script() -> Iterator[bytes]:
        yield before
        several = piece * max(1, (1 << 16) // len(piece))
        yield from repeat(several, size // len(several))
        yield after

    return script


def bomb(
    status: int, codings: Sequence[str], size: int, headers: Sequence[tuple[str, str]] = (), end: bytes = b""
) -> Script:
    """Send a body that decodes to `size` spaces and `end`, encoded with each of `codings` in turn.

    A coding is "gzip", "deflate", or "raw-deflate": the latter is sent as "deflate" without zlib's header.
    """

    def script() -> Iterator[bytes]:
        sent = [*headers, ("Connection", "close")]
        if codings:
            sent.append(("Content-Encoding", ", ".join(name.removeprefix("raw-") for name in codings)))
        yield _head(status, sent)
        if not codings:
            yield from repeat(_BLOCK, size >> 20)
            yield end
            return
        data: Iterable[bytes] = _blocks(codings[0], size, end)
        for coding in codings[1:]:
            data = _encoded(coding, data)
        yield from data

    return script


def _head(status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _blocks(coding: str, size: int, end: bytes) -> Iterator[bytes]:
    # After a full flush, blocks are independent, so one block is compressed once and sent many times.
    stream = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = stream.compress(_BLOCK) + stream.flush(zlib.Z_FULL_FLUSH)
    yield {"gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "deflate": b"\x78\x9c"}.get(coding, b"")
    checksum, value = {"gzip": (zlib.crc32, 0), "deflate": (zlib.adler32, 1)}.get(coding, (None, 0))
    for _ in range(size >> 20):
        if checksum:
            value = checksum(_BLOCK, value)
        yield block
    last = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    yield last.compress(end) + last.flush()
    if checksum:
        value = checksum(end, value)
    if coding == "gzip":
        length = (size >> 20 << 20) + len(end)
        yield value.to_bytes(4, "little") + (length % (1 << 32)).to_bytes(4, "little")
    elif coding == "deflate":
        yield value.to_bytes(4, "big")


def _encoded(coding: str, data: Iterable[bytes]) -> Iterator[bytes]:
    wbits = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}.get(coding, -zlib.MAX_WBITS)
    stream = zlib.compressobj(9, wbits=wbits)
    for piece in data:
        yield stream.compress(piece) + stream.flush(zlib.Z_SYNC_FLUSH)
    yield stream.flush()
