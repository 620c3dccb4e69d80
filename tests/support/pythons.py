"""The Pythons that are at hand, on this machine and in roots of other Debian releases."""

import functools
import os
import re
import shutil
import ssl
import subprocess
from pathlib import Path

from suite import Suite

ROOT = Path(__file__).resolve().parent.parent.parent
SUPPORTED = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
PROBE = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"


class Python:
    """An interpreter of this machine."""

    def __init__(self, program):
        self.program = program

    def __repr__(self):
        return str(self.program)

    def command(self, directory, *arguments):
        """Return the command line that runs these arguments where the interpreter is."""
        return [str(each) for each in arguments]

    def environment(self, directory):
        """Return the variables of its processes: nothing of the checkout, nor of this Python."""
        return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


class DebianPython(Python):
    """The interpreter of a Debian release, in the release's root."""

    def __init__(self, suite):
        super().__init__("/usr/bin/python3")
        self._suite = suite

    def __repr__(self):
        return f"Debian {self._suite.name}"

    def command(self, directory, *arguments):
        return self._suite.command(directory, *arguments)

    def environment(self, directory):
        """Return the variables as here; pip trusts whom this machine trusts."""
        variables = super().environment(directory)
        default = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
        if default and Path(default).exists():
            copy = str(shutil.copy(default, directory / "ca.crt"))
            # pip 26 does not heed the first where the second, as set here, names no file there.
            variables |= {"PIP_CERT": copy, "SSL_CERT_FILE": copy}
        return variables


@functools.cache
def at_hand():
    """Return an interpreter for each supported version that is here, by the version.

    They are in PATH, in pyenv's directory, or in the roots that SUITES of the environment names.
    """
    found = {}
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in SUPPORTED:
        name = f"python{version}"
        for program in (shutil.which(name), *sorted(pyenv.glob(f"{version}.*/bin/{name}"))):
            if program and _version([program]) == version:
                found.setdefault(version, Python(program))
    for suite in map(Suite, os.environ.get("SUITES", "").split()):
        suite.ensure_python()
        found[_version(suite.command(Path("/tmp"), "python3"))] = DebianPython(suite)
    return dict(sorted(found.items(), key=lambda each: SUPPORTED.index(each[0])))


def _version(command):
    done = subprocess.run([*command, "-c", PROBE], capture_output=True, text=True, check=False)
    return done.stdout.strip()
