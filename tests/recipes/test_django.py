"""A Django project in SQLite whose transactions publish when they are committed."""

import contextlib
import json
import subprocess

import pytest
import requests
from flaky import CLOSED, PUBLISHED, Flaky, problem
from frameworks import EXAMPLES, PROGRAMS, PYTHON, runs, variables
from gateway import free_port, listens
from waiting import wait_until

MANAGE = PROGRAMS / "django_shop/manage.py"
assert (EXAMPLES / "django_publish.py").exists()


class Shop:
    """The project, served on a port."""

    def __init__(self, port, log):
        self.url = f"http://127.0.0.1:{port}/orders"
        self.log = log

    def place(self, *orders):
        return requests.post(self.url, json=orders, timeout=30)

    def forget(self):
        requests.delete(self.url, timeout=30).raise_for_status()

    def notes(self):
        return requests.get(self.url, timeout=30).json()["notes"]


@contextlib.contextmanager
def serving(directory, url):
    """Serve the project with this URL of a gateway."""
    log, port = directory / "django.log", free_port()
    settings = {
        "DATABASE": str(directory / "shop.sqlite3"),
        "STATELESSD_URL": url,
        "STATELESSD_AUTH": "guest:guest",
    }
    subprocess.run(
        [PYTHON, MANAGE, "migrate", "--run-syncdb", "--verbosity", "0"],
        env=variables(**settings), cwd=directory, check=True,
    )  # fmt: skip
    with runs([MANAGE, "runserver", "--noreload", f"127.0.0.1:{port}"], log, **settings):
        wait_until(lambda: listens(port), what="Django to listen")
        yield Shop(port, log)


@pytest.fixture(scope="module")
def served(tmp_path_factory, gateway):
    with serving(tmp_path_factory.mktemp("shop"), gateway.url) as shop:
        yield shop


@pytest.fixture
def shop(served):
    """The project, without orders."""
    served.forget()
    return served


@pytest.fixture(scope="module")
def flaky():
    with Flaky(PUBLISHED) as server:
        yield server


@pytest.fixture(scope="module")
def flaky_shop(tmp_path_factory, flaky):
    with serving(tmp_path_factory.mktemp("flaky"), flaky.url) as shop:
        yield shop


def test_what_is_committed_is_published(shop, arrived):
    answer = shop.place({"note": "Zoë & 東京 50 %"}, {"note": "second"})
    assert answer.status_code == 201
    properties, body, routing_key = arrived.get()
    message = json.loads(body)
    assert message["note"] == "Zoë & 東京 50 %"
    assert message["placed"].startswith("20")
    assert routing_key == "orders.new/ü"
    assert properties.content_type == "application/json"
    second = arrived.get()[0]
    assert [properties.message_id, second.message_id] == answer.json()["ids"]
    assert shop.notes() == ["Zoë & 東京 50 %", "second"]
    assert arrived.get() is None


def test_what_is_rolled_back_is_not_published(shop, arrived):
    answer = shop.place({"note": "first"}, {"note": "second", "fail": "all"})
    assert answer.status_code == 500
    assert shop.notes() == []
    assert arrived.get() is None


def test_a_savepoint_that_is_rolled_back_publishes_nothing(shop, arrived):
    answer = shop.place({"note": "first", "fail": "alone"}, {"note": "second"})
    assert answer.status_code == 201
    assert shop.notes() == ["second"]
    assert json.loads(arrived.get()[1])["note"] == "second"
    assert arrived.get() is None


def test_every_try_has_the_same_id(flaky, flaky_shop):
    flaky.plays(problem(503, retry_after=0), CLOSED, PUBLISHED)
    (message_id,) = flaky_shop.place({"note": "x"}).json()["ids"]
    assert [request.message_id.decode() for request in flaky.requests] == [message_id] * 3


def test_a_failure_behind_the_commit_is_logged_and_the_order_stays(flaky, flaky_shop):
    flaky_shop.forget()
    flaky.plays(CLOSED)
    answer = flaky_shop.place({"note": "x"})
    assert answer.status_code == 201
    assert flaky_shop.notes() == ["x"]
    (message_id,) = answer.json()["ids"]
    said = f"message {message_id} for test: Perhaps published: No answer: "
    assert said in flaky_shop.log.read_text()
    assert len(flaky.requests) == 3


def test_a_refused_message_does_not_stop_the_next(shop, arrived):
    answer = shop.place({"note": "x", "exchange": "none"}, {"note": "y"})
    refused, published = answer.json()["ids"]
    assert arrived.get()[0].message_id == published
    said = f"message {refused} for none: Not published: The exchange does not exist: "
    assert said in shop.log.read_text()
