"""The documentation: links lead somewhere, pages are found, quoted messages are the package's own."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from packaging.version import Version

import airflow_provider_supermetrics
from dev import matrix

ROOT = Path(__file__).parent.parent
PACKAGE = Path(airflow_provider_supermetrics.__file__).parent
DOCS = ROOT / "docs"
INDEX = DOCS / "index.md"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md")])
LONGEST_LINE = 120
_URL = re.compile(r"[a-z][a-z0-9+.-]*:", re.ASCII)
_HTML_TARGET = re.compile(r"\b(?:href|src)=\"([^\"]*)\"")


def name(page: Path) -> str:
    """The path of a page, for the names of tests and for messages."""
    return page.relative_to(ROOT).as_posix()


@cache
def tokens(page: Path) -> list[Token]:
    """The page as GitHub reads it."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def inline(page: Path) -> Iterator[Token]:
    """What stands in the page's paragraphs, headings, cells and so on."""
    for token in tokens(page):
        yield from token.children or ()


def targets(page: Path) -> Iterator[tuple[Path, str]]:
    """The files that the page links to or shows, each with the anchor within it."""
    for token in inline(page):
        found = [str(token.attrGet("href") or token.attrGet("src") or "")]
        if token.type == "html_inline":
            found = _HTML_TARGET.findall(token.content)
        for target in found:
            if target and not _URL.match(target):
                path, _, anchor = target.partition("#")
                yield (page.parent / path).resolve() if path else page, anchor


