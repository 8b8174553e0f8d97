"""Windows of time, and a DAG's schedule, by which they begin and end: its time zone, and when it has runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from itertools import islice, pairwise
from typing import Any

import pendulum
from croniter import croniter

from airflow_provider_supermetrics._api.times import compact_time, format_time, to_utc
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError

_DAY = timedelta(days=1)
# Enough to tell weekdays from days, and a long month from a short one.
_RUNS_COMPARED = 13
_SLUG = re.compile(r"(\d{8}T\d{6}(?:\.\d{6})?Z)-(\d{8}T\d{6}(?:\.\d{6})?Z)", re.ASCII)


@dataclass(frozen=True)
class Window:
    """The times ``start <= log_time < end``, in UTC."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"[{format_time(self.start)}, {format_time(self.end)})"

    @property
    def slug(self) -> str:
        """The window as a part of object names, such as ``20260101T000000Z-20260101T010000Z``."""
        return f"{compact_time(self.start)}-{compact_time(self.end)}"

    @staticmethod
    @lru_cache(maxsize=8192)
    def of_slug(slug: str) -> Window | None:
        """The window that has this :attr:`slug`, or None for any other string."""
        match = _SLUG.fullmatch(slug)
        try:
            start, end = (_compact(text) for text in match.groups()) if match else (None, None)
        except ValueError:
            return None
        return Window(start, end) if start and end and start < end else None

    def share_behind(self, oldest: datetime | None) -> float:
        """How much of the window has been read, from 0 to 1, after reading back to ``oldest``."""
        if oldest is None:
            return 0.0
        return min(1.0, max(0.0, (self.end - oldest) / (self.end - self.start)))


@dataclass(frozen=True)
class Length:
    """The length of a window: calendar months and days, and elapsed time of less than a day."""

    months: int
    days: int
    rest: timedelta

    @classmethod
    def of(cls, window: timedelta) -> Length:
        """The length of the argument ``window``; 24 hours count as a day, as in a ``timedelta``."""
        months = 0
        if isinstance(window, pendulum.Duration):
            months = 12 * window.years + window.months
            window = timedelta(
                weeks=window.weeks,
                days=window.remaining_days,
                hours=window.hours,
                minutes=window.minutes,
                seconds=window.remaining_seconds,
                microseconds=window.microseconds,
            )
        days, rest = divmod(window, _DAY)
        return cls(months, days, rest)

    def __neg__(self) -> Length:
        return Length(-self.months, -self.days, -self.rest)

    @property
    def is_elapsed(self) -> bool:
        """Whether it contains no day, week, month or year."""
        return not (self.months or self.days)


