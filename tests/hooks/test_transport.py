"""Size, encoding and duration of responses, with both hooks."""

from __future__ import annotations

import gc
import gzip
import json
import ssl
import sys
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import (
    SupermetricsConnectionError,
    SupermetricsError,
    SupermetricsRateLimitError,
    SupermetricsRequestError,
    SupermetricsResponseError,
    SupermetricsServerError,
)
from dev.simulator import Fault, Simulator
from dev.simulator.raw import Script, bomb, drip, flood, response
from tests.conftest import CONNECTOR, TEAM

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]
NewHook = Callable[..., Any]

MB = 1 << 20
PAGE = b'{"logs": []}'
REFUSAL = b'{"error": {"code": "TOO_BUSY", "message": "Later."}, "meta": {"request_id": "r1"}}'
RETRY_AFTER = ("Retry-After", "120")

KINDS: dict[int, type[SupermetricsError]] = {
    200: SupermetricsResponseError,
    302: SupermetricsResponseError,
    404: SupermetricsRequestError,
    429: SupermetricsRateLimitError,
    500: SupermetricsServerError,
}


@pytest.fixture
def once(new_hook: NewHook) -> Any:
    """A hook that sends each request once."""
    return new_hook(wait_policy={"max_attempts": 1})


@pytest.fixture
def peak() -> Iterator[Callable[[], float]]:
    """The most memory, in MB, that Python's objects have taken since the test began."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    yield lambda: (tracemalloc.get_traced_memory()[1] - before) / MB
    tracemalloc.stop()


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """What a server speaks HTTPS with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


# Size


@pytest.mark.parametrize(
    ("status", "codings"),
    [
        *((200, codings) for codings in ([], ["gzip"], ["deflate"], ["raw-deflate"], ["gzip", "gzip"])),
        *((302, codings) for codings in ([], ["gzip"], ["deflate"])),
        *((500, codings) for codings in ([], ["gzip"], ["gzip", "gzip"])),
        *((status, ["gzip"]) for status in (404, 429)),
    ],
    ids=str,
)
def test_a_body_of_a_gigabyte(
    simulate: Simulate, once: Any, peak: Callable[[], float], status: int, codings: list[str]
) -> None:
    """It is refused with the bound in the message; of an error, the status and the headers still count."""
    end = PAGE if status == 200 else REFUSAL
    headers = [RETRY_AFTER, ("Location", "/")]
    simulate(faults=[Fault(raw=bomb(status, codings, 1024 * MB, headers, end))])
    with pytest.raises(KINDS[status], match="64 MB" if status == 200 else "1 MB") as raised:
        once.list_logs(CONNECTOR)
    assert type(raised.value) is KINDS[status]
    assert raised.value.status_code == status
    assert raised.value.retry_after == (None if status == 200 else 120)
    assert peak() < 200


@pytest.mark.parametrize("codings", [[], ["gzip"]], ids=str)
def test_a_page_just_below_the_bound(simulate: Simulate, once: Any, codings: list[str]) -> None:
    """64 MB, what follows the spaces included, are read."""
    longest = bomb(200, codings, 63 * MB, end=b" " * (MB - len(PAGE)) + PAGE)
    simulate(faults=[Fault(raw=longest), Fault(raw=bomb(200, codings, 64 * MB, end=PAGE))])
    assert once.list_logs(CONNECTOR).entries == []
    with pytest.raises(SupermetricsResponseError, match="64 MB"):
        once.list_logs(CONNECTOR)


@pytest.mark.parametrize("codings", [[], ["gzip"]], ids=str)
def test_an_error_just_below_the_bound(simulate: Simulate, once: Any, codings: list[str]) -> None:
    """1 MB, what follows the spaces included, is read."""
    script = bomb(503, codings, 0, end=b" " * (MB - len(REFUSAL)) + REFUSAL)
    simulate(faults=[Fault(raw=script)])
    with pytest.raises(SupermetricsServerError, match=r"TOO_BUSY") as raised:
        once.list_logs(CONNECTOR)
    assert raised.value.request_id == "r1"


