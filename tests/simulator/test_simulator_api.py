"""Endpoints, refused requests, credentials, the quota, and the record of requests."""

from __future__ import annotations

import re
import threading
from email.utils import parsedate_to_datetime
from time import time

import pytest

from dev.simulator import Connector, RateLimitWindow, Simulator
from tests.simulator.client import LOGS, TEAM, Client

CONNECTORS = f"/v1/teams/{TEAM}/connector_builder/connectors"


def test_success_bodies_are_bare(serve, at):
    """A page is the object with `logs` and nothing around it."""
    _, client = serve([at("a", 1, event=None)])
    reply = client.get()
    entry = {"id": "a", "log_time": "2026-01-01T00:00:01Z", "status": 200, "event": None}
    assert (reply.status, reply.json) == (200, {"logs": [entry]})
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["access-control-allow-origin"] == "*"


def test_one_entry(serve, at):
    """One entry comes unwrapped by its id, percent-encoded where it must be; an unknown id is a 404."""
    _, client = serve([at("a/b c+d", 1), at("x", 2)])
    assert client.get(f"{LOGS}/x").json["log_time"] == "2026-01-01T00:00:02Z"
    assert client.get(f"{LOGS}/a%2Fb%20c+d").json["id"] == "a/b c+d"
    assert (client.get(f"{LOGS}/y").status, client.get(f"{LOGS}/y").code) == (404, "NOT_FOUND")


def test_connectors_of_a_team(serve):
    """The connectors of the requested team are listed with their count, those of others are not."""
    connectors = [Connector("T3S70", name="Orders"), Connector("A1B22"), Connector("X", team_id=7)]
    _, client = serve(connectors=connectors, tokens={"good-key": {TEAM, 7}})
    listed = client.get(CONNECTORS).json
    assert [connector["connector_identifier"] for connector in listed["connectors"]] == ["T3S70", "A1B22"]
    assert (listed["count"], listed["connectors"][0]["name"]) == (2, "Orders")
    fields = {"connector_identifier", "name", "description", "logo_url", "created_at", "updated_at"}
    assert set(listed["connectors"][0]) == fields


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=1e2",
        "limit=",
        "limit=%2B5",
        "before=",
        "before=2026-01-01",
        "before=2026-01-01T00:00:00",
        "before=2026-01-01T00:00:00+00:00",
        "before=2026-02-30T00:00:00Z",
        "before=2026-01-01T00:00:00.1234567890Z",
        "before=2026-01-01T00:00:00%2B24:00",
        "before=1767225600",
        "page=2",
        "limit=5&limit=5",
    ],
)
def test_bad_parameters(serve, at, query):
    """What the API's page does not allow is a 400; an unencoded plus sign is a blank, as everywhere."""
    _, client = serve([at("a", 1)])
    reply = client.get(f"{LOGS}?{query}")
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (LOGS.replace(str(TEAM), "0"), 400),
        (LOGS.replace(str(TEAM), "team"), 400),
        (LOGS.replace(str(TEAM), "9223372036854775808"), 400),
        (LOGS.replace(str(TEAM), "9223372036854775807"), 403),
        (LOGS.replace("T3S70", "T3.S70"), 400),
        (LOGS.replace("T3S70", "T" * 101), 400),
        (LOGS.replace("T3S70", "T" * 100), 403),
        (LOGS.replace(str(TEAM), "7"), 403),
        (f"{LOGS}/", 404),
        ("/v2/teams", 404),
        (f"{CONNECTORS}?limit=1", 400),
        (f"{CONNECTORS}?include_configs=1", 400),
        (f"{LOGS}?include_configs=true", 400),
        (f"{LOGS}/a?limit=1", 400),
    ],
)
def test_bad_paths(serve, at, path, status):
    """Identifiers out of range are a 400, those of nothing that exists a 403, other paths a 404."""
    _, client = serve(
        connectors=[Connector("T3S70", [at("a", 1)]), Connector("S7", team_id=7)],
        tokens={"good-key": {TEAM, 7}},
    )
    assert client.get(path).status == status


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_only_get(serve, method):
    """Any other method is a 400, as the API documents no 405, and the connection stays open."""
    simulator, client = serve()
    reply = client.get(method=method, body=b"x" * 10 if method == "POST" else None)
    assert reply.status == 400
    assert client.get().status == 200
    assert simulator.connections == 1


