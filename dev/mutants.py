"""Change the source in one place at a time, and check that a test fails each time.

    python -m dev.mutants [--count 100] [--seed 1] [--only pager.py]

The sample is drawn with the seed from the core and the commit path of an export. A mutant is killed if the
tests of its file fail or time out. The changes of surviving mutants are printed. The command fails if fewer
than 90 % are killed.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Final

PACKAGE: Final = "airflow_provider_supermetrics"
ROOT: Final = Path(__file__).parent.parent
LEAST_SHARE: Final = 0.9
# A mutant that never ends occupies a core for so long; the tests of a file take a third of it.
SECONDS: Final = 450

_CORE_TESTS: Final = ("tests/api",)
_COMMIT_TESTS: Final = (
    "tests/components",
    "--deselect=tests/components/test_kill.py",
    "--deselect=tests/components/test_large_export.py",
    "tests/storage/test_commit.py",
)
#: Files of the package -> the tests that must detect a change in them, the fastest first.
TARGETS: Final[Sequence[tuple[str, tuple[tuple[str, ...], ...]]]] = (
    (
        "_api/*.py",
        (
            _CORE_TESTS,
            ("tests/hooks/test_waiting.py", "tests/hooks/test_contract.py", "tests/hooks/test_responses.py"),
        ),
    ),
    ("_wait.py", (("tests/wait",), ("tests/hooks/test_waiting.py", "tests/sensors"))),
    ("_export/writer.py", (_COMMIT_TESTS,)),
    ("_export/job.py", (_COMMIT_TESTS,)),
    ("_export/checkpoint.py", (_COMMIT_TESTS,)),
)

_COMPARE: Final[dict[type[ast.cmpop], str]] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
_BINARY: Final[dict[type[ast.operator], str]] = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.FloorDiv: "*"}


@dataclass(frozen=True)
class Mutant:
    """A change: ``replacement`` replaces the characters from ``start`` to ``end`` of the file."""

    path: str
    line: int
    start: int
    end: int
    replacement: str
    tests: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        old = " ".join((ROOT / PACKAGE / self.path).read_text()[self.start : self.end].split())
        return f"{self.path}:{self.line}: {old[:90]!r} -> {self.replacement[:90]!r}"


def mutants() -> Iterator[Mutant]:
    """Yield all mutants of all targets."""
    for pattern, tests in TARGETS:
        for path in sorted((ROOT / PACKAGE).glob(pattern)):
            name = path.relative_to(ROOT / PACKAGE).as_posix()
            source = path.read_text()
            for node, start, end, text in _changes(source):
                with suppress(SyntaxError):
                    ast.parse(source[:start] + text + source[end:])
                    yield Mutant(name, node.lineno, start, end, text, tests)


def _changes(source: str) -> Iterator[tuple[ast.expr | ast.stmt, int, int, str]]:
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def span(node: ast.expr | ast.stmt) -> tuple[int, int]:
        # The sources are ASCII, so columns in bytes are columns in characters.
        assert node.end_lineno is not None and node.end_col_offset is not None
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    tree = ast.parse(source)
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        # Changes of annotations, decorators and messages do not change behaviour.
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            for decorator in node.decorator_list:
                skipped.update(ast.walk(decorator))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for argument in (*node.args.args, *node.args.kwonlyargs):
                skipped.update(ast.walk(argument.annotation) if argument.annotation else ())
            skipped.update(ast.walk(node.returns) if node.returns else ())
        elif isinstance(node, ast.AnnAssign):
            skipped.update(ast.walk(node.annotation))
        elif isinstance(node, (ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ):
            skipped.update(ast.walk(node))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            left, right = span(node.left)[1], span(node.comparators[0])[0]
            # A parenthesis is part of its operand.
            between = source[left:right]
            operator = _COMPARE[type(node.ops[0])]
            old = ast.unparse(node)[len(ast.unparse(node.left)) :].split(ast.unparse(node.comparators[0]))[0]
            if old.strip() and old.strip() in between:
                at = left + between.index(old.strip())
                yield node, at, at + len(old.strip()), operator
        elif isinstance(node, ast.BoolOp):
            left, right = span(node.values[0])[1], span(node.values[1])[0]
            word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            if len(node.values) == 2 and word in source[left:right]:
                at = left + source[left:right].index(word)
                yield node, at, at + len(word), other
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, *span(node), f"bool({ast.unparse(node.operand)})"
        elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            text = f"({ast.unparse(node.left)} {_BINARY[type(node.op)]} {ast.unparse(node.right)})"
            yield node, *span(node), text
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield node, *span(node), str(not node.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            yield node, *span(node), repr(node.value + 1)
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("min", "max")
        ):
            yield node, *span(node.func), "max" if node.func.id == "min" else "min"
        elif isinstance(node, (ast.Raise, ast.AugAssign)) or (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and not ast.unparse(node).startswith("log.")
        ):
            yield node, *span(node), "pass"


def is_killed(mutant: Mutant, folder: Path) -> bool:
    """Return whether a test fails with the mutant in this copy of the project."""
    path = folder / PACKAGE / mutant.path
    original = path.read_text()
    path.write_text(original[: mutant.start] + mutant.replacement + original[mutant.end :])
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "MAX_EXAMPLES": "500",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        for tests in mutant.tests:
            existing = [name for name in tests if name.startswith("-") or (folder / name).exists()]
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-x",
                "-q",
                "-n",
                "0",
                "-p",
                "no:cacheprovider",
                "-m",
                "not install",
                *existing,
            ]
            try:
                ended = subprocess.run(
                    command, cwd=folder, env=environment, capture_output=True, timeout=SECONDS, check=False
                )
            except subprocess.TimeoutExpired:
                return True
            if ended.returncode != 0:
                return True
        return False
    finally:
        path.write_text(original)


def main() -> None:
    """Draw a sample, run the tests with each mutant, and print the survivors."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    known = [mutant for mutant in mutants() if options.only in mutant.path]
    sample = random.Random(options.seed).sample(known, min(options.count, len(known)))
    print(f"{len(sample)} of {len(known)} mutants, seed {options.seed}", flush=True)
    folders: Queue[Path] = Queue()
    with tempfile.TemporaryDirectory(prefix="mutants-") as top:
        for i in range(os.cpu_count() or 1):
            copy = Path(top, str(i))
            shutil.copytree(
                ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", ".demo", ".cache", "__pycache__")
            )
            folders.put(copy)

        def killed_in_a_copy(mutant: Mutant) -> bool:
            folder = folders.get()
            try:
                return is_killed(mutant, folder)
            finally:
                folders.put(folder)

        with ThreadPoolExecutor(folders.qsize()) as pool:
            survivors = []
            for mutant, killed in zip(sample, pool.map(killed_in_a_copy, sample), strict=True):
                if not killed:
                    survivors.append(mutant)
                    print(f"survived: {mutant}", flush=True)
    killed_count = len(sample) - len(survivors)
    print(f"killed {killed_count} of {len(sample)} ({killed_count / len(sample):.0%})")
    if killed_count < LEAST_SHARE * len(sample):
        raise SystemExit(f"fewer than {LEAST_SHARE:.0%} killed")


if __name__ == "__main__":
    main()
