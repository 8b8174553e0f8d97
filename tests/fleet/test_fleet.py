"""Exports while parts of a fleet are killed, restarted or away: complete, each entry once, nothing stuck."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from dev.demo.services import free_port
from dev.simulator import Connector, Fault, RateLimitWindow, Received, Simulator, generate_entries
from tests.conftest import HOUR, KEY, START, TEAM
from tests.fleet.fleet import SLOTS, TRIGGERERS, Fleet
from tests.support.export import Exported
from tests.support.received import refusals, returned_pages

pytestmark = pytest.mark.fleet

PAGE = 100
ENTRIES_PER_FILE = 500
# The pages that a killed attempt can lose: those since its last part, and the one that was on the way.
MOST_LOST = ENTRIES_PER_FILE // PAGE + 2
# Half of what all need, in a time in which slow machines spend it, too.
BUDGET = RateLimitWindow(requests=40, seconds=60)
POOL = 4
#: Connectors that are exported at once, one for each slot of both workers.
FEW = [f"FEW{number}" for number in range(2 * SLOTS)]
MANY = [f"MANY{number:02d}" for number in range(20)]
#: The connector whose errors start DAG runs.
WATCHED = "WATCHED"

DAGS = f"""
from datetime import datetime, timedelta, timezone

from airflow import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Asset, AssetWatcher

from airflow_provider_supermetrics.operators.supermetrics import (
    SupermetricsExportLogsOperator,
    SupermetricsListConnectorsOperator,
)
from airflow_provider_supermetrics.triggers.supermetrics import SupermetricsErrorLogEventTrigger

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
EXPORT = {{
    "task_id": "export",
    "start": START,
    "end": START + timedelta(hours=1),
    "path": "{{{{ var.value.exports }}}}/{{{{ dag.dag_id }}}}",
    "entries_per_file": {ENTRIES_PER_FILE},
}}


def dag(dag_id, **arguments):
    '''A DAG whose exports go through the Connection of its name.'''
    arguments = {{"retry_delay": timedelta(seconds=5), "supermetrics_conn_id": dag_id, **arguments}}
    return DAG(dag_id, schedule=None, start_date=START, default_args=arguments)


with dag("team", pool="api", deferrable=True, wait_policy={{"max_inline_wait": 2}}):
    SupermetricsExportLogsOperator.partial(**EXPORT).expand(
        connector_identifier=SupermetricsListConnectorsOperator(task_id="list").output
    )

with dag("deferred", deferrable=True):
    SupermetricsExportLogsOperator.partial(**EXPORT).expand(connector_identifier={MANY})

# No part is finished before the end.
with dag("deploy", retries=5):
    SupermetricsExportLogsOperator.partial(**EXPORT | {{"entries_per_file": 100_000}}).expand(
        connector_identifier={FEW}
    )

for name in ("killed", "database", "api"):
    with dag(name, retries=5):
        SupermetricsExportLogsOperator.partial(**EXPORT).expand(connector_identifier={FEW})

for name in ("cleared", "twice"):
    with dag(name, retries=3):
        SupermetricsExportLogsOperator(connector_identifier="{FEW[0]}", **EXPORT)

# It looks back less far than the database is away: what it finds then, it finds by its watermark.
trigger = SupermetricsErrorLogEventTrigger(
    connector_identifier="{WATCHED}", poll_interval=3, lookback=5, supermetrics_conn_id="database"
)
errors = Asset("errors", watchers=[AssetWatcher(name="errors", trigger=trigger)])
with DAG("errors", schedule=[errors], start_date=START):
    EmptyOperator(task_id="react")
