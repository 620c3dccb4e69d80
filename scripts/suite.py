"""Root file systems of other Debian releases, each with its own RabbitMQ.

debootstrap makes each of them once. They are kept outside the checkout, so that a fresh
clone can use them: in the directory of STATELESSD_ROOTS, or in
/var/cache/statelessd/roots. A command runs in one by chroot, in its own mount namespace,
so its mounts disappear with it.
"""

import contextlib
import fcntl
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import debian

ROOTS = Path(os.environ.get("STATELESSD_ROOTS") or "/var/cache/statelessd/roots")
SCRIPTS = Path("/usr/share/debootstrap/scripts")
EVIDENCE = "usr/lib/rabbitmq/bin/rabbitmq-server"
PYTHON_PACKAGES = ("python3-venv", "python3-dev", "gcc")  # the last two compile the package

# What a command in the root sees of the machine: its devices, its processes, and the
# directory with the broker's files, under the same path, so that a configuration may name
# any file there.
IN_ROOT = """
set -e
root=$1 shared=$2
shift 2
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
if [ "$shared" ]; then
    mkdir -p "$root$shared"
    mount --rbind "$shared" "$root$shared"
fi
exec chroot "$root" "$@"
"""


class SuiteError(Exception):
    """A root file system cannot be made; the text names what is missing."""


class Suite:
    """A Debian release by its name: ``trixie``, ``forky``, ``testing`` …"""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root = ROOTS / name

    def ensure(self) -> None:
        """Make the root file system, unless it exists.

        Wait if another process is making it. Raise SuiteError if it cannot be made or used:
        chroot and mount need root.
        """
        if os.getuid() != 0:
            raise SuiteError(f"not root: debootstrap, chroot and mount for {self.name} need it")
        if self._complete:
            return
        try:
            debian.ensure(["debootstrap"])
        except debian.MissingPackagesError as error:
            raise SuiteError(f"debootstrap is missing: {error}") from error
        ROOTS.mkdir(parents=True, exist_ok=True)
        with _locked(ROOTS / f".{self.name}.lock"):
            if not self._complete:
                self._make()

    def ensure_python(self) -> None:
        """Make the root file system, and install the release's Python with venv and a compiler.

        Raise SuiteError if that fails.
        """
        self.ensure()
        with _locked(ROOTS / f".{self.name}.lock"):
            documents = self.root / "usr/share/doc"
            if not all((documents / each).exists() for each in PYTHON_PACKAGES):
                print(f"Installing Python in {self.root} …", flush=True)
                _apt(self.root, *PYTHON_PACKAGES)

    @property
    def _complete(self) -> bool:
        return (self.root / EVIDENCE).exists()

    @property
    def rabbitmq_version(self) -> str:
        """Return the version of its package."""
        shown = ("dpkg-query", "--show", "--showformat=${Version}", "rabbitmq-server")
        return _run("chroot", str(self.root), *shown)

    def command(self, shared: Path, *arguments: str | Path) -> list[str]:
        """Return the command that runs this one in the root; its process keeps the id.

        ``shared`` is a path whose uppermost directory the command shares with the machine.
        """
        # Only a part of /var is shared, because the root has its own files in the rest.
        depth = 3 if shared.parts[1] == "var" else 2
        top = Path(*shared.parts[:depth])
        inner = [str(each) for each in (self.root, top, *arguments)]
        return ["unshare", "--mount", "--propagation=private", "sh", "-c", IN_ROOT, "sh", *inner]

    def _make(self) -> None:
        """Make it under another name, so that half of one is never used."""
        partial = ROOTS / f".{self.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            bootstrap(self.name, partial)
            _apt(partial, "rabbitmq-server")
            _run("test", "-e", str(partial / EVIDENCE))
            partial.rename(self.root)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def bootstrap(name: str, root: Path) -> None:
    """Make a minimal root file system of a release. Raise SuiteError if that fails."""
    print(f"Making a root file system of Debian {name} in {root} …", flush=True)
    # A release that is younger than debootstrap is made as unstable is.
    script = SCRIPTS / (name if (SCRIPTS / name).exists() else "sid")
    _run(
        *("unshare", "--mount", "debootstrap", "--variant=minbase", "--force-check-gpg"),
        *(name, str(root), _mirror(), str(script)),
    )
    _adapt(root)


def run_in(root: Path, step: str, *, network: bool = True) -> str:
    """Return what a command prints in the root. Raise SuiteError with its output if it fails."""
    private = ["unshare", "--mount", *([] if network else ["--net"])]
    command = ["env", "DEBIAN_FRONTEND=noninteractive", *shlex.split(step)]
    return _run(*private, "sh", "-c", IN_ROOT, "sh", str(root), "", *command)


def _apt(root: Path, *packages: str) -> None:
    """Install packages in a root. Raise SuiteError with apt's output if that fails."""
    run_in(root, "apt-get -qq update")
    run_in(root, f"apt-get -qq -y --no-install-recommends install {' '.join(packages)}")
    run_in(root, "apt-get clean")


def _adapt(root: Path) -> None:
    """Let apt work in the root as it does on the machine, and no package start a service."""
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text(debian.NOTHING_STARTS)
    policy.chmod(0o755)
    # A proxy, and whether a mirror may be a snapshot of the past.
    kept = ("Acquire::http", "Acquire::Check-")
    acquire = _run("apt-config", "dump", "Acquire").splitlines()
    lines = "".join(f"{line}\n" for line in acquire if line.startswith(kept))
    (root / "etc/apt/apt.conf.d/90machine").write_text(lines)


def _mirror() -> str:
    """Return the address from which apt takes this machine's Debian.

    Raise SuiteError if apt names none.
    """
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    wanted = "$(RELEASE) $(REPO_URI)"
    targets = _run("apt-get", "indextargets", "--format", wanted, "Created-By: Packages")
    for line in targets.splitlines():
        suite, uri = line.split(" ", 1)
        if suite in (release, "stable", "testing", "unstable", "sid"):
            return uri
    raise SuiteError("apt has no source of this machine's Debian: a mirror for debootstrap")


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(*command: str) -> str:
    """Return what the command prints. Raise SuiteError with its output if it fails."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise SuiteError(f"{command[0]} is missing") from error
    if done.returncode:
        said = "\n".join(f"{done.stdout}{done.stderr}".splitlines()[-20:])
        raise SuiteError(f"{shlex.join(command)}: {said}")
    return done.stdout.strip()
