"""Write docs/development/benchmarks.md from a result: ``make bench-docs``."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import bench
import goals
import results


def page(document: results.Document, file: Path = results.REFERENCE) -> str:
    """Return the text of the page for the result in ``file``."""
    return "\n".join([*_head(document, file), *_singles(document), *_others(document)])


def _head(document: results.Document, file: Path) -> Iterator[str]:
    machine, versions = document["machine"], document["versions"]
    path = Path(os.path.relpath(file, results.ROOT))
    source = f"`{file.name}`" if ".." in path.parts else f"[{path}](../{path})"
    yield f"""\
# Benchmarks

`make bench-docs` writes this page from {source}.
`{document["command"]}` made that result on {document["date"][:10]}, at commit
{document["commit"]}: {machine["cores"]} cores ({machine["cpu"]}), \
{machine["memory_mib"] / 1024:.0f} GiB, {machine["kernel"].rpartition(" ")[0]}, \
Python {versions["statelessd"]["python"]},
RabbitMQ {versions["RabbitMQ"]}. {document["cores"]}.

[bench/README.md](../bench/README.md) says how it is measured, how to run it, and how to
read it.
"""
    if faults := results.faults(document):
        yield "**Faults, which make figures mean nothing:**\n"
        yield from (f"- {fault}" for fault in faults)
        yield ""


def _singles(document: results.Document) -> Iterator[str]:
    medians = [run for run in document["medians"] if run["scenario"] == "singles"]
    if not medians:
        return
    yield f"""\
## One message for each request

Persistent messages of 100 bytes, and of 64 KiB, over kept connections into one classic
queue. Every gateway waits for RabbitMQ's confirm. Medians of \
{medians[0]["rounds"]} runs of {document["options"]["seconds"]} s.
`{results.PIPELINED}` is a plain publisher with confirms that keeps as many messages under way as
the others have connections: the most that this RabbitMQ takes. The management API is a part
of RabbitMQ, whose CPU is all of it. `{results.RUST}` takes plain bodies, without
credentials.
"""
    yield from _markdown(results.rows(medians, ("gateway", "point")), left=2)
    yield "\n### The goal\n"
    verdicts = goals.verdicts(document["medians"])
    yield from _markdown([("", "measured, us or times", "goal", ""), *verdicts], left=1)
    yield ""


def _others(document: results.Document) -> Iterator[str]:
    for name, scenario in bench.SCENARIOS.items():
        runs = [run for run in document["medians"] if run["scenario"] == name]
        if runs and name != "singles":
            yield f"## {name}\n\n{scenario.play.__doc__}\n".replace("``", "`")
            yield from _markdown(results.rows(runs, ("point", "gateway")), left=2)
            yield ""


def _markdown(rows: Sequence[Sequence[str]], left: int) -> Iterator[str]:
    head, *others = rows
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * left + "---:|" * (len(head) - left)
    for row in others:
        yield f"| {' | '.join(row)} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/docs.py", description=__doc__)
    parser.add_argument("result", type=Path, nargs="?", default=results.REFERENCE)
    options = parser.parse_args()
    try:
        document = results.read(options.result)
    except (OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    (results.ROOT / "docs/development/benchmarks.md").write_text(page(document, options.result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