"""
NAMES = ("team", "deferred", "killed", "deploy", "database", "api", "cleared", "twice")


class Site:
    """The API and the exports of one DAG, which has the Connection of its name.

    :param name: the DAG's id.
    :param exports: the folder that has the DAG's folder.
    """

    def __init__(self, name: str, exports: Path) -> None:
        self.name = name
        self.exported = Exported(exports / name)
        self._port = free_port()

    @property
    def connection(self) -> str:
        """The Connection, as Airflow reads it."""
        host = f"http://127.0.0.1:{self._port}"
        extra = {"team_id": TEAM}
        return json.dumps({"conn_type": "supermetrics", "host": host, "password": KEY, "extra": extra})

    def serve(self, *connectors: Connector, **switches: Any) -> Simulator:
        """The API for these connectors, in whose block it is there."""
        return Simulator(connectors=connectors, tokens={KEY: {TEAM}}, port=self._port, **switches)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Site]:
    """A site for each DAG."""
    exports = tmp_path_factory.mktemp("exports")
    return {name: Site(name, exports) for name in NAMES}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, sites: Mapping[str, Site]) -> Iterator[Fleet]:
    """A fleet that knows the DAGs above."""
    dags = tmp_path_factory.mktemp("dags")
    (dags / "dags.py").write_text(DAGS)
    variables = {f"AIRFLOW_CONN_{name.upper()}": site.connection for name, site in sites.items()}
    exports = sites["team"].exported.folder.parent
    variables["AIRFLOW_VAR_EXPORTS"] = f"file://{exports}"
    with Fleet(tmp_path_factory.mktemp("fleet"), dags, variables) as fleet:
        yield fleet
        outputs = {name: fleet.service_log(name) for name in fleet.names}
        outputs |= {name: "".join(fleet.log(name, run) for run in fleet.runs(name)) for name in NAMES}
        assert [name for name, output in outputs.items() if KEY in output] == []
        assert all(outputs[name] for name in fleet.names)


def logs(names: Sequence[str], count: int) -> list[Connector]:
    """Connectors whose logs are longer than the hour that is exported."""
    return [
        Connector(
            name,
            generate_entries(
                count=count, start=START - HOUR / 10, end=START + HOUR, seed=n, first_number=n * count
            ),
            team_id=TEAM,
        )
        for n, name in enumerate(names)
    ]


def truth(sim: Simulator, names: Sequence[str]) -> list[dict[str, Any]]:
    """The entries that the exports of these connectors should have."""
    return [entry for name in names for entry in sim.truth(name, START, START + HOUR)]


def requests_for(sim: Simulator, connector: str) -> list[Received]:
    """The requests for a connector's log."""
    return [request for request in sim.requests if f"/{connector}/" in request.path]


def repeated(sim: Simulator, connector: str) -> int:
    """How many pages of a connector's log were returned again."""
    pages = returned_pages(requests_for(sim, connector))
    return len(pages) - len(set(pages))


def tries(fleet: Fleet, dag_id: str, run_id: str, count: int) -> list[int]:
    """The attempts of each mapped export."""
    return [fleet.task(dag_id, run_id, "export", index).try_number for index in range(count)]


def wait_for_middle(fleet: Fleet, sim: Simulator) -> None:
    """Wait until each of the few exports has written two parts; none ends for some seconds."""
    pages = 2 * ENTRIES_PER_FILE // PAGE + 2
    fleet.wait(
        "the middle of all exports", lambda: all(len(requests_for(sim, name)) >= pages for name in FEW)
    )


def succeed(fleet: Fleet, dag_id: str, run_id: str) -> None:
    """Wait for the end of a run, and check that it succeeded."""
    assert fleet.end(dag_id, run_id) == "success", fleet.log(dag_id, run_id, "export")[-5000:]


def test_a_team_shares_its_budget(fleet: Fleet, sites: Mapping[str, Site]) -> None:
    """Twenty exports and one budget: no more are refused than the pool has slots, none is early, all end."""
    site = sites["team"]
    fleet.set_pool("api", POOL, include_deferred=True)
    with site.serve(*logs(MANY, 400), max_page=PAGE, rate_limit=BUDGET) as sim:
        run = fleet.trigger("team")
        succeed(fleet, "team", run)
        site.exported.require_complete(truth(sim, MANY))
        assert len(site.exported.manifests) == len(MANY)
        assert set(tries(fleet, "team", run, len(MANY))) == {1}
        waits = refusals(sim.requests, BUDGET)
        assert waits
        assert max(waits) <= POOL
        assert {repeated(sim, name) for name in MANY} == {0}


