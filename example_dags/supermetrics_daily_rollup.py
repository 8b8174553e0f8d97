"""
Export each hour of a connector, and compact the 24 hours of a day into one Parquet object (Airflow 3.3).

The day runs when its 24 hours have run. Airflow counts their keys, not their data, so the day first checks
that exports cover it. An hour that is exported again does not run its day again: clear the day's run, too.

To use it, add a Connection ``supermetrics_default`` (type Supermetrics), install the extra ``parquet``, set
the Variable ``supermetrics_log_path`` to your own folder, and replace ``T3S70`` with your connector. Airflow
before 3.3 has no roll-ups, so on earlier releases this file defines no DAG.
"""

from __future__ import annotations

import io
import json
from datetime import timedelta
from hashlib import sha256
from itertools import pairwise

import pendulum

from airflow_provider_supermetrics.operators.supermetrics import (
    SupermetricsCheckExportsOperator,
    SupermetricsExportLogsOperator,
)

try:
    from airflow.sdk import (
        DAG,
        Asset,
        CronPartitionTimetable,
        DayWindow,
        ObjectStoragePath,
        PartitionedAssetTimetable,
        RollupMapper,
        StartOfDayMapper,
        WaitForAll,
        task,
    )
except ImportError:  # before Airflow 3.3
    RollupMapper = None

CONNECTOR = "T3S70"
FOLDER = "{{ var.value.get('supermetrics_log_path', 's3://aws_default@my-bucket/supermetrics-logs') }}"


def write_whole(path, data: bytes) -> None:
    """Write under a hidden name, then rename, so that readers see the whole object or none."""
    hidden = path.parent / f".{path.name}.tmp"
    hidden.write_bytes(data)
    hidden.fs.mv(hidden.path, path.path)


if RollupMapper is not None:
    HOURS = Asset(f"supermetrics_hours_of_{CONNECTOR}")

    with DAG(
        dag_id="supermetrics_hourly_partitions",
        schedule=CronPartitionTimetable("0 * * * *", timezone="UTC", run_offset=-1),
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
        default_args={"retries": 3},
        doc_md=__doc__,
        tags=["supermetrics"],
    ):
        SupermetricsExportLogsOperator(
            task_id="export_logs",
            connector_identifier=CONNECTOR,
            path=f"{FOLDER}/hours",
            window=timedelta(hours=1),
            format="parquet",
            outlets=[HOURS],
        )

    with DAG(
        dag_id="supermetrics_daily_rollup",
        schedule=PartitionedAssetTimetable(
            assets=HOURS,
            default_partition_mapper=RollupMapper(
                upstream_mapper=StartOfDayMapper(), window=DayWindow(), wait_policy=WaitForAll()
            ),
        ),
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        default_args={"retries": 3},
        doc_md=__doc__,
        tags=["supermetrics"],
    ):
        # It reads manifests, not the asset events, which come in any order, twice for an hour that was
        # exported again, and not at all in a manual run.
        check = SupermetricsCheckExportsOperator(
            task_id="check_hours",
            path=f"{FOLDER}/hours",
            connector_identifiers=[CONNECTOR],
            window=timedelta(days=1),
            verify=True,
        )

        @task
        def compact(hours: str, days: str, partition_date=None) -> dict:
            """Write the entries of the day, oldest first, as one object, and then its manifest."""
            import pyarrow
            import pyarrow.parquet

            source, target = ObjectStoragePath(hours), ObjectStoragePath(days)
            times = [partition_date.add(hours=hour).strftime("%Y%m%dT%H%M%SZ") for hour in range(25)]
            tables = []
            for start, end in pairwise(times):
                manifest = json.loads((source / f"_manifest-{CONNECTOR}-{start}-{end}.json").read_text())
                for item in reversed(manifest["objects"]):  # the first one is the newest
                    data = (source / item["name"]).read_bytes()
                    tables.append(pyarrow.parquet.read_table(io.BytesIO(data)))

            target.mkdir(parents=True, exist_ok=True)
            name = f"{CONNECTOR}-{partition_date:%Y-%m-%d}.parquet"
            day = {"connector_identifier": CONNECTOR, "day": f"{partition_date:%Y-%m-%d}", "objects": []}
            # Without a manifest, the object below is not to be read.
            (target / f"_manifest-{name}.json").unlink(missing_ok=True)
            if tables:
                table = pyarrow.concat_tables(tables)
                buffer = io.BytesIO()
                pyarrow.parquet.write_table(table, buffer, compression="zstd")
                data = buffer.getvalue()
                write_whole(target / name, data)
                digest = sha256(data).hexdigest()
                day["objects"] = [{"name": name, "entries": len(table), "bytes": len(data), "sha256": digest}]
            day["complete"] = True
            write_whole(target / f"_manifest-{name}.json", json.dumps(day, indent=2).encode())
            return day

        check >> compact(f"{FOLDER}/hours", f"{FOLDER}/days")
