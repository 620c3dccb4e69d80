"""Writes docs/benchmarks.md and its plots from a result: ``make bench-docs``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import charts
import docs_page
import report
import results
import singles
from contenders import CEILING, MANAGEMENT
from docs_page import of

DOCS = results.ROOT / "docs"
IMAGES = DOCS / "images"


def draw(document: results.Document, directory: Path) -> None:
    """Every plot that the page shows."""
    of_point: dict[str, list[report.Run]] = {}
    for run in of(document, singles.SCENARIO):
        of_point.setdefault(run["point"], []).append(run)
    shown = {point: runs for point, runs in of_point.items() if point != "1"}
    charts.bars(
        directory / "bench-cpu.svg",
        [
            (docs_page.WHERE.get(point, point),
             [(run["gateway"], run["gateway_us"], run["broker_us"])
              for run in runs if run["gateway"] != MANAGEMENT])
            for point, runs in shown.items()
        ],
    )  # fmt: skip
    panels: list[charts.Panel] = []
    for point, runs in shown.items():
        rates = {run["gateway"]: run["requests_per_second"] for run in runs}
        if whole := rates.pop(CEILING, None):
            shares = [(name, 100 * rate / whole, None) for name, rate in rates.items()]
            panels.append((docs_page.WHERE.get(point, point), shares))
    if panels:
        charts.bars(directory / "bench-rate.svg", panels, unit=" %")
    for name, section in docs_page.SECTIONS.items():
        # What the rate was taken from is no part of the comparison.
        if runs := [run for run in of(document, name) if run["point"] != "greatest rate"]:
            _draw(directory / f"bench-{name}.svg", section, runs)


def _draw(file: Path, section: docs_page.Section, runs: Sequence[report.Run]) -> None:
    if section.along:
        charts.lines(file, runs, section.figures, section.along)
        return
    several = len({run["gateway"] for run in runs}) > 1
    one = len({run["point"] for run in runs}) == 1
    panels: list[charts.Panel] = []
    for key, title in section.figures.items():
        rows = []
        for run in runs:
            gateway = run["gateway"] if several else ""
            name = ", ".join(filter(None, (gateway, "" if one else run["point"])))
            rows.append((name, run.get(key), None))
        panels.append((title, rows))
    charts.bars(file, panels, digits=1 if "ms" in panels[0][0] else 0, all_ours=not several)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/docs.py", description=__doc__)
    parser.add_argument("result", type=Path, nargs="?", default=results.REFERENCE)
    options = parser.parse_args()
    try:
        document = results.read(options.result)
    except (OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    for old in IMAGES.glob("bench-*.svg"):
        old.unlink()
    draw(document, IMAGES)
    (DOCS / "benchmarks.md").write_text(docs_page.page(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