def test_a_killed_worker(fleet: Fleet, sites: Mapping[str, Site]) -> None:
    """The other worker resumes its exports from their checkpoints."""
    site = sites["killed"]
    with site.serve(*logs(FEW, 6000), max_page=PAGE, latency=0.3) as sim:
        run = fleet.trigger("killed")
        wait_for_middle(fleet, sim)
        worker = fleet.busiest_worker()
        lost = len(fleet.task_processes(worker))
        assert lost
        fleet.kill(worker)
        succeed(fleet, "killed", run)
        fleet.start(worker)
        site.exported.require_complete(truth(sim, FEW))
        attempts = tries(fleet, "killed", run, len(FEW))
        assert Counter(attempts) == Counter({1: len(FEW) - lost, 2: lost})
        for name, attempt in zip(FEW, attempts):
            assert repeated(sim, name) <= (MOST_LOST if attempt > 1 else 0)


def test_a_deploy(fleet: Fleet, sites: Mapping[str, Site]) -> None:
    """A worker gets SIGTERM, and SIGKILL soon after: its tasks have saved all that they have read."""
    site = sites["deploy"]
    with site.serve(*logs(FEW, 6000), max_page=PAGE, latency=0.3) as sim:
        run = fleet.trigger("deploy")
        wait_for_middle(fleet, sim)
        worker = fleet.busiest_worker()
        ended = len(fleet.task_processes(worker))
        fleet.terminate(worker, seconds=3)
        fleet.start(worker)
        succeed(fleet, "deploy", run)
        site.exported.require_complete(truth(sim, FEW))
        attempts = tries(fleet, "deploy", run, len(FEW))
        assert Counter(attempts) == Counter({1: len(FEW) - ended, 2: ended})
        for name, attempt in zip(FEW, attempts):
            # The response that was on the way.
            assert repeated(sim, name) <= attempt - 1


def test_triggerers_are_restarted(fleet: Fleet, sites: Mapping[str, Site]) -> None:
    """One is killed, and the other takes over; that one is restarted. Each task comes back once, on time."""
    site = sites["deferred"]
    seconds = 150
    until = time.monotonic() + seconds
    refused = Fault(429, headers={"Retry-After": formatdate(time.time() + seconds, usegmt=True)})
    with site.serve(*logs(MANY, 150), faults=[refused] * len(MANY)) as sim:
        run = fleet.trigger("deferred")
        fleet.wait("all to be deferred", lambda: fleet.states("deferred", run) == {"deferred": len(MANY)})
        _, other = fleet.triggerers()
        waited = 45
        time.sleep(waited)
        fleet.kill(TRIGGERERS[0])
        fleet.wait("the other to have all triggers", lambda: fleet.triggerers_with_triggers() == {other})
        fleet.start(TRIGGERERS[0])
        fleet.terminate(TRIGGERERS[1], seconds=30)
        fleet.start(TRIGGERERS[1])
        assert fleet.states("deferred", run) == {"deferred": len(MANY)}
        assert len(sim.requests) == len(MANY)
        succeed(fleet, "deferred", run)
        site.exported.require_complete(truth(sim, MANY))
        assert set(tries(fleet, "deferred", run, len(MANY))) == {1}
        for name in MANY:
            first, *others = requests_for(sim, name)
            assert first.status == 429
            assert {request.status for request in others} == {200}
            assert all(request.time >= until - 1 for request in others)  # the header is cut to seconds
            assert repeated(sim, name) == 0
        # A triggerer that was restarted does not begin the wait again.
        assert min(requests_for(sim, name)[1].time for name in MANY) < until + waited