@dataclass(frozen=True)
class Schedule:
    """A DAG's time zone, and when it has runs.

    :param zone: the zone of the timetable, where it has one, else of the DAG.
    :param crons: the cron expressions, if any.
    :param delta: the time between two runs, where that is the schedule.
    :param has_intervals: whether a run's data interval begins at the previous run.
    :param key_format: the format of partition keys, where the schedule has partitions.
    """

    # As a plain default, a dataclass refuses the time zones of pendulum before 3.2.
    zone: pendulum.Timezone | pendulum.FixedTimezone = field(default_factory=lambda: pendulum.UTC)
    crons: tuple[str, ...] = ()
    delta: Any = None
    has_intervals: bool = False
    key_format: str | None = None

    @classmethod
    def of(cls, dag: Any) -> Schedule:
        """The schedule of a DAG; without a DAG, an empty one in UTC."""
        timetable = getattr(dag, "timetable", None)
        timetable = getattr(timetable, "timetable", timetable)  # of runs by assets or time
        first, *others = _part(timetable, "timetables") or [timetable]
        delta = _part(timetable, "delta")
        if delta is not None:
            # Airflow adds it in UTC, so that days are 24 hours in every zone.
            return cls(delta=delta)
        expressions = (_part(each, "expression") for each in (first, *others))
        crons = tuple(cron for cron in expressions if isinstance(cron, str) and croniter.is_valid(cron))
        mapper = _part(timetable, "default_partition_mapper")
        mapper = _part(mapper, "upstream_mapper") or mapper
        zone = _part(first, "timezone") or _part(mapper, "timezone") or getattr(dag, "timezone", None)
        has_intervals = bool(crons) and _part(first, "interval") is None
        return cls(_zone(zone), crons, None, has_intervals, _part(first, "key_format"))

    def moved(self, time: datetime, length: Length, wall: pendulum.DateTime | None = None) -> datetime:
        """The other end of the window of ``length`` that begins at ``time``; of ``-length``, that ends there.

        :param wall: the wall clock of the zone at ``time``, where it is known.
        """
        try:
            moved = time
            if not length.is_elapsed:
                for shown in [wall] if wall else self._walls(time):
                    moved = self.at(shown.add(months=length.months, days=length.days))
                    if moved != time:
                        break
            return moved + length.rest
        except (OverflowError, ValueError):
            raise SupermetricsValidationError(
                f"window is out of range: the calendar does not reach that far from {time:%Y-%m-%d}"
            ) from None

    def last_multiple(self, time: datetime, length: Length) -> pendulum.DateTime | None:
        """The last multiple of ``length`` up to ``time``, by the zone's wall clock; None for other lengths.

        Hours count from midnight, weeks from Monday, months from January.
        """
        wall = self.wall(time)
        midnight = wall.start_of("day")
        if length.months and not (length.days or length.rest):
            months = length.months if 12 % length.months == 0 else 12 if length.months % 12 == 0 else 1
            return midnight.replace(month=wall.month - (wall.month - 1) % months, day=1)
        if length.days and not (length.months or length.rest):
            return midnight.start_of("week") if length.days % 7 == 0 else midnight
        if not length.is_elapsed or length.rest <= timedelta() or _DAY % length.rest:
            return None
        since = (wall - midnight).as_timedelta()
        return midnight + since // length.rest * length.rest

    def at(self, wall: pendulum.DateTime, not_after: datetime | None = None) -> datetime:
        """The time when the zone's wall clock shows ``wall``; the second of two, as in Airflow's timetables.

        A wall time that is skipped when the clocks go forward is as much later as they go forward.

        :param not_after: return the first time of two where the second one is after this.
        """
        fields = (wall.year, wall.month, wall.day, wall.hour, wall.minute, wall.second, wall.microsecond)
        second, first = (
            to_utc("wall", pendulum.datetime(*fields, tz=self.zone, fold=fold)) for fold in (1, 0)
        )
        return second if not_after is None or second <= not_after else first

    def wall(self, time: datetime) -> pendulum.DateTime:
        """The wall clock of the zone at a time."""
        return pendulum.instance(time).in_timezone(self.zone).naive()

    def is_due(self, wall: pendulum.DateTime) -> bool:
        """Whether the schedule has a run at ``wall``; without a cron expression, whether a day begins."""
        if not self.crons:
            return wall == wall.start_of("day")
        return any(croniter.match(cron, wall) for cron in self.crons)

    def clocks_change(self, start: datetime, end: datetime) -> bool:
        """Whether the offset of the zone differs between the two times."""
        return self._offset(start) != self._offset(end)

    def advice(self, time: datetime) -> str:
        """The argument ``window`` to suggest: the time between two runs."""
        if isinstance(self.delta, timedelta):
            return f"window={_in_python(self.delta)}"
        if len(self.crons) == 1:
            following = croniter(self.crons[0], self.wall(time), ret_type=datetime)
            runs = list(pairwise(islice(following, _RUNS_COMPARED)))
            gaps = {later - earlier for earlier, later in runs}
            if len(gaps) == 1:
                return f"window={_in_python(gaps.pop())}"
            for months in (1, 2, 3, 4, 6, 12):
                if all(
                    pendulum.instance(earlier).add(months=months).naive() == later for earlier, later in runs
                ):
                    return f"window=pendulum.duration({'years=1' if months == 12 else f'months={months}'})"
        return "a window as long as the time between two runs, such as window=timedelta(hours=1),"

    def _walls(self, time: datetime) -> list[pendulum.DateTime]:
        """The wall clock at a time, and the one that the clocks skipped there when they went forward.

        Where there is no 2:00, a run at 2:00 is at 3:00, and the day that ends with it began at 2:00.
        """
        wall = self.wall(time)
        skipped = wall - self._offset(time) + self._offset(time - _DAY)
        if skipped >= wall or self.at(skipped) != time:
            return [wall]
        return [skipped, wall] if self.is_due(skipped) and not self.is_due(wall) else [wall, skipped]

    def _offset(self, time: datetime) -> timedelta:
        offset = pendulum.instance(time).in_timezone(self.zone).utcoffset()
        assert offset is not None
        return offset


def _compact(text: str) -> datetime:
    """Read a time of a slug. By its digits: strptime would take most of the time of a long listing."""
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    hour, minute, second = int(text[9:11]), int(text[11:13]), int(text[13:15])
    fraction = int(text[16:-1] or 0) if text[15] == "." else 0
    return datetime(year, month, day, hour, minute, second, fraction, timezone.utc)


def _part(holder: Any, name: str) -> Any:
    # Private in Airflow's own timetables, public in those of its SDK.
    value = getattr(holder, name, None)
    return getattr(holder, f"_{name}", None) if value is None else value


def _zone(zone: Any) -> pendulum.Timezone | pendulum.FixedTimezone:
    if zone is None:
        return pendulum.UTC
    if isinstance(zone, str):
        return pendulum.timezone(zone)
    known = pendulum.instance(datetime(2000, 1, 1, tzinfo=zone)).timezone
    assert known is not None
    return known


def _in_python(delta: timedelta) -> str:
    for unit in ("weeks", "days", "hours", "minutes"):
        number, rest = divmod(delta, timedelta(**{unit: 1}))
        if not rest:
            return f"timedelta({unit}={number})"
    return f"timedelta(seconds={delta.total_seconds():g})"