def test_compressed_blocks_without_content(simulate: Simulate, once: Any) -> None:
    """Compressed blocks without any content are bounded as well."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
    script = flood(head + gzip.compress(b"")[:10], b"\0\0\0\xff\xff", 80 * MB)
    simulate(faults=[Fault(raw=script)])
    with pytest.raises(SupermetricsResponseError, match="64 MB"):
        once.list_logs(CONNECTOR)


@pytest.mark.parametrize(
    "script",
    [
        flood(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 1000 + b"\r\n", 300 * MB),
        flood(b"HTTP/1.1 200 OK\r\n", b"A:\r\n", 40 * MB),
        flood(b"HTTP/1.1 200 OK\r\nX-A: ", b"a", 300 * MB),
        flood(b"HTTP/1.1 200 ", b"a", 300 * MB),
        flood(b"", b"HTTP/1.1 103 Early\r\nLink: </>\r\n\r\n", 8 * MB, b"HTTP/1.1 999\r\n\r\n"),
        flood(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"a", 300 * MB),
        flood(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"A:\r\n", 40 * MB),
    ],
    ids=["headers", "small headers", "a header", "a reason", "early hints", "a chunk extension", "trailers"],
)
def test_a_flood_beside_the_body(
    simulate: Simulate,
    connection: Callable[..., None],
    once: Any,
    peak: Callable[[], float],
    script: Script,
) -> None:
    """All that comes beside the body is bounded as well."""
    sim = simulate(faults=[Fault(raw=script)])
    connection(sim.url, extra={"team_id": TEAM, "timeout": 0.5})
    with pytest.raises(SupermetricsError):
        once.list_logs(CONNECTOR)
    assert peak() < 200


def test_chunks_of_one_byte(simulate: Simulate, once: Any) -> None:
    """A body counts however much framing it comes with."""
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    end = b"c\r\n" + PAGE + b"\r\n0\r\nTrailer: a\r\n\r\n"
    simulate(faults=[Fault(raw=flood(head, b"1;a=b\r\n \r\n", 4 * MB, end))])
    assert once.list_logs(CONNECTOR).entries == []


@pytest.mark.parametrize("extra", [1, 2000])
def test_more_entries_than_the_limit(simulate: Simulate, once: Any, extra: int) -> None:
    """A response with more than was requested is refused."""
    entries = [{"id": str(n), "log_time": "2026-01-01T00:00:00Z"} for n in range(1000 + extra)]
    simulate(faults=[Fault(body=json.dumps({"logs": entries}))] * 2)
    reported = f"{1000 + extra} entries.*1000"
    with pytest.raises(SupermetricsResponseError, match=reported):
        once.list_logs(CONNECTOR)
    with pytest.raises(SupermetricsResponseError, match=reported):
        once.iter_logs(CONNECTOR)


def test_more_entries_than_a_small_limit(simulate: Simulate, once: Any) -> None:
    """The limit is that of the request."""
    entries = [{"id": str(n), "log_time": "2026-01-01T00:00:00Z"} for n in range(4)]
    simulate(faults=[Fault(body=json.dumps({"logs": entries}))] * 2)
    with pytest.raises(SupermetricsResponseError, match=r"4 entries.*3"):
        once.list_logs(CONNECTOR, limit=3)
    with pytest.raises(SupermetricsResponseError, match=r"4 entries.*3"):
        once.iter_logs(CONNECTOR, page_size=3)


# Encoding


def test_the_encodings_that_are_requested(simulate: Simulate, once: Any) -> None:
    """Only those that both hooks read, whatever libraries are installed."""
    sim = simulate()
    once.list_logs(CONNECTOR)
    assert sim.requests[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("status", "coding"),
    [
        *((200, coding) for coding in ("br", "zstd", "gzip, br", "x" * 5000, "\x1b[31m", "gzip," * 99)),
        *((status, "br") for status in KINDS if status != 200),
    ],
    ids=lambda value: str(value)[:9],
)
def test_an_encoding_that_was_not_requested(simulate: Simulate, once: Any, status: int, coding: str) -> None:
    """Refused and named, in a message of bounded length; of an error, status and headers still count."""
    headers = [("Content-Encoding", coding), RETRY_AFTER]
    simulate(faults=[Fault(raw=response(status, headers, b"?"))])
    with pytest.raises(KINDS[status], match="Content-Encoding") as raised:
        once.list_logs(CONNECTOR)
    assert type(raised.value) is KINDS[status]
    assert raised.value.retry_after == (None if status == 200 else 120)
    assert len(str(raised.value)) < 400
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([("Content-Encoding", "GZip")], gzip.compress(PAGE)),
        ([("Content-Encoding", "x-gzip")], gzip.compress(PAGE)),
        ([("Content-Encoding", "identity")], PAGE),
        ([("Content-Encoding", "")], PAGE),
        ([("Content-Encoding", "deflate")], zlib.compress(PAGE)),
        ([("Content-Encoding", "deflate")], zlib.compress(PAGE)[2:-4]),
        ([("Content-Encoding", "deflate , gzip")], gzip.compress(zlib.compress(PAGE))),
        ([("Content-Encoding", "deflate"), ("Content-Encoding", "gzip")], gzip.compress(zlib.compress(PAGE))),
        ([("Content-Encoding", "gzip")], gzip.compress(PAGE) + b"\0" * 600),
        ([("Content-Encoding", "gzip")], gzip.compress(PAGE) + b"junk"),
    ],
    ids=lambda value: ",".join(coding for _, coding in value) if isinstance(value, list) else str(len(value)),
)
@pytest.mark.parametrize("pause", [0.0, 0.001])
def test_encodings_that_are_read(
    simulate: Simulate, once: Any, headers: list[tuple[str, str]], body: bytes, pause: float
) -> None:
    """The encodings requested, as servers write them, at once or byte by byte."""
    whole = next(iter(response(200, headers, body)()))
    assert isinstance(whole, bytes)

    def bytewise() -> Iterator[bytes | float]:
        yield whole[: -len(body)]
        for byte in body:
            yield pause
            yield bytes([byte])

    simulate(faults=[Fault(raw=bytewise if pause else lambda: [whole])])
    assert once.list_logs(CONNECTOR).entries == []


@pytest.mark.parametrize(
    "body",
    [gzip.compress(PAGE)[:-9], b"\x1f\x8b\x08", b"junk", gzip.compress(PAGE)[:-1] + b"?"],
    ids=["cut", "cut in its header", "no gzip", "wrong length"],
)
@pytest.mark.parametrize("status", [200, 429])
def test_damaged_compression(simulate: Simulate, once: Any, status: int, body: bytes) -> None:
    """It is no complete response: worth another request; of an error, status and headers still count."""
    simulate(faults=[Fault(raw=response(status, [("Content-Encoding", "gzip"), RETRY_AFTER], body))])
    kind = SupermetricsConnectionError if status == 200 else KINDS[status]
    with pytest.raises(kind) as raised:
        once.list_logs(CONNECTOR)
    assert type(raised.value) is kind
    assert raised.value.retry_after == (None if status == 200 else 120)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("end", ["cut", "reset", "silence", "drip"])
def test_an_error_without_its_whole_body(
    simulate: Simulate, connection: Callable[..., None], once: Any, end: str, status: int
) -> None:
    """The Retry-After of an error with an incomplete body is obeyed."""
    head = f"HTTP/1.1 {status} Busy\r\nRetry-After: 120\r\nContent-Length: 500\r\n\r\n".encode()
    scripts: dict[str, Fault] = {
        "cut": Fault(raw=lambda: [head + b"{"]),
        "reset": Fault(status, headers={"Retry-After": "120"}, kind="reset_in_body"),
        "silence": Fault(raw=lambda: [head + b"{", 30.0]),
        "drip": Fault(raw=drip(head, b" ", pause=0.05, seconds=30)),
    }
    sim = simulate(faults=[scripts[end]])
    connection(sim.url, extra={"team_id": TEAM, "timeout": 0.5 if end in ("silence", "drip") else 60})
    with pytest.raises(KINDS[500 if status == 503 else 429]) as raised:
        once.list_logs(CONNECTOR)
    assert raised.value.retry_after == 120


def test_an_unread_body_does_not_affect_the_next_request(
    simulate: Simulate, hook: Any, waits: list[float]
) -> None:
    """The next request does not find it in front of its own response."""
    head = b"HTTP/1.1 503 Busy\r\nContent-Encoding: br\r\nContent-Length: 30\r\n\r\n"
    sim = simulate(faults=[Fault(raw=lambda: [head, 5.0, b"x" * 30])])
    assert len(hook.list_connectors()) == 1
    assert len(waits) == 1
    assert sim.connections == 2


# Time


@pytest.fixture
def unfinished_goodbyes() -> Iterator[None]:
    """Let aiohttp before 3.12 leave the ends of TLS to an event loop that asyncio.run() then closes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GZIPPED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
