"""Ways to export a log, each a module with `export(job)`, run in a process of its own.

Importing a contestant's module imports what it needs, so that a process that does only this shows
what the imports cost. Nothing is imported here but the standard library.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

# For all alike, so that none is faster by zlib's level. `gzip.open` left alone would take level 9.
GZIP_LEVEL: Final = 6


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
