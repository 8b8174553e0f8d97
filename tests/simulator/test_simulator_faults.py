"""The bytes that each kind of fault sends."""

from __future__ import annotations

import gzip
import json
import zlib
from http.client import IncompleteRead, RemoteDisconnected
from time import monotonic

import pytest

from dev.simulator import Fault, RateLimitWindow
from dev.simulator.raw import bomb, drip, response
from tests.simulator.client import LOGS, Client

AUTHORIZED = {"Authorization": "Bearer good-key"}


def test_script_is_consumed_by_requests(serve):
    """One item per request, None for a normal response, and normal responses after the last, until reset."""
    simulator, client = serve(faults=[None, Fault(status=503), Fault(status=500)])
    assert [client.get().status for _ in range(4)] == [200, 503, 500, 200]
    assert [request.status for request in simulator.requests] == [200, 503, 500, 200]
    simulator.reset()
    assert [client.get().status for _ in range(2)] == [200, 503]


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (Fault(status=503), "SERVICE_UNAVAILABLE", "The service is unavailable."),
        (Fault(status=418), "BAD_REQUEST", "The request was invalid."),
        (Fault(status=502), "INTERNAL_SERVER_ERROR", "An unexpected error occurred."),
        (Fault(status=422, code="ODD_ONE", message="Odd."), "ODD_ONE", "Odd."),
    ],
)
def test_envelope(serve, fault, code, message):
    """Errors have the envelope by default, with the usual code and message or those of the fault."""
    _, client = serve(faults=[fault])
    error = client.get().json["error"]
    assert error == {"code": code, "message": message}


def test_description_and_challenge(serve):
    """A description is added when given, and a 401 has its challenge."""
    _, client = serve(faults=[Fault(status=401, description="Expired.")])
    reply = client.get()
    assert reply.json["error"]["description"] == "Expired."
    assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("body", "content_type", "sent"),
    [
        ("html", "text/html", b"<html>"),
        ("empty", None, b""),
        (b"\xff\x00", "application/json", b"\xff\x00"),
        ("plain words", "application/json", b"plain words"),
        ({"error": "no envelope"}, "application/json", b'{"error": "no envelope"}'),
    ],
)
def test_bodies(serve, body, content_type, sent):
    """A fault can send any body, exactly."""
    _, client = serve(faults=[Fault(status=500, body=body)])
    reply = client.get()
    assert reply.headers.get("content-type") == content_type
    assert reply.body.startswith(sent)
    assert len(reply.body) == len(sent) or body == "html"


def test_redirect_with_headers(serve):
    """A 3xx is empty by default and carries the headers of the script."""
    _, client = serve(faults=[Fault(status=302, headers={"Location": "http://127.0.0.1:1/"})])
    reply = client.get()
    assert (reply.status, reply.body, reply.headers["location"]) == (302, b"", "http://127.0.0.1:1/")


def test_headers_replace_the_usual_ones(serve):
    """Headers of the script take precedence over those that every response has."""
    _, client = serve(faults=[Fault(status=429, headers={"Retry-After": "2", "X-RateLimit-Remaining": "0"})])
    headers = client.get().headers
    assert (headers["retry-after"], headers["x-ratelimit-remaining"]) == ("2", "0")


def test_latency(serve, at):
    """It delays each response, in addition to the delay of a fault."""
    simulator, client = serve([at("a", 1)], latency=0.15, faults=[None, Fault(delay=0.15)])
    for least in (0.15, 0.3):
        begun = monotonic()
        assert client.get().ids == ["a"]
        assert monotonic() - begun >= least
    assert [request.status for request in simulator.requests] == [200, 200]


def test_delay_alone(serve, at):
    """A fault that only delays sends the normal response later."""
    _, client = serve([at("a", 1)], faults=[Fault(delay=0.15)])
    begun = monotonic()
    assert client.get().ids == ["a"]
    assert 0.15 <= monotonic() - begun < 2


def test_status_is_noted_when_sent(serve):
    """A delayed request is on record without a status; leaving neither waits for it nor responds early."""
    simulator, client = serve(faults=[Fault(delay=30)])
    client.connection.request("GET", LOGS, headers=AUTHORIZED)
    end = monotonic() + 5
    while not simulator.requests and monotonic() < end:
        pass
    assert simulator.requests[0].status is None
    begun = monotonic()
    simulator.__exit__(None, None, None)
    assert monotonic() - begun < 5
    with pytest.raises(OSError):  # noqa: PT011  # a reset or an end: the kernel decides
        client.connection.getresponse()
    assert simulator.requests[0].status is None


def test_reset_before_the_response(serve):
    """The connection is reset before any byte, and another one works."""
    simulator, client = serve(faults=[Fault(kind="reset")])
    with pytest.raises(ConnectionResetError) as caught:
        client.get()
    assert not isinstance(caught.value, RemoteDisconnected)
    assert simulator.requests[0].status is None
    with Client(simulator) as other:
        assert other.get().status == 200


def test_reset_in_the_body(serve, at):
    """Head and half the body arrive, then the connection is reset."""
    _, client = serve([at(f"{n}", n) for n in range(50)], faults=[Fault(kind="reset_in_body")])
    client.connection.request("GET", LOGS, headers=AUTHORIZED)
    response = client.connection.getresponse()
    assert response.status == 200
    half = int(response.headers["Content-Length"]) // 2
    assert len(response.read(half)) == half
    with pytest.raises(ConnectionResetError):
        response.read()


