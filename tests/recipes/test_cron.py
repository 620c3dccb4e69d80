"""The wrapper for cron jobs, with dash, and with output that is hard to quote."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flaky import CLOSED, PUBLISHED, Flaky, problem
from gateway import free_port
from users import add_users
from waiting import wait_until

WRAPPER = Path(__file__).parents[2] / "examples" / "cron-job.sh"
NASTY = {
    "quotes": b"""it's "quoted" \\" \\u0041 $HOME `id` %s %% & + =\n""",
    "controls": bytes(range(32)) + b"\x7f\r\n\n",
    "unicode": "Käse ☃ 𝄞 \U0010ffff \ufffd\n".encode(),
    "latin-1": b"K\xe4se\xa0\xff\n",
    "cut": "ä☃𝄞".encode()[:-1],
    "overlong": b"\xc0\xaf \xe0\x80\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xf0\x8f\xbf\xbf \xf8\x88",
    "random": random.Random(18).randbytes(3000).replace(b"\n", b" "),
    "empty": b"",
}


@pytest.fixture
def start(tmp_path):
    """Starts the wrapper in a directory for temporary files that has to be empty afterwards."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def start(*command, url, **variables):
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(temporary), "STATELESSD_URL": url}
        return subprocess.Popen(
            ["dash", WRAPPER, *command], env=environment | variables,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    yield start
    assert list(temporary.iterdir()) == []


@pytest.fixture
def run(start):
    """Runs the wrapper to its end, and returns its status, output and complaints."""

    def run(*command, **options):
        process = start(*command, **options)
        output, complaints = process.communicate(timeout=90)
        return process.returncode, output, complaints.decode()

    return run


def test_it_reports_a_job_that_succeeds(run, gateway, arrived):
    before = int(time.time())
    assert run("sh", "-c", "echo out; echo err >&2", url=gateway.url) == (0, b"out\nerr\n", "")
    properties, body, routing_key = arrived.get()
    report = json.loads(body)
    assert before <= report.pop("started") <= time.time()
    assert 0 <= report.pop("seconds") <= time.time() - before
    assert report == {
        "command": "sh -c echo out; echo err >&2",
        "host": os.uname().nodename,
        "status": 0,
        "output": "out\nerr\n",
    }
    assert routing_key == "cron.ok"
    assert properties.content_type == "application/json"
    assert len(properties.message_id) == 32
    assert arrived.get() is None


@pytest.mark.parametrize(("command", "status"), [("exit 3", 3), ("kill -9 $$", 137)])
def test_it_reports_a_job_that_fails_and_keeps_its_status(run, gateway, arrived, command, status):
    assert run("sh", "-c", command, url=gateway.url)[0] == status
    _, body, routing_key = arrived.get()
    assert json.loads(body)["status"] == status
    assert routing_key == "cron.failed"


def test_it_reports_a_job_that_does_not_exist(run, gateway, arrived):
    status, output, _ = run("no-such-job", url=gateway.url)
    report = json.loads(arrived.get()[1])
    assert (status, report["status"]) == (127, 127)
    assert "no-such-job: not found" in report["output"]
    assert report["output"] == output.decode()


@pytest.mark.parametrize("output", NASTY.values(), ids=NASTY)
def test_any_output_arrives(run, gateway, arrived, output):
    """What is not UTF-8 becomes what Python makes of it."""
    code = f"import sys; sys.stdout.buffer.write({output!r})"
    assert run(sys.executable, "-c", code, url=gateway.url) == (0, output, "")
    report = json.loads(arrived.get()[1])
    assert report["output"] == output.decode(errors="replace")
    assert report["command"] == f"{sys.executable} -c {code}"


def test_of_a_long_output_the_end_is_reported(run, gateway, arrived):
    _, output, _ = run("seq", "100000", url=gateway.url)
    assert json.loads(arrived.get()[1])["output"].split() == output.decode().split()[-50:]
    run("sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x", url=gateway.url)
    assert json.loads(arrived.get()[1])["output"] == "x" * 10_000


def test_it_tries_again_with_the_same_message_id(run):
    with Flaky(problem(503, retry_after=1), CLOSED, PUBLISHED) as server:
        assert run("true", url=server.url) == (0, b"", "")
    ids = {request.message_id for request in server.requests}
    assert len(server.requests) == 3
    assert len(ids) == 1
    assert None not in ids


def test_it_says_why_it_could_not_publish_and_keeps_the_status(run, gateway):
    auth = 'guest:it\'s "wrong" \\'
    status, output, complaints = run(
        "sh", "-c", "echo done; exit 5", url=gateway.url, STATELESSD_AUTH=auth
    )
    assert (status, output) == (5, b"done\n")
    assert complaints.startswith("cron-job.sh: the report is not confirmed: 401\n")
    assert "The broker refused the user name or password." in complaints


def test_the_password_may_have_quotes(run, gateway, arrived, broker):
    password = "a\"b\\c:d e'"
    add_users(broker, {"cron": password}, virtual_host="/")
    assert run("true", url=gateway.url, STATELESSD_AUTH=f"cron:{password}") == (0, b"", "")
    assert json.loads(arrived.get()[1])["status"] == 0


def test_nobody_listens(run):
    url = f"http://127.0.0.1:{free_port()}"
    status, output, complaints = run("sh", "-c", "echo x; exit 4", url=url, STATELESSD_PATIENCE="1")
    assert (status, output) == (4, b"x\n")
    assert complaints.startswith("cron-job.sh: the report is not confirmed: 000\n")


def test_the_job_runs_even_if_there_is_no_room_for_the_report(run, tmp_path):
    status, output, _ = run(
        "sh", "-c", "echo x; exit 4", url="http://127.0.0.1:1", TMPDIR=str(tmp_path / "missing")
    )
    assert (status, output) == (4, b"x\n")


def test_a_signal_ends_the_job_and_is_reported(start, gateway, arrived, tmp_path):
    begun = tmp_path / "begun"
    process = start("sh", "-c", f"echo $$ > {begun}; exec sleep 60", url=gateway.url)
    wait_until(lambda: begun.exists() and begun.read_text().endswith("\n"), what="the job")
    process.terminate()
    os.kill(int(begun.read_text()), signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    process.communicate()
    assert json.loads(arrived.get()[1])["status"] == 128 + signal.SIGTERM


def test_it_says_how_to_use_it(run):
    status, _, complaints = run(url="")
    assert status == 64
    assert complaints.endswith("cron-job.sh COMMAND [ARGUMENT]...\n")
