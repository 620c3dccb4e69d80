"""Makes or renews the project's Python environment, .venv, in one of two stages.

environment.py runtime       what the gateway imports: for make run
environment.py development   and what tests, checks and documents need: for everything else

The second adds to the first, so neither takes the other's packages away. When the files that
name the packages have not changed, nothing is installed. What an interruption leaves half-made
is made anew.
"""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from process import interrupt_on_signals, interruptible
from progress import Step, megabytes

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = ROOT / "constraints.txt"
DEVELOPMENT = ROOT / "requirements-dev.txt"
# Holds the digest of what is installed; make compares their times.
STAMPS = {"runtime": VENV / ".runtime", "development": VENV / ".ready"}
# Exists while something is installed: afterwards nobody knows what is whole.
INCOMPLETE = VENV / ".incomplete"
LOCK = ROOT / ".run" / "environment.lock"

SIZES = {"bytes": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}
# What pip and the system say when an index is not reached.
UNREACHED = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|SSLError|Max retries"
    r"|from versions: none|Temporary failure|Network is unreachable|Connection refused|timed out"
)
NO_VENV = """\
Python's module venv is missing. Install it, and run the same again:
    apt-get install python3-venv"""
NO_INDEX = """\
PyPI is not reached. Check the network, and run the same again. Behind a proxy, set HTTPS_PROXY.
With a mirror of PyPI, set PIP_INDEX_URL."""


class SetupError(Exception):
    """The environment cannot be made; the text says what to do."""


def ensure(stage: str) -> None:
    """Make or renew the environment. Raise SetupError if that fails."""
    with _locked():
        stamp = STAMPS[stage]
        sound = _sound()
        if not sound or not stamp.exists() or stamp.read_text() != _digest(stage):
            if not sound:
                _make()
            INCOMPLETE.touch()
            for each in STAMPS.values():  # so make asks again after an interruption
                each.unlink(missing_ok=True)
            _install(stage)
            stamp.write_text(_digest(stage))
            if stage == "development":  # which has what the other needs
                STAMPS["runtime"].write_text(_digest("runtime"))
            INCOMPLETE.unlink()
        stamp.touch()


def _runtime() -> list[str]:
    project = tomllib.loads(PROJECT.read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["compression"]]


def _digest(stage: str) -> str:
    """Return a digest of everything that says what this stage has."""
    files = [CONSTRAINTS] if stage == "runtime" else [CONSTRAINTS, PROJECT, DEVELOPMENT]
    parts = [*_runtime(), *(file.read_text() for file in files)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _sound() -> bool:
    """Return whether there is an environment that was made to its end and whose Python runs."""
    python = VENV / "bin" / "python"
    if INCOMPLETE.exists() or not python.exists():
        return False
    # An upgrade of the system's Python leaves the packages of the older one.
    probe = subprocess.run([python, "-c", "import pip"], capture_output=True, check=False)
    return probe.returncode == 0


def _make() -> None:
    if importlib.util.find_spec("ensurepip") is None:
        raise SetupError(NO_VENV)
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    INCOMPLETE.touch()
    with Step(f"Making a Python environment in {VENV.name}") as step:
        status, said = _run([sys.executable, "-m", "venv", str(VENV)], step)
        step.result = megabytes(_size())
    if status:
        raise SetupError(f"{said}\nPython's module venv failed.")


def _install(stage: str) -> None:
    """Let pip install what the stage needs, and show how it goes on."""
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
    if stage == "runtime":
        what = "The gateway's Python packages"
        wanted = _runtime()
    else:
        what = "All Python packages, also those for tests and checks"
        wanted = ["--editable", f"{ROOT}[compression,otel]", "--requirement", str(DEVELOPMENT)]
    with Step(f"{what}: pip downloads and installs them") as step:
        status, said = _run([*pip, "--progress-bar", "off", *wanted], step)
        if status == 0:
            step.result = f"{_downloaded(said)} downloaded, {megabytes(_size())} in {VENV.name}"
    if status == 0:
        return
    INCOMPLETE.unlink()  # pip ended by itself, and left things as they were before
    lines = said.splitlines()
    if unreached := [line for line in lines if UNREACHED.search(line)]:
        raise SetupError(f"{NO_INDEX}\n    {unreached[0].strip()}")
    raise SetupError("\n".join(["pip failed:", *lines[-8:]]))


def _run(command: list[str], step: Step) -> tuple[int, str]:
    """Run a command and show its current line. Return its exit status and what it printed."""
    said = []
    # As a URL, because pip takes the words of the variable for several files.
    environment = os.environ | {"PIP_CONSTRAINT": CONSTRAINTS.as_uri()}
    with interruptible(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        for line in process.stdout or ():
            said.append(line)
            if match := re.match(r"\s*(?:Downloading|Building|Installing|Processing) .*", line):
                step.show(match[0].strip())
    return process.returncode, "".join(said).strip()


def _downloaded(said: str) -> str:
    found = re.findall(r"Downloading \S+ \(([\d.]+) (\w+)\)", said)
    return megabytes(sum(float(number) * SIZES.get(unit, 0) for number, unit in found))


def _size() -> int:
    """Return the bytes of the environment on the disk."""
    return sum(file.lstat().st_blocks * 512 for file in VENV.rglob("*"))


@contextmanager
def _locked() -> Iterator[None]:
    """Let two of these take turns."""
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another make, which is installing into {VENV.name} …", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Run the command. Return the exit status."""
    interrupt_on_signals()
    try:
        ensure(sys.argv[1])
    except SetupError as error:
        print(f"environment.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The next make makes the environment anew.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
