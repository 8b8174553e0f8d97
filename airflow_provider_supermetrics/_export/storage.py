"""Objects on any of Airflow's object storages, each visible whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any, ClassVar, NamedTuple
from urllib.parse import quote

from airflow_provider_supermetrics._api.text import one_line, without_credentials
from airflow_provider_supermetrics._compat import AirflowNotFoundException, BaseHook, ObjectStoragePath
from airflow_provider_supermetrics._export.path import valid_path
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError, invalid, make_error

_EXTRAS = {"s3": "s3", "s3a": "s3", "abfs": "azure", "abfss": "azure", "gs": "gcs", "gcs": "gcs"}
# Objects are read in pieces of this size to compute their digests.
_PIECE = 2**23
# The version of no object.
_NO_VERSION = "gone"
# Characters of a URI's path, besides letters, digits and "_.-~".
_SAFE = "/:@!$&'()*+,;="
# Of a URL in a message.
_LONGEST_URL = 1000
# Why a link has no file: it leads through a file, in a circle, or to where the worker may not look.
_NO_FILE = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EACCES})


class Listed(NamedTuple):
    """What the listing of a folder says of an object or a folder in it.

    :param size: its bytes; of a folder, 0.
    :param version: as of :meth:`Destination.version`; of a folder, empty.
    """

    name: str
    is_folder: bool
    size: int = 0
    version: str = ""


class Destination(ABC):
    """A folder of an object storage, in which objects become visible whole or not at all.

    :param path: the folder; it need not exist.
    """

    _errors: ClassVar[type[Exception]] = Exception

    def __init__(self, path: ObjectStoragePath) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @staticmethod
    def at(path: object) -> Destination:
        """The folder at a URL such as ``s3://conn@bucket/folder``, or at an absolute local path.

        :param path: a string, or a path object.
        :raises SupermetricsValidationError: for a path that :func:`valid_path` refuses; where the store's
            library is not installed; where the Airflow connection does not exist, or is for another store.
        """
        url = valid_path(path)
        is_local = url.startswith(("/", "file://"))
        scheme, _, rest = url.partition("://")
        conn_id = rest.partition("/")[0].rpartition("@")[0]
        if conn_id and not is_local:
            _require_connection(conn_id, url)
        try:
            if is_local:
                return LocalDestination(ObjectStoragePath(url))
            return ObjectStoreDestination(ObjectStoragePath(url.rstrip("/")))
        except (ImportError, TypeError, ValueError, AirflowNotFoundException) as error:
            connection = f"{scheme}://CONNECTION@BUCKET/…"
            remedy: str | None = f"check the Airflow connection, which is the part before '@': {connection}"
            if "incompatible with ObjectStoragePath" in str(error):
                remedy = "this Airflow needs an older universal-pathlib: pip install 'universal-pathlib<0.3'"
            elif isinstance(error, ImportError) or "filesystem" in str(error):
                remedy = None
                if scheme in _EXTRAS:
                    remedy = f"pip install 'airflow-provider-supermetrics[{_EXTRAS[scheme]}]'"
            failure = f"cannot write to {url}: {without_credentials(str(error)).rstrip('.')}"
            raise make_error(SupermetricsValidationError, failure, remedy) from None

    @property
    @abstractmethod
    def dataset(self) -> tuple[str, str]:
        """Namespace and name by which OpenLineage knows the folder."""

    def url(self, name: str) -> str:
        """The object ``name``, or with an empty one the folder, for messages."""
        return f"{str(self).rstrip('/')}/{name}".rstrip("/")

    def uri(self, name: str) -> str:
        """The URI of the object ``name``, without Airflow's connection in it."""
        return f"{self.path.protocol or 'file'}://{quote(self._key(name), safe=_SAFE)}"

    def write_versioned(self, data: bytes, name: str) -> str:
        """Write the object ``name``, in place of an existing one; return its version.

        :raises OSError: where the object has another size afterwards.
        """
        with self._translated("write", name):
            return self._write_versioned(data, name)

    def write(self, data: bytes, name: str) -> None:
        """Write the object ``name``, where the version is not needed, which may cost a request."""
        with self._translated("write", name):
            self._write(data, name)

    def read(self, name: str) -> bytes | None:
        """The bytes of the object ``name``, or None without it."""
        with suppress(FileNotFoundError), self._translated("read", name):
            return self._read(name)
        return None

    def sha256(self, name: str) -> str | None:
        """The digest of the object ``name`` as it is now, or None without it."""
        data = self.read(name)
        return None if data is None else hashlib.sha256(data).hexdigest()

    def digest(self, name: str, size: int) -> str | None:
        """The sha256 of the object ``name``, read in pieces, or None without it.

        :param size: its bytes.
        """
        digest = hashlib.sha256()
        with suppress(FileNotFoundError), self._translated("read", name):
            for piece in self._pieces(name, size):
                digest.update(piece)
            return digest.hexdigest()
        return None

    def version(self, name: str) -> str | None:
        """A string that changes when the object ``name`` is replaced, or None without it."""
        with suppress(FileNotFoundError), self._translated("check", name):
            return self._version(name)
        return None

    def versions(self, prefix: str) -> dict[str, str]:
        """The version of each object in this folder whose name starts with ``prefix``."""
        with self._translated("list", ""):
            found = sorted(self._versions(prefix))
        return {name: version for name, version in found if "/" not in name and name.startswith(prefix)}

    def listing(self, folder: str = "") -> list[Listed]:
        """The objects and folders in this folder, or in one below it; empty where there is no such folder."""
        with self._translated("list", folder):
            return list(self._listing(folder))

    def remove(self, name: str) -> None:
        """Remove the object ``name``, if there is one."""
        with suppress(FileNotFoundError), self._translated("remove", name):
            self._remove(name)

    @abstractmethod
    def remove_leftovers(self, prefix: str) -> None:
        """Remove the temporary files that a killed process left of objects with this prefix."""

    def _key(self, name: str) -> str:
        return f"{self.path.path.rstrip('/')}/{name}"

    @abstractmethod
    def _write_versioned(self, data: bytes, name: str) -> str: ...

    def _write(self, data: bytes, name: str) -> None:
        self._write_versioned(data, name)

    @abstractmethod
    def _read(self, name: str) -> bytes: ...

    @abstractmethod
    def _pieces(self, name: str, size: int) -> Iterable[bytes]: ...

    @abstractmethod
    def _version(self, name: str) -> str: ...

    @abstractmethod
    def _versions(self, prefix: str) -> Iterable[tuple[str, str]]: ...

    @abstractmethod
    def _listing(self, folder: str) -> Iterable[Listed]: ...

    @abstractmethod
    def _remove(self, name: str) -> None: ...

    @abstractmethod
    def _explained(self, error: Exception, action: str) -> Exception:
        """The error with what could not be done, and a remedy, in its message."""

    @contextmanager
    def _translated(self, action: str, name: str) -> Iterator[None]:
        """Raise an error of the disk or the store with the object's URL, or the folder's, in its message."""
        try:
            yield
        except self._errors as error:
            # The name of a folder may contain a line break.
            url = one_line(self.url(name), _LONGEST_URL)
            explained = self._explained(error, f"cannot {action} {url}")
            # A task's log shows the messages of causes unchanged.
            texts = map(str, _causes(error))
            has_credential = any(without_credentials(text) != text for text in texts)
            raise explained from (None if has_credential else error)


