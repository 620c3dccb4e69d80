"""The commands of how-to guides, as they stand: batches.md and debug-503-504.md."""

import json
import re
import shlex
import subprocess
import sys

import control
import pytest
from gateway import At, free_port

from statelessd.message import TABLE


@pytest.fixture
def blocks(pytestconfig):
    """Returns the blocks of a page in one language, without their indentation."""

    def blocks(name, language):
        page = (pytestconfig.rootpath / "docs/how-to" / name).read_text()
        found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)
        return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]

    return blocks


@pytest.fixture
def run(gateway):
    """Runs a command of a page against the gateway, and returns what it prints."""

    def run(*command, port=None):
        there = f":{port or gateway.port}/"
        named = [each.replace(":8000/", there) for each in command]
        done = subprocess.run(named, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def without_spaces(text):
    return re.sub(r"\s+", "", text)


def test_the_batches_of_the_page(blocks, run):
    array, stream, results = blocks("batches.md", "sh")
    shown = blocks("batches.md", "json")
    assert without_spaces(run("sh", "-ec", array)) == without_spaces(shown[0])
    assert without_spaces(run("sh", "-ec", stream)) == without_spaces(shown[1])
    first, second, summary = run("sh", "-ec", results).splitlines()
    assert shown[2].startswith(f"{first}\n")
    assert second.startswith(shown[2].splitlines()[1].partition(", …")[0])
    assert shown[2].endswith(f"{summary}\n")


def test_the_programs_of_the_page_about_batches(blocks, run):
    generator, again = blocks("batches.md", "python")
    assert json.loads(run(sys.executable, "-c", generator).replace("'", '"'))["published"] == 2
    assert [run(sys.executable, "-c", again)] == blocks("batches.md", "text")


def test_each_type_has_a_section(pytestconfig):
    page = (pytestconfig.rootpath / "docs/how-to/debug-503-504.md").read_text()
    named = {each.value for each, row in TABLE.items() if row.status >= 500 or row.status == 429}
    assert [each for each in sorted(named) if f"\n## {each}\n" not in page] == []


def is_found_by_its_id(gateway, answer):
    """The log has the line that step 3 looks for, with the type of the answer."""
    document = answer.json()
    kind = document["type"].removeprefix("/docs#")
    gateway.says(f"{answer.status_code} {kind} request_id={document['request_id']} ")
    return kind


def test_a_broker_that_is_away(start_gateway, blocks, run):
    gateway = start_gateway(against=At("127.0.0.1", free_port()))
    assert is_found_by_its_id(gateway, gateway.publish()) == "broker-unavailable"
    [ask] = {each for each in blocks("debug-503-504.md", "sh") if each.endswith("/readyz\n")}
    shown = blocks("debug-503-504.md", "text")
    assert f"{run('sh', '-ec', ask, port=gateway.port)}\n" in shown


def test_a_limit_that_is_reached(start_gateway, blocks, run):
    gateway = start_gateway(
        {"HTTPServer": {"max_body_bytes": 2000}, "Application": {"publish": {"max_bytes": 1000}}}
    )
    answer = gateway.publish(data={"body": "x" * 1500})
    assert is_found_by_its_id(gateway, answer) == "overloaded"
    [ask] = [each for each in blocks("debug-503-504.md", "sh") if "statelessd_refusals" in each]
    told = run("sh", "-ec", ask, port=gateway.port)
    assert re.fullmatch(r'statelessd_refusals_total\{backend="\d+",limit="\w*bytes"\} 1\.0\n', told)


def test_a_queue_that_is_full(gateway, make_queue, broker, blocks):
    queue = make_queue(x_max_length=1, x_overflow="reject-publish")
    path = f"/test/amq.default/{queue.name}"
    answers = [gateway.publish(path) for _ in range(3)]
    assert is_found_by_its_id(gateway, answers[-1]) == "nacked"
    [ask] = [each for each in blocks("debug-503-504.md", "sh") if "policy state" in each]
    told = broker.ctl(*shlex.split(ask)[1:])
    [line] = [each for each in told.splitlines() if each.startswith(queue.name)]
    assert "reject-publish" in line


def test_a_password_that_is_wrong(gateway):
    answers = [gateway.publish(password="wrong-how-to") for _ in range(2)]
    assert [each.status_code for each in answers] == [401, 429]


def test_an_alarm(start_gateway, own, blocks, run):
    gateway = start_gateway({"Application": {"publish": {"timeout": 1}}}, against=own)
    control.use_up_memory(own)
    kinds = [is_found_by_its_id(gateway, gateway.publish()) for _ in range(2)]
    assert kinds == ["unconfirmed", "broker-blocked"]
    [ask] = {each for each in blocks("debug-503-504.md", "sh") if each.endswith("/readyz\n")}
    shown = blocks("debug-503-504.md", "text")
    assert f"{run('sh', '-ec', ask, port=gateway.port)}\n" in shown
    assert "Memory alarm on node" in own.ctl("status")
