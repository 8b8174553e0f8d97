"""Compress and decompress with isal, or with Python's slower zlib where isal has no wheel."""

from __future__ import annotations

import zlib
from typing import Protocol

try:
    from isal import isal_zlib as _library

    # Levels 2 and 3 take up to three times as long, and save less than 1 %: see benchmarks.json_libraries.
    _LEVEL = 1
except ImportError:
    _library = zlib  # type: ignore[misc]  # the same functions

    # The level whose size is closest to that of isal's level 1.
    _LEVEL = 4

#: Raised for damaged data.
DeflateError: tuple[type[Exception], ...] = (zlib.error, _library.error)  # type: ignore[assignment]  # isal's stub has an instance

#: A stream with the header of zlib, of gzip, or without one.
ZLIB, GZIP, RAW = zlib.MAX_WBITS, 16 + zlib.MAX_WBITS, -zlib.MAX_WBITS
#: Where the header of gzip has its flags.
GZIP_FLAGS = 3


class Decompressor(Protocol):
    """Decodes a stream piece by piece."""

    @property
    def eof(self) -> bool:
        """Whether the stream is complete."""

    @property
    def unconsumed_tail(self) -> bytes:
        """What is left of the data because of ``max_length``."""

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        """Decode at most ``max_length`` bytes."""


class Compressor(Protocol):
    """Encodes a stream piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """Encode ``data``; return the output so far."""

    def flush(self) -> bytes:
        """Encode the rest."""


def decompressor(header: int, begin: bytes = bytes(GZIP_FLAGS + 1)) -> Decompressor:
    """Decode a stream with this header.

    :param begin: the first bytes of a gzip stream, its flags included.
    """
    # isal cannot continue a header with optional parts, such as a file's name, that the network divides.
    if header == GZIP and begin[GZIP_FLAGS]:
        return zlib.decompressobj(header)
    return _library.decompressobj(header)


def gzip_compressor() -> Compressor:
    """Encode a gzip stream whose header has neither a name nor a time.

    The output depends on how the data are divided, on the library and on the kind of processor.
    """
    return _library.compressobj(_LEVEL, zlib.DEFLATED, GZIP)