def test_credentials(serve):
    """Unknown and missing credentials are a 401 with a challenge; other teams and unknown ones are a 403."""
    simulator, client = serve(
        connectors=[Connector("T3S70"), Connector("S7", team_id=7)],
        tokens={"good-key": {TEAM}, "other-key": {7}},
    )
    for key in ("bad-key", None):
        reply = client.get(key=key)
        assert (reply.status, reply.code, reply.headers["www-authenticate"]) == (
            401,
            "UNAUTHORIZED",
            "Bearer",
        )
    assert client.get(key=None, headers={"Authorization": "good-key"}).status == 401
    assert client.get(key=None, headers={"Authorization": "bearer good-key"}).status == 200
    assert client.get(key=None, api_key="good-key").status == 401
    reply = client.get(key="other-key")
    assert (reply.status, reply.code) == (403, "FORBIDDEN")
    assert client.get(LOGS.replace(str(TEAM), "8")).status == 403
    assert client.get(LOGS.replace(str(TEAM), "7"), key="other-key").status == 403
    assert [request.status for request in simulator.requests][-3:] == [403, 403, 403]


@pytest.mark.parametrize(("switch", "status"), [("forbidden", 403), ("not_found", 404), ("empty", 200)])
def test_unknown_connector_switch(serve, at, switch, status):
    """The API's page leaves the logs of an unknown connector, or of another team's, open."""
    _, client = serve(
        connectors=[Connector("T3S70", [at("a", 1)]), Connector("S7", [at("b", 1)], team_id=7)],
        tokens={"good-key": {TEAM, 7}},
        unknown_connector=switch,
    )
    for path in (LOGS.replace("T3S70", "T3S71"), LOGS.replace("T3S70", "S7")):
        reply = client.get(path)
        assert reply.status == status
        assert reply.json == {"logs": []} or status != 200
    assert client.get(f"{LOGS.replace('T3S70', 'T3S71')}/a").status == (403 if switch == "forbidden" else 404)
    assert client.get().ids == ["a"]


@pytest.mark.parametrize("value", ["true", "false"])
def test_include_configs(serve, value):
    """`include_configs` is accepted, because the vendor's client always sends it."""
    _, client = serve()
    assert client.get(f"{CONNECTORS}?include_configs={value}").json["count"] == 1


def test_more_connectors_than_a_list_has(serve):
    """1,000 connectors are listed and all are counted; there are no further pages."""
    _, client = serve(connectors=[Connector(f"C{number}") for number in range(1001)])
    listed = client.get(CONNECTORS).json
    assert (len(listed["connectors"]), listed["count"]) == (1000, 1001)


def test_error_envelope(serve):
    """Errors come in the documented envelope, each with a request id of its own."""
    _, client = serve()
    first, second = (client.get("/nothing").json for _ in range(2))
    assert set(first) == {"meta", "error"}
    assert set(first["error"]) == {"code", "message", "description"}
    assert re.fullmatch(r"[A-Za-z0-9_-]{8,64}", first["meta"]["request_id"])
    assert first["meta"] != second["meta"]


def test_rate_limit_window(serve):
    """Over the quota everything is a 429 until the window, begun by its first request, has ended."""
    now = [1000.0]
    _, client = serve(rate_limit=RateLimitWindow(requests=2, seconds=60.0), clock=lambda: now[0])
    assert client.get().headers["x-ratelimit-remaining"] == "1"
    now[0] += 30.2
    assert client.get().headers["x-ratelimit-remaining"] == "0"
    reply = client.get()
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (429, "TOO_MANY_REQUESTS", "30")
    assert (reply.headers["x-ratelimit-limit"], reply.headers["x-ratelimit-remaining"]) == ("2", "0")
    now[0] += 29.7
    assert client.get().headers["retry-after"] == "1"
    now[0] += 0.1
    assert [client.get().status for _ in range(3)] == [200, 200, 429]


def test_rate_limit_has_a_clock_of_its_own(serve):
    """A window's own clock goes before the simulator's."""
    now = [0.0]
    limit = RateLimitWindow(requests=1, seconds=60.0, clock=lambda: now[0])
    _, client = serve(rate_limit=limit, clock=lambda: 0.0)
    assert [client.get().status for _ in range(2)] == [200, 429]
    now[0] = 60.0
    assert client.get().status == 200


def test_retry_after_as_a_date(serve):
    """As a date, Retry-After names the window's end, never a moment before it."""
    _, client = serve(rate_limit=RateLimitWindow(1, 60.0, retry_after="date"), clock=lambda: 0.0)
    client.get()
    end = time() + 60
    assert 0 <= parsedate_to_datetime(client.get().headers["retry-after"]).timestamp() - end < 2


def test_no_retry_after(serve):
    """A 429 may come without any Retry-After."""
    _, client = serve(rate_limit=RateLimitWindow(0, 60.0, retry_after="none"))
    assert client.get().status == 429
    assert "retry-after" not in client.get().headers


