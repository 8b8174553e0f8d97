"""The plot of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.contestants import FLOOR, OURS
from benchmarks.runs import Result


def draw(results: Sequence[Result], entries: int, path: Path) -> None:
    """Draw a bar for the CPU time of each contestant, with the entries that it lost."""
    figure = Figure(figsize=(8, 0.55 * len(results) + 0.9), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    titles = [result.contestant.title.replace("`", "") for result in results]
    colors = {OURS: "#1f6fb4", FLOOR: "#c9ced6"}
    bars = axes.barh(
        titles,
        [result.cpu for result in results],
        color=[colors.get(result.contestant, "#8b95a5") for result in results],
    )
    axes.bar_label(bars, [_label(result) for result in results], padding=5, fontsize=10)
    axes.invert_yaxis()
    axes.margins(x=0.3)
    axes.set_xlim(left=0)
    axes.set_title(f"Export of {entries:,} entries: CPU seconds beyond import", loc="left", fontsize=11)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _label(result: Result) -> str:
    lost = result.median(lambda run: run.score.missing + run.score.changed)
    return f"{result.cpu:.2f} s, " + (f"{lost:,.0f} entries lost" if lost else "complete")
