"""``make bench BENCH="pairs --suite testing"``: all of it in the root of a Debian release.

RabbitMQ, wrk and Python are the release's, and the checkout is this one. The packages of Python
are in ``.run/bench-testing``. The root is the one of ``make test-brokers``.
"""

import hashlib
import os
import shutil
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

import forms
import processes
import results
from forms import ROOT
from suite import Suite, run_in

# Of Debian, each with the file that proves that it is there.
PACKAGES = {
    "wrk": "usr/bin/wrk",
    "gcc": "usr/bin/gcc",
    "libc6-dev": "usr/include/stdio.h",
    "python3-dev": "usr/share/doc/python3-dev",
}
# What benchmarks and the compiler need, besides what the gateway needs.
NEEDED = ("trustme", "hatchling", "mypy", "setuptools", "types-PyYAML")
PROJECT, CONSTRAINTS = ROOT / "pyproject.toml", ROOT / "constraints.txt"
COMPILE = ROOT / "scripts" / "compiled.py"


def inside() -> bool:
    """Return whether this is the benchmark in the root already."""
    return results.COMMIT in os.environ


def run(name: str, options: Sequence[str]) -> int:
    """Run bench.py with these options in the release's root, and return its exit status.

    What is missing is installed, and the compiled form is made for its Python. Raise
    ``SuiteError``, or ``CalledProcessError`` if a step fails.
    """
    suite = Suite(name)
    suite.ensure_python()
    for package, evidence in PACKAGES.items():
        if not (suite.root / evidence).exists():
            print(f"installing {package} in {suite.root}", flush=True)
            run_in(suite.root, "apt-get -qq update")
            run_in(suite.root, f"apt-get -qq -y --no-install-recommends install {package}")
    print(f"Debian {name}: RabbitMQ {suite.rabbitmq_version}", flush=True)
    here = ROOT / ".run" / f"bench-{name}"
    here.mkdir(parents=True, exist_ok=True)
    environment = _environment(here)
    python = here / "venv" / "bin" / "python"

    def step(*arguments: str | Path) -> None:
        line = suite.command(ROOT, *arguments)
        subprocess.run(line, env=environment, cwd=ROOT, check=True)

    stamp = here / "installed"
    wanted = hashlib.sha256(PROJECT.read_bytes() + CONSTRAINTS.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"installing Python's packages in {here}", flush=True)
        step("/usr/bin/python3", "-m", "venv", "--clear", here / "venv")
        pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "-qq")
        needed = ("--editable", f"{ROOT}[compression,otel]", *NEEDED)
        step(*pip, "--constraint", CONSTRAINTS, *needed)
        stamp.write_text(wanted)
    compiled = here / "compiled"
    print("compiling", flush=True)
    step(python, COMPILE, compiled)
    environment |= {results.COMMIT: results.commit(), forms.COMPILED: str(compiled)}
    # chroot leaves the directory that it was called in, and files are named relative to it.
    where = f"--chdir={Path.cwd()}"
    line = suite.command(ROOT, "env", where, python, Path(__file__).with_name("bench.py"), *options)
    process = subprocess.Popen(line, env=environment)
    try:
        return process.wait()
    finally:
        processes.end(process, patience=90)  # it has to stop RabbitMQ


def _environment(directory: Path) -> dict[str, str]:
    """Return the variables as here, without those of this Python; pip trusts whom we trust."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    del_these = ("BROKER_SUITE", "VIRTUAL_ENV")
    default = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
    if default and Path(default).exists():
        copy = shutil.copy(default, directory / "ca.crt")
        mine |= {"PIP_CERT": str(copy), "SSL_CERT_FILE": str(copy)}
    return {key: value for key, value in mine.items() if key not in del_these}
