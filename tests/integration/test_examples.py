"""The programs of examples/, with their real interpreters, as people will copy them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from flaky import CLOSED, PUBLISHED, Answer, Flaky, problem
from gateway import free_port
from queues import Queue

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPES = Path(__file__).parents[1] / "recipes"
PROGRAMS = {
    "publish.sh": "sh",
    "publish_wget.sh": "sh",
    "publish_curl.php": "php",
    "publish_multipart.php": "php",
    "publish_stream.php": "php",
    "publish_requests.py": sys.executable,
    "publish_httpx.py": sys.executable,
    "publish.mjs": "node",
    "publish.pl": "perl",
}
TRIES = 5


@pytest.fixture(params=PROGRAMS)
def program(request):
    return request.param


@pytest.fixture
def run(program):
    """Runs the program with these variables, and nothing of the caller's environment."""

    def run(**variables):
        return subprocess.run(
            [PROGRAMS[program], EXAMPLES / program],
            env={"PATH": os.environ["PATH"], **variables},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run


def is_told(done, status, said):
    assert (done.stdout, done.returncode) == (said + "\n", status), done.stderr


@pytest.fixture
def arrived(amqp):
    """The example queue of the virtual host /, which is empty."""
    queue = Queue(amqp("/"))
    queue.channel.queue_purge("test")
    return queue


def test_every_example_is_run():
    recipes = "".join(test.read_text() for test in RECIPES.glob("test_*.py"))
    found = {path.name for path in EXAMPLES.iterdir() if f'"{path.name}"' not in recipes}
    assert found == {*PROGRAMS, "original.php", "original.yaml"}


def test_it_publishes(run, gateway, arrived):
    is_told(run(STATELESSD_URL=gateway.url), 0, "Published.")
    properties, body, routing_key = arrived.get()
    assert routing_key == "orders.new"
    assert json.loads(body) == {"order": 42, "note": "50 % more & better"}
    assert properties.content_type == "application/json"
    assert properties.message_id == "order-42"
    assert properties.headers["source"] == "shop"
    assert arrived.get() is None


def test_a_nested_array_of_php_becomes_a_header(gateway, arrived):
    subprocess.run(
        ["php", EXAMPLES / "publish_curl.php"],
        env={"PATH": os.environ["PATH"], "STATELESSD_URL": gateway.url}, check=True,
    )  # fmt: skip
    assert arrived.get()[0].headers == {"source": "shop", "tags": ["new", "priority"]}


def test_it_reads_a_problem_document(run, gateway):
    before = gateway.answered(404)
    done = run(STATELESSD_URL=gateway.url, STATELESSD_EXCHANGE="missing")
    title = "The exchange does not exist"
    detail = "The broker says: no exchange 'missing' in vhost '/'"
    is_told(done, 1, f"Not published: {title}: {detail}")
    assert gateway.answered(404) == before + 1


def test_it_asks_once_with_a_wrong_password(run, program, gateway):
    before = gateway.answered(401)
    # A password of its own: the gateway remembers for two seconds what the broker refused.
    done = run(STATELESSD_URL=gateway.url, STATELESSD_AUTH=f"guest:not this: {program}")
    if program == "publish_wget.sh":  # wget shows no body of a 401
        is_told(done, 1, "Not published: Unauthorized: check STATELESSD_AUTH")
    else:
        title = "The credentials are missing, malformed or refused"
        detail = "The broker refused the user name or password."
        is_told(done, 1, f"Not published: {title}: {detail}")
    assert gateway.answered(401) == before + 1


def test_it_tries_again_until_it_is_published(run):
    with Flaky(problem(503), CLOSED, PUBLISHED) as server:
        is_told(run(STATELESSD_URL=server.url), 0, "Published.")
    assert [request.message_id for request in server.requests] == [b"order-42"] * 3


def test_it_waits_as_long_as_it_is_told(run):
    with Flaky(problem(429, retry_after=1), PUBLISHED) as server:
        is_told(run(STATELESSD_URL=server.url), 0, "Published.")
    first, second = server.requests
    assert second.at - first.at >= 1


def test_it_gives_up(run):
    with Flaky(problem(503, retry_after=0)) as server:
        done = run(STATELESSD_URL=server.url)
    is_told(done, 75, "Not published: Flaky: It was told to say 503")
    assert len(server.requests) == TRIES


@pytest.mark.parametrize(
    ("content_type", "body", "title"),
    [
        ("text/html", b"<h1>Bad Gateway</h1>\n", "No answer: "),
        ("application/json", b'"Bad Gateway"', "No answer: "),
        ("application/problem+json", b'{"status": 502}', ""),  # of another's kind
    ],
    ids=["page", "text", "problem"],
)
def test_a_proxys_own_answer_leaves_it_unknown(run, content_type, body, title):
    with Flaky(Answer(502, content_type, body, retry_after=0)) as server:
        done = run(STATELESSD_URL=server.url)
    assert done.stdout.startswith(f"Perhaps published: {title}"), done.stdout + done.stderr
    assert done.returncode == 75
    assert len(server.requests) == TRIES


def test_what_was_unknown_once_stays_unknown(run):
    """A later refusal is about the later copy."""
    refusal = problem(403, detail="Not any more", retryable=False)
    with Flaky(problem(504, outcome="unknown", retry_after=0), refusal) as server:
        is_told(run(STATELESSD_URL=server.url), 1, "Perhaps published: Flaky: Not any more")
    assert len(server.requests) == 2


def test_nobody_listens(run):
    done = run(STATELESSD_URL=f"http://127.0.0.1:{free_port()}")
    assert done.stdout.startswith("Perhaps published: No answer: "), done.stdout + done.stderr
    assert done.returncode == 75
