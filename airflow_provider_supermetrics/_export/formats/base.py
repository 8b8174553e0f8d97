"""The common base of all part formats, and the compression of text formats."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, ClassVar, Final, NamedTuple, Protocol

from airflow_provider_supermetrics._api.deflate import gzip_compressor

# In `make bench-formats`, levels 3 to 12 of zstd are slower, and their output is larger.
_ZSTD_LEVEL: Final = 1

_PIECE: Final = 1 << 18

_SUFFIXES: Final = {"gzip": ".gz", "zstd": ".zst", None: ""}


class Library(NamedTuple):
    """An optional library: the name of its module, and the extra that installs it."""

    module: str
    extra: str


class Source(NamedTuple):
    """Whose log the entries are from: the first columns of a table, the same in each row of an export."""

    team_id: int
    connector_identifier: str


class FileFormat(ABC):
    """A file format for parts.

    The same lines give the same bytes, with the same libraries and on the same kind of processor.

    :param compression: one of ``compressions``, or None.
    """

    format: ClassVar[str]
    #: Raised by a release that writes the same entries in another way, so that a rerun writes them again.
    version: ClassVar[int] = 1
    #: The default comes first.
    compressions: ClassVar[tuple[str, ...]]
    #: The ending of each part's name.
    suffix: str
    #: The library that must be installed in addition to this package, or None.
    library: Library | None

    def __init__(self, compression: str | None) -> None:
        self.compression = compression

    @abstractmethod
    def write(self, raw: BinaryIO, blocks: Iterable[bytes], source: Source) -> None:
        """Write one part.

        :param raw: the file to write to, which stays open.
        :param blocks: the entries as lines of JSON, oldest first; each block contains complete lines.
        :param source: whose log they are from.
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

    def write(self, data: bytes, /) -> object:
        """Write all of ``data``."""


@contextmanager
def compressed(raw: BinaryIO, compression: str | None) -> Iterator[Writable]:
    """Yield a file that compresses into ``raw``, which stays open.

    The compressor gets pieces of one size, so the same data give the same bytes, wherever blocks end.
    """
    if compression is None:
        yield raw
    elif compression == "gzip":
        compressor = gzip_compressor()
        pieces = _Pieces(lambda piece: raw.write(compressor.compress(piece)))
        yield pieces
        pieces.flush()
        raw.write(compressor.flush())
    else:
        import zstandard

        zstd = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        with zstd.stream_writer(raw, closefd=False) as writer:
            pieces = _Pieces(writer.write)
            yield pieces
            pieces.flush()


class _Pieces:
    """Passes data on in pieces of one size, because a compressor's output depends on their sizes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._rest = bytearray()

    def write(self, data: bytes, /) -> None:
        self._rest += data
        while len(self._rest) >= _PIECE:
            self._write(bytes(self._rest[:_PIECE]))
            del self._rest[:_PIECE]

    def flush(self) -> None:
        self._write(bytes(self._rest))
