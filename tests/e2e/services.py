"""Airflow as it is deployed: each service is a process that tests can kill and restart."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from cryptography.fernet import Fernet

from dev.demo.airflow import AIRFLOW, environment
from dev.demo.processes import Failed
from dev.demo.services import COMMANDS, SECONDS, Found, Processes, Site, api_settings, free_port, wait
from tests.support.release import AIRFLOW_2

_SERVICES = ("scheduler", "triggerer") if AIRFLOW_2 else tuple(COMMANDS)
_JOB_TYPES = {"dag-processor": "DagProcessorJob", "scheduler": "SchedulerJob", "triggerer": "TriggererJob"}
# A killed service is taken for dead when it has been silent for this long.
_SECONDS_OF_SILENCE = 10
_SETTINGS = {
    "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor" if AIRFLOW_2 else "LocalExecutor",
    "AIRFLOW__CORE__PARALLELISM": "2",
    "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": str(_SECONDS_OF_SILENCE),
    # A scheduler that was busy for too long would take itself for dead. Each checks when it starts anyway.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3600",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "3",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(_SECONDS_OF_SILENCE),
    # Else a wait of a few seconds ends before Airflow 3.3 knows that its task process has.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
}
_SETTINGS_OF_AIRFLOW_2 = {
    "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__LOCAL_TASK_JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__PARSING_PROCESSES": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "3",
}
_LINES_OF_A_LOG = 30

# Should the tests be killed, their services go too.
_GUARD = """
import os, sys, psutil

sessions = set()
for line in sys.stdin:
    sessions ^= {int(line)}
for process in psutil.process_iter():
    try:
        if os.getsid(process.pid) in sessions:
            process.kill()
    except (OSError, psutil.Error):
        pass
"""

# Airflow 2's command line would need a process to unpause, and a second one to start a run.
_AIRFLOW_2_RUN = """
import json, sys
from airflow.api.common.trigger_dag import trigger_dag
from airflow.models.dag import DagModel
from airflow.utils.timezone import parse

arguments = json.loads(sys.argv[1])
if arguments["run_id"]:
    date = arguments["logical_date"]
    trigger_dag(
        arguments["dag_id"],
        run_id=arguments["run_id"],
        conf=arguments["conf"],
        execution_date=parse(date) if date else None,
        replace_microseconds=False,
    )
DagModel.get_dagmodel(arguments["dag_id"]).set_is_paused(False)
"""


@dataclass(frozen=True)
class Task:
    """A task instance as stored in Airflow's database, empty if it is not stored yet."""

    state: str | None = None
    try_number: int = 0
    max_tries: int = 0
    pool: str | None = None
    next_method: str | None = None
    next_kwargs: str | None = None
    """What the next method gets, as it is stored: JSON."""
    trigger_id: int | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    retry_delay_override: float | None = None
    """Seconds, from the retry policy of Airflow 3.3."""
    retry_reason: str | None = None
    """Likewise."""
    retry_due: datetime | None = None
    """When a task that is up for retry will run again, unless its delay is to grow from try to try."""


@dataclass(frozen=True)
class StoredTrigger:
    """A trigger as Airflow's database has it."""

    id: int
    classpath: str
    stored_kwargs: str
    """As they are: encrypted by Airflow 2 and for watched assets, JSON for tasks of Airflow 3."""
    kwargs: str
    """JSON in any case."""


