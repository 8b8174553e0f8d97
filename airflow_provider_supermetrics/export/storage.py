"""Whole objects or none, on any of Airflow's object storages."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fsspec.implementations.local import LocalFileSystem

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

_TEMPORARY = ".{name}.{unique}.tmp"


class Destination:
    """A folder of an object storage, in which objects appear whole or not at all.

    :param path: the folder; it need not exist.
    """

    def __init__(self, path: ObjectStoragePath) -> None:
        self.path = path
        self._fs = path.fs
        self._local = Path(path.path) if isinstance(self._fs, LocalFileSystem) else None

    def __str__(self) -> str:
        return str(self.path)

    def put(self, local: Path, name: str) -> None:
        """Let the bytes of the file ``local`` appear as the object ``name``, at once."""
        if self._local is None:
            # One PUT, or one multipart upload that shows nothing before it is completed.
            self._fs.put_file(str(local), self._key(name))
            return
        self._local.mkdir(parents=True, exist_ok=True)
        try:
            self._put_locally(local, self._local, name)
        except FileNotFoundError:
            # Another export of the same window began just now and took the temporary file for a leftover.
            self._put_locally(local, self._local, name)

    def remove(self, name: str) -> None:
        """Remove the object ``name``, if there is one."""
        if self._local is None:
            with suppress(FileNotFoundError):
                self._fs.rm_file(self._key(name))
        else:
            (self._local / name).unlink(missing_ok=True)

    def names(self, prefix: str) -> list[str]:
        """The names in this folder that start with ``prefix``, sorted."""
        if self._local is None:
            self._fs.invalidate_cache(self._key(""))
            found = self._fs.find(self._key("").rstrip("/"), prefix=prefix)
            names = [key.removeprefix(self._key("")) for key in found]
        else:
            names = [path.name for path in self._local.glob("*") if path.is_file()]
        return sorted(name for name in names if name.startswith(prefix) and "/" not in name)

    def remove_leftovers(self, prefix: str) -> None:
        """Remove the temporary files that a killed process left of objects with this prefix."""
        if self._local is not None:
            for name in self.names(f".{prefix}"):
                if name.endswith(".tmp"):
                    self.remove(name)

    @staticmethod
    def _put_locally(local: Path, folder: Path, name: str) -> None:
        temporary = folder / _TEMPORARY.format(name=name, unique=uuid.uuid4().hex)
        try:
            with local.open("rb") as source, temporary.open("xb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
            temporary.replace(folder / name)
        finally:
            temporary.unlink(missing_ok=True)

    def _key(self, name: str) -> str:
        return f"{self.path.path.rstrip('/')}/{name}"
