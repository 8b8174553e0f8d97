"""Response bodies in every encoding and division into pieces."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.body import Body
from airflow_provider_supermetrics._api.errors import ContractViolation

MB = 1 << 20
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    "identity": lambda data: data,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": lambda data: zlib.compress(data)[2:-4],
    "gzip, gzip": lambda data: gzip.compress(gzip.compress(data)),
    "deflate,gzip": lambda data: gzip.compress(zlib.compress(data)),
    "gzip , DEFLATE": lambda data: zlib.compress(gzip.compress(data)),
    "x-gzip": lambda data: gzip_with_all_parts(data),
}


def gzip_with_all_parts(data: bytes) -> bytes:
    """A gzip stream whose header has extra data, a file's name, a comment and a checksum."""
    head = b"\x1f\x8b\x08\x1e" + bytes(6) + b"\x04\0abcd" + b"name\0" + b"comment\0"
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    return head + gzip.compress(data)[10:]


@given(
    st.sampled_from(list(CODINGS)),
    st.binary(max_size=300) | st.just(b"ab" * 2000),
    st.lists(st.integers(0, 400)),
)
def test_any_body_is_decoded_completely(coding: str, content: bytes, cuts: list[int]) -> None:
    """A body is decoded completely, wherever the network divides it."""
    data = CODINGS[coding](content)
    body = Body(200, coding)
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in pairwise(borders):
        for _ in body.feed(data[begin:end]):
            pass
    assert body.complete() == content


def fed(body: Body, data: bytes) -> int:
    """Feed the whole body, in pieces as from a network, and return the number of steps."""
    pieces = [data[begin : begin + (1 << 16)] for begin in range(0, len(data), 1 << 16)]
    return sum(1 for piece in pieces for _ in body.feed(piece))


@pytest.mark.parametrize(
    ("status", "limit", "coding"),
    [
        *((200, 64, coding) for coding in ("", "gzip")),
        (299, 64, ""),
        *((500, 1, coding) for coding in CODINGS),
        *((status, 1, "") for status in (199, 300, 404)),
    ],
)
def test_the_limit(status: int, limit: int, coding: str) -> None:
    """The limit is exact to the byte."""
    body = Body(status, coding)
    fed(body, CODINGS[coding](b" " * (limit * MB)))
    assert len(body.complete()) == limit * MB
    with pytest.raises(ContractViolation, match=f"larger than {limit} MB"):
        fed(Body(status, coding), CODINGS[coding](b" " * (limit * MB + 1)))


def test_a_body_is_decoded_in_steps() -> None:
    """An event loop can do something else between two steps, however small the body was when compressed."""
    body = Body(200, "gzip")
    assert len(list(body.feed(gzip.compress(b" " * (9 * MB))))) >= 9
    assert len(body.complete()) == 9 * MB


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br", "gzip, gzip, gzip", "gzipped", "*"])
def test_other_encodings(coding: str) -> None:
    """Encodings that were not requested are refused."""
    with pytest.raises(ContractViolation, match="Content-Encoding"):
        Body(200, coding)


@pytest.mark.parametrize("coding", [coding for coding in CODINGS if coding not in ("", "identity")])
def test_compression_that_ends_early(coding: str) -> None:
    """A body whose compressed data end early is refused, unless the body is empty."""
    data = CODINGS[coding](b"some content")
    for length in range(1, len(data)):
        body = Body(200, coding)
        fed(body, data[:length])
        with pytest.raises(ConnectionError, match="ends early"):
            body.complete()
    assert Body(204, coding).complete() == b""


def test_compressed_data_that_are_damaged() -> None:
    """Damaged data raise a retryable error, as a lost connection does."""
    header = gzip.compress(b"")[:10]
    with pytest.raises(ConnectionError, match="the compressed body is damaged"):
        list(Body(200, "gzip").feed(header + b"\xff" * 20))


@pytest.mark.parametrize("cut", range(1, 32))
def test_a_gzip_header_that_the_network_divides(cut: int) -> None:
    """With all its optional parts, in two pieces."""
    data = gzip_with_all_parts(b"some content")
    body = Body(200, "gzip")
    for piece in (data[:cut], data[cut:]):
        for _ in body.feed(piece):
            pass
    assert body.complete() == b"some content"
