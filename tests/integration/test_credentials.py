"""Passwords: wrong ones cost the broker little, changed ones stop working, none is shown."""

import base64
import os
import threading
import time
from pathlib import Path

import pytest
import requests
from problems import is_problem
from users import add_users
from waiting import wait_until


@pytest.fixture
def user(broker):
    """A user of the test's own, who may publish everything to the virtual host ``test``."""
    name = f"user-{os.urandom(4).hex()}"
    add_users(broker, {name: "first"})
    return name


class Loop(threading.Thread):
    """A client that publishes until ``stop``, on one keep-alive connection."""

    def __init__(self, gateway, path, user="guest", password="guest"):
        super().__init__()
        self.statuses = []
        self._stopping = threading.Event()
        self._gateway, self._path, self._login = gateway, path, (user, password)
        self.start()

    def run(self):
        with requests.Session() as session:
            session.auth = self._login
            while not self._stopping.is_set():
                answer = session.post(
                    f"{self._gateway.url}{self._path}", data={"body": "x"}, timeout=10
                )
                self.statuses.append(answer.status_code)

    def tell(self):
        """It to stop, before others are waited for."""
        self._stopping.set()

    def stop(self):
        self.tell()
        self.join()
        return self.statuses


def refused_logins(broker):
    # Since RabbitMQ 4.1 it says "invalid credentials" twice of each.
    return broker.node.log_path.read_text(errors="replace").count("login refused: user")


def test_a_hundred_clients_with_a_wrong_password(start_gateway, broker, queue):
    gateway = start_gateway()
    path = f"/test/{queue.name}/k"
    good = Loop(gateway, path)
    wait_until(lambda: good.statuses)
    before, started = refused_logins(broker), time.monotonic()
    bad = [Loop(gateway, path, password="wrong") for _ in range(100)]
    wait_until(lambda: sum(len(b.statuses) for b in bad) > 2000, 30)
    for loop in bad:
        loop.tell()
    statuses = [status for loop in bad for status in loop.stop()]
    seconds = time.monotonic() - started
    assert set(statuses) == {401, 429}
    # One login for each time the memory of the last refusal ends, after 2 s.
    assert 1 <= refused_logins(broker) - before <= 2 + seconds / 2
    assert set(good.stop()) == {204}
    answer = gateway.publish(path, password="wrong", data={"body": "x"})
    if answer.status_code == 429:
        is_problem(answer, 429, "too-many-failures")
        assert answer.headers["retry-after"] == "2"


def test_refused_credentials_are_tried_again_after_their_time(start_gateway, broker, user):
    gateway = start_gateway({"Application": {"rabbitmq": {"refused_for": 0.5}}})

    def publish():
        return gateway.publish(
            "/test/amq.topic/k", user=user, password="second", data={"body": "x"}
        ).status_code

    assert publish() == 401
    assert publish() == 429
    broker.ctl("change_password", user, "second")
    wait_until(lambda: publish() == 204)


def test_a_missing_virtual_host_is_not_asked_for_again_at_once(start_gateway):
    gateway = start_gateway()
    for words in ("not found", "was not asked again"):
        answer = gateway.publish("/missing/test/k", data={"body": "x"})
        assert words in is_problem(answer, 404, "virtual-host-not-found")["detail"]


def test_a_changed_password_stops_working_without_a_hiccup_for_others(
    start_gateway, broker, user, queue
):
    gateway = start_gateway({"Application": {"rabbitmq": {"reverify_after": 0.5}}})
    path = f"/test/{queue.name}/k"
    good, changed = Loop(gateway, path), Loop(gateway, path, user, "first")
    wait_until(lambda: changed.statuses)
    broker.ctl("change_password", user, "second")
    wait_until(lambda: changed.statuses[-1] in (401, 429))
    assert gateway.publish(path, user=user, password="second", data={"body": "x"}).ok
    assert set(changed.stop()) == {204, 401, 429}
    wait_until(lambda: gateway.stats()["connections"]["test:guest"]["connections"]["opened"] > 3)
    statuses = good.stop()
    assert set(statuses) == {204}
    confirmed = len(statuses) + changed.statuses.count(204) + 1
    assert len(queue.bodies()) == confirmed


@pytest.mark.parametrize(
    ("command", "status"),
    [(("delete_user",), {401, 429}), (("clear_permissions", "-p", "test"), {403})],
)
def test_a_right_that_is_taken_away_ends(start_gateway, broker, user, queue, command, status):
    gateway = start_gateway({"Application": {"rabbitmq": {"reverify_after": 0.5}}})
    loop = Loop(gateway, f"/test/{queue.name}/k", user, "first")
    wait_until(lambda: loop.statuses)
    broker.ctl(*command, user)
    wait_until(lambda: loop.statuses[-1] in status)
    statuses = loop.stop()
    assert set(statuses) <= {204, 504} | status
    assert len(queue.bodies()) >= statuses.count(204)


def _post(path, headers):
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n"
        f"{headers}\r\nx"
    ).encode()


SECRETS = ["s3cret-right", "s3cret-wrong", "s3cret-broken"]


def test_no_password_is_shown_anywhere(start_gateway, broker, user, queue):
    broker.ctl("change_password", user, SECRETS[0])
    gateway = start_gateway({"Application": {"debug": True}})
    path = f"/test/{queue.name}/k"
    seen = []
    for password in (*SECRETS[:2], SECRETS[1]):
        for where in (path, "/missing/x/k", "/test/missing/k"):
            answer = gateway.publish(where, user=user, password=password, data={"body": "x"})
            seen.append(f"{answer.headers}{answer.text}")
    # Headers that cannot be read, a body that cannot, a form that cannot, and in the URL.
    token = base64.b64encode(f"{user}:{SECRETS[2]}".encode()).decode()
    malformed = (
        f"Authorization: Basic {token}\x00\r\n",
        f"Authorization: Basic {token}!\r\n",
        f"Authorization: Bearer {token}\r\n",
        f"Authorization: Basic {token}\r\nTransfer-Encoding: chunked\r\n",
        f"Authorization: Basic {token}\r\nContent-Type: multipart/form-data\r\n",
    )
    seen += [gateway.raw(_post(path, headers)) for headers in malformed]
    seen.append(gateway.raw(_post(f"//{user}:{SECRETS[2]}@host{path}", "")))
    seen.append(requests.get(f"{gateway.url}/stats", timeout=5).text)
    seen.append(requests.get(f"{gateway.url}/", timeout=5).text)
    backends = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text()
    for pid in [str(gateway.process.pid), *backends.split()]:
        seen.append(Path(f"/proc/{pid}/cmdline").read_text())
        seen.append(Path(f"/proc/{pid}/comm").read_text())
    assert gateway.stop() == 0
    log = gateway.text
    assert f"'{user}', virtual host 'test': login refused" in log
    for text in [*seen, log]:
        for secret in SECRETS:
            assert secret not in text
            assert base64.b64encode(f"{user}:{secret}".encode()).decode() not in text
