"""What compiling the package needs of a machine besides Python packages, see hatch_build.py."""

import os
import shutil
import sysconfig
from pathlib import Path


def missing() -> list[str]:
    """Return Debian's packages for what is missing: a C compiler, the running Python's headers."""
    compiler = os.environ.get("CC") or str(sysconfig.get_config_var("CC"))
    found = ["gcc"] if shutil.which(compiler.split()[0]) is None else []
    if not Path("/usr/include/stdio.h").exists():
        found.append("libc6-dev")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        found.append("python3-dev")
    return found