class Services:
    """All services of the Airflow line that runs the tests, from the start of the block to its end.

    :param folder: where Airflow's home, its database and all logs shall be.
    :param dags_folder: the DAGs. Airflow searches all of it, so `folder` must not be inside.
    :param variables: further environment variables, which outdo the harness's own.
    """

    #: All services, in the order in which they start.
    names: tuple[str, ...] = _SERVICES
    #: The services whose children run tasks.
    workers: tuple[str, ...] = ("scheduler",)

    def __init__(self, folder: Path, dags_folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self.home = folder / "airflow"
        self._database = self.home / "airflow.db"
        fernet_key = Fernet.generate_key()
        #: What Airflow encrypts with.
        self.fernet_key = fernet_key.decode()
        self._fernet = Fernet(fernet_key)
        port = free_port()
        settings = {
            **_SETTINGS,
            **(_SETTINGS_OF_AIRFLOW_2 if AIRFLOW_2 else api_settings(port)),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
            "AIRFLOW__CORE__FERNET_KEY": self.fernet_key,
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__WEBSERVER__SECRET_KEY": secrets.token_hex(32),
            # Four services write; the usual five seconds are few on a busy machine.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self._database}?timeout=60",
            # Airflow 2 starts its tasks by the name of its command alone.
            "PATH": os.pathsep.join([str(AIRFLOW.parent), os.environ.get("PATH", os.defpath)]),
            **(variables or {}),
        }
        self._processes = Processes(folder / "services", environment(folder, **settings))
        self._site = Site(f"http://127.0.0.1:{port}", self._processes.check)
        self._sessions: dict[str, int] = {}
        self._runs = 0

    def __enter__(self) -> Services:
        self.home.mkdir(parents=True)
        # Else the services would write it all at once, and read what is half written.
        (self.home / "airflow.cfg").touch()
        with ExitStack() as stack:
            stack.callback(self._site.close)
            guard = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _GUARD], stdin=subprocess.PIPE, text=True, start_new_session=True
                )
            )
            assert guard.stdin is not None
            self._guard = guard.stdin
            stack.enter_context(self._processes)
            self._create_database(stack)
            stack.callback(self._kill_all)
            self.start(*self.names)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    # Services

    def start(self, *names: str) -> None:
        """Start services, and wait until they are up."""
        if "scheduler" in names:
            self._wait_for_silence("SchedulerJob")
        [[last]] = self._rows("SELECT coalesce(max(id), 0) FROM job")
        for name in names:
            self._sessions[name] = self._processes.start(name, *self._command(name)).pid
            self._update_guard(self._sessions[name])
        for name in names:
            self.wait(f"the {name}", lambda name=name: self._is_up(name, last))

    def process(self, name: str) -> psutil.Process:
        """The process of a service; the others of that service are its children."""
        return psutil.Process(self._sessions[name])

    def kill(self, name: str) -> None:
        """Kill a service and all processes that it has started, without a chance to clean up."""
        self._processes.kill(name)
        self._update_guard(self._sessions.pop(name))

    def task_processes(self, *workers: str) -> list[psutil.Process]:
        """The processes that run tasks right now: for each task, one that watches and one that works.

        :param workers: of these services; by default, of all.
        """
        found = []
        services = [self.process(name) for name in workers or self.workers]
        for process in (child for service in services for child in service.children(recursive=True)):
            try:
                command = " ".join(process.cmdline()).rstrip()  # a changed title is padded
            except psutil.Error:  # it is gone, or about to
                continue
            if AIRFLOW_2:
                works = " tasks run " in command or command.startswith("airflow task ")
            else:
                works = command.startswith("airflow worker -- ") and not command.endswith("<idle>")
            if works:
                found.append(process)
        return found

    def kill_task_process(self) -> None:
        """Kill all processes that run tasks now, as if the worker was lost."""
        processes = self.task_processes()
        assert processes, "no task runs"
        # None of them shall see another one's end.
        for method in (psutil.Process.suspend, psutil.Process.kill):
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    method(process)

    # What a user does

    def trigger(
        self,
        dag_id: str,
        run_id: str | None = None,
        conf: Mapping[str, Any] | None = None,
        logical_date: datetime | None = None,
        partition_key: str | None = None,
    ) -> str:
        """Start a run of a DAG, unpause the DAG, and return the run's id."""
        self._runs += 1
        run_id = run_id or f"run-{self._runs}"
        date = logical_date.isoformat() if logical_date else None
        self._unpause(dag_id, run_id, conf, date)
        if not AIRFLOW_2:
            body = {"dag_run_id": run_id, "logical_date": date, "conf": dict(conf or {})}
            if partition_key is not None:
                body["partition_key"] = partition_key
            with self._explained():
                self._site.send("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)
        return run_id

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task, whatever its state."""
        if AIRFLOW_2:
            query = "SELECT execution_date FROM dag_run WHERE dag_id = ? AND run_id = ?"
            [[date]] = self._rows(query, dag_id, run_id)
            dates = ("--start-date", str(date), "--end-date", str(date))
            self.airflow("tasks", "clear", dag_id, "--task-regex", f"^{task_id}$", *dates, "--yes")
            return
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "only_failed": False,
            "reset_dag_runs": True,
        }
        with self._explained():
            self._site.send("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)

    def airflow(self, *arguments: str) -> None:
        """Run an Airflow command, and raise if it fails."""
        with self._explained():
            self._processes.run("command", AIRFLOW, *arguments)

    def backfill(self, dag_id: str, *options: str) -> None:
        """Create a backfill."""
        # It writes for longer than SQLite allows others to wait.
        others = [name for name in self.names if name != "api-server"]
        for name in others:
            self.kill(name)
        self.airflow("backfill", "create", "--dag-id", dag_id, *options)
        self.start(*others)

    def is_filling(self) -> bool:
        """Return whether a backfill is not marked as complete yet."""
        return bool(self._rows("SELECT 1 FROM backfill WHERE completed_at IS NULL"))

    def set_pool(self, name: str, slots: int, include_deferred: bool = False) -> None:
        """Create a pool, or change it."""
        options = ["--include-deferred"] if include_deferred else []
        self.airflow("pools", "set", name, str(slots), "for tests", *options)

    def unpause(self, dag_id: str) -> None:
        """Unpause a DAG."""
        self._unpause(dag_id)

    def _unpause(
        self,
        dag_id: str,
        run_id: str | None = None,
        conf: Mapping[str, Any] | None = None,
        date: str | None = None,
    ) -> None:
        # Airflow 2 writes the two tables one after the other.
        query = "SELECT 1 FROM serialized_dag JOIN dag USING (dag_id) WHERE dag_id = ?"
        self.wait(f"the DAG {dag_id}", lambda: self._rows(query, dag_id))
        if not AIRFLOW_2:
            with self._explained():
                self._site.unpause(dag_id)
            return
        arguments = {"dag_id": dag_id, "run_id": run_id, "conf": conf, "logical_date": date}
        done = subprocess.run(
            [sys.executable, "-c", _AIRFLOW_2_RUN, json.dumps(arguments)],
            env=dict(self._processes.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout

    # What can be seen

    def wait(self, what: str, find: Callable[[], Found | None], seconds: float = SECONDS) -> Found:
        """Poll until `find` returns something; fail at once if a service has ended on its own."""
        with self._explained():
            return wait(what, find, self._processes.check, seconds)

    def end(self, dag_id: str, run_id: str) -> str:
        """Wait for the end of a run, and return its state."""
        states = ("success", "failed")
        return self.wait(
            f"the end of {dag_id}", lambda: (state := self.runs(dag_id).get(run_id)) in states and state
        )

    def runs(self, dag_id: str) -> dict[str, str]:
        """The runs of a DAG, the earliest first: id and state."""
        return dict(self._rows("SELECT run_id, state FROM dag_run WHERE dag_id = ? ORDER BY id", dag_id))

    def task(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Task:
        """Return the task instance as stored in the database now."""
        rows = self._rows(
            "SELECT * FROM task_instance WHERE dag_id = ? AND run_id = ? AND task_id = ? AND map_index = ?",
            dag_id,
            run_id,
            task_id,
            map_index,
        )
        if not rows:
            return Task()
        row = dict(rows[0])
        override = row.get("retry_delay_override")
        end = _time(row["end_date"])
        due = None
        if row["state"] == "up_for_retry" and end is not None:
            delay = self._retry_delay(dag_id, task_id) if override is None else override
            due = end + timedelta(seconds=delay)
        return Task(
            state=row["state"],
            try_number=row["try_number"],
            max_tries=row["max_tries"],
            pool=row["pool"],
            next_method=row["next_method"],
            next_kwargs=row["next_kwargs"],
            trigger_id=row["trigger_id"],
            start_date=_time(row["start_date"]),
            end_date=end,
            retry_delay_override=override,
            retry_reason=row.get("retry_reason"),
            retry_due=due,
        )

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1
    ) -> Any:
        """A value that a task has pushed, or None."""
        rows = self._rows(
            "SELECT value FROM xcom"
            " WHERE dag_id = ? AND run_id = ? AND task_id = ? AND key = ? AND map_index = ?",
            dag_id,
            run_id,
            task_id,
            key,
            map_index,
        )
        return json.loads(rows[0]["value"]) if rows else None

    def links(self, dag_id: str, run_id: str, task_id: str) -> dict[str, str | None]:
        """Return the extra links in a task's page of Airflow 3, by their names."""
        found = self._site.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links") or {}
        return dict(found["extra_links"])

    def asset_events(self) -> list[tuple[str | None, dict[str, Any]]]:
        """The partition's key and the extra of each asset event, the earliest first."""
        rows = self._rows("SELECT partition_key, extra FROM asset_event ORDER BY id")
        return [(row["partition_key"], json.loads(row["extra"])) for row in rows]

    def log(self, dag_id: str, run_id: str, task_id: str | None = None) -> str:
        """The logs of all tries of a task, or of a run, with what the triggerer has added."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        if task_id is not None:
            folder /= f"task_id={task_id}"
        return "".join(file.read_text("utf-8") for file in sorted(folder.rglob("attempt=*")))

    def connection_form(self, conn_type: str) -> dict[str, Any]:
        """Return what Airflow 3's UI knows of the form for a type of Connection."""
        forms = self._site.get("/ui/connections/hook_meta") or []
        return next(form for form in forms if form["connection_type"] == conn_type)

    def service_log(self, name: str) -> str:
        """Return the output of a service, restarts included."""
        return (self._processes.logs / f"{name}.log").read_text("utf-8", errors="replace")

    def trigger_rows(self) -> list[StoredTrigger]:
        """The triggers that wait now."""
        found = []
        for row in self._rows("SELECT id, classpath, kwargs FROM trigger ORDER BY id"):
            kwargs = stored = row["kwargs"]
            if not stored.startswith("{"):
                kwargs = self._fernet.decrypt(stored).decode()
            found.append(StoredTrigger(row["id"], row["classpath"], stored, kwargs))
        return found

    def pool_slots_used(self, pool: str = "default_pool") -> int:
        """The slots that running and queued tasks take, and deferred ones if the pool counts them."""
        [[used]] = self._rows(
            "SELECT coalesce(sum(task_instance.pool_slots), 0)"
            " FROM task_instance JOIN slot_pool ON slot_pool.pool = task_instance.pool"
            " WHERE slot_pool.pool = ?"
            " AND (state IN ('running', 'queued') OR state = 'deferred' AND include_deferred)",
            pool,
        )
        return int(used)

    # Behind that

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Failed as failed:
            raise AssertionError(f"{failed}\n\n{self._ends_of_logs()}") from None

    def _command(self, name: str) -> tuple[str | Path, ...]:
        """The command that runs a service."""
        return COMMANDS[name]

    def _create_database(self, stack: ExitStack) -> None:  # noqa: ARG002  # what the stack does, others need
        """Create the database; nothing uses it yet."""
        with (
            closing(sqlite3.connect(Path(_migrated().name) / "airflow" / "airflow.db")) as source,
            closing(sqlite3.connect(self._database)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode = WAL")  # readers and a writer at the same time

    def _rows(self, query: str, *parameters: str | int) -> list[Any]:
        """The rows of a query, whose columns have numbers and names."""
        with closing(sqlite3.connect(f"{self._database.as_uri()}?mode=ro", uri=True, timeout=60)) as database:
            database.row_factory = sqlite3.Row
            return database.execute(query, parameters).fetchall()

    def _is_up(self, name: str, last_job: int) -> bool:
        if name == "api-server":
            self._site.log_in()
            return True
        query = "SELECT 1 FROM job WHERE job_type = ? AND id > ? AND state = 'running'"
        return bool(self._rows(query, _JOB_TYPES[name], last_job))

    def _wait_for_silence(self, job_type: str) -> None:
        """Wait until the next one takes the last one for dead, because it checks only once."""

        def silent() -> bool:
            [[heard]] = self._rows("SELECT max(latest_heartbeat) FROM job WHERE job_type = ?", job_type)
            return heard is None or datetime.now(timezone.utc) - _time(heard) > limit

        limit = timedelta(seconds=_SECONDS_OF_SILENCE)
        self.wait(f"the last {job_type} to be taken for dead", silent)

    def _retry_delay(self, dag_id: str, task_id: str) -> float:
        [row, *_] = self._rows(
            "SELECT data FROM serialized_dag WHERE dag_id = ? ORDER BY last_updated DESC", dag_id
        )
        data = json.loads(row["data"])
        delay = data.get("client_defaults", {}).get("tasks", {}).get("retry_delay")
        for task in data["dag"]["tasks"]:
            fields = task.get("__var", task)
            if fields["task_id"] == task_id:
                fields = {**fields, **fields.get("partial_kwargs", {})}
                delay = fields.get("retry_delay", delay)
        if delay is None:
            delay = self._processes.environment["AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY"]
        return float(delay["__var"] if isinstance(delay, dict) else delay)

    def _update_guard(self, session: int) -> None:
        self._guard.write(f"{session}\n")
        self._guard.flush()

    def _kill_all(self) -> None:
        for name in reversed(list(self._sessions)):
            self.kill(name)

    def _ends_of_logs(self) -> str:
        logs = {file.stem: self.service_log(file.stem) for file in sorted(self._processes.logs.glob("*.log"))}
        failed = self._rows("SELECT dag_id, run_id, task_id FROM task_instance WHERE state = 'failed'")
        logs |= {" ".join(task): self.log(*task) for task in failed}
        return "\n\n".join(
            "\n".join([f"=== {name}", *log.splitlines()[-_LINES_OF_A_LOG:]]) for name, log in logs.items()
        )


@cache
def _migrated() -> tempfile.TemporaryDirectory[str]:
    """The home of an empty database, which takes some seconds to make: whoever needs one copies it."""
    folder = tempfile.TemporaryDirectory(prefix="airflow-database-")
    done = subprocess.run(
        [AIRFLOW, "db", "migrate"],
        env=environment(Path(folder.name)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return folder


def _time(stored: str | datetime | None) -> datetime | None:
    return datetime.fromisoformat(str(stored)).replace(tzinfo=timezone.utc) if stored else None
