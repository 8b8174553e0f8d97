"""A fleet of Airflow: PostgreSQL, Redis, two Celery workers and two triggerers beside the other services."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from psycopg2.extras import DictCursor, register_default_json, register_default_jsonb

from dev.demo.airflow import AIRFLOW
from dev.demo.services import COMMANDS, free_port, wait
from tests.e2e.services import Services

PROGRAMS = Path(__file__).parents[2] / ".venv" / "services" / "bin"
WORKERS = ("worker-1", "worker-2")
TRIGGERERS = ("triggerer-1", "triggerer-2")
#: The tasks that a worker runs at once.
SLOTS = 2

_USER = "airflow"
_SETTINGS = {
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW__CORE__PARALLELISM": "32",
    # Celery would deliver a task again that runs for longer.
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
    "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
}
_POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    # What it holds need not survive this machine.
    "fsync": "off",
    "full_page_writes": "off",
    # Nothing outside of its folder, should it be killed.
    "dynamic_shared_memory_type": "mmap",
}


class Fleet(Services):
    """All services of an Airflow that runs its tasks on two workers, on one machine.

    The workers share the machine's disk, but nothing else: each task is a process of its own.
    """

    names = ("api-server", "dag-processor", "scheduler", *TRIGGERERS, *WORKERS)
    workers = WORKERS

    def __init__(self, folder: Path, dags_folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self._postgres_port, self._redis_port = free_port(), free_port()
        database = f"postgresql+psycopg2://{_USER}@127.0.0.1:{self._postgres_port}/postgres"
        settings = {
            **_SETTINGS,
            "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{self._redis_port}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        }
        super().__init__(folder, dags_folder, settings | dict(variables or {}))
        self._lines_of_ready: dict[str, int] = {}

    def __enter__(self) -> Fleet:
        super().__enter__()
        return self

    # Services

    def start(self, *names: str) -> None:
        """Start services, and wait until they are up."""
        # The jobs of triggerers look the same: one after the other.
        others = [name for name in names if name != TRIGGERERS[1]]
        for group in (others, [name for name in names if name not in others]):
            self._lines_of_ready |= {name: self._count_ready(name) for name in group}
            super().start(*group)

    def busiest_worker(self) -> str:
        """The worker that runs most tasks right now."""
        return max(WORKERS, key=lambda name: len(self.task_processes(name)))

    def terminate(self, name: str, seconds: float) -> None:
        """Send SIGTERM to all processes of a service, and SIGKILL some seconds later, as systemd does."""
        service = self.process(name)
        for process in (service, *service.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        with suppress(psutil.TimeoutExpired):
            service.wait(seconds)
        self.kill(name)

    def restart(self, *names: str) -> None:
        """Kill services, unless they have ended on their own, and start them again."""
        for name in names:
            self.kill(name)
        self.start(*names)

    def stop_database(self) -> None:
        """Stop PostgreSQL: it ends all connections, and refuses new ones."""
        self._postgres.send_signal(signal.SIGINT)
        self._postgres.wait()
        self._update_guard(self._postgres.pid)
        self._processes.kill("postgres")

    def start_database(self) -> None:
        """Start PostgreSQL, and wait until it accepts connections."""
        settings = [part for name, value in _POSTGRES_SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self._postgres = self._processes.start(
            "postgres",
            *_unprivileged(),
            _program("postgres"),
            *("-D", self._postgres_folder),
            *("-p", str(self._postgres_port)),
            *settings,
        )
        # Its other processes end with it.
        self._update_guard(self._postgres.pid)
        wait("PostgreSQL", self._is_database_up, lambda: None)

    # What can be seen

    def states(self, dag_id: str, run_id: str) -> dict[str | None, int]:
        """How many tasks of a run are in each state."""
        query = "SELECT state, count(*) FROM task_instance WHERE dag_id = ? AND run_id = ? GROUP BY state"
        return dict(self._rows(query, dag_id, run_id))

    def triggerers(self) -> list[int]:
        """The ids of the triggerers that run, in the order of their names."""
        query = "SELECT id FROM job WHERE job_type = 'TriggererJob' AND state = 'running' ORDER BY id"
        return [row["id"] for row in self._rows(query)]

    def triggerers_with_triggers(self) -> set[int | None]:
        """The ids of those that have triggers now; None if a trigger has none."""
        return {row["triggerer_id"] for row in self._rows("SELECT DISTINCT triggerer_id FROM trigger")}

    # Behind that

    def _command(self, name: str) -> tuple[str | Path, ...]:
        if name in WORKERS:
            options = ("--skip-serve-logs", "--celery-hostname", f"{name}@%h", "--concurrency", str(SLOTS))
            return (AIRFLOW, "celery", "worker", *options)
        return COMMANDS["triggerer" if name in TRIGGERERS else name]

    def _is_up(self, name: str, last_job: int) -> bool:
        if name in WORKERS:
            return self._count_ready(name) > self._lines_of_ready[name]
        return super()._is_up("triggerer" if name in TRIGGERERS else name, last_job)

    def _count_ready(self, name: str) -> int:
        """How often Celery has logged that a worker accepts tasks."""
        log = self._processes.logs / f"{name}.log"
        return self.service_log(name).count(" ready.") if log.exists() else 0

    def _create_database(self, stack: ExitStack) -> None:
        # PostgreSQL refuses to run as root, and pytest's folders are closed to others.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="airflow-postgres-"))
        if os.geteuid() == 0:
            shutil.chown(folder, _nobody().pw_uid, _nobody().pw_gid)
        self._postgres_folder = Path(folder) / "data"
        self._processes.run(
            "initdb",
            *_unprivileged(),
            _program("initdb"),
            *("--pgdata", self._postgres_folder, "--username", _USER, "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
        )
        self.start_database()
        # Before its folder is removed.
        stack.callback(self.stop_database)
        redis = self._processes.start(
            "redis",
            _program("redis-server"),
            *("--port", str(self._redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", self.home),
        )
        self._update_guard(redis.pid)
        self._processes.run("migrate", AIRFLOW, "db", "migrate")

    def _is_database_up(self) -> bool:
        with suppress(psycopg2.OperationalError), closing(self._connect()):
            return True
        return False

    def _connect(self) -> Any:
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self._postgres_port,
            user=_USER,
            dbname="postgres",
            cursor_factory=DictCursor,
            options="-c timezone=UTC",
        )
        for register in (register_default_json, register_default_jsonb):
            register(connection, loads=str)  # JSON as it is stored
        return connection

    def _rows(self, query: str, *parameters: str | int) -> list[Any]:
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute(query.replace("?", "%s"), parameters)
            return list(cursor.fetchall())


def _program(name: str) -> Path:
    # Where it is really, because not everybody may read this checkout.
    return (PROGRAMS / name).resolve()


def _nobody() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


def _unprivileged() -> tuple[str, ...]:
    """The beginning of a command that PostgreSQL accepts."""
    if os.geteuid() != 0:
        return ()
    ids = (f"--reuid={_nobody().pw_uid}", f"--regid={_nobody().pw_gid}")
    return ("setpriv", *ids, "--clear-groups")
