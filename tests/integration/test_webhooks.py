"""What services that sign send to webhook endpoints arrives in RabbitMQ, and nothing else does."""

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from urllib.parse import urlencode

import pytest
import requests
from gateway import running
from queues import Queue, channel_to
from users import add_users
from waiting import wait_until

MIB = 1024 * 1024
EXCHANGE = "webhooks"
PASSWORD = "s3same-of-the-account"
OLD, NEW = "an-old-secret-0000", "a-new-secret-11111"
KEYS = {name: "whsec_" + base64.b64encode(name.encode() * 24).decode() for name in "ab"}
OTHER = "whsec_" + base64.b64encode(b"c" * 24).decode()
SECRETS = (PASSWORD, OLD, NEW, *KEYS.values(), "hidden-path", "verify-me-token")


def digest(secret, *parts):
    return hmac.digest(secret, b"".join(parts), hashlib.sha256)


def github(body, secret):
    return {"X-Hub-Signature-256": "sha256=" + digest(secret.encode(), body).hex()}


def stripe(body, secret, age=0):
    at = b"%d" % (time.time() - age)
    return {
        "Stripe-Signature": f"t={at.decode()},v1={digest(secret.encode(), at, b'.', body).hex()}"
    }


def slack(body, secret):
    at = b"%d" % time.time()
    signature = digest(secret.encode(), b"v0:", at, b":", body).hex()
    return {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": "v0=" + signature}


def standard(body, secret):
    key, at = base64.b64decode(secret.removeprefix("whsec_")), b"%d" % time.time()
    signature = base64.b64encode(digest(key, b"msg_1.", at, b".", body)).decode()
    return {
        "webhook-id": "msg_1", "webhook-timestamp": at, "webhook-signature": "v1," + signature,
    }  # fmt: skip


def gitlab(body, secret):
    return {"X-Gitlab-Token": secret}


JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PUSH = json.dumps({"action": "opened", "text": "é\x00\n"}, indent=1).encode()
GITHUB_HEADERS = {"X-GitHub-Event": "issues", "X-GitHub-Delivery": "72d3162e-cc78-11e3"}

# The endpoint's settings; how a request is signed; two secrets; its body and headers; and the
# routing key, the message_id and the message headers that it has to have.
SENDERS = {
    "github": (
        {
            "routing_key": "github.{header.x-github-event}.{json.action|none}",
            "message_id": "{header.x-github-delivery}",
            "headers": ["X-GitHub-Event", "X-GitHub-Delivery", "X-Not-Sent"],
        },
        github, (OLD, NEW), PUSH, JSON | GITHUB_HEADERS,
        "github.issues.opened", GITHUB_HEADERS["X-GitHub-Delivery"], GITHUB_HEADERS,
    ),
    "github-form": (
        {
            "routing_key": "github.{header.x-github-event}.{json.action|none}",
            "headers": ["X-GitHub-Event"],
        },
        github, (OLD, NEW), urlencode({"payload": PUSH}).encode(), FORM | GITHUB_HEADERS,
        "github.issues.opened", None, {"X-GitHub-Event": "issues"},
    ),
    "stripe": (
        {"routing_key": "stripe.{json.type}", "message_id": "{json.id}"},
        stripe, (OLD, NEW), b'{"id": "evt_1", "type": "invoice.paid"}', JSON,
        "stripe.invoice.paid", "evt_1", None,
    ),
    "slack": (
        {"routing_key": "slack.{form.command|event}"},
        slack, (OLD, NEW), b"token=x&command=%2Fdeploy&text=a+b", FORM,
        "slack./deploy", None, None,
    ),
    "standard-webhooks": (
        {"routing_key": "svix.{json.type|word}", "message_id": "{header.webhook-id}"},
        standard, (KEYS["a"], KEYS["b"]), b'{"type": "user created.v1"}', JSON,
        None, "msg_1", None,
    ),
    "gitlab": (
        {"routing_key": "gitlab.{header.x-gitlab-event|none}"},
        gitlab, (OLD, NEW), b"\xff\x00 not even UTF-8", {"Content-Type": "text/plain"},
        "gitlab.none", None, None,
    ),
}  # fmt: skip


def path_of(name):
    return f"/hooks/hidden-path-{name}"


def endpoint(name, scheme, secrets=(OLD, NEW), **settings):
    values = {
        "name": name,
        "path": path_of(name),
        "virtual_host": "test",
        "exchange": EXCHANGE,
        "username": "webhooks",
        "password": PASSWORD,
        "timeout": 20,
        "verify": {"scheme": scheme, "secrets": list(secrets)} if secrets else {"scheme": scheme},
    }
    return values | settings


@pytest.fixture(scope="module")
def target(broker):
    """The queue that gets everything of the exchange, which is empty before each test."""
    add_users(broker, {"webhooks": PASSWORD})
    with channel_to(broker) as channel:
        channel.exchange_declare(EXCHANGE, "topic", durable=True)
        channel.queue_declare("webhooks", durable=True)
        channel.queue_bind("webhooks", EXCHANGE, "#")
        yield Queue(channel, "webhooks")
        channel.queue_delete("webhooks")
        channel.exchange_delete(EXCHANGE)


@pytest.fixture
def queue(target):
    target.channel.queue_purge(target.name)
    return target


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, broker, target):
    webhooks = [
        endpoint(name, name.removesuffix("-form"), secrets, **settings)
        for name, (settings, _, secrets, *_) in SENDERS.items()
    ]
    webhooks += [
        endpoint("wrong-password", "github", password="wrong"),
        endpoint("no-exchange", "github", exchange="nowhere"),
        endpoint("meta", "meta", verify_token="verify-me-token"),
        endpoint("quiet", "github", routing_key="k", status=200),
    ]
    settings = {"Webhooks": webhooks, "Application": {"access_log": 1}}
    with running(tmp_path_factory.mktemp("gateway"), broker, settings) as started:
        yield started


