"""Compression of text formats. Headers contain no name or time, so the same text gives the same bytes."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, NamedTuple, Protocol

# See `make bench`: higher levels cost more time than the bytes that they save are worth.
_GZIP_LEVEL: Final = 6
# zstd's levels 3 to 12 take longer, and make the lines of `make bench-formats` larger.
_ZSTD_LEVEL: Final = 1

#: The default comes first.
COMPRESSIONS: Final = ("gzip", "zstd")
SUFFIXES: Final = {"gzip": ".gz", "zstd": ".zst", None: ""}


class Library(NamedTuple):
    """An optional library: the name of its module, and the extra that installs it."""

    module: str
    extra: str


class Writable(Protocol):
    """What a text format needs of a file."""

    def write(self, data: bytes, /) -> int:
        """Write all of ``data``."""


def library(compression: str | None) -> Library | None:
    """The library that the compression needs beyond the standard one."""
    return Library("zstandard", "zstd") if compression == "zstd" else None


@contextmanager
def compressed(raw: BinaryIO, compression: str | None) -> Iterator[Writable]:
    """A file that compresses into ``raw``, which stays open."""
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
