"""The health of connectors from their windows: against a slow count of hours, and case by case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics._health.model import (
    ConnectorHealth,
    ExportedWindow,
    Hour,
    Level,
    Report,
    floor,
    report,
)
from airflow_provider_supermetrics._schedule import Window
from tests.conftest import HOUR, START
from tests.health.windows import exported, hourly, unread
from tests.support.selection import examples

DAY = timedelta(days=1)


def report_of(
    windows: Sequence[ExportedWindow], days: float = 3, now: datetime | None = None, start: datetime = START
) -> Report:
    """The report of three days, or as many as are wanted."""
    window = Window(start, start + timedelta(days=days))
    return report([("/logs", windows)], window, now or window.end)


def health_of(windows: Sequence[ExportedWindow], days: float = 3, **parts: Any) -> ConnectorHealth:
    """The health of the only connector."""
    [health] = report_of(windows, days, **parts).connectors
    return health


def findings(windows: Sequence[ExportedWindow], days: float = 3, **parts: Any) -> list[tuple[Level, str]]:
    """What is found about the only connector."""
    return [(each.level, each.text) for each in health_of(windows, days, **parts).findings]


def test_a_healthy_connector_has_no_findings() -> None:
    """Few errors, all hours once."""
    health = health_of(hourly(0, 72, errors=1))
    assert (health.findings, health.level, health.coverage.share) == ((), Level.HEALTHY, 1.0)
    assert (health.numbers.entries, health.numbers.errors, health.windows) == (7200, 72, 72)
    assert health.last_error == Window(START + 71 * HOUR, START + 72 * HOUR)
    assert health.statuses == (("200", 7128), ("500", 72))


def test_errors_say_since_when() -> None:
    """A quiet hour in between does not begin the time again."""
    windows = [*hourly(0, 50), *hourly(50, 60, errors=60), *hourly(60, 61), *hourly(61, 72, errors=60)]
    assert findings(windows) == [
        (Level.CRITICAL, "52.5 % of the last day's entries are errors, since 2026-01-03 02:00; before, 0 %")
    ]


def test_an_outage_that_was_over_is_not_the_beginning() -> None:
    """Days without errors between them: what they say of before is their rate."""
    outage = [*hourly(0, 48), *hourly(48, 120, errors=100)]
    after = [*outage, *hourly(120, 240), *hourly(240, 264, errors=20)]
    text = "20.0 % of the last day's entries are errors, since 2026-01-11 00:00; before, 0 %"
    assert findings(after, 11) == [(Level.CRITICAL, text)]
    # Many errors are over after one day without any.
    long = [*outage, *hourly(120, 145), *hourly(145, 264, errors=100)]
    text = "100 % of the last day's entries are errors, since 2026-01-07 01:00; before, 0 %"
    assert findings(long, 11) == [(Level.CRITICAL, text)]
    # One entry a day.
    daily = [exported(START + day * DAY, entries=1, errors=int(day in (3, 4, 5, 6, 10))) for day in range(11)]
    assert health_of(daily, 11).findings[0].since == START + 10 * DAY


def test_a_rate_that_has_risen_is_a_warning_before_it_is_high() -> None:
    """Two of a hundred are few, unless it was none before."""
    assert findings(hourly(0, 72, errors=2)) == []
    assert findings(hourly(48, 72, errors=2)) == []
    assert findings([*hourly(0, 48), *hourly(48, 72, errors=2)]) == [
        (Level.WARNING, "2.0 % of the last day's entries are errors, since 2026-01-03 00:00; before, 0 %")
    ]


def test_errors_from_the_beginning_on() -> None:
    """Nobody knows when they began."""
    text = "30.0 % of the last day's entries are errors, since the first entries of this report"
    assert findings(hourly(0, 72, errors=30)) == [(Level.CRITICAL, text)]


@pytest.mark.parametrize("days", [61, 63, 90, 400])
def test_the_last_day_is_24_hours_however_long_the_report_is(days: int) -> None:
    """Not the time since midnight."""
    last = days * 24 + 1
    assert findings([*hourly(0, last - 1), *hourly(last - 1, last, entries=0)], days + 1 / 24) == []
    errors = [*hourly(0, last - 13), *hourly(last - 13, last - 1, errors=50), *hourly(last - 1, last)]
    health = health_of(errors, days + 1 / 24)
    assert [finding.since for finding in health.findings] == [START + (last - 13) * HOUR]
    assert (health.recent.entries, health.recent.errors) == (2400, 600)


def test_errors_that_are_over_need_no_attention() -> None:
    """The plot shows them, and the last error's hour is named."""
    health = health_of([*hourly(0, 20, errors=90), *hourly(20, 72)])
    assert health.findings == ()
    assert health.last_error == Window(START + 19 * HOUR, START + 20 * HOUR)