NAMED_GZIP = b"\x1f\x8b\x08\x08\0\0\0\0\0\x03"
REST = b"\r\nContent-Length: 12\r\nConnection: close\r\n\r\n" + PAGE
DRIPS: dict[str, tuple[bytes, bytes, bytes]] = {
    "status line": (b"HTTP/1.1 200 ", b"O", REST),
    "header line": (b"HTTP/1.1 200 OK\r\nX-A: ", b"a", REST),
    "headers": (b"HTTP/1.1 200 OK", b"\r\nX-A: b", REST),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK" + REST),
    "103 Early Hints": (b"", b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n", b"HTTP/1.1 200 OK" + REST),
    "body": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" ", PAGE),
    "chunk": (CHUNKED, b"1\r\n \r\n", b"c\r\n" + PAGE + b"\r\n0\r\n\r\n"),
    "chunk extension": (CHUNKED + b"c;", b"a", b"\r\n" + PAGE + b"\r\n0\r\n\r\n"),
    "trailers": (CHUNKED + b"c\r\n" + PAGE + b"\r\n0\r\n", b"X-A: b\r\n", b"\r\n"),
    "gzip header": (GZIPPED + NAMED_GZIP, b"n", b"\0" + gzip.compress(PAGE)[10:]),
    "empty blocks": (GZIPPED + gzip.compress(b"")[:10], b"\0\0\0\xff\xff", gzip.compress(PAGE)[10:]),
}