class LocalDestination(Destination):
    """A folder of a disk. An object is written under a temporary name, then renamed."""

    _errors = OSError

    def __init__(self, path: ObjectStoragePath) -> None:
        super().__init__(path)
        self._folder = Path(path.path)

    @property
    def dataset(self) -> tuple[str, str]:
        """See :attr:`Destination.dataset`."""
        return "file", str(self._folder)

    def remove_leftovers(self, prefix: str) -> None:
        """See :meth:`Destination.remove_leftovers`."""
        for name in self.versions(f".{prefix}"):
            if name.endswith(".tmp"):
                self.remove(name)

    def _write_versioned(self, data: bytes, name: str) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            return self._replace(data, name)
        except FileNotFoundError:
            # Another export of the same window took the temporary file for a leftover, and removed it.
            return self._replace(data, name)

    def _replace(self, data: bytes, name: str) -> str:
        temporary = f".{name}.{uuid.uuid4().hex}.tmp"
        try:
            with (self._folder / temporary).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            version = self._version(temporary)
            (self._folder / temporary).replace(self._folder / name)
            return version
        finally:
            self._remove(temporary)

    def _read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def _pieces(self, name: str, size: int) -> Iterator[bytes]:  # noqa: ARG002  # only stores need it
        with (self._folder / name).open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece

    def _version(self, name: str) -> str:
        return _version_of_file((self._folder / name).stat())

    def _versions(self, prefix: str) -> Iterator[tuple[str, str]]:
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith(prefix) and (stat := _stat_of_file(entry)):
                    yield entry.name, _version_of_file(stat)

    def _listing(self, folder: str) -> Iterator[Listed]:
        with suppress(FileNotFoundError), os.scandir(self._folder / folder) as entries:
            for entry in entries:
                # A link to a folder above would never end.
                if entry.is_dir(follow_symlinks=False):
                    yield Listed(entry.name, is_folder=True)
                elif stat := _stat_of_file(entry):
                    yield Listed(entry.name, False, stat.st_size, _version_of_file(stat))

    def _remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def _explained(self, error: Exception, action: str) -> Exception:
        assert isinstance(error, OSError)
        remedy = "Check that path names a folder that the worker can reach"
        if isinstance(error, PermissionError) or error.errno == errno.EROFS:
            remedy = "Check that the worker's user may list, read, write and delete there"
        elif error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            remedy = "Free space there"
        return _with_remedy(type(error)(f"{error.strerror or error}: {action}"), remedy)