def test_a_missing_hour_is_named() -> None:
    """With its time, whatever else there is."""
    assert findings([*hourly(0, 29), *hourly(30, 72)]) == [
        (Level.WARNING, "1 hour missing: 2026-01-02 05:00 to 06:00")
    ]
    assert findings([*hourly(0, 5), *hourly(6, 29), *hourly(31, 72)]) == [
        (Level.WARNING, "3 hours missing in 2 gaps, the last one 2026-01-02 05:00 to 07:00")
    ]


def test_exports_that_have_stopped_are_critical() -> None:
    """Longer ago than the next window could be late."""
    assert findings(hourly(0, 60)) == [(Level.CRITICAL, "No export since 2026-01-03 12:00, 12 hours ago")]


def test_a_window_that_is_not_due_is_not_missing() -> None:
    """The last hour is exported after its end; of daily windows, a whole day can be awaited."""
    now = START + 3 * DAY + timedelta(minutes=30)
    window = Window(START, now)
    [health] = report([("/logs", hourly(0, 71))], window, now).connectors
    assert health.findings == ()
    assert health.coverage.awaited == Window(START + 71 * HOUR, now)
    daily = [exported(START + day * DAY, DAY) for day in range(2)]
    assert findings(daily, 3.9) == []
    assert findings(daily, 4.1) != []


def test_the_shortest_of_the_last_windows_says_what_is_due() -> None:
    """A month that was exported again as a whole does not excuse hours for two months."""
    whole = exported(START, 3 * DAY, entries=0)
    assert health_of([whole, *hourly(0, 72)], 3.2).findings[0].kind == "stopped"
    assert health_of([whole], 3.2).findings == ()


def test_what_is_missing_ends_with_the_last_window_that_is_due() -> None:
    """The rest is not due yet."""
    span = Window(START, START + 11 * HOUR + timedelta(minutes=20))
    [health] = report([("/logs", hourly(0, 1))], span, span.end).connectors
    assert [each.text for each in health.findings] == [
        "No export since 2026-01-01 01:00, 10 hours 20 minutes ago"
    ]
    assert health.coverage.missing == (Window(START + HOUR, START + 11 * HOUR),)
    assert health.coverage.awaited == Window(START + 11 * HOUR, span.end)
    [health] = report([("/logs", hourly(0, 1))], span, span.end + HOUR).connectors
    assert health.coverage.missing == (Window(START + HOUR, span.end),)
    assert health.coverage.awaited is None


def test_a_connector_that_is_new_lacks_nothing_before() -> None:
    """Its first window is where it begins, unless there is an earlier one before the report."""
    assert findings(hourly(30, 72)) == []
    assert findings([*hourly(-5, -4), *hourly(30, 72)]) == [
        (Level.WARNING, "1 day 6 hours missing: 2026-01-01 00:00 to 2026-01-02 06:00")
    ]


def test_the_days_begin_with_the_connector() -> None:
    """A report of years is not larger for a connector of three days."""
    health = health_of(hourly(0, 72), 400, start=START - 397 * DAY)
    assert [f"{day.date:%m-%d}" for day in health.days] == ["01-03", "01-02", "01-01"]
    assert health.findings == ()
    assert len(health_of([*hourly(-9600, -9599), *hourly(0, 72)], 400, start=START - 397 * DAY).days) == 400


def test_a_connector_that_has_ended_before_the_report_is_missing() -> None:
    """All of the time."""
    health = health_of(hourly(-10, -9))
    assert [finding.kind for finding in health.findings] == ["stopped"]
    assert (health.coverage.share, health.windows) == (0.0, 0)