@pytest.mark.usefixtures("unfinished_goodbyes")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_responses_that_drip(
    simulate: Simulate,
    connection: Callable[..., None],
    new_hook: NewHook,
    tls: ssl.SSLContext,
    certificate: Path,
    scheme: str,
) -> None:
    """Ten times the timeout is all that an exchange may take, wherever the bytes come slowly."""
    extra = {"team_id": TEAM, "timeout": 0.3, "verify": str(certificate)}
    hooks = {}
    for number, (where, (before, piece, after)) in enumerate(DRIPS.items()):
        script = drip(before, piece, after, pause=0.05, seconds=30)
        sim = simulate(faults=[Fault(raw=script)], tls=tls if scheme == "https" else None)
        connection(sim.url, conn_id=f"drip_{number}", extra=extra)
        hooks[where] = new_hook(f"drip_{number}", wait_policy={"max_attempts": 1})

    def outcome(hook: Any) -> tuple[type[Exception] | None, int]:
        error = None
        try:
            hook.list_logs(CONNECTOR)
        except SupermetricsError as raised:
            error = type(raised)
        # What is left of that exchange is in no later one's way; a busy machine may be.
        for _ in range(20):
            with suppress(SupermetricsConnectionError):
                return error, len(hook.list_connectors())
        return error, 0

    begun = time.monotonic()
    with ThreadPoolExecutor(len(hooks)) as pool:
        outcomes = dict(zip(hooks, pool.map(outcome, hooks.values())))
    assert outcomes == dict.fromkeys(DRIPS, (SupermetricsConnectionError, 1))
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("where", ["100 Continue", "103 Early Hints", "trailers"])
def test_a_response_that_floods(
    simulate: Simulate, connection: Callable[..., None], once: Any, where: str
) -> None:
    """A response that never ends is refused, however fast its bytes arrive."""
    before, piece, after = DRIPS[where]
    script = drip(before, piece, after, pause=0.001, seconds=30, flood=500)
    sim = simulate(faults=[Fault(raw=script)])
    connection(sim.url, extra={"team_id": TEAM, "timeout": 0.2})
    begun = time.monotonic()
    with pytest.raises(SupermetricsConnectionError):
        once.list_logs(CONNECTOR)
    assert time.monotonic() - begun < 15


CONNECTED = b"HTTP/1.1 200 OK\r\n\r\n"
# A handshake record of 4 KB, whose rest is to come.
RECORD = bytes.fromhex("1603031000 02000ffc")


