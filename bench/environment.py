"""What a run stands on: the peers' virtual environments, versions, the machine and its cores."""

import hashlib
import os
import platform
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

BENCH = Path(__file__).parent


def requirements_of(peer: str) -> Path:
    """The packages of a peer, each with its version."""
    return BENCH / "peers" / f"{peer}.txt"


def python_with(requirements: Path, directory: Path) -> Path:
    """The interpreter of a virtual environment, which is made when it is missing or old.

    Raises ``subprocess.CalledProcessError`` when pip fails.
    """
    python = directory / "bin" / "python"
    stamp = directory / "installed"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print(f"installing {requirements.relative_to(BENCH)}", flush=True)
    venv.create(directory, clear=True, with_pip=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    subprocess.run([*pip, "--no-deps", "-r", str(requirements)], check=True)
    stamp.write_text(wanted)
    return python


def our_versions() -> dict[str, str]:
    names = ("statelessd", "uvicorn", "uvloop", "httptools", "pamqp")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def peer_versions(peer: str) -> dict[str, str]:
    """What a peer's environment is made of: its requirements pin all of it."""
    lines = requirements_of(peer).read_text().splitlines()
    pins = (line.partition("==") for line in lines if not line.startswith("#"))
    return {name: version for name, _, version in pins}


def machine() -> dict[str, str | int]:
    """Cores this program may use, memory in MiB, the processor's name, the kernel."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": memory // 2**20,
        "cpu": cpu_model(Path("/proc/cpuinfo").read_text()),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def cpu_model(cpuinfo: str) -> str:
    """The first ``model name`` of ``/proc/cpuinfo``; not every architecture has one."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


@dataclass(frozen=True)
class Cores:
    """Which cores the gateway runs on, and which the broker and wrk; all, when not pinned."""

    gateway: list[int]
    others: list[int]
    pinned: bool

    def __str__(self) -> str:
        if not self.pinned:
            return "not pinned: gateway, broker and wrk share all cores"
        gateway, others = (", ".join(map(str, cores)) for cores in (self.gateway, self.others))
        return f"pinned: the gateway to core {gateway}; broker and wrk to core {others}"


def divide(available: Sequence[int], pin: bool) -> Cores:
    """The first core for the gateway, which is one thread; the others for the rest."""
    cores = sorted(available)
    if not pin or len(cores) < 2:
        return Cores(cores, cores, pinned=False)
    return Cores(cores[:1], cores[1:], pinned=True)