def test_a_connector_that_ended_long_before_the_report_is_a_note() -> None:
    """Nobody waits for it any more, so it is no row, and nothing of it is missing."""
    old = [*hourly(-80, -72, connector="B"), *hourly(-73, -72, connector="A")]
    result = report_of([*hourly(0, 72), *old, *hourly(-80, -71, connector="C")])
    assert [each.connector_identifier for each in result.connectors] == ["C", "T3S70"]
    text = "2 connectors were last exported before 2025-12-29 00:00 and are not shown: A, B"
    assert (result.notes, result.numbers["missing_hours"]) == ((text,), 72)
    many = [each for name in "GFEDCBA" for each in hourly(-700, -699, connector=name)]
    [note] = report_of(many).notes
    assert note.endswith(" not shown: A, B, C, D, E, and 2 more")
    [note] = report_of(many[:1]).notes
    assert note == "1 connector was last exported before 2025-12-29 00:00 and is not shown: G"


def test_a_connector_that_falls_silent_is_a_warning() -> None:
    """Its windows are there, but empty."""
    assert findings([*hourly(0, 40), *hourly(40, 72, entries=0)]) == [
        (Level.WARNING, "No entries since 2026-01-02 16:00; before, 2,000 entries a day")
    ]
    assert findings(hourly(0, 72, entries=0)) == []


def test_durations_that_have_doubled_are_a_notice() -> None:
    """The last day, compared with the days before."""
    assert findings([*hourly(0, 48), *hourly(48, 72, p95=1900)]) == [
        (Level.NOTICE, "p95 of the last day is 1.9 s, 2.1 times the 900 ms before")
    ]


def test_overlaps_are_a_notice_and_count_once_where_one_contains_the_other() -> None:
    """A day that was exported again as a whole."""
    hours = [Hour(f"2026-01-02T{hour:02}:00:00Z", 100, 0) for hour in range(24)]
    again = exported(START + DAY, DAY, entries=2400, hours=hours, folder="again")
    health = health_of([*hourly(0, 72), again])
    assert health.numbers.entries == 7200
    assert [(each.level, each.text) for each in health.findings] == [
        (Level.NOTICE, "1 day exported more than once, the last time 2026-01-02 00:00 to 2026-01-03 00:00")
    ]
    assert [day.folders for day in health.days] == [("",), ("", "again"), ("",)]


def test_a_manifest_that_was_not_read_still_covers_its_time() -> None:
    """And hides none that was read within it."""
    unread = ExportedWindow("T3S70", Window(START, START + DAY))
    health = health_of([unread, *hourly(0, 72)])
    assert (health.unread, health.numbers.entries, health.coverage.share) == (1, 7200, 1.0)


def test_what_was_not_read_is_not_silent() -> None:
    """Nobody knows whether it has entries."""
    health = health_of([*hourly(0, 48), *unread(48, 72)])
    assert (health.findings, health.recent.is_read, health.numbers.is_read) == ((), False, True)
    assert [day.numbers.is_read for day in health.days] == [False, True, True]
    assert findings([*hourly(0, 48), *hourly(48, 71, entries=0), *unread(71, 72)]) == []


def test_silence_begins_after_what_was_not_read() -> None:
    """And what is usual is that of the hours that were read."""
    windows = [*hourly(0, 30), *unread(30, 47), *hourly(47, 72, entries=0)]
    assert findings(windows) == [
        (Level.WARNING, "No entries since 2026-01-02 23:00; before, 2,323 entries a day")
    ]


def test_teams_with_the_same_identifier_are_different_connectors() -> None:
    """What was not read belongs to the team of its folder, or of the nearest one above it."""
    windows = [
        *hourly(0, 71, team=1, folder="team=1/date=1"),
        ExportedWindow("T3S70", Window(START + 71 * HOUR, START + 72 * HOUR), "team=1/date=2"),
        *hourly(0, 70, team=2, folder="team=2", errors=100),
        ExportedWindow("T3S70", Window(START + 70 * HOUR, START + 71 * HOUR), "team=2"),
        ExportedWindow("T3S70", Window(START + 71 * HOUR, START + 72 * HOUR), "team=2/date=2"),
    ]
    for order in (windows, windows[::-1]):
        second, first = report_of(order).connectors
        assert (first.label, first.team_id) == ("T3S70 of team 1", 1)
        assert (first.findings, first.unread, first.windows, first.numbers.errors) == ((), 1, 72, 0)
        assert (second.label, second.unread, second.windows) == ("T3S70 of team 2", 2, 72)
        assert (second.numbers.errors, [each.kind for each in second.findings]) == (7000, ["errors"])
    assert report_of(windows).numbers["attention"] == ["T3S70 of team 2"]
    assert health_of(windows[:72]).label == "T3S70"
    [unread] = report_of([windows[71]]).connectors
    assert (unread.label, unread.team_id) == ("T3S70", None)


