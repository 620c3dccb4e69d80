"""A systemd as process 1 of namespaces of its own, with a control group of its own."""

import subprocess
from pathlib import Path

from gateway import children
from waiting import wait_until


class SystemdBoot:
    """Boots a systemd, and ends it with everything that it has started.

    ``run`` runs a command inside, as soon as ``pid`` is known.
    """

    def __init__(self, name, run):
        self.pid = 0
        self._group = unified_hierarchy() / f"statelessd-test-{name}"
        self._run = run
        self._unshare = None

    def start(self, namespaces, script, *arguments, seconds):
        """Run a shell script in these namespaces, which ends as systemd. Wait until it is up."""
        self._group.mkdir()
        join = 'echo $$ > "$0/cgroup.procs" && exec unshare "$@"'
        inside = [*namespaces, "--fork", "--kill-child", "sh", "-ec", script, "boot", *arguments]
        self._unshare = subprocess.Popen(["sh", "-ec", join, str(self._group), *inside])
        try:
            wait_until(self._is_up, seconds, what="systemd")
        except BaseException:
            self.end()
            raise

    def end(self):
        """Kill all processes, and wait until they are gone."""
        self._unshare.kill()
        self._unshare.wait()
        wait_until(self._remove_groups, what="the end of systemd's processes")

    def _is_up(self):
        assert self._unshare.poll() is None, "systemd did not start"
        self.pid = next(iter(children(self._unshare.pid)), 0)
        if not self.pid:
            return False
        state = self._run("systemctl", "is-system-running").stdout.strip()
        return state in ("running", "degraded")

    def _remove_groups(self):
        inner = sorted(self._group.rglob("*/"), reverse=True)
        try:
            for each in (*inner, self._group):
                if each.is_dir():
                    each.rmdir()
        except OSError:
            return False  # a process is not gone yet
        return True


def unified_hierarchy():
    """Return where the second version of control groups is mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise AssertionError("control groups of version 2 are not mounted")