def send(gateway, name, body, headers, **options):
    url = gateway.url + path_of(name)
    return requests.post(url, data=body, headers=headers, timeout=60, **options)


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("which", [0, 1], ids=["first secret", "second secret"])
def test_what_is_signed_arrives_bit_for_bit(gateway, queue, sender, which):
    _, sign, secrets, body, headers, routing_key, message_id, expected = SENDERS[sender]
    before = int(time.time())
    answer = send(gateway, sender, body, headers | sign(body, secrets[which]))
    assert (answer.status_code, answer.content) == (204, b""), answer.text
    assert answer.headers["X-Request-ID"]
    assert answer.headers.get("AMQP-Message-Id") == message_id
    properties, arrived, key = queue.get()
    assert arrived == body
    assert properties.content_type == headers["Content-Type"]
    assert properties.message_id == message_id
    assert properties.headers == expected
    assert properties.delivery_mode == 2
    assert before <= properties.timestamp <= time.time()
    if routing_key is not None:
        assert key == routing_key
    assert len(queue) == 0


@pytest.mark.parametrize("sender", [name for name in SENDERS if name != "gitlab"])
def test_one_changed_byte_is_a_403_and_nothing_arrives(gateway, queue, sender):
    _, sign, secrets, body, headers, *_ = SENDERS[sender]
    signed = headers | sign(body, secrets[0])
    answers = [
        send(gateway, sender, body[:-1] + bytes([body[-1] ^ 1]), signed),
        send(gateway, sender, body + b"\n", signed),
        send(gateway, sender, body, headers),
        send(gateway, sender, body, headers | sign(body, OTHER)),
    ]
    for answer in answers:
        assert answer.status_code == 403
        problem = answer.json()
        assert problem["type"] == "/docs#signature-invalid"
        assert (problem["outcome"], problem["retryable"]) == ("not-published", False)
        for secret in SECRETS:
            assert secret not in answer.text
    assert len(queue) == 0


def test_a_wrong_token_and_a_stale_signature(gateway, queue):
    body = SENDERS["stripe"][3]
    assert send(gateway, "gitlab", b"x", gitlab(b"", "guess")).status_code == 403
    answer = send(gateway, "stripe", body, stripe(body, OLD, age=301))
    assert answer.status_code == 403
    assert "stale" in answer.json()["detail"]
    assert send(gateway, "stripe", body, stripe(body, OLD, age=200)).status_code == 204
    assert queue.bodies() == [body]


def test_handshakes_publish_nothing(gateway, queue):
    body = json.dumps({"type": "url_verification", "challenge": "c-4711"}).encode()
    answer = send(gateway, "slack", body, JSON | slack(body, OLD))
    assert (answer.status_code, answer.text) == (200, "c-4711")
    query = {"hub.mode": "subscribe", "hub.challenge": "77", "hub.verify_token": "verify-me-token"}
    answer = gateway.get(path_of("meta"), **query)
    assert (answer.status_code, answer.text) == (200, "77")
    assert gateway.get(path_of("meta"), **(query | {"hub.verify_token": "x"})).status_code == 403
    assert gateway.get(path_of("github")).status_code == 405
    assert len(queue) == 0