def test_truncated(serve, at):
    """Half of the announced body arrives, then the connection ends in order."""
    simulator, client = serve([at(f"{n}", n) for n in range(50)], faults=[Fault(kind="truncated")])
    with pytest.raises(IncompleteRead) as caught:
        client.get()
    assert abs(len(caught.value.partial) - caught.value.expected) <= 1
    assert simulator.requests[0].status == 200


def test_truncated_json(serve, at):
    """HTTP is in order and the JSON is cut, compressed or not."""
    _, client = serve([at("a", 1)], faults=[Fault(kind="truncated_json")] * 2)
    for coding in ("identity", "gzip"):
        reply = client.get(headers={"Accept-Encoding": coding})
        assert reply.status == 200
        with pytest.raises(json.JSONDecodeError):
            _ = reply.json
    assert client.get().ids == ["a"]


def test_slow_body(serve, at):
    """The normal body comes whole, in parts with pauses."""
    _, client = serve([at(f"{n}", n) for n in range(50)], faults=[Fault(kind="slow_body", delay=0.05)])
    client.connection.request("GET", LOGS, headers=AUTHORIZED)
    begun = monotonic()
    response = client.connection.getresponse()
    head = monotonic() - begun
    assert len(json.loads(response.read())["logs"]) == 50
    assert monotonic() - begun >= 0.15
    assert head < 0.15


@pytest.mark.parametrize("kind", ["not_json", "no_logs"])
def test_wrong_contents(serve, at, kind):
    """A 200 whose body is no page: HTML, or JSON without the list."""
    _, client = serve([at("a", 1)], faults=[Fault(kind=kind)])
    reply = client.get()
    assert reply.status == 200
    if kind == "not_json":
        assert reply.headers["content-type"] == "text/html"
        assert reply.body.startswith(b"<html>")
    else:
        assert isinstance(reply.json, dict)
        assert "logs" not in reply.json


@pytest.mark.parametrize("kind", ["no_log_time", "bad_log_time"])
def test_one_spoiled_entry(serve, at, kind):
    """One entry of the page has no readable time; the other entries and the log are unchanged."""
    simulator, client = serve([at(f"{n}", n) for n in range(5)], faults=[Fault(kind=kind)])
    page, truth = client.get().json["logs"], simulator.truth("T3S70")
    different = [(found, right) for found, right in zip(page, truth, strict=True) if found != right]
    assert len(different) == 1
    assert different[0][0].get("log_time") == (None if kind == "no_log_time" else "yesterday")
    assert client.get().json["logs"] == truth


def test_spoiling_an_empty_page_changes_nothing(serve):
    """A fault that spoils an entry does not change an empty page."""
    _, client = serve(faults=[Fault(kind="no_log_time")])
    assert client.get().json == {"logs": []}


def test_faults_use_the_normal_response(serve):
    """A fault that only delays or cuts does so to the normal response, even if that is an error."""
    _, client = serve(faults=[Fault(delay=0.01), Fault(delay=0.01)], rate_limit=RateLimitWindow(1))
    assert [client.get(key="bad").status, client.get().status] == [401, 429]


def test_raw_bytes_and_pauses(serve):
    """A script determines every byte, and the connection is closed after it."""
    script = drip(b"HTTP/1.1 200 OK\r\nA: 1\r\nA: 2\r\n\r\n", b"x", b"y", pause=0.01, seconds=0.05)
    other = response(200, [("A", "1"), ("A", "2")], b"xxxxxy")
    simulator, client = serve(faults=[Fault(raw=script), Fault(raw=other)])
    for _ in range(2):
        client.connection.request("GET", LOGS)
        reply = client.connection.getresponse()
        assert reply.headers.get_all("A") == ["1", "2"]
        assert reply.read() == b"xxxxxy"
    assert simulator.connections == 2


@pytest.mark.parametrize("coding", ["", "gzip", "deflate", "raw-deflate"])
def test_a_bomb(serve, coding):
    """A bomb decodes to the expected bytes, and few bytes are sent."""
    _, client = serve(faults=[Fault(raw=bomb(200, [coding] if coding else [], 3 << 20, end=b"end"))])
    reply = client.get()
    assert reply.headers.get("content-encoding", "") == coding.removeprefix("raw-")
    wbits = {"gzip": 31, "deflate": 15, "raw-deflate": -15}
    assert (zlib.decompress(reply.body, wbits[coding]) if coding else reply.body) == b" " * (3 << 20) + b"end"
    assert not coding or len(reply.body) < 10_000


def test_a_bomb_in_a_bomb(serve):
    """Each coding wraps the one before."""
    _, client = serve(faults=[Fault(raw=bomb(200, ["gzip", "deflate"], 1 << 20))])
    assert gzip.decompress(zlib.decompress(client.get().body)) == b" " * (1 << 20)


def test_faults_by_request(serve):
    """A function decides about each request; it sees whether the quota refuses it."""

    def fault(request):
        waits.append(request.wait)
        return Fault(status=503) if request.number == 2 else None

    waits = []
    _, client = serve(faults=fault, rate_limit=RateLimitWindow(2, 60))
    assert [client.get().status for _ in range(3)] == [200, 503, 429]
    assert waits[:2] == [None, None]
    assert 0 < waits[2] <= 60


@pytest.mark.parametrize(("share", "left"), [(0, 1), (0.5, 2), (1, 5)])
def test_short_page(serve, at, share, left):
    """The newest entries are left, byte by byte as they are."""
    _, client = serve(
        [at(f"e{i}", i) for i in range(5)], faults=[None, Fault(kind="short_page", share=share)]
    )
    whole, short = client.get(LOGS), client.get(LOGS)
    assert short.ids == whole.ids[:left]
    assert len(short.ids) == left
    assert short.body.removesuffix(b"]}") == whole.body[: len(short.body) - 2]
