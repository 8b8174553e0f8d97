"""The health of connectors as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from airflow_provider_supermetrics import __version__
from airflow_provider_supermetrics._api.statistics import ERROR_STATUS
from airflow_provider_supermetrics._api.text import counted
from airflow_provider_supermetrics._health import plots, words
from airflow_provider_supermetrics._health.model import ConnectorCoverage, ConnectorHealth, Level, Report
from airflow_provider_supermetrics._schedule import Window

#: What a level is called, and the character that stands for it beside the colour.
LEVELS: Final = {
    Level.CRITICAL: ("Critical", "✖"),
    Level.WARNING: ("Warning", "▲"),
    Level.NOTICE: ("Notice", "●"),
    Level.HEALTHY: ("Healthy", "✔"),
}
_NAMES: Final = {
    "complete": "Exported once",
    "missing": "Missing",
    "overlapping": "More than once",
    "awaited": "Not due yet",
}
# A missing hour of a month must be seen, also in the small strip of the first table.
_NARROWEST: Final = 4.0
_NARROWEST_OF_MINI: Final = 24.0
# Ranges that are written out; the table has the rest by day.
_MOST_RANGES: Final = 5
# An error rate of a few per mille would otherwise look like an outage.
_LEAST_TOP_RATE: Final = 0.05


def render(report: Report, body: str | None = None, *, age: timedelta | None = None) -> str:
    """Return the page.

    :param body: what :func:`render_body` returned for the report; by default, with its links.
    :param age: how old the report is when the page is sent; None where that is not known.
    """
    content = render_body(report) if body is None else body
    html = _template("page.html.j2").render(report=report, age=age, version=__version__, body=content)
    # A name on a disk can contain what no encoding has.
    return html.encode("utf-8", "replace").decode("utf-8")


def render_body(report: Report, *, folder_link: Callable[[str, str], str | None] | None = None) -> str:
    """Return the part of the page that takes most of the time, and does not depend on its age.

    :param folder_link: the link of the folder of a path's objects, if any; by default, one that is relative
        to a page beside the exports.
    """
    levels = [(level, sum(each.level == level for each in report.connectors)) for level in LEVELS]
    return _template("body.html.j2").render(
        bar=words.length(report.bar),
        connectors=[(each, _figures(each, report)) for each in report.connectors],
        folder_link=folder_link or _below,
        has_paths=len({each.path for each in report.connectors}) > 1,
        levels=levels,
        numbers=report.numbers,
        ticks=plots.ticks(report.window),
    )


def _below(path: str, folder: str) -> str | None:  # noqa: ARG001  # other links need the path
    return quote(f"./{folder}/" if folder else "./", errors="replace")


def _figures(health: ConnectorHealth, report: Report) -> dict[str, Any]:
    """The shapes of a connector's plots, and what they show in words."""
    return {
        "strip": _strip(health.coverage, report.window, _NARROWEST),
        # So small, what is not due yet would look like a fault.
        "mini": {**_strip(health.coverage, report.window, _NARROWEST_OF_MINI), "awaited": []},
        "entries": plots.bars([each.entries for each in health.bars]),
        "rate": plots.bars([each.rate for each in health.bars], _LEAST_TOP_RATE),
        "durations": plots.lines(health.bars),
    }


def _strip(coverage: ConnectorCoverage, window: Window, narrowest: float) -> dict[str, list[plots.Stretch]]:
    spans = {
        "complete": coverage.complete,
        "awaited": (coverage.awaited,) if coverage.awaited else (),
        "overlapping": coverage.overlapping,
        "missing": coverage.missing,
    }
    return {name: plots.stretches(found, window, narrowest) for name, found in spans.items()}


def _is_error(status: str) -> bool:
    """Whether it is the status of an error: what is no number is none."""
    # A longer one is none of HTTP, and Python converts no number of thousands of digits.
    return status.isdecimal() and len(status) < 10 and int(status) >= ERROR_STATUS


@cache
def _template(name: str) -> Template:
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("airflow_provider_supermetrics._health", ""),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "count": counted,
        "is_error": _is_error,
        "length": words.length,
        "length_of": len,
        "milliseconds": words.milliseconds,
        "moment": words.moment,
        "number": words.number,
        "percent": words.percent,
        "period": words.period,
        "periods": words.periods,
        "span": lambda time: words.length(time) if time else "-",
    }
    environment.globals |= {
        "HEIGHT": plots.HEIGHT,
        "LEVELS": LEVELS,
        "MOST_RANGES": _MOST_RANGES,
        "NAMES": _NAMES,
        "WIDTH": plots.WIDTH,
    }
    return environment.get_template(name)