class ObjectStoreDestination(Destination):
    """A folder of a bucket or container. The last request of an upload makes an object visible."""

    def __init__(self, path: ObjectStoragePath) -> None:
        super().__init__(path)
        self._fs = path.fs

    @property
    def dataset(self) -> tuple[str, str]:
        """See :attr:`Destination.dataset`."""
        bucket, _, folder = self.path.path.rstrip("/").partition("/")
        return f"{self.path.protocol}://{bucket}", folder or "/"

    def remove_leftovers(self, prefix: str) -> None:
        """Do nothing: an upload that was killed leaves no object."""

    def _write_versioned(self, data: bytes, name: str) -> str:
        self._write(data, name)
        try:
            info = self._fs.info(self._key(name))
        except FileNotFoundError:
            return _NO_VERSION
        if info.get("size", len(data)) != len(data):
            raise OSError(f"{info['size']} of {len(data)} bytes are there: is another export running?")
        return _version_of(info)

    def _write(self, data: bytes, name: str) -> None:
        try:
            self._fs.pipe_file(self._key(name), data)
        except ValueError:
            # adlfs takes a first folder such as "a:b" for a host, but only after writing.
            if self._fs.cat_file(self._key(name)) != data:
                raise

    def _read(self, name: str) -> bytes:
        data: bytes = self._fs.cat_file(self._key(name))
        return data

    def _pieces(self, name: str, size: int) -> Iterator[bytes]:
        for start in range(0, size, _PIECE):
            yield self._fs.cat_file(self._key(name), start=start, end=min(start + _PIECE, size))

    def _version(self, name: str) -> str:
        self._forget_listing()
        return _version_of(self._fs.info(self._key(name)))

    def _versions(self, prefix: str) -> Iterator[tuple[str, str]]:
        self._forget_listing()
        found = self._fs.find(self._key("").rstrip("/"), prefix=prefix, detail=True)
        for key, info in found.items():
            yield key.removeprefix(self._key("")), _version_of(info)

    def _listing(self, folder: str) -> Iterator[Listed]:
        key = self._key(folder).rstrip("/")
        # What others have written since the library has listed it.
        self._fs.invalidate_cache(key)
        try:
            found = self._fs.ls(key, detail=True)
        except FileNotFoundError:
            # Of the bucket, or of the folder alone: only the latter is no failure.
            found = list(self._fs.find(key, prefix="_manifest-", detail=True).values())
        # The library would keep it.
        self._fs.invalidate_cache(key)
        for info in found:
            path, _, name = info["name"].rstrip("/").rpartition("/")
            if path == key and name:
                is_folder = info["type"] == "directory"
                yield (
                    Listed(name, is_folder=True)
                    if is_folder
                    else Listed(name, False, info["size"], _version_of(info))
                )

    def _remove(self, name: str) -> None:
        try:
            self._fs.rm_file(self._key(name))
        except NotImplementedError:
            # adlfs before 2026.2
            self._fs.rm(self._key(name), expand_path=False)  # type: ignore[call-arg]  # its own

    def _forget_listing(self) -> None:
        self._fs.invalidate_cache(self._key("").rstrip("/"))

    def _explained(self, error: Exception, action: str) -> Exception:
        # gcsfs before 2026.4 fails a second time while it gives up a large upload.
        if isinstance(error, AttributeError) and isinstance(error.__context__, Exception):
            error = error.__context__
        # The further lines are Azure's XML and the like.
        reason = " ".join(str(error.__cause__ or error).splitlines()[:2]) or type(error).__name__
        reason = without_credentials(reason)
        failure = f"{action}: {reason}"
        status = _status(error)
        if isinstance(error, FileNotFoundError) or status == 404:
            missing = FileNotFoundError(f"No such bucket or container: {failure}")
            return _with_remedy(missing, "Check that the bucket (or container) exists")
        if isinstance(error, PermissionError) or status in (401, 403) or str(error).startswith("Forbidden"):
            return _with_remedy(
                PermissionError(f"Access denied: {failure}"),
                "Check the key, and that the Airflow connection may list, read, write and delete there",
            )
        # Only the library knows what is wrong.
        return _with_remedy(
            OSError(f"Store error: {reason}: {action}"),
            "Check the Airflow connection, the network, and whether the store is available",
        )


