"""A real systemd in namespaces of its own, which runs the unit in deploy/ with its whole sandbox.

It has a process tree, a control group and mounts of its own. What it writes below /etc and
/opt, and all of its /run and /tmp, is gone with it. It shares the network, so that its
services reach the test's broker. It needs root.
"""

import contextlib
import subprocess
import sys
import sysconfig
from pathlib import Path

from systemd_boot import SystemdBoot

ROOT = Path(__file__).parents[2]
LOG = "/run/statelessd.log"

# Accounts beside those of this machine. nginx's user is www-data on Debian.
USERS = "statelessd:x:64001:64001::/nonexistent:/usr/sbin/nologin\n"
GROUPS = "statelessd:x:64001:\nssl-cert:x:64002:\n"

BOOT = """
mount --make-rshared /
mount -t proc proc /proc
mount -t tmpfs tmpfs "$1"
for each in etc opt; do
    mkdir -p "$1/$each/upper" "$1/$each/work"
    mount -t overlay overlay /$each \
        -o "lowerdir=/$each,upperdir=$1/$each/upper,workdir=$1/$each/work"
done
printf %s "$5" >> /etc/passwd
printf %s "$6" >> /etc/group
mkdir -p /opt/python /opt/packages /opt/source
mount --bind "$2" /opt/python
mount --bind "$3" /opt/packages
mount --bind "$4" /opt/source
mount -t tmpfs tmpfs /etc/systemd/system
mount -t cgroup2 cgroup2 /sys/fs/cgroup
printf '[Unit]\\nDefaultDependencies=no\\n' > /etc/systemd/system/nothing.target
for each in /run /tmp /var/tmp; do mount -t tmpfs tmpfs $each; done
exec env -i container=other PATH="$PATH" \
    /lib/systemd/systemd --system --unit=nothing.target --show-status=no --log-target=null
"""

# The sandbox hides home directories and /tmp, where this working tree and its interpreter may
# be. So both are mounted below /opt, as an installed package would be. There is no journal.
# Nor may the services of a whole boot run, because they would change this machine.
DROP_IN = f"""
[Unit]
DefaultDependencies=no

[Service]
Environment=PYTHONHOME=/opt/python PYTHONPATH=/opt/source:/opt/packages
Environment=LD_LIBRARY_PATH=/opt/python/lib PYTHONDONTWRITEBYTECODE=1
ExecStart=
ExecStart=/opt/python/bin/python3 -m statelessd -c /etc/statelessd.yml
StandardOutput=append:{LOG}
StandardError=append:{LOG}
"""


class ServiceManager:
    """A booted systemd; as a context manager it ends with everything that it has started."""

    def __init__(self, directory):
        self._directory = directory
        self._boot = SystemdBoot(directory.name, self.run)

    def __enter__(self):
        namespaces = ["--mount", "--pid", "--ipc", "--uts", "--cgroup"]
        mounted = [sys.base_prefix, sysconfig.get_path("purelib"), str(ROOT / "src")]
        arguments = [str(self._directory), *mounted, USERS, GROUPS]
        self._boot.start(namespaces, BOOT, *arguments, seconds=60)
        return self

    def __exit__(self, *_):
        self._boot.end()

    def run(self, *command, user=None, text=None):
        """Run a command inside and return what became of it; ``text`` is its standard input."""
        become = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}"]
        if user is not None:
            become.append("--init-groups")
        inside = ["nsenter", f"--target={self._boot.pid}", "--mount", "--pid", "--cgroup"]
        return subprocess.run(
            [*inside, *become, *command],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def write(self, path, text, *, owner="root:root", mode="0644"):
        """Write a file inside."""
        user, _, group = owner.partition(":")
        done = self.run(
            "install", "-D", "-o", user, "-g", group, "-m", mode, "/dev/stdin", path, text=text
        )
        assert done.returncode == 0, done.stderr

    @contextlib.contextmanager
    def service(self, unit, drop_in=""):
        """Start this unit with the lines of a drop-in, and stop it in the end."""
        self.run("rm", "-f", LOG)
        self.write("/etc/systemd/system/statelessd.service", unit.read_text())
        self.write("/etc/systemd/system/statelessd.service.d/test.conf", DROP_IN)
        self.write("/etc/systemd/system/statelessd.service.d/wish.conf", f"[Service]\n{drop_in}")
        self.systemctl("daemon-reload")
        started = self.run("systemctl", "start", "statelessd")
        try:
            assert started.returncode == 0, (
                started.stderr + self.run("systemctl", "status", "statelessd").stdout + self.log
            )
            yield self
        finally:
            print(self.log)  # noqa: T201 - shown when the test fails
            self.run("systemctl", "stop", "statelessd")

    def systemctl(self, *arguments):
        """Run systemctl, which has to succeed."""
        done = self.run("systemctl", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def log(self):
        """Return what the service has logged so far."""
        return self.run("cat", LOG).stdout
