"""Writes docs/benchmarks.md and its plots from a result: ``make bench-docs``."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import charts
import docs_page
import report
import results
from docs_page import of

DOCS = results.ROOT / "docs"
IMAGES = DOCS / "images"


def draw(document: results.Document, directory: Path) -> None:
    """Every plot that the page shows."""
    if panels := docs_page.cpu_panels(document):
        charts.bars(directory / "bench-cpu.svg", panels)
    if panels := docs_page.rate_panels(document):
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
    panels: list[docs_page.Panel] = []
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
    with tempfile.TemporaryDirectory() as directory:
        draw(document, Path(directory))
        text = docs_page.page(document, options.result)
        # Not before all of it is there.
        for old in IMAGES.glob("bench-*.svg"):
            old.unlink()
        shutil.copytree(directory, IMAGES, dirs_exist_ok=True)
    (DOCS / "benchmarks.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