def test_what_needs_attention_most_comes_first() -> None:
    """By level, then by how bad it is; names decide between equals, not the order of the listing."""
    windows = [
        *hourly(0, 72, connector="fine"),
        *hourly(0, 72, connector="also-fine"),
        *hourly(0, 40, connector="stopped"),
        *hourly(0, 72, errors=25, connector="failing"),
        *hourly(0, 72, errors=90, connector="broken"),
        *hourly(0, 40, connector="silent"),
        *hourly(40, 72, entries=0, connector="silent"),
        *[each for each in hourly(0, 72, connector="gap") if each.window.start != START + HOUR],
    ]
    order = [each.connector_identifier for each in report_of(windows).connectors]
    assert order == ["stopped", "broken", "failing", "silent", "gap", "also-fine", "fine"]
    assert report_of(windows[::-1]) == report_of(windows)


def test_a_window_that_crosses_the_start_has_its_statuses() -> None:
    """All of them, because the manifest does not divide them; the longest duration is on its first day."""
    hours = [Hour(f"2026-01-01T{hour:02}:00:00Z", 100, 0) for hour in range(24)]
    window = exported(START, DAY, entries=2400, hours=hours)
    health = health_of([window], 2, start=START + 6 * HOUR)
    assert (health.numbers.entries, health.statuses) == (1800, (("200", 2400), ("500", 0)))
    assert [day.numbers.max for day in health.days] == [None, None, 900]
    assert health_of([window], 2, start=START + DAY).statuses == ()


def test_a_day_within_a_long_window_has_no_longest_duration() -> None:
    """It is not 0 ms: nobody knows on which day it was."""
    health = health_of([exported(START, 3 * DAY)])
    assert [day.numbers.max for day in health.days] == [None, None, 900]
    assert [day.numbers.p95 for day in health.days] == [pytest.approx(900)] * 3


@pytest.mark.parametrize("days", [1, 3, 30, 61, 90, 365])
def test_the_bars_stay_legible(days: int) -> None:
    """At most 192 of them, and together they are all of the time."""
    windows = [exported(START + day * DAY, DAY, entries=10) for day in range(days)]
    result = report_of(windows, days)
    [health] = result.connectors
    assert len(health.bars) <= 193
    assert (
        sum(bar.entries for bar in health.bars)
        == sum(day.numbers.entries for day in health.days)
        == 10 * days
    )


