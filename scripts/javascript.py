"""Installs npm's checks of the dashboard and of compose.yaml in .run/javascript; checks types.

javascript.py          install what is missing
javascript.py --check  also check the types of the scripts, as jsconfig.json says
"""

import shutil
import subprocess
import sys
from pathlib import Path

import debian

ROOT = Path(__file__).resolve().parent.parent
DECLARATION = ROOT / "tests" / "support" / "javascript" / "package.json"
DIRECTORY = ROOT / ".run" / "javascript"
MODULES = DIRECTORY / "node_modules"
AXE = MODULES / "axe-core" / "axe.min.js"
TYPESCRIPT = MODULES / "typescript" / "bin" / "tsc"
DCLINT = MODULES / "dclint" / "bin" / "dclint.cjs"
NPM_INSTALL = [
    *("npm", "install", "--no-package-lock", "--no-audit", "--no-fund"),
    *("--ignore-scripts", "--no-update-notifier", "--loglevel=error"),
]


class JavaScriptError(Exception):
    """The packages cannot be installed."""


def ensure() -> None:
    """Install the packages of the declaration, unless they are there already.

    Raise JavaScriptError or debian.MissingPackagesError if that fails.
    """
    debian.ensure(["nodejs", "npm"])
    wanted = DECLARATION.read_bytes()
    installed = DIRECTORY / "installed"  # written last, so that it proves all the others
    if installed.is_file() and installed.read_bytes() == wanted:
        return
    where = DIRECTORY.relative_to(ROOT)
    print(f"Installing axe-core, TypeScript and dclint into {where} …", flush=True)
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir(parents=True)
    (DIRECTORY / "package.json").write_bytes(wanted)
    done = subprocess.run(NPM_INSTALL, cwd=DIRECTORY, capture_output=True, text=True, check=False)
    if done.returncode or not all(each.is_file() for each in (AXE, TYPESCRIPT, DCLINT)):
        raise JavaScriptError(f"npm install failed in {DIRECTORY}:\n{done.stdout}{done.stderr}")
    installed.write_bytes(wanted)


def check_types() -> int:
    """Return the type checker's exit status."""
    command = ["node", str(TYPESCRIPT), "--project", str(ROOT / "jsconfig.json")]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def main() -> int:
    """Run the command. Return 1 if a package cannot be installed or a type is wrong."""
    try:
        ensure()
    except (JavaScriptError, debian.MissingPackagesError) as error:
        print(f"javascript.py: {error}", file=sys.stderr)
        return 1
    return check_types() if "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
