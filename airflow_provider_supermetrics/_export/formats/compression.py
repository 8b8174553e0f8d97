"""Compression of text. No header tells a name or a time: the same text gives the same bytes."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, NamedTuple, Protocol

# See `make bench`; the levels above cost more time than they save bytes.
_GZIP_LEVEL: Final = 6
# zstd's levels 3 to 12 take longer, and make the lines of `make bench-formats` larger.
_ZSTD_LEVEL: Final = 1

#: The known ones, the usual first.
COMPRESSIONS: Final = ("gzip", "zstd")
SUFFIXES: Final = {"gzip": ".gz", "zstd": ".zst", None: ""}


class Library(NamedTuple):
    """A library that only some need: the name of its module, and the extra that installs it."""

    module: str
    extra: str


class Writable(Protocol):
    """All that a text format needs of a file."""

    def write(self, data: bytes, /) -> int:
        """Write all of ``data``."""


def library(compression: str | None) -> Library | None:
    """What the compression needs beyond the standard library."""
    return Library("zstandard", "zstd") if compression == "zstd" else None


@contextmanager
def compressed(raw: BinaryIO, compression: str | None) -> Iterator[Writable]:
    """A file over ``raw``, which stays open."""
    if compression is None:
        yield raw
    elif compression == "gzip":
        with gzip.GzipFile("", "wb", compresslevel=_GZIP_LEVEL, fileobj=raw, mtime=0) as file:
            yield file
    else:
        import zstandard

        compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        with compressor.stream_writer(raw, closefd=False) as writer:
            yield writer
