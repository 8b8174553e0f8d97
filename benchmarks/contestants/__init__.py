"""Ways to export a log, each a module with `export(job)`, run in a process of its own.

Importing a contestant's module imports what it needs, so that what it uses before the export is what the
imports cost. Nothing is imported here but the standard library.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

# What the `gzip` program uses. `gzip.open` by itself would take level 9, which costs more CPU time.
GZIP_LEVEL: Final = 6


@dataclass(frozen=True)
class Contestant:
    """A way to export a log: its module in this package, its name in tables, the distribution it uses."""

    module: str
    title: str
    distribution: str


OURS: Final = Contestant("ours", "this package", "airflow-provider-supermetrics")
FLOOR: Final = Contestant("floor", "floor", "requests")
BARE_FLOOR: Final = Contestant("bare_floor", "floor without requests", "msgspec")
CONTESTANTS: Final = (
    OURS,
    Contestant("http_operator", "`HttpOperator`", "apache-airflow-providers-http"),
    Contestant("requests_loop", "`requests` loop", "requests"),
    Contestant("supermetrics_client", "vendor's client", "supermetrics"),
    Contestant("dlt_rest_source", "dlt REST source", "dlt"),
    FLOOR,
    BARE_FLOOR,
)
#: This package's export in each format.
FORMATS: Final = (
    Contestant("ours", "JSON Lines, gzip", "airflow-provider-supermetrics"),
    Contestant("ours_csv", "CSV, gzip", "airflow-provider-supermetrics"),
    Contestant("ours_parquet", "Parquet, zstd inside", "pyarrow"),
)


@dataclass(frozen=True)
class Job:
    """What to export, and into which folder."""

    url: str
    key: str
    team_id: int
    connector: str
    start: str
    end: str
    folder: str

    def to_json(self) -> str:
        """The job as a command-line argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read what `to_json` returned."""
        return cls(**json.loads(text))

    @property
    def path(self) -> str:
        """The path of the endpoint."""
        return f"/v1/teams/{self.team_id}/connector_builder/connectors/{self.connector}/logs"
