"""The entries of a page, the printed form of their times, and the truth."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dev.simulator import Connector, Simulator
from tests.simulator.client import LOGS, START


def ids(entries):
    """The ids of the entries, in order."""
    return [entry["id"] for entry in entries]


def test_pages_are_newest_first_and_cut_at_the_limit(serve, at):
    """A page has the newest entries, newest first, and no more than requested."""
    _, client = serve([at("a", 1), at("c", 3), at("b", 2)])
    assert client.get(limit=2).ids == ["c", "b"]
    assert client.get().ids == ["c", "b", "a"]


def test_limit_defaults_to_100(serve, at):
    """Without `limit` a page holds 100 entries, with it up to 1000."""
    _, client = serve([at(f"{n:04d}", n) for n in range(1200)])
    assert len(client.get().ids) == 100
    assert len(client.get(limit=1000).ids) == 1000


@pytest.mark.parametrize(("before", "expected"), [("exclusive", ["a"]), ("inclusive", ["b", "a"])])
def test_before_switch(serve, at, before, expected):
    """The entry at the very time of `before` is listed only when it is inclusive."""
    _, client = serve([at("a", 1), at("b", 2), at("c", 3)], before=before)
    assert client.get(before="2026-01-01T00:00:02Z").ids == expected


@pytest.mark.parametrize(
    ("precision", "printed"),
    [
        ("day", "2026-01-01"),
        ("minute", "2026-01-01T12:34:00Z"),
        ("second", "2026-01-01T12:34:56Z"),
        ("millisecond", "2026-01-01T12:34:56.789Z"),
        ("microsecond", "2026-01-01T12:34:56.789012Z"),
        ("nanosecond", "2026-01-01T12:34:56.789012000Z"),
        ("trimmed", "2026-01-01T12:34:56.789012Z"),
    ],
)
def test_precision_switch(serve, precision, printed):
    """Times are printed at the given precision, in pages and in the truth."""
    entry = {"id": "a", "log_time": START + timedelta(hours=12, minutes=34, seconds=56, microseconds=789012)}
    simulator, client = serve([entry], precision=precision)
    assert client.get().json["logs"][0]["log_time"] == printed
    assert simulator.truth("T3S70")[0]["log_time"] == printed


def test_trimmed_drops_a_zero_fraction(serve, at):
    """Trimmed times lose a fraction that is zero, and only that."""
    _, client = serve([at("a", 1), at("b", 1.5)], precision="trimmed")
    times = [entry["log_time"] for entry in client.get().json["logs"]]
    assert times == ["2026-01-01T00:00:01.500000Z", "2026-01-01T00:00:01Z"]


@pytest.mark.parametrize(
    ("zone", "printed"),
    [
        ("Z", "2026-01-01T00:00:01Z"),
        ("+00:00", "2026-01-01T00:00:01+00:00"),
        ("+05:30", "2026-01-01T05:30:01+05:30"),
        ("-02:00", "2025-12-31T22:00:01-02:00"),
        ("", "2026-01-01T00:00:01"),
    ],
)
def test_zone_switch(serve, at, zone, printed):
    """Times are printed in the zone, and the truth still uses the instant."""
    simulator, client = serve([at("a", 1)], zone=zone)
    assert client.get().json["logs"][0]["log_time"] == printed
    assert ids(simulator.truth("T3S70", START + timedelta(seconds=1), START + timedelta(seconds=2))) == ["a"]
    assert simulator.truth("T3S70", START + timedelta(seconds=2)) == []


@pytest.mark.parametrize(("stores_finer", "expected"), [(True, []), (False, ["b", "a"])])
def test_stores_finer_switch(serve, at, stores_finer, expected):
    """With `before` at half past a second, a server with finer times leaves out what is after it."""
    _, client = serve([at("a", 1.8), at("b", 1.7)], stores_finer=stores_finer)
    assert client.get(before="2026-01-01T00:00:01.500000Z").ids == expected
    assert client.get().ids == (["a", "b"] if stores_finer else ["b", "a"])


@pytest.mark.parametrize(
    ("rounding", "stores_finer", "second"), [("truncate", True, 1), ("round", True, 2), ("round", False, 1)]
)
def test_rounding_switch(serve, at, rounding, stores_finer, second):
    """Rounding prints the nearest second, which the truth uses; truncated times are not rounded."""
    simulator, client = serve([at("a", 1.7)], rounding=rounding, stores_finer=stores_finer)
    assert client.get().json["logs"][0]["log_time"] == f"2026-01-01T00:00:0{second}Z"
    start = START + timedelta(seconds=second)
    assert ids(simulator.truth("T3S70", start, start + timedelta(seconds=1))) == ["a"]


def test_truth_is_half_open_and_newest_first(serve, at):
    """The truth has the entry at `start`, not the one at `end`, and the newest first."""
    simulator, client = serve([at("a", 1), at("b", 2), at("c", 3)])
    truth = simulator.truth("T3S70", START + timedelta(seconds=1), START + timedelta(seconds=3))
    assert ids(truth) == ["b", "a"]
    assert simulator.truth("T3S70") == client.get().json["logs"]


def test_max_page_number(serve, at):
    """With `max_page` a page is short although older entries exist."""
    _, client = serve([at("a", 1), at("b", 2), at("c", 3)], max_page=2)
    assert client.get(limit=3).ids == ["c", "b"]
    assert client.get(limit=1).ids == ["c"]


def test_max_page_function(serve, at):
    """`max_page` as a function sees limit and request number, and never lengthens a page."""
    seen = []

    def length(limit, number):
        seen.append((limit, number))
        return [0, 1, 99][number - 1]

    _, client = serve([at("a", 1), at("b", 2), at("c", 3)], max_page=length)
    assert [client.get(limit=2).ids for _ in range(3)] == [[], ["c"], ["c", "b"]]
    assert seen == [(2, 1), (2, 2), (2, 3)]


def test_stable_ties(serve, at):
    """In the stable order equal times come the same way each time, the latest arrival first."""
    _, client = serve([at(str(n), 1) for n in range(8)])
    assert all(client.get().ids == list("76543210") for _ in range(3))


def test_shuffled_ties(serve, at):
    """Ties are shuffled again each time, also across the page's border, and never leave their time."""
    entries = [at("old", 0), *(at(str(n), 1) for n in range(8)), at("new", 2)]
    _, client = serve(entries, tie_order="shuffled")
    pages = [client.get(limit=4).ids for _ in range(12)]
    assert len({tuple(page) for page in pages}) > 1
    assert all(page[0] == "new" and "old" not in page for page in pages)
    assert {entry for page in pages for entry in page} == {"new", *"01234567"}
    assert client.get(before="2026-01-01T00:00:00Z").ids == []
    assert {client.get(limit=10).ids[-1] for _ in range(5)} == {"old"}


