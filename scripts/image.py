"""Builds the container images with podman, in a temporary storage.

image.py              writes dist/statelessd-image.tar, in Docker's format, for "podman load":
                      the image of deploy/Containerfile.debian
image.py --for-tests  also writes .run/image/containerfile.tar: that of the top directory's
                      Containerfile, with Debian's Python in place of the official image

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

import compiler
import debian

ROOT = Path(__file__).resolve().parent.parent
RUN_DIR = ROOT / ".run" / "image"
ARCHIVE = ROOT / "dist" / "statelessd-image.tar"
IMAGE = "localhost/statelessd"
BASE = "localhost/statelessd-base"
# The other image, for the tests.
PLAIN_ARCHIVE = RUN_DIR / "containerfile.tar"
PLAIN_IMAGE = "localhost/statelessd-plain"
PYTHON_BASE = "localhost/statelessd-python"
# Makes a base have what the official image of Python has, as far as Containerfile uses it.
PYTHON_CONTAINERFILE = """\
ARG BASE
FROM ${BASE}
RUN python3 -c "import ensurepip" || { \
        apt-get -qq update && \\
        apt-get -qq install --yes --no-install-recommends python3-venv libpython3-dev; }
"""
# How this machine's pip reaches its index; pip in the container does so as well.
PIP_FILES = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
PACKAGES = ["podman", "runc", "debootstrap"]
# In Docker's format, because that of OCI has no HEALTHCHECK. The network is for apt and pip; a
# bridge would need iptables.
BUILD = ("build", "--layers=false", "--format=docker", "--network=host")


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


def build(*, for_tests: bool) -> None:
    """Write ARCHIVE, and PLAIN_ARCHIVE for tests.

    Raise ImageError or MissingPackagesError if that fails.
    """
    debian.ensure([*PACKAGES, *compiler.missing()])  # which compiles here, not in the image
    with Podman(RUN_DIR / "build") as podman:
        base = os.environ.get("BASE") or _bootstrapped(podman, RUN_DIR / "build" / "base")
        _build_on_debian(podman, base)
        _save(podman, IMAGE, ARCHIVE)
        if for_tests:
            _build_plainly(podman, base)
            _save(podman, PLAIN_IMAGE, PLAIN_ARCHIVE)


def _build_on_debian(podman: Podman, base: str) -> None:
    context = RUN_DIR / "build" / "context"
    print("Making wheels …", flush=True)
    _run(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"),
        *("--constraint", str(ROOT / "constraints.txt"), "--wheel-dir", str(context / "wheels")),
        *(f"{ROOT}[compression]", "pip"),
        HATCH_BUILD_HOOKS_ENABLE="1",
    )
    print("Building the image …", flush=True)
    podman(
        *BUILD,
        f"--build-arg=BASE={base}",
        f"--build-arg=PYTHON=python{sys.version_info.major}.{sys.version_info.minor}",
        f"--file={ROOT / 'deploy' / 'Containerfile.debian'}",
        f"--tag={IMAGE}",
        str(context),
    )


def _build_plainly(podman: Podman, base: str) -> None:
    print("Building the image of Containerfile …", flush=True)
    file = RUN_DIR / "build" / "Containerfile.python"
    file.write_text(PYTHON_CONTAINERFILE)
    podman(
        *BUILD,
        f"--build-arg=BASE={base}",
        f"--file={file}",
        f"--tag={PYTHON_BASE}",
        str(file.parent / "context"),
    )
    podman(
        *BUILD,
        *(f"--volume={each}:{each}:ro" for each in PIP_FILES if Path(each).exists()),
        f"--build-arg=PYTHON_IMAGE={PYTHON_BASE}",
        f"--file={ROOT / 'Containerfile'}",
        f"--tag={PLAIN_IMAGE}",
        str(ROOT),
    )


def _save(podman: Podman, image: str, archive: Path) -> None:
    archive.parent.mkdir(exist_ok=True)
    archive.unlink(missing_ok=True)  # podman adds to none
    podman("save", f"--output={archive}", image)
    size = int(podman("image", "inspect", "--format={{.Size}}", image))
    print(f"{image} is in {archive.relative_to(ROOT)}: {size / 1e6:.0f} MB", flush=True)


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


def _run(*command: str, stdin: subprocess.Popen[bytes] | None = None, **variables: str) -> str:
    done = subprocess.run(
        command,
        env=os.environ | variables,
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
        build(for_tests="--for-tests" in sys.argv[1:])
    except (ImageError, debian.MissingPackagesError) as error:
        print(f"image.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
