"""The lists that rendered filter templates are parsed as."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._api.filter import ErrorFilter, as_list, read_filter


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("", str, None),
        (" None ", str, None),
        (None, str, None),
        ("a, b,", str, ["a", "b"]),
        ("['a, b']", str, ["a, b"]),
        ('{"a": null}', str, {"a": None}),
        ("('a', 'b')", str, ("a", "b")),
        ("'a'", str, ["a"]),
        ('"a"', str, ["a"]),
        (["1"], str, ["1"]),
        ("500", int, [500]),
        ("[500, '503']", int, [500, 503]),
        ([" 500 ", "5xx", 7.5, None], int, [500, "5xx", 7.5, None]),
        ("123456789", int, [123456789]),
        ("1234567890", int, ["1234567890"]),
        (500, int, [500]),
        ([], int, []),
        ({"500": 1}, int, {"500": 1}),
        (7.5, int, 7.5),
    ],
    ids=str,
)
def test_lists_of_templates(value: Any, kind: type, expected: Any) -> None:
    """A template is parsed as a list, as a value to be refused with its name, or as no filter."""
    assert as_list("events", value, kind) == expected


@pytest.mark.parametrize("text", ["['a'", "(1", "{", "'", '"', "[a]", "['a'] + ['b']", "[" * 9999])
def test_a_literal_that_cannot_be_read(text: str) -> None:
    """The message names the argument whose literal cannot be read."""
    with pytest.raises(InvalidRequest, match=r"^events must be a list, such as \['a', 'b'\] or a,b, not "):
        as_list("events", text, str)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_status": "4"}, "min_status must be an integer from 0 to 999, such as 400, not '4'"),
        ({"min_status": True}, "min_status must be an integer from 0 to 999, such as 400, not True"),
        ({"min_status": 1000}, "min_status must be an integer from 0 to 999, such as 400, not 1000"),
        ({"min_status": -1}, "min_status must be an integer from 0 to 999"),
        (
            {"statuses": {500: 1}},
            r"statuses must be a list of integers from 0 to 999, such as \[403, 500\], not {500: 1}",
        ),
        ({"statuses": [500, 1000]}, "statuses must be a list of integers"),
        ({"statuses": b"\x01"}, "statuses must be a list of integers"),
        ({"statuses": [True]}, "statuses must be a list of integers"),
        ({"events": [""]}, r"events must be a list of strings, such as \['data.fetch'\], not \[''\]"),
        ({"events": ["a", 1]}, "events must be a list of strings"),
        ({"events": []}, "events must be a list of strings"),
        ({"request_contains": ""}, "request_contains must be a string, such as 'customers', not ''"),
        ({"request_contains": 5}, "request_contains must be a string, such as 'customers', not 5"),
    ],
    ids=str,
)
def test_values_that_no_filter_accepts(arguments: dict[str, Any], message: str) -> None:
    """Values that could never match, or would match something unexpected, are refused."""
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        ErrorFilter.of(**arguments)


def test_statuses_that_are_strings_of_digits() -> None:
    """Strings of digits are parsed as integers, except those longer than any status."""
    error_filter = ErrorFilter.of(min_status=400)
    counts = {
        status: error_filter.matches({"status": status}) for status in ("400", " 503 ", "399", "5" * 5000)
    }
    assert list(counts.values()) == [True, True, False, False]


def test_a_filter_of_templates() -> None:
    """Strings of digits are integers, and an empty string is no restriction."""
    read = read_filter(min_status="500", statuses="", events="a,b", request_contains="")
    assert read == ErrorFilter.of(min_status=500, events=["a", "b"])
    assert read_filter() == ErrorFilter()
