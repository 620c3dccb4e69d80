"""A gateway says which form of the package it runs, and a reload goes on with the same."""

import subprocess
import sys

from statelessd.form import FORM
from statelessd.version import __version__


def test_the_command_says_so():
    command = [sys.executable, "-m", "statelessd", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"statelessd {__version__} ({FORM})\n"


def test_the_figures_and_the_log_say_so(start_gateway):
    gateway = start_gateway(ports=2)
    assert {gateway.stats(port)["form"] for port in gateway.ports} == {FORM}
    gateway.reload()
    shown = gateway.stats(scope="all")
    assert [each["form"] for each in shown["backends"]] == [FORM, FORM]
    assert "form" not in shown["total"]
    assert gateway.get("/metrics", scope="all").text.count(f'form="{FORM}"') == 2
    assert gateway.text.count(f"statelessd {__version__} ({FORM}) on 127.0.0.1") == 2
