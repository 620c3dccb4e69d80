"""Finds or installs the Debian packages that the project uses, or names the missing ones.

debian.py rabbitmq-server wrk
debian.py --for-tests
debian.py --for-recipes
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

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
NOTHING_STARTS = "#!/bin/sh\nexit 101\n"  # what policy-rc.d says to refuse, see invoke-rc.d(8)


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
    advice = f"install what is missing: apt-get install {names}"
    if shutil.which("apt-get") is None:
        raise MissingPackagesError(f"not Debian (there is no apt-get); {advice}")
    if os.getuid() == 0:
        prefix = []
    elif subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
        prefix = ["sudo", "-n"]
    else:
        raise MissingPackagesError(f"neither root nor sudo without a password; {advice}")
    print(f"Installing Debian's {names} …", flush=True)
    _install(prefix, absent)
    still = missing(absent)
    if still:
        raise MissingPackagesError(f"apt-get did not install {' '.join(still)}")


def _install(prefix: list[str], packages: list[str]) -> None:
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    apt = [*prefix, *environment, "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
    # Debian starts a service when its package is installed, here a broker on 5672
    # that nobody asked for. A policy of the machine's own is left alone.
    own_policy = not POLICY.exists()
    if own_policy:
        _write_as(prefix, POLICY, NOTHING_STARTS)
    try:
        subprocess.run([*apt, "update"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            [*apt, "install", "-y", "--no-install-recommends", *packages],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    except subprocess.CalledProcessError as error:
        raise MissingPackagesError(f"apt-get failed with status {error.returncode}") from error
    finally:
        if own_policy:
            subprocess.run([*prefix, "rm", "-f", str(POLICY)], check=False)


def _write_as(prefix: list[str], path: Path, text: str) -> None:
    command = [*prefix, "sh", "-c", f"cat > {path} && chmod 755 {path}"]
    subprocess.run(command, input=text.encode(), check=True)


def main() -> int:
    """Run the command. Return 1 if something is missing and cannot be installed."""
    try:
        ensure([name for each in sys.argv[1:] for name in LISTS.get(each, [each])])
    except MissingPackagesError as error:
        print(f"debian.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
