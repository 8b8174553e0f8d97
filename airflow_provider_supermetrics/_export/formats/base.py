"""The common base of all part formats, and the compression of text formats."""

from __future__ import annotations

import gzip
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, ClassVar, Final, NamedTuple, Protocol

# Higher levels cost more time than the bytes they save are worth; see `make bench`.
_GZIP_LEVEL: Final = 6
# In `make bench-formats`, levels 3 to 12 of zstd are slower, and their output is larger.
_ZSTD_LEVEL: Final = 1

_SUFFIXES: Final = {"gzip": ".gz", "zstd": ".zst", None: ""}


class Library(NamedTuple):
    """An optional library: the name of its module, and the extra that installs it."""

    module: str
    extra: str


class FileFormat(ABC):
    """A file format for parts. With the same libraries, the same lines give the same bytes.

    :param compression: one of ``compressions``, or None.
    """

    format: ClassVar[str]
    #: The default comes first.
    compressions: ClassVar[tuple[str, ...]]
    #: The ending of each part's name.
    suffix: str
    #: The library that must be installed in addition to this package, or None.
    library: Library | None

    def __init__(self, compression: str | None) -> None:
        self.compression = compression

    @abstractmethod
    def write(self, raw: BinaryIO, blocks: Iterable[bytes]) -> None:
        """Write one part.

        :param raw: the file to write to, which stays open.
        :param blocks: the entries as lines of JSON, oldest first; each block contains complete lines.
        """


class TextFormat(FileFormat):
    """A format whose files are compressed as a whole."""

    compressions = ("gzip", "zstd")

    def __init__(self, compression: str | None) -> None:
        super().__init__(compression)
        self.suffix = f".{self.format}{_SUFFIXES[compression]}"
        self.library = Library("zstandard", "zstd") if compression == "zstd" else None


class Writable(Protocol):
    """The methods of a file that CSV and JSON Lines call."""

    def write(self, data: bytes, /) -> int:
        """Write all of ``data``."""


@contextmanager
def compressed(raw: BinaryIO, compression: str | None) -> Iterator[Writable]:
    """Yield a file that compresses into ``raw``, which stays open; the same data gives the same bytes."""
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
