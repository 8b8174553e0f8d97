"""Deflate, with isal and without it."""

from __future__ import annotations

import gzip
import importlib.util
import sys
import zlib
from types import ModuleType

import pytest

from airflow_provider_supermetrics._api import deflate


def without_isal(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as it is where isal has no wheel."""
    monkeypatch.setitem(sys.modules, "isal", None)
    spec = importlib.util.find_spec(deflate.__name__)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("with_isal", [True, False])
def test_either_library_reads_and_writes_gzip(with_isal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header names no file and no time, so the same data give the same bytes."""
    module = deflate if with_isal else without_isal(monkeypatch)
    content = b"some content, " * 1000
    written = []
    for _ in range(2):
        compressor = module.gzip_compressor()
        written.append(compressor.compress(content) + compressor.flush())
    assert written[0] == written[1]
    assert written[0][3:8] == bytes(5), "flags and time"
    assert gzip.decompress(written[0]) == content
    for header, data in ((module.GZIP, gzip.compress(content)), (module.ZLIB, zlib.compress(content))):
        stream = module.decompressor(header)
        first = stream.decompress(data, 100)
        assert (len(first), stream.eof) == (100, False)
        assert first + stream.decompress(stream.unconsumed_tail) == content
        assert stream.eof


@pytest.mark.parametrize("with_isal", [True, False])
@pytest.mark.parametrize("header", ["GZIP", "ZLIB"])
def test_damaged_data_raise(with_isal: bool, header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checksum, too, is compared."""
    module = deflate if with_isal else without_isal(monkeypatch)
    data = bytearray((gzip.compress if header == "GZIP" else zlib.compress)(b"some content, " * 1000))
    # gzip ends in four bytes of the checksum and four of the length.
    data[-6 if header == "GZIP" else -2] ^= 0xFF
    with pytest.raises(module.DeflateError):
        module.decompressor(getattr(module, header)).decompress(bytes(data))
