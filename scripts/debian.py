"""Finds or installs the Debian packages that the project uses, or names the missing ones.

debian.py rabbitmq-server wrk
debian.py --for-tests
debian.py --for-recipes
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from process import interrupt_on_signals, interruptible
from progress import Step, megabytes

# The program or file that proves that a package is installed.
EVIDENCE = {
    "rabbitmq-server": "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "php-cli": "php",
    "php-curl": "/usr/share/doc/php-curl",
    "php-amqplib": "/usr/share/php/PhpAmqpLib",
    "php-amqp": "/usr/share/doc/php-amqp",
    "php-illuminate-bus": "/usr/share/php/Illuminate/Bus",
    "php-illuminate-events": "/usr/share/php/Illuminate/Events",
    "php-illuminate-queue": "/usr/share/php/Illuminate/Queue",
    "php-monolog": "/usr/share/php/Monolog",
    "php-symfony-event-dispatcher": "/usr/share/php/Symfony/Component/EventDispatcher",
    "php-symfony-messenger": "/usr/share/php/Symfony/Component/Messenger",
    "php-symfony-amqp-messenger": "/usr/share/php/Symfony/Component/Messenger/Bridge/Amqp",
    "php-symfony-property-access": "/usr/share/php/Symfony/Component/PropertyAccess",
    "php-symfony-serializer": "/usr/share/php/Symfony/Component/Serializer",
    "curl": "curl",
    "wget": "wget",
    "jq": "jq",
    "nodejs": "node",
    "npm": "npm",
    "perl": "json_pp",  # the program perl alone comes without perl's modules, as perl-base
    "nginx": "/usr/sbin/nginx",
    "haproxy": "/usr/sbin/haproxy",
    "systemd": "systemd-analyze",
    "prometheus": "promtool",
    "chromium": "chromium",
    "pngquant": "pngquant",
    "fonts-inter": "/usr/share/fonts/opentype/inter",
    "wrk": "wrk",
    "valgrind": "valgrind",
    "podman": "podman",
    "runc": "/usr/sbin/runc",
    "debootstrap": "/usr/sbin/debootstrap",
    "gcc": "gcc",
    "libc6-dev": "/usr/include/stdio.h",
    "python3-dev": "/usr/share/doc/python3-dev",
}
CLIENTS = ["curl", "wget", "jq", "php-cli", "php-curl", "nodejs", "perl"]
FOR_TESTS = [
    "rabbitmq-server",
    *CLIENTS,
    "nginx",
    "haproxy",
    "systemd",
    "prometheus",
    "chromium",
    "npm",
    "valgrind",
    "debootstrap",
]
# The frameworks that tests/recipes runs.
FOR_RECIPES = [
    "rabbitmq-server",
    "curl",
    "php-cli",
    "php-curl",
    "php-amqp",
    "php-amqplib",
    "php-illuminate-bus",
    "php-illuminate-events",
    "php-illuminate-queue",
    "php-monolog",
    "php-symfony-messenger",
    "php-symfony-amqp-messenger",
    "php-symfony-event-dispatcher",
    "php-symfony-property-access",
    "php-symfony-serializer",
]
LISTS = {"--for-tests": FOR_TESTS, "--for-recipes": FOR_RECIPES}

POLICY = Path("/usr/sbin/policy-rc.d")
# What policy-rc.d says to refuse, see invoke-rc.d(8). The comment tells ours from others.
NOTHING_STARTS = "#!/bin/sh\n# statelessd: install a package without starting it\nexit 101\n"


class MissingPackagesError(Exception):
    """Packages are missing and cannot be installed from here."""


def missing(packages: list[str]) -> list[str]:
    """Return the packages that are not installed."""
    absent = []
    for package in packages:
        evidence = EVIDENCE[package]
        found = Path(evidence).exists() if evidence.startswith("/") else shutil.which(evidence)
        if not found:
            absent.append(package)
    return absent


def ensure(packages: list[str]) -> None:
    """Install what is missing, as root or with sudo, and say so.

    Raise MissingPackagesError, which says what to install by hand, if that fails.
    """
    absent = missing(packages)
    if not absent:
        return
    names = " ".join(absent)
    command = f"apt-get update && apt-get install --no-install-recommends {names}"
    advice = f"Install what is missing as root, and run the same again:\n    {command}"
    if shutil.which("apt-get") is None:
        raise MissingPackagesError(
            f"This is not Debian or Ubuntu: there is no apt-get. Install {names} as your system "
            "does it, and run the same again."
        )
    prefix = _rights()
    if prefix is None:
        raise MissingPackagesError(
            f"You are not root, and sudo is missing or wants a password. {advice}"
        )
    _install(prefix, absent, advice)
    still = missing(absent)
    if still:
        raise MissingPackagesError(f"apt-get did not install {' '.join(still)}. {advice}")


def _rights() -> list[str] | None:
    """Return what a command of root's begins with, or None if there is no way to run one."""
    if os.getuid() == 0:
        return []
    sudo = ["sudo", "-n"]
    allowed = shutil.which("sudo") and not subprocess.run(
        [*sudo, "true"], capture_output=True, check=False
    ).returncode  # fmt: skip
    return sudo if allowed else None


