"""What the kernel knows of a process and its descendants: CPU time, memory; and how they end."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path


def tree_of(root: int) -> list[int]:
    """Return the process ids of ``root`` and of all its descendants that live now."""
    tree = [root]
    for pid in tree:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it ended while we were looking
                tree += map(int, children.read_text().split())
    return tree


def named(program: str, pids: Iterable[int]) -> int:
    """Return the first process that runs ``program``. Raise ``RuntimeError`` if none does."""
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == program:
                return pid
    raise RuntimeError(f"no process of the name {program}")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the user and system time of these processes since their start, in seconds.

    It is the clock that clock_getcpuclockid(3) names: nanoseconds, where
    ``/proc/<pid>/stat`` gives hundredths of a second. Raise ``OSError`` if a process has
    ended: a gateway that loses a process during a run has no figure.
    """
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def resident_bytes(pids: Iterable[int]) -> int:
    """Return the resident memory of these processes; a page that two of them share counts twice."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE")


def alive(pid: int) -> bool:
    """Tell whether the process still runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def end(process: "subprocess.Popen[bytes]", patience: float = 15.0) -> None:
    """Send SIGTERM to a process, and SIGKILL to what of its tree outlives ``patience`` seconds."""
    pids = tree_of(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    for pid in filter(alive, pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 5.0  # a killed process is gone at once, but not in an instant
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)


@contextlib.contextmanager
def on_cores(cores: Collection[int] | None) -> Iterator[None]:
    """Give these cores to the programs that the block starts: a child inherits them.

    They are set before the start, so a program that counts its cores counts right.
    """
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or ours)
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)