def _require_connection(conn_id: str, url: str) -> None:
    # Without this check, Airflow would use the worker's own AWS credentials instead.
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise invalid(
            f"Airflow has no connection {conn_id!r}, which is the part before '@' in {url}",
            "create it, or remove it from the path to use the worker's own credentials",
        ) from None


def _with_remedy(error: OSError, remedy: str) -> OSError:
    """The same kind of error with the remedy at the end of its message, and as its attribute ``remedy``."""
    whole = type(error)(f"{error}. {remedy}")
    whole.remedy = remedy  # type: ignore[attr-defined]  # which SupermetricsError has, too
    return whole


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _stat_of_file(entry: os.DirEntry[str]) -> os.stat_result | None:
    """The state of a file; None for anything else, and for what was removed meanwhile."""
    try:
        stat = entry.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        if entry.is_symlink() and error.errno in _NO_FILE:
            return None
        raise
    return stat if S_ISREG(stat.st_mode) else None


def _version_of_file(stat: os.stat_result) -> str:
    return f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}"


def _version_of(info: Mapping[str, Any]) -> str:
    # S3's name for it, then Azure's and Google Cloud Storage's. adlfs before 2026.5 quotes only some.
    etag = str(info.get("ETag") or info.get("etag")).strip('"')
    return f"{info.get('size')}-{etag}"


def _status(error: BaseException) -> object:
    """The HTTP status of the store's response."""
    cause = error.__cause__ or error
    response = getattr(cause, "response", None)
    if isinstance(response, Mapping):  # botocore
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return getattr(cause, "status_code", None) or getattr(cause, "code", None)  # Azure; gcsfs
