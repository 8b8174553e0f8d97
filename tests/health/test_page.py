"""The page as HTML: what it says, that others write no markup into it, and that it needs nothing else."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from airflow_provider_supermetrics._api.text import counted
from airflow_provider_supermetrics._health import plots, words
from airflow_provider_supermetrics._health.model import ExportedWindow, Report, report
from airflow_provider_supermetrics._health.page import render, render_body
from airflow_provider_supermetrics._schedule import Window
from tests.conftest import HOUR, START
from tests.health.windows import exported, hourly, unread
from tests.support.html import Page, parsed
from tests.support.responses import HOSTILE

DAY = timedelta(days=1)
MARKUP = "<img src=x onerror=alert(1)>\"'><script>alert(1)</script>{{ 7*7 }}&amp;"


def a_report(*more: ExportedWindow, notes: tuple[str, ...] = (), path: str = "/logs") -> Report:
    """Three days of a connector that lacks an hour, of a healthy one, and more."""
    windows = [*hourly(0, 29), *hourly(30, 72), *hourly(0, 72, connector="K2M41", folder="date=1"), *more]
    return report([(path, windows)], Window(START, START + 3 * DAY), START + 3 * DAY, notes)


@pytest.fixture(scope="module")
def page() -> Page:
    """The page of that report."""
    return parsed(render(a_report()))


def test_the_front_table_answers_which_since_when_and_which_hour(page: Page) -> None:
    """One row for each connector, what needs attention first."""
    rows = [row.text for row in page.all("tr") if row.text.startswith(("T3S70", "K2M41"))]
    assert rows[0].startswith("T3S70 ▲ Warning 1 hour missing: 2026-01-02 05:00 to 06:00")
    assert rows[1].startswith("K2M41 ✔ Healthy 0 %")
    assert len(rows) == 2


def test_each_connector_has_its_plots_and_a_table_under_each(page: Page) -> None:
    """A screen reader gets names of the plots and the numbers."""
    assert [element.text for element in page.all("h2")] == ["T3S70", "K2M41"]
    images = [element for element in page.all("svg") if element.attributes.get("role") == "img"]
    assert all(element.attributes["aria-label"] for element in images)
    assert len(images) == 2 * 5
    assert len(page.all("details")) == 2 * 3
    assert len(page.all("section")) == 2
    assert any(row.text.startswith("2026-01-02 23 hours 1 hour -") for row in page.all("tr"))


def test_the_missing_hour_is_in_the_strip(page: Page) -> None:
    """At its place, wide enough to be seen, with its time."""
    gaps = [element for element in page.all("rect", class_="missing") if "x" in element.attributes]
    assert [float(str(gap.attributes["x"])) for gap in gaps] == [pytest.approx(1000 * 29 / 72, abs=0.1)] * 2
    assert "Missing: 2026-01-02 05:00 to 06:00" in page.text


def test_links_lead_to_the_folders_and_sections(page: Page) -> None:
    """Relative ones, so that a copied folder keeps them; none where the page is not beside the exports."""
    assert {"#connector-1", "#connector-2", "./", "./date%3D1/"} <= set(page.links)
    ids = {element.attributes.get("id") for element in page.elements}
    assert {link[1:] for link in page.links if link.startswith("#") and link != "#top"} <= ids
    other = parsed(render(a_report(), render_body(a_report(), folder_link=lambda *_: None)))
    assert all(link.startswith("#") for link in other.links)


def test_what_was_not_read_is_not_shown_as_zero() -> None:
    """A dash instead, in the tables and beside the plots."""
    windows = [*hourly(0, 48), *unread(48, 72)]
    other = parsed(render(report([("/logs", windows)], Window(START, START + 3 * DAY), START + 3 * DAY)))
    rows = [row.text for row in other.all("tr")]
    assert any(row.startswith("T3S70 ✔ Healthy - - - none") for row in rows)
    assert "2026-01-03 - - -" in rows
    assert "2026-01-02 2,400 0 0 %" in rows


def test_a_connector_of_which_nothing_was_read() -> None:
    """Only its exported time is known."""
    span = Window(START, START + 3 * DAY)
    other = parsed(render(report([("/logs", unread(0, 72))], span, span.end)))
    assert any(row.text.startswith("T3S70 ✔ Healthy - - - - 100 %") for row in other.all("tr"))
    assert [element.text for element in other.all("ul", class_="statuses")] == ["not read"]


def test_teams_with_the_same_identifier_are_distinguished() -> None:
    """In the first table, and at the head of their sections."""
    other = parsed(render(a_report(*hourly(0, 72, connector="K2M41", team=2, errors=50, folder="team=2"))))
    names = ["K2M41 of team 2", "T3S70", "K2M41 of team 936506"]
    assert [element.text for element in other.all("h2")] == names
    rows = [element.text for element in other.all("th", scope="row") if not element.text.startswith("20")]
    assert rows == names


def test_the_page_needs_nothing_else(page: Page) -> None:
    """No script, no address, no file; and its policy forbids the browser to load any."""
    html = render(a_report())
    assert not re.findall(r"https?:|url\(|@import|<script|<link|<iframe| on\w+=", html)
    [policy] = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy.attributes["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert "prefers-color-scheme: dark" in html


@pytest.mark.parametrize("text", [MARKUP, HOSTILE])
def test_what_others_choose_is_text(text: str) -> None:
    """Names of connectors, statuses, folders, paths and notes."""
    window = exported(START, connector=text, folder=text, errors=3, statuses={text: 97, "500": 3})
    hostile = parsed(render(a_report(window, notes=(text,), path=text)))
    kinds = {element.tag for element in hostile.elements}
    assert kinds == {element.tag for element in parsed(render(a_report(notes=("x",)))).elements}
    assert not any(name.startswith("on") for each in hostile.elements for name in each.attributes)
    assert all(link.startswith(("#", "./")) for link in hostile.links)
    shown = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    assert shown in [element.text for element in hostile.all("h2")]
    assert any(shown in element.text for element in hostile.all("p", class_="note"))


def test_the_same_input_gives_the_same_page() -> None:
    """Byte by byte; the time of the picture is part of the input."""
    assert render(a_report()) == render(a_report())
    assert ", 3 minutes ago." in parsed(render(a_report(), age=timedelta(minutes=3))).text


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.percent(None), "-"),
        (words.percent(0), "0 %"),
        (words.percent(0.0001), "< 0.1 %"),
        (words.percent(0.9999), "> 99.9 %"),
        (words.percent(1), "100 %"),
        (words.number(None), "-"),
        (words.number(0), "0"),
        (words.number(1.5), "1.5"),
        (words.number(999.9996), "1,000"),
        (words.number(12000.0), "12,000"),
        (words.number(1234567), "1,234,567"),
        (words.milliseconds(999.4), "999 ms"),
        (words.milliseconds(1500), "1.5 s"),
        (words.milliseconds(3_600_000), "60 min"),
        (words.length(timedelta(days=1, hours=1, minutes=1)), "1 day 1 hour"),
        (words.length(timedelta(hours=2)), "2 hours"),
        (words.length(timedelta()), "less than a second"),
        (counted(1, "entry", "entries"), "1 entry"),
        (counted(1234, "window"), "1,234 windows"),
        (words.moment(START + timedelta(seconds=5)), "2026-01-01 00:00:05"),
        (words.period(Window(START, START + HOUR)), "2026-01-01 00:00 to 01:00"),
        (words.period(Window(START, START + DAY)), "2026-01-01 00:00 to 2026-01-02 00:00"),
    ],
)
def test_words(said: str, expected: str) -> None:
    """As people write them."""
    assert said == expected


def test_a_piece_of_several_gaps_names_them() -> None:
    """In the small strip, gaps that are hours apart are one piece; what is between them is not missing."""
    span = Window(START, START + 30 * DAY)
    windows = [*hourly(0, 10), *hourly(11, 20), *hourly(21, 720)]
    other = parsed(render(report([("/logs", windows)], span, span.end)))
    assert [each.text for each in other.all("title") if each.text.startswith("Missing")] == [
        "Missing: 2026-01-01 10:00 to 11:00; 2026-01-01 20:00 to 21:00",
        "Missing: 2026-01-01 10:00 to 11:00",
        "Missing: 2026-01-01 20:00 to 21:00",
    ]


def test_pieces_that_cannot_be_distinguished_are_one() -> None:
    """So that a strip never has more pieces than there is room for."""
    span = Window(START, START + 3000 * HOUR)
    every_other = [Window(START + hour * HOUR, START + (hour + 1) * HOUR) for hour in range(0, 3000, 2)]
    [piece] = plots.stretches(every_other, span, 4)
    assert (piece.x, piece.width) == (0, pytest.approx(1000, abs=5))
    assert words.periods(piece.windows) == "1,500 times between 2026-01-01 00:00 and 2026-05-05 23:00"


def test_statuses_of_errors_are_those_from_400_on() -> None:
    """By their number; what is none is not."""
    statuses = {
        "45": 1,
        "99": 1,
        "399": 1,
        "400": 1,
        "1000": 1,
        "none": 1,
        "other": 1,
        "9" * 5000: 1,
        "\u00b2": 1,
    }
    span = Window(START, START + HOUR)
    other = parsed(render(report([("/logs", [exported(START, statuses=statuses)])], span, span.end)))
    assert [each.text for each in other.all("li", class_="failed")] == ["1000: 1", "400: 1"]
    assert "Statuses, of whole windows" in [each.text for each in other.all("h3")]


def test_many_missing_hours_are_written_out() -> None:
    """Not as a power of ten."""
    span = Window(START, START + 400 * HOUR)
    names = [f"C{number}" for number in range(40)]
    many = [each for name in names for hour in (0, 399) for each in hourly(hour, hour + 1, connector=name)]
    other = parsed(render(report([("/logs", many)], span, span.end)))
    assert "15,920hours missing" in [element.text for element in other.all("li")]


def test_bars_are_as_high_as_their_numbers() -> None:
    """The upper edge is a round number; nothing is drawn for nothing, and something for little."""
    plot = plots.bars([0, 50, None, 1, 80])
    assert plot.top == 80
    assert re.findall(r"V([\d.]+)h", plot.paths["bars"]) == ["37.5", "98.5", "0"]
    assert plots.bars([]).top == plots.bars([None, 0]).top == 1
