"""Write docs/reference.md from the docstrings of the public names.

    python -m dev.reference

The page contains every name in the `__all__` of a public module. An argument without a description, or a
description without an argument, is an error.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import airflow_provider_supermetrics
from airflow_provider_supermetrics import exceptions
from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics._wait import WaitPolicy
from airflow_provider_supermetrics.exceptions import SupermetricsError

PACKAGE: Final = Path(airflow_provider_supermetrics.__file__).parent
PAGE: Final = PACKAGE.parent / "docs" / "reference.md"
WIDTH: Final = 120

INTRODUCTION: Final = """\
# API reference

The public names of the package. Every other name is private and can change in any release. This page is
generated from the docstrings by `make reference`; change those, not the page.

- Operators, sensors and triggers take keyword arguments only. "(templated)": accepts Jinja templates.
- Numbers that are lengths of time are seconds.
- `Entry` is a log entry as the API sent it: a `dict[str, Any]`.
- `wait_policy` maps names of :class:`WaitPolicy` to numbers, such as `{"max_inline_wait": 300}`."""

#: The methods to include. Methods that are inherited from Airflow or called by Airflow are left out.
METHODS: Final[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
    ("SupermetricsHook", "SupermetricsAsyncHook"),
    ("list_logs", "iter_logs", "get_log", "list_connectors", "rate_limit", "test_connection", "close"),
)
#: Types of return values and arguments of public methods, wherever they are defined.
VALUES: Final = (RateLimit, WaitPolicy)
#: Defaults that depend on the configuration of Airflow.
CONFIGURED: Final = {"deferrable": "`[operators] default_deferrable`"}
_BASES: Final = {"BaseOperator": "operator", "BaseSensorOperator": "sensor"}

_FIELD: Final = re.compile(r"^:(param|raises) (\w+): ", re.MULTILINE)
_ROLE: Final = re.compile(r":(class|meth|ref):`~?([^`<]+?)(?:<(\w+)>)?`")


class Docstring:
    """A docstring in Airflow's style: paragraphs, then ``:param name:`` and ``:raises Kind:`` fields."""

    def __init__(self, documented: Any) -> None:
        text, *fields = _FIELD.split(inspect.getdoc(documented) or "")
        self.text = text.strip()
        self.params: dict[str, str] = {}
        self.raises: list[tuple[str, str]] = []
        for kind, name, description in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
            words = " ".join(description.split())
            if kind == "param":
                self.params[name] = words
            else:
                self.raises.append((name, words))


def render() -> str:
    """Return the whole page."""
    folders = [path.parent.name for path in sorted(PACKAGE.glob("*/supermetrics.py"))]
    documented = {
        folder: list(_public(import_module(f"{PACKAGE.name}.{folder}.supermetrics"))) for folder in folders
    }
    groups = [*documented.values(), _public(exceptions), VALUES]
    known = [named.__name__ for group in groups for named in group]
    page = [INTRODUCTION, _contents(documented)]
    for folder, group in documented.items():
        page.append(f"## {folder.replace('_', ' ').capitalize()}")
        for named in group:
            page += _class(named) if isinstance(named, type) else _function(named)
    page += ["## Values", *(part for value in VALUES for part in _class(value))]
    page.append("## Exceptions")
    for kind in _public(exceptions):
        page += _exception(kind)
    return _linked("\n\n".join(page), known) + "\n"


def _public(module: Any) -> Iterator[Any]:
    """Yield the objects in the module's `__all__`, in the order of the module."""
    for name, value in vars(module).items():
        if name in module.__all__:
            yield value


def _contents(documented: Mapping[str, Iterable[Any]]) -> str:
    rows = [
        f"| {', '.join(f':class:`{n.__name__}`' for n in group)} | `{PACKAGE.name}.{folder}.supermetrics` |"
        for folder, group in documented.items()
    ]
    rows.append(f"| [exceptions](#exceptions) | `{exceptions.__name__}` |")
    return "\n".join(["| names | import from |", "|---|---|", *rows])


def _class(documented: type) -> Iterator[str]:
    docstring = Docstring(documented)
    yield f"### {documented.__name__}"
    yield _paragraphs(docstring.text)
    parameters = _parameters(documented)
    if docstring.params:
        yield _table(documented.__name__, parameters, docstring)
    elif dataclasses.is_dataclass(documented):
        yield _signature(documented.__name__, parameters, with_types=True)
    for base in documented.__mro__:
        if base.__name__ in _BASES:
            yield f"The arguments of Airflow's `{base.__name__}` are accepted as well."
            break
    yield from _raises(docstring)
    brief = []
    for name in METHODS.get(documented.__name__, ()):
        method = inspect.getattr_static(documented, name)
        if (text := Docstring(method).text).startswith("As :meth:"):
            how = "async for … in " if not inspect.iscoroutinefunction(method) else "await "
            brief.append(f"- `{how}{name}(…)`: {text[0].lower()}{text[1:]}")
        else:
            yield from _method(documented, name, method)
    if brief:
        yield "\n".join(brief)


