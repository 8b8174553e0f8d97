"""Strings from the API in log lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.text import one_line, quoted, without_credentials


@given(st.text(st.characters(), max_size=50), st.integers(1, 60))
def test_any_text_is_one_short_line_that_prints(text: str, longest: int) -> None:
    """Any string becomes one printable line without control characters, and a second pass changes nothing."""
    line = one_line(text, longest)
    assert len(line) <= longest
    assert line.isprintable()
    assert line.splitlines() in ([], [line])
    assert line.encode("utf-8").decode() == line
    assert one_line(line, longest) == line


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=50))
def test_text_that_prints_stays_as_it_is(text: str) -> None:
    """Letters, numbers, punctuation and symbols of any script are unchanged."""
    assert one_line(text, 50) == text


@pytest.mark.parametrize(
    "character",
    [
        pytest.param(character, id=f"U+{ord(character):04X}")
        for character in "\0\x07\x08\x1b\x7f\x80\x90\x9b\x9d\x9f\xad\u061c\u200b\u200e\u200f\u202a\u202e"
        "\u2066\u2069\ufeff\ud800\udfff\U000e0041"
    ],
)
def test_a_character_that_does_not_print_is_replaced(character: str) -> None:
    """A removed character could join its neighbours into a secret, so it is replaced."""
    assert one_line(f"sec{character}ret") == "sec\ufffdret"


@pytest.mark.parametrize(
    "space", ["\n", "\r\n", "\t", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", " \xa0 "]
)
def test_line_breaks_and_other_white_space_become_a_space(space: str) -> None:
    """A string cannot forge a second log line."""
    assert one_line(f"{space}a{space}b{space}") == "a b"


def test_a_quote_has_at_most_a_hundred_characters() -> None:
    """The quotes of a string count."""
    assert quoted("x" * 98) == repr("x" * 98)
    assert quoted("x" * 99) == "a value of type str"
    assert quoted("x" * 101) == "a string of 101 characters"


def test_a_long_text_ends_in_an_ellipsis() -> None:
    """A truncated string ends in an ellipsis."""
    assert one_line("x" * 10, 10) == "x" * 10
    assert one_line("x" * 11, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("value", "quote"),
    [
        ("a\x1b[31m", r"'a\x1b[31m'"),
        (None, "None"),
        (7, "7"),
        pytest.param(10**5000, "a value of type int", id="beyond what Python prints"),
        ({"a": "\ud800"}, r"{'a': '\ud800'}"),
    ],
)
def test_quotes(value: object, quote: str) -> None:
    """A value of any type can be quoted."""
    assert quoted(value) == quote


def test_a_huge_value_has_a_short_quotation() -> None:
    """A value of a megabyte, or of a thousand nested lists, is quoted in a few characters."""
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    assert quoted(deep) == quoted(["x"] * 10_000) == "a value of type list"
    assert quoted("x" * 2**20) == "a string of 1,048,576 characters"


def test_a_quotation_has_no_part_of_a_long_value() -> None:
    """A long value is not quoted in part, because redaction finds only whole credentials."""
    quotations = [quoted("x" * length + "K#Y") for length in range(110)]
    assert {quotation.count("K") + quotation.count("#") for quotation in quotations} == {0, 2}


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("cannot read s3://KEY:SECRET@bucket/a: no", "cannot read s3://***@bucket/a: no"),
        ("cannot read s3://KEY:SEC/RET@bucket/a: no", "cannot read s3://***@bucket/a: no"),
        ("GET https://:SECRET@host/a, again", "GET https://***@host/a, again"),
        ("GET https://host:443/a?sv=1&sig=SECRET failed", "GET https://host:443/a?… failed"),
        ("'http://host:80/a', s3://c@bucket", "'http://host:80/a', s3://c@bucket"),
        ("s3://aws_default@bucket/a: why? no", "s3://aws_default@bucket/a: why? no"),
    ],
)
def test_urls_without_credentials(text: str, rest: str) -> None:
    """Users with passwords, and queries, are left out; the name of an Airflow connection stays."""
    assert without_credentials(text) == rest
