"""Whole objects or none, on any of Airflow's object storages."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from fsspec.implementations.local import LocalFileSystem

from airflow_provider_supermetrics._compat import AirflowNotFoundException, BaseHook, ObjectStoragePath
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError

# Not local:// and no second slash: Airflow would make the worker's current folder of it.
_URL = re.compile(r"(file://)?/[^/].*|(?!file:|local:)[a-z][a-z0-9+.-]*://[^/].*")
_DOTS = re.compile(r"(^|/)\.\.?(/|$)")
# The stores' libraries write there, and list another folder.
_AMBIGUOUS = re.compile(r"//|\\")
_EXAMPLES = "Write a URL such as s3://aws_default@my-bucket/logs or file:///logs, or an absolute path"
_CREDENTIAL = re.compile(r"^[^/@]*:[^/]*@|\?[\w.~-]+=")
_EXTRAS = {"s3": "s3", "s3a": "s3", "abfs": "azure", "abfss": "azure", "gs": "gcs", "gcs": "gcs"}
_TEMPORARY = ".{name}.{unique}.tmp"
# The stamp of no object.
_GONE = "gone"
# In the path of a URI, beside letters, digits and "_.-~".
_SAFE = "/:@!$&'()*+,;="
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
    def at(path: object) -> Destination:
        """The folder at a URL such as ``s3://conn@bucket/folder``, or at an absolute local path.

        :param path: a string, or a path object.
        :raises SupermetricsValidationError: for what :func:`valid_path` refuses; where the store's library is
            not installed; where the Airflow connection is not there, or does not lead there.
        """
        url = valid_path(path)
        is_local = url.startswith(("/", "file://"))
        scheme, _, rest = url.partition("://")
        conn_id = rest.partition("/")[0].rpartition("@")[0]
        if conn_id and not is_local:
            _require_connection(conn_id, url)
        try:
            parsed = ObjectStoragePath(url if is_local else url.rstrip("/"))
            return Disk(parsed) if isinstance(parsed.fs, LocalFileSystem) else Bucket(parsed)
        except (ImportError, TypeError, ValueError, AirflowNotFoundException) as error:
            check = f"Check the Airflow connection, which is what stands before '@': {scheme}://CONNECTION@BUCKET/…"
            if "incompatible with ObjectStoragePath" in str(error):
                check = "This Airflow needs an older universal-pathlib: pip install 'universal-pathlib<0.3'"
            elif isinstance(error, ImportError) or "filesystem" in str(error):
                extra = _EXTRAS.get(scheme)
                check = f"It needs: pip install 'airflow-provider-supermetrics[{extra}]'" if extra else ""
            said = _QUERY.sub("?…", str(error)).rstrip(".")
            raise SupermetricsValidationError(f"Cannot write to {url}: {said}. {check}".rstrip()) from None

    @property
    @abstractmethod
    def dataset(self) -> tuple[str, str]:
        """Namespace and name by which OpenLineage knows the folder."""

    @abstractmethod
    def uri(self, name: str) -> str:
        """The URI of the object ``name``, without Airflow's connection in it."""

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
    def dataset(self) -> tuple[str, str]:
        """See :attr:`Destination.dataset`."""
        return "file", str(self._folder)

    def uri(self, name: str) -> str:
        """See :meth:`Destination.uri`."""
        return f"file://{quote(str(self._folder / name), safe=_SAFE)}"

    def put(self, data: bytes, name: str) -> str:
        """See :meth:`Destination.put`."""
        with self._explaining("written", name):
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                return self._replace(data, name)
            except FileNotFoundError:
                # Another export of the same window began just now and took the temporary file for a leftover.
                return self._replace(data, name)

    write = put

    def read(self, name: str) -> bytes | None:
        """See :meth:`Destination.read`."""
        with suppress(FileNotFoundError), self._explaining("read", name):
            return (self._folder / name).read_bytes()
        return None

    def sha256(self, name: str) -> str | None:
        """See :meth:`Destination.sha256`."""
        with (
            suppress(FileNotFoundError),
            self._explaining("read", name),
            (self._folder / name).open("rb") as file,
        ):
            return sha256(file)
        return None

    def stamp(self, name: str) -> str | None:
        """See :meth:`Destination.stamp`."""
        with suppress(FileNotFoundError), self._explaining("looked at", name):
            return self._stamp(self._folder / name)
        return None

    def remove(self, name: str) -> None:
        """See :meth:`Destination.remove`."""
        with self._explaining("removed", name):
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
        with suppress(FileNotFoundError), self._explaining("listed", ""), os.scandir(self._folder) as entries:
            for entry in entries:
                # Another export may replace or remove it meanwhile.
                with suppress(FileNotFoundError):
                    if entry.name.startswith(prefix) and entry.is_file():
                        yield entry.name, self._stamp(Path(entry.path))

    @staticmethod
    def _stamp(path: Path) -> str:
        stat = path.stat()
        return f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}"

    @contextmanager
    def _explaining(self, done: str, name: str) -> Iterator[None]:
        """Let an error of the disk name the object and what to check."""
        try:
            yield
        except OSError as error:
            check = "Check that path names a folder that the worker can reach"
            if isinstance(error, PermissionError) or error.errno == errno.EROFS:
                check = "Check that the worker's user may list, read, write and delete there"
            elif error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                check = "Free space there"
            url = f"{self}/{name}".rstrip("/")
            raise type(error)(f"{url} could not be {done}: {error.strerror or error}. {check}") from error


