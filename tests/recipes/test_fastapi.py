"""A FastAPI application that publishes before it answers, and behind its answer."""

import contextlib
import json

import pytest
import requests
from flaky import CLOSED, PUBLISHED, Flaky, problem
from frameworks import EXAMPLES, runs
from gateway import free_port, listens
from waiting import wait_until

EXAMPLE = EXAMPLES / "fastapi_publish.py"
assert EXAMPLE.exists()


class Service:
    """The application, served on a port."""

    def __init__(self, port, log):
        self.url = f"http://127.0.0.1:{port}"
        self.log = log

    def post(self, path, data=None, **fields):
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        data = {"number": 1} if data is None else data
        return requests.post(self.url + path, json=data, headers=headers, timeout=60)


@contextlib.contextmanager
def serving(directory, **settings):
    """Serve the application with these variables."""
    log, port = directory / "uvicorn.log", free_port()
    command = ["-m", "uvicorn", f"{EXAMPLE.stem}:app", "--port", str(port)]
    with runs(command, log, **settings):
        wait_until(lambda: listens(port), what="uvicorn to listen")
        yield Service(port, log)


@pytest.fixture(scope="module")
def service(tmp_path_factory, gateway):
    with serving(tmp_path_factory.mktemp("service"), STATELESSD_URL=gateway.url) as started:
        yield started


@pytest.fixture(scope="module")
def flaky():
    with Flaky(PUBLISHED) as server:
        yield server


@pytest.fixture(scope="module")
def flaky_service(tmp_path_factory, flaky):
    with serving(tmp_path_factory.mktemp("flaky"), STATELESSD_URL=flaky.url) as started:
        yield started


def test_201_means_that_rabbitmq_has_it(service, arrived):
    order = {"number": 42, "note": "Zoë & 東京 50 %"}
    answer = service.post("/orders", order, Idempotency_Key="order-42")
    assert (answer.status_code, answer.json()) == (201, {"message_id": "order-42"})
    properties, body, routing_key = arrived.get()
    assert json.loads(body) == order
    assert routing_key == "orders.new"
    assert (properties.message_id, properties.content_type) == ("order-42", "application/json")


def test_an_order_without_a_key_gets_an_id(service, arrived):
    message_id = service.post("/orders").json()["message_id"]
    assert arrived.get()[0].message_id == message_id


@pytest.mark.parametrize("key", ["a b", "x" * 256])
def test_a_key_that_cannot_be_an_id_is_refused(service, arrived, key):
    assert service.post("/orders", Idempotency_Key=key).status_code == 422
    assert arrived.get() is None


def test_every_try_has_the_key(flaky, flaky_service):
    flaky.plays(problem(503, retry_after=0), CLOSED, PUBLISHED)
    assert flaky_service.post("/orders", Idempotency_Key="k").status_code == 201
    assert [request.message_id for request in flaky.requests] == [b"k"] * 3


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ([problem(503, retry_after=0)], "not-published"),
        ([problem(504, outcome="unknown"), problem(503, retry_after=0)], "unknown"),
    ],
)
def test_503_asks_the_client_to_send_it_again(flaky, flaky_service, script, outcome):
    flaky.plays(*script)
    answer = flaky_service.post("/orders", Idempotency_Key="k")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["detail"] == {"message_id": "k", "outcome": outcome}
    assert len(flaky.requests) == 3


def test_a_fault_of_the_setup_is_a_500(flaky, flaky_service):
    flaky.plays(problem(404, title="The exchange does not exist", retryable=False))
    answer = flaky_service.post("/orders", Idempotency_Key="k")
    assert answer.status_code == 500
    assert answer.json()["detail"] == {"message_id": "k", "outcome": "not-published"}
    assert "message k: The exchange does not exist: " in flaky_service.log.read_text()
    assert len(flaky.requests) == 1


def test_a_click_is_published_behind_the_answer(service, arrived):
    assert service.post("/clicks").status_code == 202
    _, body, routing_key = wait_until(arrived.get, what="the click")
    assert (json.loads(body), routing_key) == ({"number": 1, "note": ""}, "clicks")


def test_a_click_is_a_202_also_when_it_is_lost(flaky, flaky_service):
    flaky.plays(CLOSED)
    assert flaky_service.post("/clicks").status_code == 202
    wait_until(lambda: "unknown: No answer: " in flaky_service.log.read_text(), what="the log")
