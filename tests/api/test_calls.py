"""Arguments are checked before anything is sent."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_supermetrics._api import calls
from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._api.times import parse_log_time

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def test_a_page_of_logs() -> None:
    """The path and the parameters are as documented."""
    made = calls.list_logs(936506, "T3S70", limit=100, before=NOON).request
    assert (made.method, made.path) == ("GET", "/v1/teams/936506/connector_builder/connectors/T3S70/logs")
    assert made.params == {"limit": "100", "before": "2026-01-01T12:00:00Z"}


def test_without_before_the_parameter_is_absent() -> None:
    """Without `before` the latest page is requested."""
    assert calls.list_logs(1, "A").request.params == {"limit": "1000"}


def test_the_list_of_connectors() -> None:
    """The path is as documented."""
    assert calls.list_connectors("936506").request.path == "/v1/teams/936506/connector_builder/connectors"


@pytest.mark.parametrize("team_id", [0, -1, 2**63, 1.0, True, None, "", "x", "1e3", "-5", "0", "9" * 20, "१"])
def test_no_team_but_1_to_int64(team_id: Any) -> None:
    """A team_id that the API does not allow is refused."""
    with pytest.raises(InvalidRequest, match="team_id"):
        calls.list_connectors(team_id)


@pytest.mark.parametrize("team_id", [1, 936506, 2**63 - 1, "936506", " 7 "])
def test_teams(team_id: Any) -> None:
    """Integers and strings of digits are teams."""
    assert calls.valid_team_id(team_id) == int(team_id)


@pytest.mark.parametrize(
    "identifier", ["", "../x", "a/b", "a b", "é", "x" * 101, "T3S70\n", "%2e%2e", None, 5]
)
def test_no_identifier_that_could_change_the_path(identifier: Any) -> None:
    """Only letters, digits, '_' and '-' make an identifier."""
    with pytest.raises(InvalidRequest, match="connector_identifier"):
        calls.list_logs(1, identifier)


@pytest.mark.parametrize("limit", [0, -1, 1001, 1.5, True, "10", None])
def test_limits(limit: Any) -> None:
    """A limit is an integer from 1 to 1000."""
    with pytest.raises(InvalidRequest, match="limit"):
        calls.list_logs(1, "A", limit=limit)


@pytest.mark.parametrize("value", [0, 1.0, True, "3", None])
def test_integers(value: Any) -> None:
    """The message of a refused integer names the argument, the least value and what was passed."""
    with pytest.raises(InvalidRequest) as refused:
        calls.valid_integer("max_entries", value, 1)
    assert str(refused.value) == f"max_entries must be an integer of 1 or more, not {value!r}"
    assert calls.valid_integer("max_entries", 1, 1) == 1


def test_a_naive_before_is_refused() -> None:
    """A time without a zone is refused, because its meaning would depend on the machine."""
    with pytest.raises(InvalidRequest, match="time zone"):
        calls.list_logs(1, "A", before=datetime(2026, 1, 1))


@pytest.mark.parametrize("log_id", ["", ".", "..", "x" * 256, None, 7])
def test_log_ids(log_id: Any) -> None:
    """A log id is a string of 1 to 255 characters, but not "." or "..", which a URL would resolve."""
    with pytest.raises(InvalidRequest, match="log_id"):
        calls.get_log(1, "A", log_id)


@given(st.text(st.characters(), min_size=1, max_size=255).filter(lambda text: text not in (".", "..")))
def test_any_log_id_stays_one_segment_of_the_path(log_id: str) -> None:
    """Whatever an id contains, it is one percent-encoded segment at the path's end."""
    if re.search("[\ud800-\udfff]", log_id):  # no URL can hold half a surrogate pair
        with pytest.raises(InvalidRequest):
            calls.get_log(1, "A", log_id)
        return
    path = calls.get_log(1, "A", log_id).request.path
    prefix = "/v1/teams/1/connector_builder/connectors/A/logs/"
    assert path.startswith(prefix)
    segment = path.removeprefix(prefix)
    assert not set(segment) & set("/?#% ") - {"%"}
    assert unquote(segment) == log_id


@given(
    st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)
def test_a_time_survives_being_sent(naive: datetime, minutes: int) -> None:
    """`before` is sent as the same moment in UTC, whatever zone it was passed in."""
    time = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = calls.list_logs(1, "A", before=time).request.params["before"]
    assert text.endswith("Z")
    assert len(text) <= 30
    assert parse_log_time(text).at == time


def test_messages_contain_the_request_on_one_line() -> None:
    """A message contains the method and the path."""
    assert (
        str(calls.get_log(1, "A", "a/b").request)
        == "GET /v1/teams/1/connector_builder/connectors/A/logs/a%2Fb"
    )


def test_half_of_a_surrogate_pair_in_a_log_id() -> None:
    """Half of a surrogate pair is refused, because no URL can contain it."""
    with pytest.raises(InvalidRequest, match="half a surrogate pair"):
        calls.get_log(1, "A", "a\ud800")


@pytest.mark.parametrize("value", [50_000, "50000", " 50000 "])
def test_an_integer_may_come_from_a_template(value: Any) -> None:
    """A string of digits counts as its number."""
    assert calls.parse_integer("entries_per_file", value, 1) == 50_000


@pytest.mark.parametrize("value", [0, "0", "-1", "1.0", "1e3", "", None, True, 1.0, "9" * 20])
def test_what_is_no_integer(value: Any) -> None:
    """Anything else is refused."""
    with pytest.raises(InvalidRequest, match=r"^entries_per_file must be an integer of 1 or more, not "):
        calls.parse_integer("entries_per_file", value, 1)


@pytest.mark.parametrize(
    ("value", "boolean"), [(True, True), (False, False), ("True", True), (" false ", False), ("FALSE", False)]
)
def test_a_boolean_may_come_from_a_template(value: Any, boolean: bool) -> None:
    """The strings that templates print count, in any case."""
    assert calls.parse_boolean("align", value) is boolean


@pytest.mark.parametrize("value", [None, "", "yes", 1, 0, "1"])
def test_what_is_no_boolean(value: Any) -> None:
    """Anything else is refused."""
    with pytest.raises(InvalidRequest, match=r"^align must be True or False, not "):
        calls.parse_boolean("align", value)
