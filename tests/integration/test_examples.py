"""The programs of examples/, with their real interpreters, as people will copy them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from flaky import CLOSED, PUBLISHED, Answer, Flaky, problem
from gateway import free_port, running
from queues import Queue

from statelessd.config.loader import load

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPES = Path(__file__).parents[1] / "recipes"
PROGRAMS = {
    "publish.sh": "sh",
    "publish_wget.sh": "sh",
    "publish_curl.php": "php",
    "publish_multipart.php": "php",
    "publish_stream.php": "php",
    "publish_kept.php": "php",
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


def test_the_pages_for_programmers_have_every_program(pytestconfig):
    how_to = pytestconfig.rootpath / "docs/how-to"
    pages = [how_to / f"publish-from-{each}.md" for each in ("php", "other-languages")]
    text = "".join(page.read_text() for page in pages)
    assert [name for name in PROGRAMS if f"[{name}]" not in text] == []


def lines_of(code):
    return "\n".join(line.strip() for line in code.strip().splitlines())


def test_the_code_for_php_programmers_is_that_of_the_examples(pytestconfig):
    page = (pytestconfig.rootpath / "docs/how-to/publish-from-php.md").read_text()
    excerpts = re.findall(r"^ *```php\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)
    assert len(excerpts) > 5
    programs = [lines_of(path.read_text()) for path in EXAMPLES.glob("*.php")]
    assert [e for e in excerpts if not any(lines_of(e) in program for program in programs)] == []


def test_the_configuration_for_php_programmers_is_valid(pytestconfig, tmp_path):
    page = (pytestconfig.rootpath / "docs/how-to/publish-from-php.md").read_text()
    (tmp_path / "statelessd.yml").write_text(page.split("```yaml\n")[1].split("```")[0])
    loaded = load(tmp_path / "statelessd.yml", {})
    assert loaded.warnings == []


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        (
            "http_build_query($message + ['headers' => ['source' => 'shop', 'tags' => ['a']]])",
            {"source": "shop", "tags": ["a"]},
        ),
        ("$message + ['headers[source]' => 'shop']", {"source": "shop"}),
        ("$message + ['headers' => $typed]", {"attempt": 1, "test": False}),
        ("http_build_query($message + ['headers' => $typed])", {"attempt": 1, "test": False}),
        ("$message + ['body' => new CURLFile('/etc/hostname')]", None),
    ],
)
def test_a_form_of_php_has_the_headers_that_the_page_says(gateway, arrived, fields, headers):
    program = f"""
        $message = ['mandatory' => true{"" if headers is None else ", 'body' => 'x'"}];
        $typed = json_encode(['attempt' => 1, 'test' => false]);
        $curl = curl_init('{gateway.url}/%2f/test/x');
        $auth = 'guest:guest';
        curl_setopt_array($curl, [CURLOPT_USERPWD => $auth, CURLOPT_POSTFIELDS => {fields}]);
        curl_exec($curl);"""
    subprocess.run(["php", "-r", program], check=True)
    properties, body, _ = arrived.get()
    assert properties.headers == headers
    assert body == (b"x" if headers else Path("/etc/hostname").read_bytes())


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


def test_no_client_repeats_a_request_by_itself(run):
    """It would hide that a kept connection ended, and that the first copy may exist."""
    refusal = problem(403, detail="Not any more", retryable=False)
    with Flaky(problem(503, retry_after=0), CLOSED, refusal, keeps=True) as server:
        is_told(run(STATELESSD_URL=server.url), 1, "Perhaps published: Flaky: Not any more")
    assert len(server.requests) == 3


@pytest.mark.parametrize(("option", "requests"), [("", 3), ("CURLOPT_FORBID_REUSE => true", 2)])
def test_libcurl_repeats_a_request_on_a_kept_connection(option, requests):
    """Why the examples in PHP either close their connection or send the body from a function."""
    with Flaky(PUBLISHED, CLOSED, PUBLISHED, keeps=True) as server:
        program = f"""
            $curl = curl_init('{server.url}');
            curl_setopt_array($curl, [CURLOPT_POSTFIELDS => 'body=x', {option}]);
            curl_exec($curl);
            curl_exec($curl);"""
        subprocess.run(["php", "-r", program], check=True)
    assert len(server.requests) == requests


@pytest.fixture
def by_socket(broker, tmp_path):
    """The path of a gateway's Unix socket."""
    path = tmp_path / "8000.sock"
    with running(tmp_path, broker, unix=[path]):
        yield path


@pytest.mark.parametrize("program", ["publish_kept.php"])
def test_it_publishes_through_a_unix_socket(run, by_socket, arrived):
    is_told(run(STATELESSD_URL="http://localhost", STATELESSD_SOCKET=by_socket), 0, "Published.")
    assert arrived.get()[0].message_id == "order-42"


def test_nobody_listens(run):
    done = run(STATELESSD_URL=f"http://127.0.0.1:{free_port()}")
    assert done.stdout.startswith("Perhaps published: No answer: "), done.stdout + done.stderr
    assert done.returncode == 75