@cache
def anchors(page: Path) -> set[str]:
    """The names that GitHub gives the page's headings."""
    counts: Counter[str] = Counter()
    found = set()
    for opening, heading in pairwise(tokens(page)):
        if opening.type == "heading_open":
            text = "".join(child.content for child in heading.children or ())
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.add(f"{slug}-{counts[slug]}" if counts[slug] else slug)
            counts[slug] += 1
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Each relative link is to a file, and its anchor is a heading there."""
    broken = [
        f"{path}#{anchor}"
        for path, anchor in targets(page)
        if not path.exists() or (anchor and anchor not in anchors(path))
    ]
    assert broken == []


def test_every_page_is_found_from_the_index() -> None:
    """Following links from docs/index.md leads to every page."""
    found, new = {INDEX}, [INDEX]
    while new:
        linked = {path for path, _ in targets(new.pop()) if path.suffix == ".md"} - found
        found |= linked
        new += linked
    assert [name(page) for page in PAGES if page not in found] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lines_are_short_enough_for_a_diff(page: Path) -> None:
    """Outside of tables, code blocks and the targets of links, no line has more than 120 characters."""
    exempt = {
        line
        for token in tokens(page)
        if token.type in ("table_open", "fence", "code_block") and token.map
        for line in range(*token.map)
    }
    lines = page.read_text(encoding="utf-8").splitlines()
    long = [
        number + 1
        for number, line in enumerate(lines)
        if number not in exempt and len(re.sub(r"\]\([^)]*\)", "]", line)) > LONGEST_LINE
    ]
    assert long == []


def test_installing_names_the_wheel_that_make_build_writes() -> None:
    """The file name in the commands to copy has the current version."""
    text = (DOCS / "installing.md").read_text(encoding="utf-8")
    versions = re.findall(r"airflow_provider_supermetrics-([0-9][0-9a-z.]*)-py3", text)
    assert set(versions) == {airflow_provider_supermetrics.__version__}


def rows_of_the_matrix() -> dict[str, dict[str, str]]:
    """The table that `make test-matrix` has written: by release, the cells by their columns."""
    text = (DOCS / "installing.md").read_text(encoding="utf-8")
    table = text.split(matrix.BEGIN)[1].split(matrix.END)[0].strip()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


def minor(version: str) -> Version:
    """3.0 of 3.0.6."""
    return Version(".".join(version.split(".")[:2]))


def span(versions: Iterable[Version]) -> str:
    """Versions of one major version without a gap, as a sentence names them."""
    first, *others = sorted(versions)
    minors = [first.minor, *(version.minor for version in others)]
    assert minors == [*range(minors[0], minors[-1] + 1)]
    return f"{first} to {others[-1]}" if others else str(first)


def test_every_release_passes_all_tests_of_the_matrix() -> None:
    """Each has a row, with the Python that it is tested with; what is "not there" is not in its Airflow."""
    rows = rows_of_the_matrix()
    assert {release: row["Python"] for release, row in rows.items()} == matrix.PYTHONS
    lacks = {"asset watcher": "3.0", "health page": "3.1", "Connection form": "3.1"}
    for release, row in rows.items():
        cells = {name: cell for name, cell in row.items() if name not in ("Airflow", "Python", "quick tests")}
        assert re.fullmatch(r"[0-9],[0-9]{3} passed", row["quick tests"]), release
        for column, cell in cells.items():
            is_there = Version(release) >= Version(lacks.get(column, "0"))
            # Airflow 2 has a form of its own.
            is_there |= column == "Connection form" and Version(release).major == 2
            assert cell == ("yes" if is_there else "not there"), (release, column)


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "installing.md", INDEX], ids=name)
def test_pages_name_the_versions_that_are_tested(page: Path) -> None:
    """From the first to the last of each major version of Airflow, and of Python."""
    rows = rows_of_the_matrix()
    majors: dict[int, set[Version]] = {}
    for release in rows:
        majors.setdefault(minor(release).major, set()).add(minor(release))
    airflow = "Airflow " + " and ".join(span(majors[major]) for major in sorted(majors))
    python = "Python " + span({Version(row["Python"]) for row in rows.values()})
    text = " ".join(page.read_text(encoding="utf-8").split())
    assert (airflow if page == INDEX else f"{airflow}, on {python}") in text


def test_the_listed_vulnerabilities_are_not_in_what_the_tests_install() -> None:
    """The newest versions have none of them; a row that no lower bound admits any more is removed."""
    page = (DOCS / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z0-9-]+) \| ([0-9.]+) \| CVE-", page, re.MULTILINE)
    assert len(rows) >= 5
    newest = (ROOT / "constraints" / "airflow-3.3.txt").read_text()
    bounds = (ROOT / "pyproject.toml").read_text()
    for library, fixed in rows:
        [pinned] = re.findall(rf"^{library}==(\S+)", newest, re.MULTILINE)
        [bound] = re.findall(rf'^    "{library}>=([0-9.]+)"', bounds, re.MULTILINE)
        assert Version(bound) < Version(fixed) <= Version(pinned), library


# Messages


def messages() -> Iterator[str]:
    """What docs/troubleshooting.md explains: the code at the beginning of each item of a list."""
    page = tokens(DOCS / "troubleshooting.md")
    for opening, paragraph, content in zip(page, page[1:], page[2:], strict=False):
        if (opening.type, paragraph.type) == ("list_item_open", "paragraph_open"):
            for part in content.children or ():
                if part.type == "code_inline":
                    yield part.content
                elif part.type != "softbreak" and part.content.strip() != ",":
                    break


def templates(source: ast.AST) -> Iterator[str]:
    """The strings of a module, `…` for what is filled in; the arguments of one call also as one string."""

    def template(node: ast.AST) -> str | None:
        if isinstance(node, ast.JoinedStr):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None

    for node in ast.walk(source):
        if text := template(node):
            yield text
        if isinstance(node, ast.Call):
            first, *others = [*filter(None, map(template, node.args)), ""]
            yield f"{first} {'; '.join(others)}"  # a setting, what is wrong with it, what to do
        if isinstance(node, ast.Dict):
            for setting, what in zip(node.keys, node.values, strict=True):
                yield f"{setting and template(setting)} {template(what)}"


@cache
def sources() -> str:
    """All strings of the package, with `…` for what is filled in."""
    found = [
        re.sub(r"%[-+ 0-9.]*[srdf]", "…", text).replace("%%", "%")
        for path in sorted(PACKAGE.rglob("*.py"))
        for text in templates(ast.parse(path.read_text(encoding="utf-8")))
    ]
    return "\n".join(found)


def test_the_messages_that_are_explained_exist() -> None:
    """The longest fixed part of each message is in the package's sources."""
    explained = list(messages())
    fixed = {message: max(message.split("…"), key=len).strip(" .,;:") for message in explained}
    assert len(explained) > 100
    assert min(map(len, fixed.values())) >= 7
    assert [message for message, part in fixed.items() if part not in sources()] == []
