"""Whole objects or none, on any of Airflow's object storages."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from fsspec.implementations.local import LocalFileSystem

from airflow_provider_supermetrics._compat import AirflowNotFoundException, ObjectStoragePath
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError

# Not local:// and no second slash: Airflow would make the worker's current folder of it.
_URL = re.compile(r"(file://)?/[^/].*|(?!file:|local:)[a-z][a-z0-9+.-]*://[^/].*")
# The stores' libraries write there, and list another folder.
_AMBIGUOUS = re.compile(r"//|(^|/)\.\.?(/|$)|\\")
_CREDENTIAL = re.compile(r"^[^/@]*:[^/]*@|\?[\w.~-]+=")
_EXTRAS = {"s3": "s3", "abfs": "azure", "abfss": "azure", "gs": "gcs", "gcs": "gcs"}
_TEMPORARY = ".{name}.{unique}.tmp"
# The stamp of no object.
_GONE = "gone"
# Of a URL: it may hold a signature, or the name of an upload that others could go on with.
_QUERY = re.compile(r"\?[\w.~-]+=\S*")


class Destination(ABC):
    """A folder of an object storage, in which objects appear whole or not at all.

    :param path: the folder; it need not exist.
    """

    def __init__(self, path: ObjectStoragePath) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @staticmethod
    def at(path: str) -> Destination:
        """The folder at a URL such as ``s3://conn@bucket/folder``, or at an absolute local path.

        :raises SupermetricsValidationError: for what would mean another folder than it looks; where the
            store's library is not installed; where the Airflow connection does not lead there.
        """
        scheme, _, rest = path.rpartition("://")
        is_local = scheme in ("", "file")
        if not is_local and _CREDENTIAL.search(rest):
            raise SupermetricsValidationError(
                f"path must hold no credential (a key before '@', a signature after '?'): {scheme}://… does. "
                "It belongs into an Airflow connection, as in s3://aws_default@my-bucket/logs"
            )
        if not _URL.fullmatch(path) or (not is_local and _AMBIGUOUS.search(rest.rstrip("/"))):
            raise SupermetricsValidationError(
                "path must be a URL such as s3://aws_default@my-bucket/logs or file:///logs, with small "
                f"letters in front of '://' and without empty, '.' or '..' folders, not {path!r}"
            )
        try:
            parsed = ObjectStoragePath(path if is_local else path.rstrip("/"))
            return Disk(parsed) if isinstance(parsed.fs, LocalFileSystem) else Bucket(parsed)
        except (ImportError, ValueError, AirflowNotFoundException) as error:
            check = f"Check the Airflow connection, which is what stands before '@': {scheme}://CONNECTION@BUCKET/…"
            if isinstance(error, ImportError) or "filesystem" in str(error):
                extra = _EXTRAS.get(scheme)
                check = f"It needs: pip install 'airflow-provider-supermetrics[{extra}]'" if extra else ""
            said = _QUERY.sub("?…", str(error))
            raise SupermetricsValidationError(f"Cannot write to {path}: {said}. {check}".rstrip()) from None

    @property
    def url(self) -> str:
        """The folder as a URL without Airflow's connection in it, and without a slash at the end."""
        return f"{self.path.protocol}://{self.path.path.rstrip('/')}"

    @abstractmethod
    def put(self, data: bytes, name: str) -> str:
        """Let these bytes appear as the object ``name``, at once; return its stamp."""

    @abstractmethod
    def write(self, data: bytes, name: str) -> object:
        """The same, where nobody needs the stamp."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """The bytes of the object ``name``, or None without it."""

    @abstractmethod
    def sha256(self, name: str) -> str | None:
        """The digest of the object ``name`` as it lies there now, or None without it."""

    @abstractmethod
    def stamp(self, name: str) -> str | None:
        """What tells whether the object ``name`` is still the one that was put, or None without it."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove the object ``name``, if there is one."""

    def stamps(self, prefix: str) -> dict[str, str]:
        """The stamp of each object in this folder whose name starts with ``prefix``."""
        return {
            name: stamp
            for name, stamp in sorted(self._stamps(prefix))
            if "/" not in name and name.startswith(prefix)
        }

    @abstractmethod
    def remove_leftovers(self, prefix: str) -> None:
        """Remove the temporary files that a killed process left of objects with this prefix."""

    @abstractmethod
    def _stamps(self, prefix: str) -> Iterable[tuple[str, str]]: ...