def test_the_database_is_away(fleet: Fleet, sites: Mapping[str, Site]) -> None:
    """PostgreSQL ends all connections and is away for ten seconds, while exports run and errors appear."""
    site = sites["database"]

    def log_error(identifier: str) -> None:
        sim.append(WATCHED, [{"id": identifier, "log_time": datetime.now(timezone.utc), "status": 500}])

    def reported() -> list[str]:
        payloads = [extra["payload"] for _, extra in fleet.asset_events()]
        return [entry["id"] for payload in payloads for entry in payload["entries"]]

    watched = Connector(WATCHED, [], team_id=TEAM)
    with site.serve(*logs(FEW, 4000), watched, max_page=PAGE, latency=0.3) as sim:
        fleet.unpause("errors")
        fleet.wait("the first poll", lambda: requests_for(sim, WATCHED))
        log_error("before")
        fleet.wait("its run", lambda: len(fleet.runs("errors")) == 1)
        run = fleet.trigger("database")
        wait_for_middle(fleet, sim)
        fleet.stop_database()
        log_error("away")
        time.sleep(10)
        fleet.start_database()
        # These end when they lose it; systemd or Kubernetes would restart them.
        fleet.restart("dag-processor", "scheduler", *TRIGGERERS)
        succeed(fleet, "database", run)
        site.exported.require_complete(truth(sim, FEW))
        for name, attempt in zip(FEW, tries(fleet, "database", run, len(FEW))):
            assert repeated(sim, name) <= (attempt - 1) * MOST_LOST
        # One after the other, because Airflow may merge events that come fast.
        fleet.wait("the run of what appeared meanwhile", lambda: len(fleet.runs("errors")) == 2)
        log_error("after")
        fleet.wait("the last run", lambda: [*fleet.runs("errors").values()] == 3 * ["success"])
        assert reported() == ["before", "away", "after"]


def test_the_api_is_away(fleet: Fleet, sites: Mapping[str, Site]) -> None:
    """For a minute, longer than requests are repeated: the tasks fail, and retries resume at the page."""
    site = sites["api"]
    with site.serve(*logs(FEW, 6000), max_page=PAGE, latency=0.3) as sim:
        run = fleet.trigger("api")
        wait_for_middle(fleet, sim)
    time.sleep(60)
    with sim:
        succeed(fleet, "api", run)
    site.exported.require_complete(truth(sim, FEW))
    assert min(tries(fleet, "api", run, len(FEW))) >= 2
    assert {repeated(sim, name) for name in FEW} == {0}


def test_a_cleared_task(fleet: Fleet, sites: Mapping[str, Site]) -> None:
    """Cleared while it runs, it resumes; cleared again when it has ended, it writes nothing."""
    site = sites["cleared"]
    with site.serve(*logs(FEW[:1], 4000), max_page=PAGE, latency=0.3) as sim:
        run = fleet.trigger("cleared")
        fleet.wait("the middle of the export", lambda: len(sim.requests) >= 15)
        fleet.clear("cleared", run, "export")
        succeed(fleet, "cleared", run)
        site.exported.require_complete(truth(sim, FEW[:1]))
        assert repeated(sim, FEW[0]) <= MOST_LOST
        assert fleet.task("cleared", run, "export").try_number == 2
        before = {path.name: path.stat() for path in site.exported.folder.iterdir()}
        fleet.clear("cleared", run, "export")
        fleet.wait("the third attempt", lambda: fleet.task("cleared", run, "export").try_number == 3)
        succeed(fleet, "cleared", run)
        after = {path.name: path.stat() for path in site.exported.folder.iterdir()}
        assert {n: (s.st_ino, s.st_mtime_ns) for n, s in after.items()} == {
            n: (s.st_ino, s.st_mtime_ns) for n, s in before.items()
        }


def test_one_window_twice(fleet: Fleet, sites: Mapping[str, Site]) -> None:
    """Two runs export the same window to the same folder at once: both end, and the folder is right."""
    site = sites["twice"]
    with site.serve(*logs(FEW[:1], 4000), max_page=PAGE, latency=0.3) as sim:
        runs = [fleet.trigger("twice"), fleet.trigger("twice")]
        fleet.wait("both exports", lambda: len(fleet.task_processes()) == len(runs))
        for run in runs:
            succeed(fleet, "twice", run)
        site.exported.require_complete(truth(sim, FEW[:1]))
