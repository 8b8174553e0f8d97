"""What the formats of parts have in common, and the compression of text formats."""

from __future__ import annotations

import gzip
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, ClassVar, Final, NamedTuple, Protocol

# See `make bench`: higher levels cost more time than the bytes that they save are worth.
_GZIP_LEVEL: Final = 6
# zstd's levels 3 to 12 take longer, and make the lines of `make bench-formats` larger.
_ZSTD_LEVEL: Final = 1

_SUFFIXES: Final = {"gzip": ".gz", "zstd": ".zst", None: ""}


class Library(NamedTuple):
    """An optional library: the name of its module, and the extra that installs it."""

    module: str
    extra: str


class FileFormat(ABC):
    """A format of parts. With the same libraries, the same lines give the same bytes.

    :param compression: one of ``compressions``, or None.
    """

    format: ClassVar[str]
    #: The default comes first.
    compressions: ClassVar[tuple[str, ...]]
    #: The end of the names of parts.
    suffix: str
    #: What must be installed besides this package.
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
    """A format that is compressed as a whole."""

    compressions = ("gzip", "zstd")

    def __init__(self, compression: str | None) -> None:
        super().__init__(compression)
        self.suffix = f".{self.format}{_SUFFIXES[compression]}"
        self.library = Library("zstandard", "zstd") if compression == "zstd" else None


class Writable(Protocol):
    """What a text format needs of a file."""

    def write(self, data: bytes, /) -> int:
        """Write all of ``data``."""


@contextmanager
def compressed(raw: BinaryIO, compression: str | None) -> Iterator[Writable]:
    """A file that compresses into ``raw``, which stays open; the same data give the same bytes."""
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