@pytest.mark.filterwarnings("ignore:An HTTPS request is being sent through an HTTPS proxy")  # Python 3.10
@pytest.mark.usefixtures("unfinished_goodbyes")
@pytest.mark.parametrize("within", [False, True], ids=["CONNECT", "TLS within"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_drips(
    simulate: Simulate,
    connection: Callable[..., None],
    once: Any,
    tls: ssl.SSLContext,
    certificate: Path,
    scheme: str,
    within: bool,
) -> None:
    """The proxy's own response to CONNECT is part of the exchange, as is the handshake after it."""

    def script() -> Iterator[bytes | float]:
        yield CONNECTED if within else CONNECTED[:-4]
        yield 0.1
        yield RECORD if within else b"\r\nX-A: "
        for _ in range(300):
            yield 0.1
            yield b"a"

    sim = simulate(faults=[Fault(raw=script)], tls=tls if scheme == "https" else None)
    extra = {"team_id": TEAM, "timeout": 0.4, "proxies": sim.url, "verify": str(certificate)}
    connection("https://127.0.0.1:9", extra=extra)
    # asyncio before Python 3.11 does no TLS within TLS, and says so at once: docs/installing.md.
    refused = "|TLS-in-TLS" if sys.version_info < (3, 11) and within and scheme == "https" else ""
    begun = time.monotonic()
    with pytest.raises(SupermetricsConnectionError, match=f"(?i)time|not complete{refused}"):
        once.list_logs(CONNECTOR)
    assert time.monotonic() - begun < 20
    assert all(request.method == "CONNECT" for request in sim.requests)


@pytest.mark.parametrize("statuses", [[100], [102], [103], [103, 103, 100, 103], [199]], ids=str)
def test_interim_responses_are_skipped(simulate: Simulate, once: Any, statuses: list[int]) -> None:
    """Interim 1xx responses with headers are skipped."""
    interim = b"".join(
        f"HTTP/1.1 {status} -\r\nLink: </a>\r\nContent-Encoding: br\r\nRetry-After: 1\r\n\r\n".encode()
        for status in statuses
    )
    heads = (b"HTTP/1.1 200 OK", b"HTTP/1.1 404 No")
    simulate(faults=[Fault(raw=partial(list, [interim + head + REST])) for head in heads])
    assert once.list_logs(CONNECTOR).entries == []
    with pytest.raises(SupermetricsRequestError) as raised:
        once.list_logs(CONNECTOR)
    assert raised.value.retry_after is None


def test_101_is_no_interim_response(simulate: Simulate, once: Any) -> None:
    """A 101 is not skipped as an interim response, because no other protocol was requested."""
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    simulate(faults=[Fault(raw=lambda: [head])])
    with pytest.raises(SupermetricsResponseError) as raised:
        once.list_logs(CONNECTOR)
    assert raised.value.status_code == 101


@pytest.mark.parametrize("location", [b"\xff", b"http://[", b"//", b"http://a..b/", b"\x00", b"h" * 5000])
def test_where_a_redirect_points_is_not_read(simulate: Simulate, once: Any, location: bytes) -> None:
    """A redirect is refused, whatever its Location is."""
    head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"
    simulate(faults=[Fault(raw=lambda: [head])])
    # aiohttp takes a control character for an error of its own.
    kind = SupermetricsError if location == b"\0" else SupermetricsResponseError
    with pytest.raises(kind):
        once.list_logs(CONNECTOR)


# Headers


def test_cookies_are_not_sent_back(
    simulate: Simulate, connection: Callable[..., None], hook: Any, waits: list[float]
) -> None:
    """Cookies of responses are not sent back."""
    cookies = [("Set-Cookie", "session=1; Path=/"), ("Set-Cookie", "other=2"), ("Set-Cookie2", "old=3")]
    headers = {"Set-Cookie": "session=1; Path=/"}
    faults = [Fault(raw=response(503, cookies)), *[Fault(headers=headers)] * 2, Fault(500, headers=headers)]
    sim = simulate(faults=faults, max_page=10)
    # aiohttp keeps no cookies for addresses.
    connection(sim.url.replace("127.0.0.1", "localhost"))
    assert len(hook.iter_logs(CONNECTOR)) == 50
    assert len(waits) == 2
    assert len(sim.requests) > 5
    assert not [request for request in sim.requests if "cookie" in request.headers]


def test_a_cookie_of_the_connection_is_sent(
    simulate: Simulate, connection: Callable[..., None], once: Any
) -> None:
    """A cookie in the Connection's headers is sent, and no response changes it."""
    sim = simulate(faults=[Fault(headers={"Set-Cookie": "session=1; Path=/"})] * 9, max_page=20)
    connection(sim.url, extra={"team_id": TEAM, "headers": {"Cookie": "mine=1"}})
    once.iter_logs(CONNECTOR)
    assert {request.headers["cookie"] for request in sim.requests} == {"mine=1"}


def _date(seconds: float) -> str:
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize("joined", [False, True], ids=["two headers", "joined by a gateway"])
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("values", "longest"),
    [
        (["5", "3600"], 3600),
        (["soon", "3600"], 3600),
        (["date 5", "3600"], 3600),
        (["date 3600", "5"], 3600),
        (["date 5", "date 3600"], 3600),
        (["1", "2", "3600", "0"], 3600),
    ],
    ids=str,
)
def test_several_retry_after(
    simulate: Simulate, new_hook: NewHook, values: list[str], longest: float, status: int, joined: bool
) -> None:
    """The longest counts, in whatever order they come."""
    for order in (values, values[::-1]):
        texts = [_date(float(v.removeprefix("date "))) if v.startswith("date") else v for v in order]
        headers = [("Retry-After", text) for text in texts]
        if joined:
            headers = [("Retry-After", ", ".join(texts))]
        simulate(faults=[Fault(raw=response(status, [*headers, ("Date", _date(0))], REFUSAL))])
        with pytest.raises(KINDS[500 if status == 503 else 429]) as raised:
            new_hook(wait_policy={"max_attempts": 1}).list_logs(CONNECTOR)
        assert raised.value.retry_after == pytest.approx(longest, abs=2)
