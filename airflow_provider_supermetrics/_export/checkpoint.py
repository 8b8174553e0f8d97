"""How far an export has come: an object beside its parts, so that any worker can go on from it.

It holds the walk's state, the parts that are finished, and the lines that no part has yet. The lines
lie in it as they are, so that going on needs none of the pages again.
"""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.pager import PagerState
from airflow_provider_supermetrics._api.state import from_json, to_json
from airflow_provider_supermetrics._api.times import AwareTime
from airflow_provider_supermetrics._export.plan import ExportPlan
from airflow_provider_supermetrics._export.receipt import ExportedObject
from airflow_provider_supermetrics._export.storage import Destination

log = logging.getLogger(__name__)

_VERSION = 2
# Longer than any Retry-After and the retries after it. What was read longer ago may lack late entries.
_OLDEST = timedelta(days=3)
# It is read once, if ever.
_GZIP_LEVEL = 1


@dataclass(frozen=True)
class Written:
    """A part that is in storage, and the stamp that tells whether it still is the same."""

    item: ExportedObject
    stamp: str


@dataclass(frozen=True)
class Checkpoint:
    """An export on its way.

    :param pager: which page to request next.
    :param written: the finished parts, the newest first.
    :param pending: lines of the part that is being filled, oldest first.
    :param open: lines whose time may still get more, oldest first.
    :param requests: how many requests it took so far.
    :param waits: how many times in a row the task has given up its slot without getting far since.
    :param manifest: the digest of an earlier export's manifest, while that is still there.
    """

    pager: PagerState
    written: Sequence[Written] = ()
    pending: Sequence[bytes] = ()
    open: Sequence[bytes] = ()
    requests: int = 0
    waits: int = 0
    manifest: str | None = None
    saved_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def to_bytes(self, plan: ExportPlan) -> bytes:
        """The object's bytes: a line of JSON, then the lines; compressed."""
        head = _Head(
            _VERSION,
            plan.facts,
            self.saved_at,
            self.pager,
            list(self.written),
            len(self.pending),
            len(self.open),
            self.requests,
            self.waits,
            self.manifest,
        )
        lines = [json.dumps(to_json(head)).encode(), *self.pending, *self.open]
        return gzip.compress(b"\n".join(lines), _GZIP_LEVEL, mtime=0)

    @classmethod
    def from_bytes(cls, data: bytes, plan: ExportPlan) -> Checkpoint:
        """The checkpoint of this plan whose :meth:`to_bytes` this is.

        :raises ContractViolation: where it is of another plan, or cannot be read.
        """
        try:
            first, *lines = gzip.decompress(data).split(b"\n")
            document = json.loads(first)
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise ContractViolation(f"it cannot be read: {type(error).__name__}") from None
        version = document.get("version") if isinstance(document, dict) else None
        if version != _VERSION:
            raise ContractViolation(f"it has version {version}, this is {_VERSION}")
        head = from_json(document, _Head)
        if differing := [name for name, value in plan.facts.items() if head.plan.get(name) != value]:
            raise ContractViolation(f"it has another {' and '.join(differing)}")
        if len(lines) != head.pending + head.open:
            raise ContractViolation("it is not complete")
        return cls(
            pager=head.pager,
            written=head.written,
            pending=lines[: head.pending],
            open=lines[head.pending :],
            requests=head.requests,
            waits=head.waits,
            manifest=head.manifest,
            saved_at=head.saved_at,
        )


@dataclass(frozen=True)
class _Head:
    """The first line of the object; ``pending`` and ``open`` count the lines that follow."""

    version: int
    plan: dict[str, Any]
    saved_at: AwareTime
    pager: PagerState
    written: list[Written]
    pending: int
    open: int
    requests: int
    waits: int
    manifest: str | None


def load(destination: Destination, plan: ExportPlan) -> Checkpoint | None:
    """The checkpoint to go on from, or None to begin. One that does not fit is removed."""
    data = destination.read(plan.checkpoint_name)
    if data is None:
        return None
    try:
        checkpoint = Checkpoint.from_bytes(data, plan)
        if not checkpoint.requests:
            # It was there to try the store, which does not let it be removed.
            return None
        if datetime.now(timezone.utc) - checkpoint.saved_at > _OLDEST:
            raise ContractViolation(f"it is of {checkpoint.saved_at.isoformat(timespec='seconds')}")
        manifest = destination.read(plan.receipt_name)
        if manifest is not None and sha256(manifest).hexdigest() != checkpoint.manifest:
            raise ContractViolation("the window has been exported since")
        checkpoint = replace(checkpoint, written=[_found(destination, part) for part in checkpoint.written])
    except ContractViolation as error:
        log.warning("Beginning anew: the checkpoint %s does not fit: %s", plan.checkpoint_name, error)
        destination.remove(plan.checkpoint_name)
        return None
    return checkpoint


def _found(destination: Destination, part: Written) -> Written:
    """The part as it lies there now; its stamp may differ where another machine looks."""
    stamp = destination.stamp(part.item.name)
    if stamp is None or (stamp != part.stamp and destination.sha256(part.item.name) != part.item.sha256):
        raise ContractViolation(f"{part.item.name} is not the one that it knows")
    return Written(part.item, stamp)


def save(destination: Destination, plan: ExportPlan, checkpoint: Checkpoint) -> None:
    """Let the checkpoint appear beside the parts, in place of the one before."""
    destination.write(checkpoint.to_bytes(plan), plan.checkpoint_name)