class Disk(Destination):
    """A folder of a disk. What is written gets another name first, and is renamed."""

    def __init__(self, path: ObjectStoragePath) -> None:
        super().__init__(path)
        self._folder = Path(path.path)

    @property
    def url(self) -> str:
        """The folder as a URL."""
        return f"file://{self.path.path.rstrip('/')}"

    def put(self, data: bytes, name: str) -> str:
        """See :meth:`Destination.put`."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                return self._replace(data, name)
            except FileNotFoundError:
                # Another export of the same window began just now and took the temporary file for a leftover.
                return self._replace(data, name)
        except OSError as error:
            raise type(error)(f"{self}/{name} could not be written: {error}") from error

    write = put

    def read(self, name: str) -> bytes | None:
        """See :meth:`Destination.read`."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def sha256(self, name: str) -> str | None:
        """See :meth:`Destination.sha256`."""
        try:
            with (self._folder / name).open("rb") as file:
                return sha256(file)
        except FileNotFoundError:
            return None

    def stamp(self, name: str) -> str | None:
        """See :meth:`Destination.stamp`."""
        try:
            return self._stamp(self._folder / name)
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """See :meth:`Destination.remove`."""
        (self._folder / name).unlink(missing_ok=True)

    def remove_leftovers(self, prefix: str) -> None:
        """See :meth:`Destination.remove_leftovers`."""
        for name in self.stamps(f".{prefix}"):
            if name.endswith(".tmp"):
                self.remove(name)

    def _replace(self, data: bytes, name: str) -> str:
        temporary = self._folder / _TEMPORARY.format(name=name, unique=uuid.uuid4().hex)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            stamp = self._stamp(temporary)
            temporary.replace(self._folder / name)
            return stamp
        finally:
            temporary.unlink(missing_ok=True)

    def _stamps(self, prefix: str) -> Iterator[tuple[str, str]]:
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                # Another export may replace or remove it meanwhile.
                with suppress(FileNotFoundError):
                    if entry.name.startswith(prefix) and entry.is_file():
                        yield entry.name, self._stamp(Path(entry.path))

    @staticmethod
    def _stamp(path: Path) -> str:
        stat = path.stat()
        return f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}"


