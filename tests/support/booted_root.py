"""A root file system of Debian, booted: its systemd is process 1 in namespaces of its own.

It has no network but a loopback interface of its own, so its ports are nobody else's. It
needs root.
"""

import subprocess

from systemd_boot import SystemdBoot

# A boot must not change this machine, so /proc/sys and /sys are read-only. Its devices are this
# machine's, but only those that every program may use.
BOOT = """
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for each in run tmp; do mount -t tmpfs tmpfs $each; done
mount -t tmpfs -o mode=0755 tmpfs dev
for each in null zero full random urandom tty; do
    touch dev/$each
    mount --bind /dev/$each dev/$each
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
for each in fd:fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
    ln -s /proc/self/${each#*:} dev/${each%%:*}
done
mkdir -p run/before
pivot_root . run/before
umount --lazy /run/before
cd /
exec env -i container=other PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin \
    /lib/systemd/systemd --system --show-status=no --log-target=null
"""
SPACES = ["--mount", "--pid", "--ipc", "--uts", "--cgroup", "--net"]


class BootedRoot:
    """A booted root file system; as a context manager it ends with all that runs in it."""

    def __init__(self, root):
        self._root = root
        self._boot = SystemdBoot(root.name, self.run)

    def __enter__(self):
        self._boot.start(SPACES, BOOT, str(self._root), seconds=300)
        return self

    def __exit__(self, *_):
        self._boot.end()

    def run(self, *command, text=None):
        """Run a command inside and return what became of it; ``text`` is its standard input."""
        inside = ["nsenter", f"--target={self._boot.pid}", *SPACES, "--root", "--wdns=/"]
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin", "DEBIAN_FRONTEND=noninteractive"]
        return subprocess.run(
            [*inside, *clean, *command],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def do(self, *command, text=None):
        """Run a command inside, which has to succeed, and return what it prints."""
        done = self.run(*command, text=text)
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
        return done.stdout