class Bucket(Destination):
    """A folder of a bucket, or of a container. One request, or the last of several, lets an object appear."""

    def __init__(self, path: ObjectStoragePath) -> None:
        super().__init__(path)
        self._fs = path.fs

    @property
    def dataset(self) -> tuple[str, str]:
        """See :attr:`Destination.dataset`."""
        bucket, _, folder = self.path.path.rstrip("/").partition("/")
        return f"{self.path.protocol}://{bucket}", folder or "/"

    def uri(self, name: str) -> str:
        """See :meth:`Destination.uri`."""
        return f"{self.path.protocol}://{quote(self._key(name), safe=_SAFE)}"

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


def path_text(path: object) -> str:
    """A path as a string: itself, or what a path object stands for.

    :raises SupermetricsValidationError: for anything else.
    """
    if isinstance(path, ObjectStoragePath):
        return str(path)
    try:
        text = os.fspath(path)  # type: ignore[call-overload]  # it tells what has no such form
    except TypeError:
        text = None
    if isinstance(text, str):
        return text
    kind = "None" if path is None else type(path).__name__
    raise SupermetricsValidationError(f"path must be a string or a path object, not {kind}. {_EXAMPLES}")


def valid_path(path: object) -> str:
    """A path as a string, its form checked; nothing is connected to.

    :raises SupermetricsValidationError: for what would mean another folder than it seems to.
    """
    text = path_text(path)
    is_local = text.startswith(("/", "file://"))
    scheme, _, rest = text.partition("://")
    if not is_local and _CREDENTIAL.search(rest):
        raise SupermetricsValidationError(
            f"path must hold no credential (a key before '@', a signature after '?'): {scheme}://… does. "
            "It belongs into an Airflow connection, as in s3://aws_default@my-bucket/logs"
        )
    folders = text.removeprefix("file://") if is_local else rest.rstrip("/")
    fault = None
    if not text.isprintable():
        fault = "must not hold control or invisible characters"
    elif text != text.strip():
        fault = "must not begin or end with a space"
    elif not _URL.fullmatch(text):
        fault = "must be a URL with small letters in front of '://', or an absolute path"
    elif _DOTS.search(folders):
        fault = "must not hold a '.' or '..' folder"
    elif not is_local and _AMBIGUOUS.search(folders):
        fault = "must not hold an empty folder or a backslash"
    elif text.rstrip("/").endswith(("?", "#")):
        fault = "must not end in '?' or '#', which Airflow drops"
    if fault:
        raise SupermetricsValidationError(f"path {fault}, not {text!r}. {_EXAMPLES}")
    return text


def _require_connection(conn_id: str, url: str) -> None:
    # Without this, Airflow would take the worker's own AWS credentials instead, and wherever they lead.
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise SupermetricsValidationError(
            f"Airflow has no connection {conn_id!r}, which is what stands before '@' in {url}. Create it, or "
            "leave it out for the worker's own credentials"
        ) from None


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
