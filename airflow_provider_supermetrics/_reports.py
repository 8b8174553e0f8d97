"""The reports of a sensor's runs, kept in their XComs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import islice
from typing import Any

from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.reports import Report
from airflow_provider_supermetrics._api.state import from_json, to_json
from airflow_provider_supermetrics._compat import states_of_task, xcoms_of_task

# They are part of a request's URL.
_RUNS_AT_ONCE = 50
# The clock of another worker may be fast.
_SKEW = timedelta(hours=1)
# More than any lookback; a run of long ago that is cleared need not find more.
_MOST_DAYS = 40


@dataclass(frozen=True)
class _StoredReport:
    run_id: str
    map_index: int
    matches: int
    report: Report

    @property
    def task(self) -> tuple[str, int]:
        """Which task instance has stored it."""
        return self.run_id, self.map_index


class ReportStore:
    """The reports of one task that look for the same entries.

    Each is an XCom, whose key contains the day on which it was stored. So Airflow finds all of a few days,
    however many runs there were before.

    :param context: Airflow's task context.
    :param looked_for: what the runs look for, as plain JSON values. Reports of anything else do not count.
    """

    def __init__(self, context: Any, looked_for: Mapping[str, Any]) -> None:
        self._context = context
        self._looked_for = sha256(json.dumps(looked_for, sort_keys=True).encode()).hexdigest()[:16]

    def of_other_runs(self, earliest: datetime, now: datetime) -> tuple[Report, ...]:
        """What runs that read something since ``earliest`` have reported, as it stands now; sorted by run."""
        found = sorted(
            {stored for stored in self._stored(earliest, now) if stored.task != self._own},
            key=lambda stored: stored.task,
        )
        run_ids = iter(sorted({stored.run_id for stored in found}))
        states: dict[tuple[str, int], str | None] = {}
        while some := list(islice(run_ids, _RUNS_AT_ONCE)):
            states.update(states_of_task(self._context, some))
        return tuple(
            stored.report
            for stored in found
            # A run that is cleared will report again. That there was no error is true in any state.
            if not stored.matches or states.get(stored.task) == "success"
        )

    def add(self, report: Report, matches: int, now: datetime) -> None:
        """Store what this run reports.

        :param matches: how many entries.
        """
        stored = _StoredReport(*self._own, matches, report)
        self._context["ti"].xcom_push(self._key(now), to_json(stored))

    @property
    def _own(self) -> tuple[str, int]:
        ti = self._context["ti"]
        return ti.run_id, -1 if ti.map_index is None else ti.map_index

    def _stored(self, earliest: datetime, now: datetime) -> Iterator[_StoredReport]:
        last = now + _SKEW
        days = min((last.date() - earliest.date()).days, _MOST_DAYS)
        keys = [self._key(last - timedelta(days=number)) for number in range(days + 1)]
        for value in xcoms_of_task(self._context, keys):
            with suppress(ContractViolation):
                yield from_json(value, _StoredReport)

    def _key(self, time: datetime) -> str:
        return f"supermetrics_reported_{self._looked_for}_{time:%Y%m%d}"
