"""The checkpoint of an unfinished export: an object beside its parts, from which any worker can resume.

It contains the pager's state, a list of the finished parts, and the lines that are in no part yet, so that no
page has to be requested again.
"""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.pager import PagerState
from airflow_provider_supermetrics._api.state import from_json, to_json
from airflow_provider_supermetrics._api.statistics import Statistics
from airflow_provider_supermetrics._api.times import AwareTime
from airflow_provider_supermetrics._export.manifest import ExportedObject, ExportPlan
from airflow_provider_supermetrics._export.storage import Destination

log = logging.getLogger(__name__)

_VERSION = 5
# Longer than any Retry-After and the retries after it. What was read before may lack late entries.
_MAX_AGE = timedelta(days=3)
# Fast: a checkpoint is read once, if ever.
_GZIP_LEVEL = 1


@dataclass(frozen=True)
class Written:
    """A part in storage, and the version of the object that this export wrote."""

    item: ExportedObject
    version: str


@dataclass(frozen=True)
class Checkpoint:
    """The state of an unfinished export.

    :param pager: the pager's state.
    :param written: the finished parts, newest first.
    :param pending: lines of the part that is being filled, oldest first.
    :param open: lines at whose time more entries can follow, oldest first.
    :param statistics: what all these entries say in numbers.
    :param requests: how many requests the export has sent.
    :param waits: how many attempts in a row have ended early without getting far.
    :param manifest: the digest of an earlier export's manifest, as long as that exists.
    :param saved_at: when it was saved.
    """

    pager: PagerState
    written: Sequence[Written]
    pending: Sequence[bytes]
    open: Sequence[bytes]
    statistics: Statistics
    requests: int
    waits: int
    manifest: str | None
    saved_at: AwareTime

    def save(self, destination: Destination, plan: ExportPlan) -> None:
        """Write the object, in place of the previous one: a line of JSON, then the lines; compressed."""
        state = replace(self, pending=(), open=())
        head = _Head(_VERSION, plan.fingerprint, len(self.pending), len(self.open), state)
        lines = [json.dumps(to_json(head)).encode(), *self.pending, *self.open]
        destination.write(gzip.compress(b"\n".join(lines), _GZIP_LEVEL, mtime=0), plan.checkpoint_name)

    @staticmethod
    def from_bytes(data: bytes, plan: ExportPlan) -> Checkpoint:
        """The checkpoint that :meth:`save` wrote.

        :raises ContractViolation: where it is of another plan, or cannot be read.
        """
        try:
            first, *lines = gzip.decompress(data).split(b"\n")
            document = json.loads(first)
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise ContractViolation(f"cannot be read: {type(error).__name__}") from None
        version = document.get("version") if isinstance(document, dict) else None
        if version != _VERSION:
            raise ContractViolation(f"version {version}, expected {_VERSION}")
        head = from_json(document, _Head)
        if differing := [name for name, value in plan.fingerprint.items() if head.plan.get(name) != value]:
            raise ContractViolation(f"of an export with another {' and '.join(differing)}")
        if len(lines) != head.pending + head.open:
            raise ContractViolation("incomplete")
        return replace(head.state, pending=lines[: head.pending], open=lines[head.pending :])


@dataclass(frozen=True)
class _Head:
    """The first line of the object; ``pending`` and ``open`` count the lines that follow."""

    version: int
    plan: dict[str, Any]
    pending: int
    open: int
    state: Checkpoint


def load(destination: Destination, plan: ExportPlan) -> Checkpoint | None:
    """The checkpoint to resume from, or None to start from scratch. One that does not fit is removed."""
    data = destination.read(plan.checkpoint_name)
    if data is None:
        return None
    try:
        checkpoint = Checkpoint.from_bytes(data, plan)
        if not checkpoint.requests:
            # It tested the store, which does not allow to remove it.
            return None
        if datetime.now(timezone.utc) - checkpoint.saved_at > _MAX_AGE:
            saved_at = checkpoint.saved_at.isoformat(timespec="seconds")
            raise ContractViolation(f"saved {saved_at}, older than {_MAX_AGE.days} days")
        manifest = destination.read(plan.manifest_name)
        if manifest is not None and sha256(manifest).hexdigest() != checkpoint.manifest:
            raise ContractViolation("the window has been exported since")
        written = [_require_part(destination, part) for part in checkpoint.written]
    except ContractViolation as error:
        log.warning("Ignoring checkpoint %s (%s); starting over", plan.checkpoint_name, error)
        destination.remove(plan.checkpoint_name)
        return None
    return replace(checkpoint, written=written)


def _require_part(destination: Destination, part: Written) -> Written:
    """The part with its current version, which may differ where another machine reads it."""
    name = part.item.name
    version = destination.version(name)
    if version is None or (version != part.version and destination.sha256(name) != part.item.sha256):
        raise ContractViolation(f"{name} was removed or replaced")
    return Written(part.item, version)
