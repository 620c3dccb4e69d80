"""Builds the wheels and the source distribution into dist/, and what is published with them.

One wheel is pure Python. The other has the compiled form, for the Python that runs this and its
platform; without a C compiler there is none.

The same commit makes the same files, byte for byte: times in them are the commit's. Beside the
two there are the pinned requirements with hashes, the SBOM, the list of licences, and
SHA256SUMS. It runs in the environment of "make build", which has what it needs.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import compiler
import inventory
import licences
import pins

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"


class BuildError(Exception):
    """The build cannot go on; the text says why."""


def main() -> int:
    """Build. Return 1 if it fails."""
    try:
        for file in build():
            print(f"{file.relative_to(ROOT)}  {file.stat().st_size:,} bytes")
    except (BuildError, licences.LicenceError) as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    return 0


def build() -> list[Path]:
    """Build, and return the files. Raise BuildError or LicenceError if that fails."""
    epoch = commit_time()
    found = inventory.packages()
    DIST.mkdir(exist_ok=True)
    for old in (*DIST.glob("statelessd-*.whl"), *DIST.glob("statelessd-*.tar.gz")):
        old.unlink()
    _hatchling(epoch, "sdist", "wheel")
    (wheel,) = DIST.glob("statelessd-*-none-any.whl")
    if missing := compiler.missing():
        lacks = f"this machine lacks {' '.join(missing)}"
        print(f"build.py: the compiled wheel is not built: {lacks}", file=sys.stderr)
    else:
        _hatchling(epoch, "wheel", HATCH_BUILD_HOOKS_ENABLE="1")
    made = [*sorted(DIST.glob("statelessd-*.whl")), *DIST.glob("statelessd-*.tar.gz")]
    for extra in ("", *pins.EXTRAS):
        made.append(DIST / pins.path(extra).name)
        shutil.copyfile(pins.path(extra), made[-1])
    made += [DIST / "licences.txt", DIST / "sbom.cdx.json", DIST / "SHA256SUMS"]
    (DIST / "licences.txt").write_text(inventory.licence_list([*found, inventory.compiler()]))
    (DIST / "sbom.cdx.json").write_text(inventory.sbom(found, wheel, int(epoch)))
    sums = [f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in made[:-1]]
    (DIST / "SHA256SUMS").write_text("".join(sums))
    return made


def _hatchling(epoch: str, *targets: str, **variables: str) -> None:
    """Build these targets into DIST. Raise BuildError if that fails."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(DIST)]
    command += [f"--target={each}" for each in targets]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"SOURCE_DATE_EPOCH": epoch} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"hatchling failed: {done.stdout}{done.stderr}")


def commit_time() -> str:
    """Return the time for everything in the files, in seconds since 1970.

    SOURCE_DATE_EPOCH says it, or else the last commit, or else an unpacked source distribution,
    whose files all have the time of its commit. Raise BuildError if none does.
    """
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return given
    command = ["git", "log", "-1", "--format=%ct"]
    if (ROOT / ".git").exists() and shutil.which("git"):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if not done.returncode and done.stdout.strip():
            return done.stdout.strip()
    if (ROOT / "PKG-INFO").exists():
        return str(int((ROOT / "PKG-INFO").stat().st_mtime))
    raise BuildError("no commit tells the time of this build: set SOURCE_DATE_EPOCH")


if __name__ == "__main__":
    sys.exit(main())
