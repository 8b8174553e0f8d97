"""The core stays free of I/O."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import airflow_provider_supermetrics._api

FOLDER = Path(airflow_provider_supermetrics._api.__file__).parent
# The list contains no clock, sleep, randomness, log, file, socket or HTTP library.
ALLOWED = {
    "__future__",
    "airflow_provider_supermetrics",
    "ast",
    "bisect",
    "collections",
    "contextlib",
    "dataclasses",
    "datetime",
    "decimal",
    "email",
    "enum",
    "functools",
    "hashlib",
    "html",
    "isal",
    "itertools",
    "json",
    "math",
    "msgspec",
    "operator",
    "pendulum",
    "re",
    "typing",
    "urllib",
    "zlib",
}
IMPURE_CALLS = {"now", "utcnow", "today", "open", "print", "input"}


def test_a_fresh_interpreter_loads_neither_airflow_nor_an_http_library() -> None:
    """Importing the whole core imports nothing that does I/O."""
    modules = [f"airflow_provider_supermetrics._api.{path.stem}" for path in FOLDER.glob("*.py")]
    code = f"import importlib, sys; [importlib.import_module(m) for m in {modules!r}]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert len(modules) > 5
    assert not found & {"airflow", "requests", "urllib3", "aiohttp", "httpx", "tenacity", "asyncio", "fsspec"}


def test_the_core_imports_only_what_computes() -> None:
    """Every import of the core is on the short list above, and nothing reads the clock."""
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Call):
                called = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                assert called not in IMPURE_CALLS, f"{path.name}:{node.lineno} calls {called}"
            for name in names:
                assert name.partition(".")[0] in ALLOWED, f"{path.name} imports {name}"
                if name.startswith("airflow_provider_supermetrics"):
                    assert name.startswith("airflow_provider_supermetrics._api"), f"{path.name}: {name}"
                assert name != "urllib.request"
