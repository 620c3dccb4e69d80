"""Who leads the queue, and since when: told by an Erlang node beside the broker's."""

import subprocess
import threading
import time
from pathlib import Path

from silence import Change
from waiting import wait_until

SOURCE = Path(__file__).with_suffix(".erl")


class LeaderWatch:
    """Looks twenty times a second, and remembers what has changed."""

    def __init__(self, broker, virtual_host, queue, begun):
        self.changes = []
        self._begun = begun
        cookie = (broker.run_dir / ".erlang.cookie").read_text()
        self._process = subprocess.Popen(
            ["erl", "-noshell", "-noinput", "-hidden", "-start_epmd", "false",
             "-sname", f"{broker.name}-watch@localhost", "-setcookie", cookie,
             "-kernel", "inet_dist_use_interface", "{127,0,0,1}",
             "-eval", SOURCE.read_text(),
             "-extra", f"{virtual_host}_{queue}", *(node.name for node in broker.nodes)],
            env=broker.node.environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)

    def __enter__(self):
        self._reader.start()
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _read(self):
        for line in self._process.stdout:
            leader, *states = line.split()
            at = time.monotonic() - self._begun
            self.changes.append(Change(at, None if leader == "none" else leader, tuple(states)))

    @property
    def now(self):
        """Return the last change."""
        return self.changes[-1] if self.changes else Change(0, None, ())

    def wait_until_whole(self, seconds=60):
        wait_until(lambda: self.now.whole, seconds, what="a leader whom all the others follow")
