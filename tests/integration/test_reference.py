"""The commands of docs/reference, as they stand, print what the pages show."""

import json
import re
import subprocess

import pytest

OF_ONE_RUN = re.compile(r'"request_id":"[^"]*"')


@pytest.fixture
def run(gateway):
    """Runs a command of a page against the gateway, and returns what it prints."""

    def run(command):
        there = command.replace(":8000/", f":{gateway.port}/")
        done = subprocess.run(
            ["sh", "-ec", there], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.replace("\r", "")

    return run


@pytest.fixture
def blocks(pytestconfig):
    """Returns the blocks of a page in one language."""

    def blocks(name, language):
        page = (pytestconfig.rootpath / "docs/reference" / name).read_text()
        return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)

    return blocks


def parts_of(block):
    """Return the command of a console, and what it prints without an id of one run and spaces."""
    lines = block.removeprefix("$ ").splitlines()
    first = next(i for i, line in enumerate(lines) if i and line.startswith(("{", "HTTP/")))
    return "\n".join(lines[:first]), _bare("\n".join(lines[first:]))


def _bare(text):
    return re.sub(r"\s+", "", OF_ONE_RUN.sub('"request_id":""', text))


def test_each_command_of_the_page_of_http_prints_what_it_shows(blocks, run):
    consoles = blocks("http.md", "console")
    assert len(consoles) == 7
    for block in consoles:
        command, shown = parts_of(block)
        told = _bare(run(command))
        pieces = shown.split("…")
        assert told.startswith(pieces[0]), command
        assert all(piece in told for piece in pieces), command


def test_the_raw_publish_of_the_page_of_http_is_confirmed(blocks, run):
    [command] = blocks("http.md", "sh")
    assert run(command) == ""


def test_stats_have_the_keys_of_their_page(blocks, run):
    run("curl -u guest:guest -d body=hi http://localhost:8000/test/test/foo")
    [block] = blocks("stats.md", "console")
    command, shown = parts_of(block)
    told = json.loads(run(command))
    for name, value in json.loads(shown).items():
        assert type(told[name]) is type(value), name
    login = json.loads(shown)["connections"]["test:guest"]
    assert told["connections"]["test:guest"].keys() == login.keys()
    assert "opened" in run(blocks("stats.md", "sh")[0])