def _function(documented: Callable[..., Any]) -> Iterator[str]:
    yield f"### {documented.__name__}"
    yield from _callable(documented.__name__, documented)


def _method(owner: type, name: str, method: Any) -> Iterator[str]:
    yield f"#### {owner.__name__}.{name}"
    if isinstance(method, property):
        returned = inspect.signature(method.fget).return_annotation  # type: ignore[arg-type]  # all have a getter
        yield f"```python\n{name}: {returned}\n```"
        yield _paragraphs(Docstring(method).text)
    else:
        yield from _callable(name, method)


def _callable(name: str, documented: Callable[..., Any]) -> Iterator[str]:
    docstring, signature = Docstring(documented), inspect.signature(documented)
    parameters = {n: p for n, p in signature.parameters.items() if n != "self"}
    yield _signature(name, parameters, returned=signature.return_annotation)
    yield _paragraphs(docstring.text)
    if docstring.params:
        yield _table(name, parameters, docstring)
    yield from _raises(docstring)


def _parameters(documented: type) -> dict[str, inspect.Parameter]:
    """Return the arguments of the constructor, including those of base classes in this package."""
    found: dict[str, inspect.Parameter] = {}
    for base in documented.__mro__:
        if base.__module__.startswith(PACKAGE.name) and "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            for parameter in parameters:
                if parameter.kind is not inspect.Parameter.VAR_KEYWORD and parameter.name != "self":
                    found.setdefault(parameter.name, parameter)
            if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
                break
    return found


def _table(name: str, parameters: Mapping[str, inspect.Parameter], docstring: Docstring) -> str:
    if parameters.keys() != docstring.params.keys():
        differing = sorted(parameters.keys() ^ docstring.params.keys())
        raise SystemExit(f"{name}: {', '.join(differing)} must be both an argument and described")
    rows = [
        f"| `{n}` | `{_kind(parameters[n])}` | {_default(parameters[n])} | {_sentence(description)} |"
        for n, description in docstring.params.items()
    ]
    return "\n".join(["| argument | type | default | meaning |", "|---|---|---|---|", *rows])


def _kind(parameter: inspect.Parameter) -> str:
    return str(parameter.annotation).replace("|", r"\|")


def _default(parameter: inspect.Parameter) -> str:
    if parameter.name in CONFIGURED:
        return CONFIGURED[parameter.name]
    return "required" if parameter.default is parameter.empty else f"`{_value(parameter.default)}`"


def _value(value: object) -> str:
    if isinstance(value, timedelta) and not value % timedelta(minutes=1) and value < timedelta(days=1):
        return f"timedelta(minutes={value // timedelta(minutes=1)})"
    return repr(value).removeprefix("datetime.")


def _signature(
    name: str,
    parameters: Mapping[str, inspect.Parameter],
    *,
    with_types: bool = False,
    returned: object = inspect.Signature.empty,
) -> str:
    arguments, is_keyword_only = [], False
    for parameter in parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not is_keyword_only:
            arguments.append("*")
            is_keyword_only = True
        default = "" if parameter.default is parameter.empty else f"={_value(parameter.default)}"
        arguments.append(
            f"{parameter.name}: {parameter.annotation}" if with_types else parameter.name + default
        )
    arrow = "" if returned in (inspect.Signature.empty, "None") else f" -> {returned}"
    return f"```python\n{name}({', '.join(arguments)}){arrow}\n```"


def _raises(docstring: Docstring) -> Iterator[str]:
    if docstring.raises:
        yield "\n".join(
            _wrapped(f"- raises :class:`{kind}` {description}", "  ")
            for kind, description in docstring.raises
        )


def _exception(kind: type) -> Iterator[str]:
    docstring = Docstring(kind)
    yield f"### {kind.__name__}"
    yield _paragraphs(docstring.text)
    if issubclass(kind, SupermetricsError) and kind is not SupermetricsError:
        bases = " and ".join(f":class:`{base.__name__}`" for base in kind.__bases__)
        yield f"Kind of {bases}; {'retryable' if kind.retryable else 'not retryable'}."
    if docstring.params:
        names = {name: "str(error)" if name == "message" else name for name in docstring.params}
        rows = [
            f"| `{names[name]}` | {_sentence(description)} |"
            for name, description in docstring.params.items()
        ]
        yield "\n".join(["| attribute | meaning |", "|---|---|", *rows])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _paragraphs(text: str) -> str:
    return "\n\n".join(_wrapped(" ".join(part.split())) for part in re.split(r"\n\s*\n", text))


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _linked(page: str, known: Iterable[str]) -> str:
    """Return the page in Markdown, with roles of reStructuredText replaced by links."""
    names = set(known)

    def link(match: re.Match[str]) -> str:
        kind, description, target = match.groups()
        name = " ".join(description.split())
        if kind == "ref":
            return f"[{name}]({target}.md)"
        owner, _, method = name.partition(".")
        is_listed = owner in names and (not method or method in METHODS.get(owner, ()))
        return f"[`{name}`](#{name.replace('.', '').lower()})" if is_listed else f"`{name}`"

    return re.sub(r"(?<!`)``(?!`)", "`", _ROLE.sub(link, page))


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
