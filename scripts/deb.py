"""Builds the Debian package in a fresh root file system of a Debian release.

deb.py [--suite trixie] [--revision 1]    writes dist/statelessd_<version>_<architecture>.deb

The wheels are fetched first, in the versions of constraints.txt. The build itself has no
network. DEBFULLNAME and DEBEMAIL in the environment name the maintainer.
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import debian
from suite import SuiteError, bootstrap, run_in

ROOT = Path(__file__).resolve().parent.parent
RUN_DIR = ROOT / ".run" / "deb"
DIST = ROOT / "dist"
SOURCES = ["src", "docs", "deploy", "README.md", "CHANGELOG.md", "LICENSE"]
SOURCES += ["constraints.txt", "pyproject.toml"]
# The last two are what builds the site of the documents.
LEFT_OUT = shutil.ignore_patterns("__pycache__", "conf.py", "requirements.txt")
# What lets pip in the root work as it does on this machine.
OF_PIP = ["etc/ssl/certs/ca-certificates.crt", "etc/pip.conf"]
EXTRAS = "compression,otel"
MAINTAINER = "The statelessd authors <root@localhost>"


@contextlib.contextmanager
def fresh_root(suite: str) -> Iterator[Path]:
    """Yield a minimal root file system, which is removed in the end."""
    if os.getuid() != 0:
        raise SuiteError("not root: debootstrap, chroot and mount need it")
    debian.ensure(["debootstrap"])
    RUN_DIR.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=f"{suite}-", dir=RUN_DIR))
    directory.chmod(0o755)
    try:
        bootstrap(suite, directory)
        yield directory
    finally:
        shutil.rmtree(directory)


def build(suite: str = "trixie", revision: str = "1") -> Path:
    """Return the package's file. Raise SuiteError or MissingPackagesError if that fails."""
    with fresh_root(suite) as root:
        version = f"{_upstream_version()}-{revision}~deb{_release(root)}"
        source = root / "build" / "statelessd"
        _unpack(source, version, suite)
        print("Installing what the build needs …", flush=True)
        run_in(root, "apt-get -qq update")
        apt = "apt-get -qq -y --no-install-recommends"
        run_in(root, f"{apt} build-dep /build/statelessd")
        run_in(root, f"{apt} install lintian")
        for each in OF_PIP:
            if Path("/", each).exists():
                (root / each).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path("/", each), root / each)
        print("Fetching the wheels …", flush=True)
        run_in(root, "python3 -m venv /build/pip")
        wheel = "/build/pip/bin/pip --disable-pip-version-check --no-cache-dir wheel --quiet"
        pinned = "PIP_CONSTRAINT=/build/statelessd/constraints.txt"
        places = f"--wheel-dir /build/statelessd/wheels '/build/statelessd[{EXTRAS}]'"
        run_in(root, f"env {pinned} {wheel} {places}")
        print("Building the package …", flush=True)
        package = "dpkg-buildpackage --build=binary --no-sign"
        run_in(root, f"sh -ec 'cd /build/statelessd && {package}'", network=False)
        [built] = (root / "build").glob("statelessd_*.deb")
        lint = "lintian --allow-root --info --fail-on error,warning"
        print(run_in(root, f"{lint} /build/{built.name}"), flush=True)
        DIST.mkdir(exist_ok=True)
        shutil.copy(built, DIST)
    return DIST / built.name


def _upstream_version() -> str:
    """Return the version of the package; a ~ sorts a pre-release before its release."""
    text = (ROOT / "src" / "statelessd" / "version.py").read_text()
    version = text.rpartition("__version__ = ")[2].strip().strip('"')
    return re.sub(r"\.?(dev|a|b|rc)(?=\d)", r"~\1", version)


def _release(root: Path) -> str:
    """Return the number of the root's Debian, so that the package of a later one is newer."""
    lines = (root / "etc/os-release").read_text().splitlines()
    numbers = [line.partition("=")[2].strip('"') for line in lines if line.startswith("VERSION_ID")]
    return numbers[0] if numbers else "99"


def _unpack(source: Path, version: str, suite: str) -> None:
    """Copy what the package is built of, with debian/ and its changelog."""
    source.mkdir(parents=True)
    for each in SOURCES:
        place = ROOT / each
        if place.is_dir():
            shutil.copytree(place, source / each, ignore=LEFT_OUT)
        else:
            shutil.copy(place, source)
    (source / "deploy" / "debian").rename(source / "debian")
    name, mail = os.environ.get("DEBFULLNAME"), os.environ.get("DEBEMAIL")
    maintainer = f"{name} <{mail}>" if name and mail else MAINTAINER
    control = source / "debian" / "control"
    control.write_text(control.read_text().replace("@MAINTAINER@", maintainer))
    (source / "debian" / "changelog").write_text(
        f"statelessd ({version}) {suite}; urgency=medium\n\n"
        f"  * CHANGELOG.md says what has changed.\n\n"
        f" -- {maintainer}  {_date()}\n"
    )


def _date() -> str:
    """Return the date of the last commit, so that the same commit makes the same package."""
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%cD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())


def main() -> int:
    """Run the command. Return 1 if the package could not be built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="trixie", help="name of the Debian release")
    parser.add_argument("--revision", default="1", help="number of this packaging of a version")
    options = parser.parse_args()
    try:
        built = build(options.suite, options.revision)
    except (SuiteError, debian.MissingPackagesError) as error:
        print(f"deb.py: {error}", file=sys.stderr)
        return 1
    print(f"{built.relative_to(ROOT)}: {built.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
