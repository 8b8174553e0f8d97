"""Compression of JSON Lines and CSV."""

from __future__ import annotations

import gzip
import json
from io import BytesIO

import pytest

from airflow_provider_supermetrics._export.formats import file_format
from airflow_provider_supermetrics._export.formats.base import Source
from tests.conftest import CONNECTOR, TEAM

pytestmark = pytest.mark.airflow_2

SOURCE = Source(TEAM, CONNECTOR)
LINES = [
    json.dumps({"id": str(i), "log_time": "2026-01-01T00:00:00Z", "n": i * 7919}).encode() + b"\n"
    for i in range(20_000)
]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_the_bytes_do_not_depend_on_the_blocks(format: str, compression: str) -> None:
    """Blocks end where pages did, which a rerun may cut elsewhere."""
    written = set()
    for size in (1, 999, 20_000):
        raw = BytesIO()
        blocks = [b"".join(LINES[i : i + size]) for i in range(0, len(LINES), size)]
        file_format(format, compression).write(raw, blocks, SOURCE)
        written.add(raw.getvalue())
    assert len(written) == 1


def test_gzip_is_read_by_any_other_library() -> None:
    """The lines come back."""
    raw = BytesIO()
    file_format("jsonl", "gzip").write(raw, LINES, SOURCE)
    assert gzip.decompress(raw.getvalue()) == b"".join(LINES)
