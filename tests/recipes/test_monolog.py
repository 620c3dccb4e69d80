"""The handler for Monolog."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from flaky import Answer, Flaky, problem
from gateway import free_port
from keeping import ForgetfulServer
from silent import silent_address, silent_listener

HANDLER = "monolog_handler.php"
PROGRAM = Path(__file__).parent / "php" / "monolog.php"
PHP = ["php", "-d", "error_reporting=E_ALL & ~E_DEPRECATED"]


def log(url, *records, path="/%2f/test", handler=None, **options):
    """Log the records, and return what the handler complains of. It must not throw."""
    options["handler"] = {"timeout": 30, **(handler or {})}  # a busy machine takes its time
    records = [record if len(record) == 3 else (*record, {}) for record in records]
    done = subprocess.run(
        [*PHP, PROGRAM, url + path, json.dumps({"records": records, **options})],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    *complaints, last = done.stdout.splitlines()
    assert (last, done.returncode, done.stderr) == ("done", 0, ""), done.stdout
    return complaints


def test_a_record_is_published_as_json(gateway, arrived):
    context = {"order": 42, "note": 'Käse "☃"\n'}
    assert log(gateway.url, ("warning", "Paid late", context)) == []
    properties, body, routing_key = arrived.get()
    record = json.loads(body)
    assert record["message"] == "Paid late"
    assert record["context"] == context
    assert record["level_name"] == "WARNING"
    assert routing_key == "shop.warning"
    assert properties.content_type == "application/json"
    assert properties.delivery_mode == 2
    assert properties.timestamp > 1_700_000_000
    assert arrived.get() is None


def test_a_buffer_is_published_in_its_order(gateway, arrived):
    records = [("info", f"number {i}") for i in range(3000)]
    assert log(gateway.url, *records, buffer=True) == []
    found = [json.loads(body)["message"] for body in arrived.bodies()]
    assert found == [message for _, message in records]


def test_a_buffer_is_one_request():
    published = Answer(200, "application/json", b'{"published": 3, "failed": 0, "unknown": 0}')
    with Flaky(published) as server:
        assert log(server.url, *[("info", "x")] * 3, buffer=True) == []
    assert len(server.requests) == 1


def test_levels_processors_and_formatters_count(gateway, arrived):
    records = ("info", "unimportant"), ("error", "K\xe4se")
    options = {
        "format": "%message% by %extra.user%",
        "processor": "-",
        "handler": {"level": "error"},
    }
    assert log(gateway.url, *records, **options) == []
    properties, body, _ = arrived.get()
    assert body.decode() == "K\ufffdse by mary"
    assert properties.content_type == "text/plain"
    assert arrived.get() is None


def test_a_record_that_cannot_be_formatted_leaves_the_others(gateway, arrived):
    records = ("info", "good"), ("info", "bad"), ("info", "also good")
    (complaint,) = log(gateway.url, *records, buffer=True, processor="bad")
    assert complaint == "statelessd: 1 log record cannot be formatted: no such user"
    assert len(arrived) == 2


def test_a_record_that_is_refused_leaves_the_others(gateway, arrived):
    channel = "x" * 250  # a routing key is at most 255 bytes long
    (complaint,) = log(gateway.url, ("info", "a"), ("warning", "b"), channel=channel, buffer=True)
    assert complaint.startswith("statelessd: 1 log records are not confirmed: ")
    assert len(arrived) == 1


def test_it_says_what_the_broker_says(gateway):
    (complaint,) = log(gateway.url, ("info", "a"), ("info", "b"), path="/%2f/missing", buffer=True)
    said = "The broker says: no exchange 'missing' in vhost '/'"
    assert complaint == (
        f"statelessd: 2 log records are not confirmed: The exchange does not exist: {said}"
    )


def test_after_a_failure_it_does_not_ask_for_a_while():
    with Flaky(problem(503)) as server:
        complaints = log(server.url, *[("info", str(i)) for i in range(100)])
    assert len(server.requests) == 1
    assert complaints == [
        "statelessd: 1 log records are not confirmed: Flaky: It was told to say 503",
        "statelessd: 99 log records were dropped after a failure",
    ]


def test_after_the_pause_it_publishes_again():
    published = Answer(200, "application/json", b'{"published": 1, "failed": 0, "unknown": 0}')
    with Flaky(problem(503), published) as server:
        complaints = log(server.url, ("info", "a"), ("info", "b"), handler={"pause": 0})
    assert len(server.requests) == 2
    assert len(complaints) == 1


@pytest.mark.parametrize("silent", [silent_address, silent_listener])
def test_a_gateway_that_does_not_answer_costs_the_timeout_once(silent):
    with silent() as port:
        complaints = log(
            f"http://127.0.0.1:{port}",
            *[("info", str(i)) for i in range(200)],
            handler={"timeout": 0.5},  # for each record it would take longer than log() waits
        )
    assert complaints[0].startswith("statelessd: 1 log records are not confirmed: No answer: ")
    assert complaints[1:] == ["statelessd: 199 log records were dropped after a failure"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(502, "text/html", b"<h1>Bad Gateway</h1>"),
        Answer(200, "application/json", b'{"published": "all"}'),
        Answer(200, "application/json", b'{"failures": 7, "error": [1]}'),
    ],
    ids=["page", "text", "numbers"],
)
def test_an_answer_of_somebody_else_is_a_failure(answer):
    with Flaky(answer) as server:
        (complaint,) = log(server.url, ("info", "a"))
    assert complaint.startswith("statelessd: 1 log records are not confirmed: ")


def test_it_does_not_throw_when_it_cannot_even_complain():
    url = f"http://127.0.0.1:{free_port()}"
    assert len(log(url, ("info", "a"), throws=True)) == 1


def test_a_kept_connection_that_ends_makes_no_second_request_behind_its_back():
    with ForgetfulServer(problem(403)) as server:
        log(server.url, ("info", "a"), ("info", "b"), handler={"pause": 0})
    assert len(server.bodies) == 2