def _install(prefix: list[str], packages: list[str], advice: str) -> None:
    environment = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"]
    apt = [*prefix, *environment, "apt-get", "-o", "DPkg::Lock::Timeout=120"]
    install = [*apt, "install", "-y", "-q", "--no-install-recommends"]
    # Debian starts a service when its package is installed, here a broker on 5672
    # that nobody asked for. A policy of the machine's own is left alone.
    own_policy = not POLICY.exists() or POLICY.read_text(errors="replace") == NOTHING_STARTS
    try:
        with Step("apt-get reads Debian's lists of packages") as step:
            _apt([*apt, "-q", "update"], step, advice)
        with Step(f"Debian's {' '.join(packages)}: apt-get downloads the packages") as step:
            said = _apt([*install, "--download-only", *packages], step, advice)
            step.result = _amount(said)
        if own_policy:
            _write_as(prefix, POLICY, NOTHING_STARTS)
        with Step(f"Debian's {' '.join(packages)}: apt-get installs the packages") as step:
            # An interruption in the middle of this would leave dpkg broken.
            _apt([*install, *packages], step, advice, interrupt=False)
    finally:
        if own_policy:
            subprocess.run([*prefix, "rm", "-f", str(POLICY)], check=False)


def _apt(command: list[str], step: Step, advice: str, *, interrupt: bool = True) -> str:
    """Run apt-get, and return what it prints. Raise MissingPackagesError if it fails."""
    said = []
    with interruptible(
        command, interrupt=interrupt, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            said.append(line)
            if match := re.match(r"(?:Get:\d+ \S+ \S+ |Unpacking |Setting up )(\S+)", line):
                step.show(match[0])
    if process.returncode:
        errors = [line for line in said if line.startswith(("E:", "W:"))] or said[-5:]
        raise MissingPackagesError(
            f"apt-get failed with status {process.returncode}:\n{''.join(errors)}"
            f"Check the network and /etc/apt/sources.list. {advice}"
        )
    return "".join(said)


def _amount(said: str) -> str:
    """Return how many packages and megabytes apt-get said that it would download."""
    packages = re.search(r"(\d+) newly installed", said)
    size = re.search(r"Need to get (?:[\d.,]+ \w*B/)?([\d.,]+) (\w*B)", said)
    units = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}
    amount = float(size[1].replace(",", "")) * units.get(size[2], 0) if size else 0.0
    return f"{packages[1] if packages else 0} packages, {megabytes(amount)} downloaded"


def _write_as(prefix: list[str], path: Path, text: str) -> None:
    command = [*prefix, "sh", "-c", f"cat > {path} && chmod 755 {path}"]
    subprocess.run(command, input=text.encode(), check=True)


def main() -> int:
    """Run the command. Return 1 if something is missing and cannot be installed."""
    interrupt_on_signals()
    try:
        ensure([name for each in sys.argv[1:] for name in LISTS.get(each, [each])])
    except MissingPackagesError as error:
        print(f"debian.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
