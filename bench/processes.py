"""What the kernel knows of a process and its descendants: CPU time, memory; and their end."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path


def parent_of(stat: str) -> int:
    """The parent's process id in the text of ``/proc/<pid>/stat`` (proc(5)).

    The second field, the program's name, may hold spaces and parentheses of
    its own, so the fields are counted from the last parenthesis.
    """
    return int(stat.rpartition(")")[2].split()[1])


def descend(root: int, parents: dict[int, int]) -> list[int]:
    """``root`` and everything below it, parents first, from a map of child to parent."""
    tree = [root]
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    return tree


def tree_of(root: int) -> list[int]:
    """The process ids of ``root`` and of all its descendants that live now."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended while we were looking
            parents[int(stat.parent.name)] = parent_of(stat.read_text())
    return descend(root, parents)


def named(program: str, pids: Iterable[int]) -> int:
    """The first of these processes that runs ``program``. Raises ``RuntimeError`` if none does."""
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == program:
                return pid
    raise RuntimeError(f"no process of the name {program}")


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes, all threads, in seconds since their start.

    It is the clock that clock_getcpuclockid(3) names: nanoseconds, where
    ``/proc/<pid>/stat`` gives hundredths of a second.

    Raises ``OSError`` if one of them has ended: a gateway that loses a process
    during a run has no figure.
    """
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def resident_bytes(pids: Iterable[int]) -> int:
    """Resident memory of these processes; a page that two of them share counts twice."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE")


def alive(pid: int) -> bool:
    """Whether the process still runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def end(process: subprocess.Popen[bytes], patience: float = 15.0) -> None:
    """End a process and its descendants: SIGTERM to it, SIGKILL to what outlives ``patience``."""
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
