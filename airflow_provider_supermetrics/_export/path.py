"""Which paths an export accepts: checked when the DAG file is read, so without the stores' libraries."""

from __future__ import annotations

import os
import re

from airflow_provider_supermetrics._compat import ObjectStoragePath
from airflow_provider_supermetrics.exceptions import invalid

# Not local:// and no second slash, which Airflow would take for the worker's current folder.
_URL = re.compile(r"(file://)?/[^/].*|(?!file:|local:)[a-z][a-z0-9+.-]*://[^/].*")
_DOTS = re.compile(r"(^|/)\.\.?(/|$)")
# The stores' libraries write to such a folder, but list another one.
_AMBIGUOUS = re.compile(r"//|\\")
_EXAMPLES = "write a URL such as s3://aws_default@my-bucket/logs or file:///logs, or an absolute path"
# A key may contain slashes.
_CREDENTIAL = re.compile(r"^[^/@]*:[^@]*@|\?[\w.~-]+=")


def path_text(path: object) -> str:
    """A path or path object as a string."""
    if isinstance(path, ObjectStoragePath):
        return str(path)
    text = path.__fspath__() if isinstance(path, os.PathLike) else path
    if isinstance(text, str):
        return text
    kind = "None" if path is None else type(path).__name__
    raise invalid(f"path must be a string or a path object, not {kind}", _EXAMPLES)


def valid_path(path: object) -> str:
    """A path as a string, checked without a connection to the store: it must lead where it seems to lead."""
    text = path_text(path)
    is_local = text.startswith(("/", "file://"))
    scheme, has_scheme, rest = text.partition("://")
    if not is_local and _CREDENTIAL.search(rest if has_scheme else text):
        raise invalid(
            "path must not contain a credential (a key before '@', a signature after '?'), but "
            f"{f'{scheme}://…' if has_scheme else 'this one'} does",
            "store it in an Airflow connection, as in s3://aws_default@my-bucket/logs",
        )
    folders = text.removeprefix("file://") if is_local else rest.rstrip("/")
    faults = {
        "must not contain control or invisible characters": not text.isprintable(),
        "must not begin or end with a space": text != text.strip(),
        "must be a URL with lower-case letters before '://', or an absolute path": not _URL.fullmatch(text),
        "must not contain a '.' or '..' folder": _DOTS.search(folders),
        "must not contain an empty folder or a backslash": not is_local and _AMBIGUOUS.search(folders),
        "must not end in '?' or '#', which Airflow drops": text.rstrip("/").endswith(("?", "#")),
    }
    if fault := next((fault for fault, is_there in faults.items() if is_there), None):
        raise invalid(f"path {fault}, not {text!r}", _EXAMPLES)
    return text
