"""The body of a response: decoded as it arrives, and never larger than its limit."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_supermetrics._api.deflate import (
    GZIP,
    GZIP_FLAGS,
    RAW,
    ZLIB,
    Decompressor,
    DeflateError,
    decompressor,
)
from airflow_provider_supermetrics._api.errors import ContractViolation

#: The encodings that are requested, and the only ones that are read.
ACCEPT_ENCODING = "gzip, deflate"

_MB = 1 << 20
_PAGE_LIMIT = 64 * _MB
# Of an error or a redirect, only the status, the headers and the first sentences are used.
_ERROR_LIMIT = _MB
_STEP = _MB
# Two are odd but legal; more are an attack.
_MOST_CODINGS = 2


class Body:
    """Collects the body of one response.

    :param status: the HTTP status; an error's body may be smaller than a page's.
    :param content_encoding: the value of ``Content-Encoding``; of several such headers, joined by commas.
    :raises ContractViolation: for an encoding that was not requested.
    """

    def __init__(self, status: int, content_encoding: str) -> None:
        self._limit = _PAGE_LIMIT if 200 <= status < 300 else _ERROR_LIMIT
        self._inflaters = [_Inflater(coding) for coding in reversed(_codings(content_encoding))]
        # Bytes received, and bytes out of each inflater: each could be endless by itself.
        self._sizes = [0] * (len(self._inflaters) + 1)
        self._content = bytearray()

    def feed(self, data: bytes) -> Iterator[None]:
        """Take what was received, in steps of at most 1 MB decoded.

        :raises ContractViolation: for more than the limit.
        :raises ConnectionError: for damaged compression.
        """
        return self._pass_on(data, 0)

    def complete(self) -> bytes:
        """The whole body, once all of it has been fed.

        :raises ConnectionError: for compression that ends early.
        """
        if any(inflater.is_within for inflater in self._inflaters):
            raise ConnectionError("the compressed body ends early")
        return bytes(self._content)

    def _pass_on(self, data: bytes, stage: int) -> Iterator[None]:
        self._sizes[stage] += len(data)
        if self._sizes[stage] > self._limit:
            raise ContractViolation(f"the response is larger than {self._limit // _MB} MB")
        if stage == len(self._inflaters):
            self._content += data
            yield
            return
        for piece in self._inflaters[stage].pieces(data):
            yield from self._pass_on(piece, stage + 1)


class _Inflater:
    """Decodes one encoding, in pieces of at most one step. Ignores data after the compressed ones."""

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding == "gzip"
        self._stream: Decompressor | None = None
        # What has come before the stream could begin.
        self._begin = b""

    @property
    def is_within(self) -> bool:
        """Whether the compressed data are incomplete so far."""
        return bool(self._begin) if self._stream is None else not self._stream.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            data = self._begin = self._begin + data
            if len(data) <= (GZIP_FLAGS if self._is_gzip else 0):
                return
            # Some servers leave out zlib's header, whose first byte ends in 8 (deflate).
            deflate = ZLIB if data[0] & 0x0F == 8 else RAW
            self._stream = decompressor(GZIP if self._is_gzip else deflate, data)
        is_more = bool(data)
        while is_more and self._stream and not self._stream.eof:
            try:
                piece = self._stream.decompress(data, _STEP)
            except DeflateError as error:
                raise ConnectionError(f"the compressed body is damaged: {error}") from None
            data = self._stream.unconsumed_tail
            # A whole step may have left more behind, even where all data have been taken in.
            is_more = len(piece) == _STEP
            yield piece


def _codings(content_encoding: str) -> list[str]:
    """The encodings in the order in which they were applied."""
    names = [name.strip().lower().removeprefix("x-") for name in content_encoding.split(",")]
    codings = [name for name in names if name not in ("", "identity")]
    if len(codings) > _MOST_CODINGS or not {"gzip", "deflate"}.issuperset(codings):
        raise ContractViolation(
            f"the response has the Content-Encoding {content_encoding[:40]!r}; "
            "only gzip and deflate are supported"
        )
    return codings
