"""Compiles the working tree's modules into .run/compiled, beside a copy of the rest.

With PYTHONPATH=.run/compiled, python runs the compiled form. Only what changed is compiled.
"""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / ".run" / "compiled"
WORK = ROOT / ".run" / "compiling"

sys.path.insert(0, str(ROOT))
import hatch_build  # noqa: E402 - it is beside pyproject.toml, where hatchling looks for it

import compiler  # noqa: E402 - likewise after the path
import debian  # noqa: E402 - likewise


def main() -> int:
    """Compile, and replace what .run/compiled has. Return 1 if there is no compiler."""
    try:
        debian.ensure(compiler.missing())
    except debian.MissingPackagesError as error:
        print(f"compiled.py: {error}", file=sys.stderr)
        return 1
    compiled = hatch_build.compile_modules(WORK)
    shutil.rmtree(TARGET, ignore_errors=True)
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "statelessd", TARGET / "statelessd", ignore=skip)
    for file in compiled:
        shutil.copy2(file, TARGET / file.relative_to(WORK / "lib"))
    print(f"{TARGET.relative_to(ROOT)} has {len(compiled) - 1} compiled modules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
