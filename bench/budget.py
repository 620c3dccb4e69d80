"""Where each microsecond of one request goes: writes the tables of ``docs/performance.md``.

``make bench-budget`` runs it, for about a minute.
"""

import argparse
import contextlib
import datetime as dt
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import environment
import hotpath
import instructions
import load
import stages
from measured_queue import MeasuredQueue
from start import RUN, end_in_order, start_broker, start_gateways

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- make bench-budget: begin -->\n", "<!-- make bench-budget: end -->\n"
REQUIREMENTS = ROOT / "bench" / "profiler" / "requirements.txt"
CONNECTIONS = 32
RATE = 400  # samples a second
TICKS = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> tuple[float, float]:
    """Seconds in user mode and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def measure(seconds: int) -> tuple[float, float, Counter[str], float]:
    """User and kernel microseconds for each request; samples by stage; requests a second.

    The two come from different runs, for a profiler slows down what it looks at.
    """
    python = environment.python_with(REQUIREMENTS, RUN / "profiler-venv")
    profile = RUN / "bench" / "profile.raw"
    with contextlib.ExitStack() as stack:
        cores = environment.divide(sorted(os.sched_getaffinity(0)), pin=True)
        os.sched_setaffinity(0, cores.others)
        broker, _ = start_broker(stack)
        login = broker.username, broker.password
        queue = stack.enter_context(MeasuredQueue(broker.port, *login))
        gateway = start_gateways(["statelessd"], broker, cores, stack)["statelessd"]
        backend = gateway.pids[-1]  # the first is its parent, which only waits
        load.run(gateway.url, CONNECTIONS, 2, *login)
        print("measuring", flush=True)
        before = cpu(backend)
        measured = load.run(gateway.url, CONNECTIONS, seconds, *login)
        after = cpu(backend)
        user, system = (
            (now - then) / measured.requests * 1e6 for now, then in zip(after, before, strict=True)
        )
        queue.purge()
        print("sampling", flush=True)
        spy = [str(python.parent / "py-spy"), "record", "--native", "--format=raw"]
        spy += [f"--rate={RATE}", f"--duration={seconds}", f"--output={profile}"]
        with subprocess.Popen(
            [*spy, f"--pid={backend}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as sampler:
            load.run(gateway.url, CONNECTIONS, seconds + 2, *login)
            _, said = sampler.communicate(timeout=30)
        if sampler.returncode:
            raise RuntimeError(f"py-spy failed; it has to run as root: {said}")
        queue.purge()
    with profile.open() as lines:
        return user, system, stages.stages(lines), measured.requests / measured.seconds


def time_table(user: float, system: float, samples: Counter[str]) -> list[str]:
    """The kernel's part and ours, each divided as the samples within it are."""
    lines = ["| stage | us | of all |", "|---|---:|---:|"]
    for kernel, total in ((False, user), (True, system)):
        part = {name: n for name, n in samples.items() if name.startswith("kernel") is kernel}
        for name, count in sorted(part.items(), key=lambda each: -each[1]):
            share = total * count / sum(part.values())
            lines.append(f"| {name} | {share:.1f} | {share / (user + system):.0%} |")
        lines.append(
            f"| **{'kernel' if kernel else 'user mode'}** | **{total:.1f}** | "
            f"**{total / (user + system):.0%}** |"
        )
    lines.append(f"| **together** | **{user + system:.1f}** | |")
    return lines


def instruction_table(counts: instructions.Counts) -> list[str]:
    lines = ["| scenario | instructions | turns of the reference loop |", "|---|---:|---:|"]
    for name, found in counts.publishes.items():
        lines.append(f"| {name} | {found:,.0f} | {counts.ratio(name):.3f} |")
    return lines


def write(text: str) -> None:
    """Between the page's two marks."""
    page = PAGE.read_text()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/budget.py", description=__doc__)
    parser.add_argument("--seconds", type=int, default=8, help="of each of the two runs")
    options = parser.parse_args()
    end_in_order()
    begun = time.monotonic()
    machine, versions = environment.machine(), environment.our_versions()
    user, system, samples, rate = measure(options.seconds)
    print("counting instructions", flush=True)
    counts = instructions.count(tuple(hotpath.SCENARIOS), 1024)
    text = "\n".join(
        [
            f"`make bench-budget` on {dt.datetime.now(dt.UTC):%Y-%m-%d}: {machine['cores']} cores "
            f"({machine['cpu']}), {machine['kernel']}; "
            + ", ".join(f"{name} {version}" for name, version in versions.items())
            + f". wrk with {CONNECTIONS} connections and a form of 100 bytes, {rate:,.0f} "
            f"requests/s; {samples.total():,} samples.",
            "",
            *time_table(user, system, samples),
            "",
            "Instructions for one publish, in our code and Python's alone (`bench/hotpath.py`):",
            "",
            *instruction_table(counts),
            "",
        ]
    )
    print(text)
    write(text)
    print(f"docs/performance.md is written, after {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
