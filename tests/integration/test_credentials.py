"""Passwords: wrong ones cost the broker little, changed ones stop working, none is shown."""

import base64
import os
import time
from pathlib import Path

import control
import pytest
from clients import HEADERS, Clients, all_are_204, kept_alive, publishing, tcp
from problems import is_problem
from stuck import opened
from users import add_users
from waiting import wait_until


@pytest.fixture
def user(broker):
    """A user of the test's own, who may publish everything to the virtual host ``test``."""
    name = f"user-{os.urandom(4).hex()}"
    add_users(broker, {name: "first"})
    return name


def refused_logins(broker):
    # Since RabbitMQ 4.1 it says "invalid credentials" twice of each.
    return broker.node.log_path.read_text(errors="replace").count("login refused: user")


def test_a_hundred_clients_with_a_wrong_password(start_gateway, broker, queue):
    gateway = start_gateway()
    path = f"/test/{queue.name}/k"
    wrong = base64.b64encode(b"guest:wrong").decode()
    login = HEADERS | {"Authorization": f"Basic {wrong}"}
    with Clients(1, publishing(gateway, path)) as good:
        good.go_on(1)
        before, started = refused_logins(broker), time.monotonic()
        with Clients(100, kept_alive(tcp(gateway.port), path, headers=login)) as bad:
            bad.go_on(2000)
        seconds = time.monotonic() - started
        good.go_on(1)
    all_are_204([good])
    assert set(bad.told) == {401, 429}
    # One login for each time the memory of the last refusal ends, after 2 s.
    wait_until(lambda: refused_logins(broker) > before, what="RabbitMQ's log")
    assert refused_logins(broker) - before <= 2 + seconds / 2
    answer = gateway.publish(path, password="wrong")
    if answer.status_code == 429:
        is_problem(answer, 429, "too-many-failures")
        assert answer.headers["retry-after"] == "2"


def test_refused_credentials_are_tried_again_after_their_time(start_gateway, broker, user):
    gateway = start_gateway({"Application": {"rabbitmq": {"refused_for": 0.5}}})

    def publish():
        return gateway.publish("/test/amq.topic/k", user=user, password="second").status_code

    assert publish() == 401
    assert publish() == 429
    control.change_password(broker, user, "second")
    wait_until(lambda: publish() == 204)


def test_a_changed_password_stops_working_without_a_hiccup_for_others(
    start_gateway, broker, user, queue
):
    gateway = start_gateway({"Application": {"rabbitmq": {"reverify_after": 0.5}}})
    path = f"/test/{queue.name}/k"
    mine = {"user": user, "password": "first"}
    with (
        Clients(1, publishing(gateway, path)) as good,
        Clients(1, publishing(gateway, path, **mine)) as changed,
    ):
        changed.go_on(1)
        control.change_password(broker, user, "second")
        wait_until(lambda: changed.told[-1] in (401, 429), what="the old password's end")
        assert gateway.publish(path, user=user, password="second").ok
        changed.stop()
        wait_until(lambda: opened(gateway) > 3, what="a fourth connection")
    assert set(changed.told) == {204, 401, 429}
    all_are_204([good])
    assert len(queue.bodies()) == len(good.told) + changed.told.count(204) + 1


def test_a_user_who_is_deleted_publishes_no_more(start_gateway, broker, user, queue):
    gateway = start_gateway({"Application": {"rabbitmq": {"reverify_after": 0.5}}})
    path, login = f"/test/{queue.name}/k", {"user": user, "password": "first"}
    with Clients(1, publishing(gateway, path, **login)) as clients:
        clients.go_on(1)
        control.delete_user(broker, user)
        wait_until(lambda: clients.told[-1] in (401, 429), what="the user's end")
    assert set(clients.told) <= {204, 401, 429, 504}
    assert len(queue.bodies()) >= clients.told.count(204)


def _post(path, headers):
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n"
        f"{headers}\r\nx"
    ).encode()


SECRETS = ["s3cret-right", "s3cret-wrong", "s3cret-broken"]


def test_no_password_is_shown_anywhere(start_gateway, broker, user, queue):
    control.change_password(broker, user, SECRETS[0])
    gateway = start_gateway({"Application": {"debug": True}})
    path = f"/test/{queue.name}/k"
    seen = []
    for password in (*SECRETS[:2], SECRETS[1]):
        for where in (path, "/missing/x/k", "/test/missing/k"):
            answer = gateway.publish(where, user=user, password=password)
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
    seen += [gateway.get(page).text for page in ("/stats", "/")]
    for pid in (gateway.process.pid, *gateway.backends()):
        seen += [Path(f"/proc/{pid}/{file}").read_text() for file in ("cmdline", "comm")]
    assert gateway.stop() == 0
    log = gateway.text
    assert f"'{user}', virtual host 'test': login refused" in log
    for text in [*seen, log]:
        for secret in SECRETS:
            assert secret not in text
            assert base64.b64encode(f"{user}:{secret}".encode()).decode() not in text
