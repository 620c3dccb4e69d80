"""Builds the container image with podman, in a temporary storage.

image.py    writes dist/statelessd-image.tar, in Docker's format, for "podman load"

The base is a minimal Debian that debootstrap makes, from the mirror that this
machine's apt uses; or the image that BASE in the environment names.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Self

import debian

ROOT = Path(__file__).resolve().parent.parent
RUN_DIR = ROOT / ".run" / "image"
ARCHIVE = ROOT / "dist" / "statelessd-image.tar"
IMAGE = "localhost/statelessd"
BASE = "localhost/statelessd-base"
PACKAGES = ["podman", "runc", "debootstrap"]


class ImageError(Exception):
    """A program failed. The text has its output."""


class Podman:
    """podman with its own storage; a context manager that removes the storage.

    The driver vfs needs no support from the kernel, and leaves no mounts if the run is
    killed. runc and cgroupfs also work without systemd, with both versions of cgroups.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._command = [
            "podman",
            f"--root={directory / 'storage'}",
            f"--runroot={directory / 'run'}",
            f"--tmpdir={directory / 'tmp'}",
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
            "--runtime=runc",
        ]

    def __call__(self, *arguments: str, stdin: subprocess.Popen[bytes] | None = None) -> str:
        """Return what the command prints. Raise ImageError with its output if it fails."""
        return _run(*self._command, *arguments, stdin=stdin)

    def __enter__(self) -> Self:
        self._remove()  # a run that was killed leaves it
        self._directory.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def _remove(self) -> None:
        if self._directory.exists():
            self("rm", "--all", "--force", "--time=0")
            shutil.rmtree(self._directory)


def build() -> None:
    """Write ARCHIVE. Raise ImageError or MissingPackagesError if that fails."""
    debian.ensure(PACKAGES)
    with Podman(RUN_DIR / "build") as podman:
        context = RUN_DIR / "build" / "context"
        print("Making wheels …", flush=True)
        _run(
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"),
            *(
                "--constraint",
                str(ROOT / "constraints.txt"),
                "--wheel-dir",
                str(context / "wheels"),
            ),
            *(f"{ROOT}[compression]", "pip"),
        )
        base = os.environ.get("BASE") or _bootstrapped(podman, RUN_DIR / "build" / "base")
        print("Building the image …", flush=True)
        podman(
            "build",
            "--layers=false",
            "--network=host",  # for apt; a bridge would need iptables
            f"--build-arg=BASE={base}",
            f"--build-arg=PYTHON=python{sys.version_info.major}.{sys.version_info.minor}",
            f"--file={ROOT / 'deploy' / 'Containerfile'}",
            f"--tag={IMAGE}",
            str(context),
        )
        ARCHIVE.parent.mkdir(exist_ok=True)
        ARCHIVE.unlink(missing_ok=True)  # podman adds to none
        podman("save", f"--output={ARCHIVE}", IMAGE)
        size = int(podman("image", "inspect", "--format={{.Size}}", IMAGE))
    print(f"{IMAGE} is in {ARCHIVE.relative_to(ROOT)}: {size / 1e6:.0f} MB")


def _bootstrapped(podman: Podman, directory: Path) -> str:
    """Make an image of a minimal Debian of this machine's release, and return its name."""
    if os.getuid() != 0:
        raise ImageError("debootstrap has to run as root; or name an image in BASE")
    print("Making a base by debootstrap …", flush=True)
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    bootstrap = ("debootstrap", "--variant=minbase", release, str(directory), _mirror(release))
    _run("unshare", "--mount", *bootstrap)  # its /proc and /sys go with it, even if it is killed
    downloads = ("./var/cache/apt/*.bin", "./var/cache/apt/archives/*.deb", "./var/lib/apt/lists/*")
    exclude = [f"--exclude={each}" for each in downloads]
    with subprocess.Popen(
        ["tar", "--create", f"--directory={directory}", *exclude, "."], stdout=subprocess.PIPE
    ) as tar:
        podman("import", "-", BASE, stdin=tar)
    if tar.returncode:
        raise ImageError(f"tar failed with status {tar.returncode}")
    return BASE


def _mirror(release: str) -> str:
    """Return the mirror from which this machine's apt takes the release."""
    wanted = "$(RELEASE) $(REPO_URI)"
    targets = _run("apt-get", "indextargets", "--format", wanted, "Created-By: Packages")
    for line in targets.splitlines():
        suite, uri = line.split(" ", 1)
        if suite == release:
            return uri
    raise ImageError(f"apt has no source of {release}; or name an image in BASE")


def _run(*command: str, stdin: subprocess.Popen[bytes] | None = None) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL if stdin is None else stdin.stdout,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = "\n".join(f"{done.stdout}{done.stderr}".splitlines()[-20:])
        raise ImageError(f"{' '.join(command)}: {said}")
    return done.stdout.strip()


def main() -> int:
    """Run the command. Return 1 if the image could not be made."""
    try:
        build()
    except (ImageError, debian.MissingPackagesError) as error:
        print(f"image.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