@pytest.mark.parametrize(
    ("shown", "on_200", "on_400"), [("always", True, True), ("errors", False, True), ("never", False, False)]
)
def test_rate_limit_headers_switch(serve, shown, on_200, on_400):
    """The quota's headers are in the responses that the switch names; without a limit they start at 5000."""
    _, client = serve(rate_limit_headers=shown)
    ok, bad = client.get(), client.get(limit=0)
    assert ("x-ratelimit-limit" in ok.headers, "x-ratelimit-limit" in bad.headers) == (on_200, on_400)
    if on_400:
        assert (bad.headers["x-ratelimit-limit"], bad.headers["x-ratelimit-remaining"]) == ("5000", "4998")


def test_requests_are_recorded(serve):
    """What arrived is recorded with its parts, its connection and the status of its response."""
    simulator, client = serve(clock=lambda: 7.0)
    client.get(limit=5, before="2026-01-01T00:00:00+00:00", headers={"User-Agent": "me"})
    client.get("/%41")
    with Client(simulator) as other:
        other.get()
    first, second, third = simulator.requests
    assert (first.number, first.method, first.path, first.status, first.time) == (1, "GET", LOGS, 200, 7.0)
    assert first.params == {"limit": "5", "before": "2026-01-01T00:00:00+00:00"}
    assert (first.headers["user-agent"], first.headers["authorization"]) == ("me", "Bearer good-key")
    assert (second.path, second.status) == ("/%41", 404)
    assert [request.connection for request in (first, second, third)] == [1, 1, 2]
    assert simulator.connections == 2


def test_reset(serve):
    """Reset forgets requests, connections and the quota, and keeps the logs."""
    simulator, client = serve(rate_limit=RateLimitWindow(1))
    assert [client.get().status for _ in range(2)] == [200, 429]
    simulator.reset()
    assert (simulator.requests, simulator.connections) == ([], 0)
    assert [client.get().status for _ in range(2)] == [200, 429]
    assert simulator.requests[0].number == 1


def test_gzip_only_when_accepted(serve, at):
    """Bodies are compressed for those who accept it, whole for others."""
    _, client = serve([at(f"{n}", n) for n in range(100)])
    plain = client.get(headers={"Accept-Encoding": "br, gzip;q=0"})
    packed = client.get(headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.json == plain.json
    assert len(packed.body) < len(plain.body) / 3
    assert int(packed.headers["content-length"]) == len(packed.body)


def test_gzip_switch(serve):
    """Switched off, nothing is compressed."""
    _, client = serve(gzip=False)
    assert "content-encoding" not in client.get(headers={"Accept-Encoding": "gzip"}).headers


def test_port_switch():
    """A simulator listens on the given port, again and again, and reports it."""
    with Simulator(connectors=[], tokens={}) as free:
        port = int(free.url.rpartition(":")[2])
    simulator = Simulator(connectors=[], tokens={}, port=port)
    for _ in range(2):
        with simulator:
            assert simulator.url == free.url
            with Client(simulator) as client:
                assert client.get().status == 401
            assert simulator.connections == 1
            simulator.reset()


def test_leaving_stops_everything():
    """After the `with` block, no thread is left and the port is closed, even with open connections."""
    before = threading.active_count()
    with Simulator(connectors=[Connector("T3S70")], tokens={"good-key": {TEAM}}) as simulator:
        client = Client(simulator)
        assert client.get().status == 200
        assert threading.active_count() > before
    assert threading.active_count() == before
    client.connection.close()
    with pytest.raises(ConnectionRefusedError):
        client.get()
    assert len(simulator.requests) == 1


def test_url_needs_a_running_server():
    """Outside its `with` block, the simulator has no URL."""
    with pytest.raises(RuntimeError, match="with"):
        Simulator(connectors=[], tokens={}).url  # noqa: B018  # the reading is what raises


def test_identifiers_are_unique():
    """Two connectors with the same identifier raise an error."""
    with pytest.raises(ValueError, match="T3S70"):
        Simulator(connectors=[Connector("T3S70"), Connector("T3S70")], tokens={})


def test_concurrent_requests(serve, at):
    """Many clients at once get whole pages while entries arrive, and every request is counted once."""
    simulator, _ = serve([at(f"{n}", n) for n in range(50)])
    lengths = []

    def request_pages(number):
        with Client(simulator) as client:
            for step in range(10):
                simulator.append("T3S70", [at(f"{number}-{step}", 100 + step)])
                lengths.append(len(client.get(limit=1000).ids))

    threads = [threading.Thread(target=request_pages, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(lengths) == 130
    assert sorted(request.number for request in simulator.requests) == list(range(1, 81))
    assert len({request.connection for request in simulator.requests}) == 8