class Bucket(Destination):
    """A folder of a bucket, or of a container. One request, or the last of several, lets an object appear."""

    def __init__(self, path: ObjectStoragePath) -> None:
        super().__init__(path)
        self._fs = path.fs

    def put(self, data: bytes, name: str) -> str:
        """See :meth:`Destination.put`.

        :raises OSError: where another number of bytes is there afterwards.
        """
        self.write(data, name)
        with self._explaining("written", name):
            try:
                info = self._fs.info(self._key(name))
            except FileNotFoundError:
                return _GONE
            if info.get("size", len(data)) != len(data):
                raise OSError(
                    f"{info['size']} bytes are there, of {len(data)}: does another export write it?"
                )
            return self._stamp(info)

    def write(self, data: bytes, name: str) -> None:
        """See :meth:`Destination.write`."""
        with self._explaining("written", name):
            try:
                self._fs.pipe_file(self._key(name), data)
            except ValueError:
                # adlfs takes a first folder such as "a:b" for a host, but only after it has written.
                if self._fs.cat_file(self._key(name)) != data:
                    raise

    def read(self, name: str) -> bytes | None:
        """See :meth:`Destination.read`."""
        with suppress(FileNotFoundError), self._explaining("read", name):
            data: bytes = self._fs.cat_file(self._key(name))
            return data
        return None

    def sha256(self, name: str) -> str | None:
        """See :meth:`Destination.sha256`."""
        with (
            suppress(FileNotFoundError),
            self._explaining("read", name),
            self._fs.open(self._key(name), "rb") as file,
        ):
            return sha256(file)
        return None

    def stamp(self, name: str) -> str | None:
        """See :meth:`Destination.stamp`."""
        with suppress(FileNotFoundError), self._explaining("looked at", name):
            self._forget()
            return self._stamp(self._fs.info(self._key(name)))
        return None

    def remove_leftovers(self, prefix: str) -> None:
        """Nothing: what an upload that was killed leaves is no object."""

    def remove(self, name: str) -> None:
        """See :meth:`Destination.remove`."""
        with suppress(FileNotFoundError), self._explaining("removed", name):
            try:
                self._fs.rm_file(self._key(name))
            except NotImplementedError:
                # adlfs before 2026.2
                self._fs.rm(self._key(name), expand_path=False)  # type: ignore[call-arg]  # its own

    def _stamps(self, prefix: str) -> Iterator[tuple[str, str]]:
        with self._explaining("listed", ""):
            self._forget()
            found = self._fs.find(self._key("").rstrip("/"), prefix=prefix, detail=True)
        for key, info in found.items():
            yield key.removeprefix(self._key("")), self._stamp(info)

    def _forget(self) -> None:
        """Look into the store again, whatever its library has listed before."""
        self._fs.invalidate_cache(self._key("").rstrip("/"))

    def _key(self, name: str) -> str:
        return f"{self.path.path.rstrip('/')}/{name}"

    @staticmethod
    def _stamp(info: Mapping[str, Any]) -> str:
        # The names that S3, Azure and Google Cloud Storage have for it. adlfs before 2026.5 quotes some only.
        etag = str(info.get("ETag") or info.get("etag")).strip('"')
        return f"{info.get('size')}-{etag}"

    @contextmanager
    def _explaining(self, done: str, name: str) -> Iterator[None]:
        """Let an error of the store's library name the object and what to check: their own are terse."""
        try:
            yield
        except Exception as raised:
            # gcsfs before 2026.4 fails once more while it gives a large upload up.
            first = isinstance(raised, AttributeError) and raised.__context__
            error = first if isinstance(first, Exception) else raised
            kind, check = OSError, ""
            if isinstance(error, FileNotFoundError) or _status(error) == 404:
                kind, check = FileNotFoundError, ". Check that the bucket (or container) exists"
            elif _is_denial(error):
                kind = PermissionError
                check = (
                    ". Check the key, and that the Airflow connection may list, read, write and delete there"
                )
            # What follows are Azure's XML and the like.
            said = " ".join(str(error.__cause__ or error).splitlines()[:2]) or type(error).__name__
            url = f"{self}/{name}".rstrip("/")
            # A task's log shows the words of causes as they are.
            tells_query = any(_QUERY.search(str(cause)) for cause in _causes(error))
            raise kind(f"{url} could not be {done}: {_QUERY.sub('?…', said)}{check}") from (
                None if tells_query else error
            )


def sha256(file: BinaryIO) -> str:
    """The digest of a file's bytes."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_denial(error: BaseException) -> bool:
    """Whether a store has refused, with 401 or 403: each library says it in its own way."""
    return (
        isinstance(error, PermissionError)
        or _status(error) in (401, 403)
        or str(error).startswith("Forbidden")
    )


def _status(error: BaseException) -> object:
    """The HTTP status that the store has sent."""
    cause = error.__cause__ or error
    answer = getattr(cause, "response", None)
    if isinstance(answer, Mapping):  # botocore
        return answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return getattr(cause, "status_code", None) or getattr(cause, "code", None)  # Azure; gcsfs