HOURS = 60
spans = st.lists(
    st.tuples(
        st.integers(-8, HOURS + 4),
        st.sampled_from([1, 1, 1, 2, 6, 24]),
        st.integers(0, 50),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=examples(400))
@given(spans)
def test_as_a_slow_count_by_hour(found: list[tuple[int, int, int, float]]) -> None:
    """What is covered, missing and exported more than once; entries and errors of windows of one hour."""
    windows = [
        exported(START + first * HOUR, length * HOUR, entries=entries, errors=int(entries * share))
        for first, length, entries, share in found
    ]
    span = Window(START, START + HOURS * HOUR)
    [health] = report([("/logs", list(windows))], span, span.end + 1000 * DAY).connectors
    covered = Counter(hour for first, length, *_ in found for hour in range(first, first + length))
    begin = max(0, min(first for first, *_ in found))
    expected = range(min(begin, HOURS), HOURS)

    def hours_of(ranges: Sequence[Window]) -> list[int]:
        return [
            hour
            for each in ranges
            for hour in range((each.start - START) // HOUR, (each.end - START) // HOUR)
        ]

    assert hours_of(health.coverage.complete) == [hour for hour in expected if covered[hour]]
    assert hours_of(health.coverage.missing) == [hour for hour in expected if not covered[hour]]
    assert hours_of(health.coverage.overlapping) == [hour for hour in expected if covered[hour] > 1]
    assert sum((day.missing for day in health.days), timedelta()) == health.coverage.missing_time
    if all(length == 1 for _, length, *_ in found):
        once = {first: (entries, int(entries * share)) for first, _, entries, share in reversed(found)}
        counted = [numbers for hour, numbers in once.items() if 0 <= hour < HOURS]
        assert health.numbers.entries == sum(entries for entries, _ in counted)
        assert health.numbers.errors == sum(errors for _, errors in counted)


@settings(max_examples=examples(200))
@given(spans, st.integers(0, 60 * 60))
def test_all_of_the_time_is_exported_missing_or_not_due(
    found: list[tuple[int, int, int, float]], minutes: int
) -> None:
    """Each part of it is one of these; what is not due is the end."""
    windows = [exported(START + first * HOUR, length * HOUR) for first, length, *_ in found]
    span = Window(START, START + HOURS * HOUR - timedelta(minutes=minutes % 60))
    now = span.end + timedelta(minutes=minutes)
    for each in report([("/logs", windows)], span, now).connectors:
        coverage = each.coverage
        awaited = [coverage.awaited] if coverage.awaited else []
        parts = sorted((*coverage.complete, *coverage.missing, *awaited), key=lambda part: part.start)
        bounds = [time for part in parts for time in (part.start, part.end)]
        if bounds:
            assert (bounds[0], bounds[-1]) == (coverage.expected.start, coverage.expected.end)
        assert bounds[1:-1:2] == bounds[2::2]
        assert awaited in ([], parts[-1:])


@settings(max_examples=examples(200))
@given(st.lists(st.tuples(st.integers(0, 71), st.integers(1, 40), st.integers(0, 40)), max_size=40))
def test_hours_of_a_long_window_are_in_their_hour(found: list[tuple[int, int, int]]) -> None:
    """A manifest of three days that names its hours says as much as those of the hours."""
    numbers = {hour: (entries, min(errors, entries)) for hour, entries, errors in found}
    hours = [
        Hour(f"{START + hour * HOUR:%Y-%m-%dT%H:%M:%SZ}", *each) for hour, each in sorted(numbers.items())
    ]
    entries, errors = (sum(each[index] for each in numbers.values()) for index in (0, 1))
    whole = health_of([exported(START, 3 * DAY, entries=entries, errors=errors, hours=hours)])
    single = health_of(
        [
            exported(START + hour * HOUR, entries=each[0], errors=each[1])
            for hour in range(72)
            for each in [numbers.get(hour, (0, 0))]
        ]
    )
    key = [(bar.entries, bar.errors) for bar in whole.bars]
    # A window of three days without entries says nothing by hour.
    assert key == [(bar.entries, bar.errors) for bar in single.bars]
    assert whole.last_error == single.last_error


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.sampled_from([HOUR, 4 * HOUR, DAY, 7 * DAY])
)
def test_floor(time: datetime, unit: timedelta) -> None:
    """Hours and days of UTC, weeks from Monday."""
    at = time.replace(tzinfo=START.tzinfo)
    found = floor(at, unit)
    assert found <= at < found + unit
    assert found.hour % max(unit // HOUR % 24, 1) == 0
    assert unit != 7 * DAY or found.weekday() == 0


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "drop", "swap", "later"]), st.integers(0, 71)), max_size=8))
def test_what_was_counted_before_changes_nothing(steps: list[tuple[str, int]]) -> None:
    """A report with the memo of the one before is the same as from scratch."""
    windows, memo = [*hourly(10, 60), *hourly(20, 30, team=2, errors=9)], {}
    span = Window(START, START + 3 * DAY)
    for step, hour in steps:
        if step == "add":
            windows.append(exported(START + hour * HOUR, errors=hour))
        elif step == "drop" and len(windows) > 1:
            windows.pop(hour % len(windows))
        elif step == "swap":
            windows[0] = exported(windows[0].window.start, errors=hour)
        else:
            span = Window(span.start + timedelta(minutes=hour), span.end + timedelta(minutes=hour))
        of = [("/logs", list(windows))]
        assert report(of, span, span.end, memo=memo) == report(of, span, span.end)