def test_a_body_of_25_megabytes(gateway, queue):
    body = bytes(range(256)) * (25 * MIB // 256)
    answer = send(gateway, "quiet", body, github(body, OLD))
    assert (answer.status_code, answer.content) == (200, b"")
    assert queue.bodies() == [body]
    assert send(gateway, "quiet", body + b"x", {}).status_code == 413


@pytest.mark.parametrize(
    ("name", "reason"), [("wrong-password", "unauthorized"), ("no-exchange", "exchange-not-found")]
)
def test_what_the_operator_has_to_correct_is_a_503_and_logged(gateway, name, reason):
    answer = send(gateway, name, b"{}", github(b"{}", OLD))
    assert answer.status_code == 503
    assert answer.json()["type"] == "/docs#broker-unavailable"
    assert answer.headers["Retry-After"]
    assert "webhooks" not in answer.json()["detail"]
    gateway.says(f"endpoint={name}")
    gateway.says(f"{reason}:")


def test_a_message_that_no_queue_takes_is_a_404(gateway, queue):
    queue.channel.queue_unbind("webhooks", EXCHANGE, "#")
    try:
        answer = send(gateway, "quiet", b"{}", github(b"{}", OLD))
    finally:
        queue.channel.queue_bind("webhooks", EXCHANGE, "#")
    assert (answer.status_code, answer.json()["type"]) == (404, "/docs#no-route")


def test_secrets_and_paths_are_nowhere_to_be_seen(gateway, queue):
    send(gateway, "quiet", b"{}", github(b"{}", OLD))
    send(gateway, "quiet", b"{}", {})
    gateway.raw(b"POST %b HTTP/1.1\r\nno colon\r\n\r\n" % path_of("quiet").encode())
    shown = {page: gateway.get(page).text for page in (
        "/", "/stats", "/metrics", "/dashboard.json", "/details.json", "/docs", "/openapi.json",
    )}  # fmt: skip
    shown["--print-config"] = gateway.run("--print-config").stdout
    shown["--check-config"] = gateway.run("--check-config").stderr
    gateway.says("endpoint=quiet", 3)
    shown["log"] = gateway.text
    for where, text in shown.items():
        for secret in SECRETS:
            assert secret not in text, where
    for where in ("/metrics", "/dashboard.json", "/details.json", "/docs", "/openapi.json", "log"):
        assert "quiet" in shown[where], where
    counted = 'statelessd_webhook_requests_total{endpoint="quiet",outcome="signature-invalid"}'
    assert counted in shown["/metrics"]


def test_changed_files_are_used_without_a_restart(start_gateway, broker, queue, tmp_path):
    add_users(broker, {"rotating": PASSWORD})
    secrets, password = tmp_path / "secrets", tmp_path / "password"
    secrets.write_text(f"{OLD}\n")
    password.write_text("not yet\n")
    settings = endpoint("rotating", "github", (), username="rotating", password_file=str(password))
    del settings["password"]
    settings["verify"]["secrets_file"] = "secrets"  # relative to where it starts
    started = start_gateway({"Webhooks": [settings]}, cwd=tmp_path)

    def answered(secret):
        return send(started, "rotating", b"{}", github(b"{}", secret)).status_code

    assert answered(NEW) == 403
    assert answered(OLD) == 503
    password.write_text(f"{PASSWORD}\n")
    wait_until(lambda: answered(OLD) == 204, what="the new password")
    secrets.write_text(f"{OLD}\n{NEW}\n")
    wait_until(lambda: answered(NEW) == 204, what="the second secret")
    assert answered(OLD) == 204
    secrets.write_text(f"{NEW}\n")
    wait_until(lambda: answered(OLD) == 403, what="the end of the first secret")
    secrets.unlink()
    started.says("cannot be read")
    assert answered(NEW) == 204
    secrets.write_text(f"{OLD}\n")
    wait_until(lambda: answered(OLD) == 204, what="the file that is there again")
    assert started.text.count("cannot be read") == 1
    assert queue.counted().keys() == {b"{}"}


def test_a_reload_applies_changed_endpoints(start_gateway, queue):
    settings = endpoint("before", "github", routing_key="k")
    started = start_gateway({"Webhooks": [settings]})
    assert send(started, "before", b"1", github(b"1", OLD)).status_code == 204
    document = started.config.read_text()
    started.config.write_text(document.replace(path_of("before"), path_of("after")))
    started.reload()
    assert send(started, "before", b"2", github(b"2", OLD)).status_code != 204
    assert send(started, "after", b"3", github(b"3", OLD)).status_code == 204
    assert queue.bodies() == [b"1", b"3"]


def test_forty_senders_of_25_megabytes_without_a_signature(start_gateway, queue):
    settings = endpoint("attacked", "github", routing_key="k")
    started = start_gateway({"Webhooks": [settings]})
    before = started.resident()
    piece = bytes(MIB)
    head = (
        f"POST {path_of('attacked')} HTTP/1.1\r\nHost: x\r\nContent-Length: {25 * MIB}\r\n"
        "X-Hub-Signature-256: sha256=00\r\n\r\n"
    ).encode()
    most = 0

    def attack():
        with socket.create_connection(("127.0.0.1", started.port), 60) as connection:
            try:
                connection.sendall(head)
                for _ in range(25):
                    connection.sendall(piece)
                answer = connection.recv(4096)
                assert answer.split()[1] in (b"403", b"503")
            except (ConnectionError, TimeoutError):
                pass

    attackers = [threading.Thread(target=attack) for _ in range(40)]
    for each in attackers:
        each.start()
    while any(each.is_alive() for each in attackers):
        most = max(most, started.resident())
        attackers[0].join(0.05) if attackers[0].is_alive() else attackers[-1].join(0.05)
    # The budget is 32 MiB. A body is put together once more, and freed memory is kept.
    assert most - before < 200 * MIB
    assert send(started, "attacked", b"{}", github(b"{}", OLD)).status_code == 204
    assert len(queue) == 1
