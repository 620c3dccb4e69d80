"""Compiles the working tree's modules into .run/compiled, beside a copy of the rest.

compiled.py [DIRECTORY]

With PYTHONPATH=.run/compiled, python runs the compiled form. Only what changed is compiled. Another
directory is for another Python.
"""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / ".run" / "compiled"

sys.path.insert(0, str(ROOT))
import hatch_build  # noqa: E402 - it is beside pyproject.toml, where hatchling looks for it

import compiler  # noqa: E402 - likewise after the path
import debian  # noqa: E402 - likewise


def main() -> int:
    """Compile, and replace what the directory has. Return 1 if there is no compiler."""
    target = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else TARGET
    work = target.with_name("compiling")
    try:
        debian.ensure(compiler.missing())
    except debian.MissingPackagesError as error:
        print(f"compiled.py: {error}", file=sys.stderr)
        return 1
    compiled = hatch_build.compile_modules(work)
    shutil.rmtree(target, ignore_errors=True)
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "statelessd", target / "statelessd", ignore=skip)
    for file in compiled:
        shutil.copy2(file, target / file.relative_to(work / "lib"))
    print(f"{target} has {len(compiled) - 1} compiled modules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