def test_shuffling_repeats_with_its_seed(serve, at):
    """The same seed shuffles the same way, another one otherwise."""
    entries = [at(str(n), 1) for n in range(8)]
    first, again, other = (serve(entries, tie_order="shuffled", seed=seed)[1].get().ids for seed in (5, 5, 6))
    assert first == again != other


def test_times_as_strings(serve):
    """A string as `log_time` is printed unchanged and parsed; all fields are kept, and none is required."""
    entries = [
        {"log_time": "2026-01-01T06:30:00.123+05:30", "odd": {"deep": [1]}},
        {"id": "day", "log_time": "2026-01-02"},
        {"id": "bare", "log_time": "2026-01-01 00:30"},
    ]
    simulator, client = serve(entries, zone="+01:00", precision="day")
    expected = [entries[1], entries[0], entries[2]]
    assert client.get().json["logs"] == expected
    assert client.get(before="2026-01-01T01:00:00.122999999Z").ids == ["bare"]
    assert simulator.truth("T3S70", START, START + timedelta(days=1)) == expected[1:]


def test_unreadable_strings_are_refused(serve):
    """An unreadable string as `log_time` is refused."""
    with pytest.raises(ValueError, match="not an ISO 8601 time"):
        serve([{"log_time": "yesterday"}])


def test_before_in_another_zone(serve, at):
    """`before` is an instant, whatever zone it is written in."""
    _, client = serve([at("a", 1), at("b", 2)])
    assert client.get(before="2026-01-01T05:30:02+05:30").ids == ["a"]


def test_append_keeps_the_order(serve, at):
    """Appended entries are listed where their times belong, behind them in a tie only by arrival."""
    simulator, client = serve([at("a", 1), at("c", 3)])
    simulator.append("T3S70", [at("b", 2), at("d", 4), at("a2", 1)])
    assert client.get().ids == ["d", "c", "b", "a2", "a"]
    assert client.get(f"{LOGS}/b").json["id"] == "b"


def test_arrivals(serve, at):
    """Entries arrive just before the response to the request of their number, and only once."""
    simulator, client = serve([at("a", 1)], arrivals={2: [("T3S70", [at("b", 2)])]})
    assert [client.get().ids for _ in range(3)] == [["a"], ["b", "a"], ["b", "a"]]
    simulator.reset()
    assert [client.get().ids for _ in range(2)] == [["b", "a"], ["b", "a"]]


@pytest.mark.parametrize(
    ("precision", "zone"),
    [("microsecond", "+05:30"), ("trimmed", "-01:00"), ("nanosecond", "+00:00"), ("nanosecond", "+0000")],
)
def test_no_time_is_longer_than_the_api_allows(precision, zone):
    """30 characters hold nanoseconds with Z, or milliseconds with an offset."""
    with pytest.raises(ValueError, match="30 characters"):
        Simulator(connectors=[], tokens={}, precision=precision, zone=zone)


def test_no_given_time_is_longer_than_the_api_allows():
    """A time that is printed unchanged is not longer than the API allows."""
    entries = [{"id": "a", "log_time": "2026-01-01T06:30:00.123456789+05:30"}]
    with pytest.raises(ValueError, match="30 characters"):
        Simulator(connectors=[Connector("T3S70", entries)], tokens={})
