"""Gateways that are forked from one process, which has imported the package for all of them.

A start by ``python -m statelessd`` takes more than half a second of CPU time, nearly all of it for
imports. Hundreds of tests need a gateway and do not look at its start. ``make test`` forks theirs;
pytest without workers and every other suite start the program.
"""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["statelessd.cli", "statelessd.process.backend"])


class Forked:
    """A gateway that runs as ``command`` would, with its output in the file ``log``.

    It has the methods of ``subprocess.Popen`` that tests use.
    """

    def __init__(self, command, log, environment):
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._process = _context.Process(target=_run, args=(command, log, environment, limits))
        self._process.start()

    @property
    def pid(self):
        return self._process.pid

    def poll(self):
        """Return the exit status; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout=None):
        """Return the exit status. Raise TimeoutExpired if it still runs by then."""
        self._process.join(timeout)
        if (status := self.poll()) is None:
            raise subprocess.TimeoutExpired("statelessd", timeout)
        return status

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def _run(command, log, environment, limits):
    """Do what a new interpreter would do. Exit with the gateway's status."""
    from statelessd import cli  # noqa: PLC0415 - in the process that has it already

    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    os.environ.clear()
    os.environ.update(environment)
    sys.orig_argv[:] = command  # what a reload executes
    sys.exit(cli.main(command[3:]))
