"""A soak as a table and a plot."""

import datetime as dt
import os

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from timeline import quantile


def write(run, directory):
    """Write ``soak-SEED.md`` and ``soak-SEED.png``."""
    directory.mkdir(parents=True, exist_ok=True)
    picture = directory / f"soak-{run.seed}.png"
    _plot(run, picture)
    table = directory / f"soak-{run.seed}.md"
    table.write_text(_table(run, picture.name))
    print(f"wrote {table} and {picture}")


def _table(run, picture):
    minutes = (run.seconds[-1].at - run.seconds[0].at) / 60
    lines = [
        f"# Soak, seed {run.seed}",
        "",
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {os.cpu_count()} cores, "
        f"{minutes:.1f} minutes, {len(run.faults)} faults.",
        "",
        "```",
        str(run.verdict),
        "```",
        "",
        f"![throughput, latency and memory]({picture})",
        "",
        "While each fault was at work (answers in a second; medians of the seconds' p50 and p99):",
        "",
        "| fault | times | seconds | 204/s | not published/s | unknown/s | p50 ms | p99 ms |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in sorted({fault.name for fault in run.faults}):
        faults = [fault for fault in run.faults if fault.name == name]
        rows = [second for second in run.seconds if _is_within(second, faults)]
        lines.append(_row(name.replace("_", " "), len(faults), rows))
    calm = [second for second in run.seconds if not _is_within(second, run.faults)]
    lines.append(_row("none of them", "", calm))
    return "\n".join(lines) + "\n"


def _is_within(second, faults):
    return any(fault.begun - 1 <= second.at <= fault.ended for fault in faults)


def _row(name, times, rows):
    length = len(rows) or 1

    def rate(attribute):
        return f"{sum(getattr(row, attribute) for row in rows) / length:.1f}"

    def median(attribute):
        value = quantile([v for row in rows if (v := getattr(row, attribute)) is not None], 0.5)
        return "" if value is None else f"{value:.1f}"

    return (
        f"| {name} | {times} | {len(rows)} | {rate('confirmed')} | {rate('not_published')} "
        f"| {rate('unknown')} | {median('p50')} | {median('p99')} |"
    )


def _plot(run, path):
    figure, (answers, latency, memory) = plt.subplots(
        3, sharex=True, figsize=(14, 9), layout="constrained"
    )
    at = [second.at for second in run.seconds]
    counts = "confirmed", "not_published", "unknown"
    series = [[getattr(second, name) for second in run.seconds] for name in counts]
    answers.stackplot(at, series, labels=counts, colors=["#3a7d44", "#e0a030", "#c0392b"])
    answers.set_ylabel("answers in a second")
    for name in ("p50", "p99"):
        latency.plot(at, [getattr(second, name) for second in run.seconds], label=name)
    latency.set_yscale("log")
    latency.set_ylabel("ms until a 204")
    memory.plot([t for t, _ in run.memory], [size / 2**20 for _, size in run.memory])
    memory.set(ylabel="MiB of the largest backend", xlabel="seconds")
    memory.set_ylim(bottom=0)
    names = sorted({fault.name for fault in run.faults})
    colors = dict(zip(names, plt.get_cmap("tab20").colors, strict=False))
    for axes in (answers, latency, memory):
        for fault in run.faults:
            ended = max(fault.ended, fault.begun + 0.3)
            axes.axvspan(fault.begun, ended, color=colors[fault.name], alpha=0.25, lw=0)
    answers.legend(loc="upper right")
    latency.legend(loc="upper right")
    handles = [plt.Rectangle((0, 0), 1, 1, color=color, alpha=0.4) for color in colors.values()]
    labels = [name.replace("_", " ") for name in colors]
    figure.legend(handles, labels, loc="outside lower center", ncol=6)
    figure.suptitle(f"seed {run.seed}")
    figure.savefig(path, dpi=110)
    plt.close(figure)
