"""Bearer tokens against RabbitMQ's own OAuth 2 back end, signed with a key of the tests'."""

import base64
import json
import re
import time

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from problems import is_problem
from waiting import wait_until

import broker as broker_script

AUDIENCE = "rabbitmq"  # the resource server's id, which scopes begin with
WRITE = "rabbitmq.write:test/*/*"
CONFIGURATION = """
auth_backends.1 = rabbit_auth_backend_oauth2
auth_backends.2 = rabbit_auth_backend_internal
auth_oauth2.resource_server_id = rabbitmq
auth_oauth2.default_key = tests
auth_oauth2.signing_keys.tests = {}
"""


class Issuer:
    """Signs tokens (RFC 7519) as an authorization server would."""

    def __init__(self):
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public_key(self):
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def token(self, scope=WRITE, seconds=300, **claims):
        header = {"alg": "RS256", "typ": "JWT", "kid": "tests"}
        claims = {"aud": AUDIENCE, "scope": scope, "sub": "alice", **claims}
        claims["exp"] = int(time.time() + seconds)
        signed = b".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        signature = self._key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return (signed + b"." + _encoded(signature)).decode()


def _encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@pytest.fixture(scope="module")
def issuer():
    return Issuer()


@pytest.fixture(scope="module")
def broker(tmp_path_factory, issuer):
    directory = tmp_path_factory.mktemp("oauth2")
    key = directory / "public.pem"
    key.write_bytes(issuer.public_key)
    with broker_script.Broker(
        directory / "broker",
        extra_conf=CONFIGURATION.format(key),
        plugins=("rabbitmq_auth_backend_oauth2",),
    ) as running:
        yield running


@pytest.fixture
def publish(gateway, queue):
    def post(token, path=f"/test/{queue.name}/k", **kwargs):
        headers = {"Authorization": f"Bearer {token}", **kwargs.pop("headers", {})}
        return gateway.publish(
            path, user=None, headers=headers, **{"data": {"body": "x"}, **kwargs}
        )

    return post


def test_a_token_publishes_as_its_user(publish, queue, issuer, gateway):
    assert publish(issuer.token()).status_code == 204
    assert queue.bodies() == [b"x"]
    assert gateway.stats()["connections"]["test:alice"]["publishes"] >= 1


def test_passwords_go_on_beside_tokens(gateway, queue):
    answer = gateway.publish(f"/test/{queue.name}/k", data={"body": "x"})
    assert (answer.status_code, queue.bodies()) == (204, [b"x"])


def test_scopes_are_permissions(publish, queue, issuer):
    answer = publish(issuer.token("rabbitmq.read:test/*/*"))
    is_problem(answer, 403, "forbidden")
    answer = publish(issuer.token("rabbitmq.write:other/*/*"))
    assert answer.status_code in (401, 403)
    assert queue.bodies() == []


def test_a_token_that_is_expired_or_not_signed_is_a_401(publish, queue, issuer):
    is_problem(publish(issuer.token(seconds=-60)), 401, "unauthorized")
    is_problem(publish(Issuer().token()), 401, "unauthorized")
    document = is_problem(publish("nonsense"), 401, "unauthorized")
    assert document["detail"] == "The broker refused the token."
    assert queue.bodies() == []


def test_the_users_name_is_the_brokers_to_know(publish, queue, issuer):
    token = issuer.token()
    assert publish(token).status_code == 204
    assert publish(token, data={"body": "mine", "user_id": "alice"}).status_code == 204
    answer = publish(token, data={"body": "not mine", "user_id": "bob"})
    is_problem(answer, 403, "forbidden")
    assert queue.bodies() == [b"x", b"mine"]


def test_a_connection_ends_with_its_token_and_the_next_request_is_told(
    publish, queue, issuer, gateway
):
    token = issuer.token(seconds=6, sub="short")
    assert publish(token).status_code == 204
    wait_until(
        lambda: not gateway.stats()["connections"]["test:short"]["connected"],
        what="the end of the connection",
    )
    # The gateway and the broker each have a clock: the first one closes it.
    ended = re.compile("its token has expired|credential expired")
    wait_until(lambda: ended.search(gateway.text), what="the reason in the log")
    is_problem(publish(token), 401, "unauthorized")
    assert queue.bodies() == [b"x"]


def test_a_long_token_fits_and_a_longer_one_is_a_clear_401(publish, queue, issuer):
    scopes = " ".join([WRITE, *(f"rabbitmq.write:test/{n:040}/*" for n in range(35))])
    token = issuer.token(scopes)
    assert 3000 < len(token) < 3900
    assert publish(token).status_code == 204
    document = is_problem(publish(issuer.token(scopes * 4)), 401, "unauthorized")
    assert document["detail"].startswith("The token is too long")
    assert re.search("4096|8192", document["detail"])  # the latter from RabbitMQ 4.1 on
    assert queue.bodies() == [b"x"]


def test_no_token_is_logged(publish, issuer, gateway):
    token = issuer.token(sub="logged")
    publish(token)
    publish(token + "x")
    gateway.says("logged")
    assert token[:100] not in gateway.text
    assert token.split(".")[1] not in gateway.text
