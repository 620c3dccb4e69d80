"""The plots of docs/benchmarks.md, as SVG that does not change when the figures do not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from contenders import OURS
from docs_page import Panel, series
from report import Run

OURS_COLOURS = ("#1f5fbf", "#9dbde8")  # the gateway's part, the broker's
THEIR_COLOURS = ("#6b7280", "#c9cdd3")
WIDE = 50.0  # ratio of figures above which the smaller would all lie on the axis
LINES = ("#1f5fbf", "#c2570c", "#15803d", "#7c3aed", "#be123c", "#0e7490")

mpl.use("SVG")
mpl.rcParams.update(
    {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "statelessd",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        # White behind all of it, so that it is read on a dark page as well.
        "savefig.facecolor": "white",
    }
)


def bars(
    file: Path,
    panels: Sequence[Panel],
    *,
    digits: int = 0,
    unit: str = "",
    all_ours: bool = False,
) -> None:
    """Horizontal bars, a panel beside the other; each bar has its figure.

    Ours are blue: those that are named so, or all.
    """
    most = max(len(rows) for _, rows in panels)
    figure = Figure(figsize=(3.4 * len(panels) + 1, 0.35 * most + 0.8), layout="constrained")
    for axes, (title, rows) in zip(_axes(figure, len(panels)), panels, strict=True):
        names = [name for name, _, _ in rows]
        first = [value or 0.0 for _, value, _ in rows]
        second = [value or 0.0 for _, _, value in rows]
        ours = [all_ours or name.startswith(OURS) for name in names]
        colours = [OURS_COLOURS if each else THEIR_COLOURS for each in ours]
        places = range(len(rows))
        axes.barh(places, first, color=[dark for dark, _ in colours])
        axes.barh(places, second, left=first, color=[light for _, light in colours])
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.3 * max(a + b for a, b in zip(first, second, strict=True)) or 1)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_title(title, loc="left")
        for place, (_, *values) in enumerate(rows):
            label = " + ".join(f"{v:,.{digits}f}{unit}" for v in values if v is not None)
            total = sum(value or 0.0 for value in values)
            axes.annotate(label, (total, place), (4, 0), textcoords="offset points", va="center")
    _save(figure, file)


def lines(file: Path, runs: Sequence[Run], figures: dict[str, str], along: str) -> None:
    """The numbers that the points' names begin with, in steps, a line for each rest of them."""
    figure = Figure(figsize=(4.2 * len(figures), 2.9), layout="constrained")
    for axes, (key, title) in zip(_axes(figure, len(figures)), figures.items(), strict=True):
        found = series(runs, key)
        steps = sorted({x for line in found.values() for x, _ in line})
        for colour, (name, line) in zip(LINES * 2, found.items(), strict=False):
            places, values = zip(*((steps.index(x), y) for x, y in line), strict=True)
            axes.plot(places, values, marker="o", markersize=4, color=colour, label=name)
        axes.set_xticks(range(len(steps)), [_short(step) for step in steps])
        every = [y for line in found.values() for _, y in line]
        if max(every) > WIDE * min(every) > 0:
            axes.set_yscale("log")
        else:
            axes.set_ylim(0, 1.15 * max(every))
        axes.set_title(title, loc="left")
        axes.set_xlabel(along)
        axes.grid(axis="y", color="#e5e7eb")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, file)


def _short(number: float) -> str:
    for size, unit in ((10**6, "M"), (2**20, "Mi"), (2**10, "Ki")):
        if number >= size and number % size == 0:
            return f"{number / size:g} {unit}"
    return f"{number:g}"


def _axes(figure: Figure, count: int) -> Sequence[Any]:
    return figure.subplots(1, count, squeeze=False)[0]


def _save(figure: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None, "Creator": None})
    # It ends lines with spaces.
    text = "\n".join(line.rstrip() for line in file.read_text().splitlines())
    file.write_text(text + "\n")
