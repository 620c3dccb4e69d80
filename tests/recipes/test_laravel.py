"""Laravel's queue: its own payload over HTTP, and its own worker that runs the job."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from flaky import CLOSED, PUBLISHED, Flaky, problem
from gateway import free_port
from keeping import ForgetfulServer

CONNECTION = "laravel_queue.php"
PROGRAM = Path(__file__).parent / "php" / "laravel.php"
PHP = ["php", "-d", "error_reporting=E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED"]


def run(action, **options):
    """Return what the PHP program prints, line by line."""
    done = subprocess.run(
        [*PHP, PROGRAM, action, json.dumps(options)],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def push(url, *jobs, **connection):
    """Put the jobs on the queue "test"; return what became of each."""
    login = {"username": "guest", "password": "guest", "queue": "test"}
    jobs = jobs or ({"job": [42, "Käse & ☃"]},)
    return run("push", connection={"url": url} | login | connection, jobs=jobs)


@pytest.fixture
def work(broker, arrived):
    """Lets Laravel's worker run one job of the queue "test"."""
    where = {"host": broker.host, "port": broker.amqp_port}
    return lambda: run("work", connection=where, queue=arrived.name)


def test_laravels_worker_runs_the_job(gateway, work, arrived):
    (told,) = push(gateway.url)
    (ran,) = work()
    uuid = ran.pop("uuid")
    assert re.fullmatch(r"[0-9a-f-]{36}", uuid)
    assert ran == {
        "number": 42,
        "note": "Käse & ☃",
        "id": told["id"],
        "attempts": 1,
        "tries": 3,
    }
    assert len(arrived) == 0


def test_the_message_is_as_the_driver_makes_it(gateway, arrived):
    (told,) = push(gateway.url)
    properties, body, routing_key = arrived.get()
    payload = json.loads(body)
    assert payload["displayName"] == payload["data"]["commandName"] == "ShipOrder"
    assert payload["job"] == "Illuminate\\Queue\\CallQueuedHandler@call"
    assert payload["data"]["command"].startswith('O:9:"ShipOrder":')
    assert payload["id"] == properties.correlation_id == told["id"]
    assert properties.message_id == payload["uuid"]
    assert properties.content_type == "application/json"
    assert properties.delivery_mode == 2
    assert properties.priority == 7
    assert properties.headers == {"laravel": {"attempts": 0}}
    assert routing_key == "test"


def test_a_job_that_fails_is_tried_again(gateway, work):
    push(gateway.url, {"job": [1, "", True]})
    runs = [work() for _ in range(3)]
    assert [ran["attempts"] for ran, *_ in runs] == [1, 2, 3]
    assert work() == []


def test_a_program_without_laravel_puts_a_job(gateway, work, pytestconfig):
    """The command of the page works as it stands, but for the address and the queue."""
    page = (pytestconfig.rootpath / "docs/how-to/recipes/laravel.md").read_text()
    (command,) = re.findall(r"^```sh\n(curl .*?)^```", page, re.MULTILINE | re.DOTALL)
    command = command.replace("http://localhost:8000", gateway.url)
    command = command.replace("/amq.default/default", "/amq.default/test")
    command = command.replace(r"App\\Jobs\\Greeter", "Greeter")
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
    assert done.stdout == b""
    assert work() == [{"greeted": "World", "uuid": "2f1c7a52-0b0e-4c4e-9a51-6f6f0a3d9b11"}]


def test_a_delay_is_refused(gateway, arrived):
    late, soon = push(gateway.url, {"job": [1, ""], "delay": 60}, {"job": [2, ""], "delay": 0})
    assert late == {"threw": "statelessd cannot delay a job: dispatch it without delay()."}
    assert "id" in soon
    assert len(arrived) == 1


def test_there_is_no_queue(gateway):
    (told,) = push(gateway.url, {"job": [1, ""], "queue": "no such"})
    assert told["outcome"] == "not-published"
    assert told["retryable"] is False
    assert told["failed"].startswith("Not published: ")


def test_it_tries_again_with_the_same_message_id():
    with Flaky(problem(503, retry_after=1), CLOSED, PUBLISHED) as server:
        (told,) = push(server.url)
    assert "id" in told
    assert len(server.requests) == 3
    assert len({each.message_id for each in server.requests}) == 1


def test_what_was_unknown_once_stays_unknown_and_can_be_put_again():
    refusal = problem(403, detail="Not any more", retryable=False)
    unknown = problem(504, outcome="unknown", retry_after=0)
    with Flaky(unknown, refusal, PUBLISHED) as server:
        told, again = push(server.url, {"job": [1, ""], "again": True})
    assert told["failed"] == "Perhaps published: Flaky: Not any more"
    assert told["outcome"] == "unknown"
    assert "id" in again
    assert [each.message_id.decode() for each in server.requests] == [told["uuid"]] * 3


def test_it_gives_up_in_time():
    with Flaky(problem(503, retry_after=5)) as server:
        (told,) = push(server.url, timeout=2)
    assert (told["outcome"], told["retryable"]) == ("not-published", True)
    assert len(server.requests) == 1


def test_nobody_listens():
    (told,) = push(f"http://127.0.0.1:{free_port()}", timeout=2)
    assert told["outcome"] == "unknown"
    assert told["failed"].startswith("Perhaps published: No answer: ")


def test_a_kept_connection_that_ends_makes_no_second_request_behind_its_back():
    """libcurl would send it again, and the answer to that would hide the first."""
    with ForgetfulServer(problem(403, retryable=False)) as server:
        first, second = push(server.url, {"job": [1, ""]}, {"job": [2, ""]})
    assert "id" in first
    assert second["outcome"] == "unknown"
