"""What both hooks make of responses that are hostile, foreign or incomplete."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import (
    SupermetricsError,
    SupermetricsRequestError,
    SupermetricsResponseError,
    SupermetricsServerError,
    SupermetricsValidationError,
)
from dev.simulator import Fault, Simulator
from tests.conftest import CONNECTOR

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]

# Colours and a title for the terminal, a forged second line, bidirectional and invisible characters, NUL, and
# half of a surrogate pair.
HOSTILE = "a\x1b]0;title\x07b\x1b[31m\x9b2Jc\r\n[INFO] d\u2028e\u2029f\u202eg\u2066h\x00i\ud800j\u200bk"


def facts(error: SupermetricsError) -> list[str]:
    """The message and each attribute that is a string."""
    return [str(error), *(value for value in vars(error).values() if isinstance(value, str))]


# Text of the API's in messages


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_control_characters_of_an_error_do_not_reach_messages(
    simulate: Simulate,
    new_hook: Callable[..., Any],
    waits: list[float],
    logged: Callable[[], list[str]],
    status: int,
) -> None:
    """Neither the exception, nor its attributes, nor the log that tells of a repetition has one raw."""
    body = {
        "error": {"code": HOSTILE, "message": HOSTILE, "description": HOSTILE},
        "meta": {"request_id": HOSTILE},
    }
    simulate(faults=[Fault(status, body=body)] * 5)
    with pytest.raises(SupermetricsError) as raised:
        new_hook(wait_policy={"max_attempts": 2}).list_connectors()
    told = facts(raised.value)
    assert len(told) == 4
    assert [text for text in told if not text.isprintable()] == []
    lines = logged()
    assert [line for line in lines if not line.isprintable()] == []
    assert ("asking again" in "".join(lines)) == (status == 500)


@pytest.mark.parametrize("log_time", [None, HOSTILE, [HOSTILE], "x" * 2**20], ids=lambda _: "")
@pytest.mark.parametrize("entry_id", [HOSTILE, {HOSTILE: HOSTILE}, "x" * 2**20, 7], ids=lambda _: "")
def test_an_entry_that_breaks_the_contract_is_quoted_short_and_in_one_line(
    simulate: Simulate, hook: Any, entry_id: Any, log_time: Any
) -> None:
    """An id of a megabyte, or one with control characters, does not go into the message as it is."""
    simulate(faults=[Fault(200, body={"logs": [{"id": entry_id, "log_time": log_time}]})])
    with pytest.raises(SupermetricsResponseError, match="no readable log_time") as raised:
        hook.iter_logs(CONNECTOR)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 600


def test_each_text_of_an_error_is_quoted_short(simulate: Simulate, hook: Any) -> None:
    """A message has some hundred characters of each value; attributes keep what the API's page allows."""
    error = {"code": "C" * 10**5, "message": "m" * 10**5, "description": "d" * 10**5}
    simulate(faults=[Fault(400, body={"error": error, "meta": {"request_id": "r" * 10**5}})])
    with pytest.raises(SupermetricsRequestError) as raised:
        hook.list_connectors()
    for letter in "Cmdr":
        assert 64 <= str(raised.value).count(letter) <= 330, letter
    assert len(raised.value.description or "") == 2048


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_log", (CONNECTOR, "x" * 10**6)),
        ("get_log", ("x" * 10**6, "1")),
        ("list_logs", ("\x1b[31m" * 10**5,)),
        ("list_connectors", ("9" * 10**6,)),
        ("list_connectors", (10**5000,)),
    ],
    ids=["log_id", "identifier", "control characters", "team_id", "integer"],
)
def test_an_argument_that_is_refused_is_quoted_short(
    simulate: Simulate, hook: Any, method: str, arguments: tuple[Any, ...]
) -> None:
    """Arguments may come from the API as well, such as an identifier or an id."""
    simulate()
    with pytest.raises(SupermetricsValidationError) as raised:
        getattr(hook, method)(*arguments)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


def test_any_message_of_an_error_is_one_line() -> None:
    """Whoever raises it, for whatever reason."""
    error = SupermetricsServerError(f"x {HOSTILE} y" + "z" * 10**6)
    assert str(error).isprintable()
    assert len(str(error)) <= 2000
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
