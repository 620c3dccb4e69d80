"""An authorisation back end that fails: RabbitMQ's own HTTP one, with a small server behind it."""

import pytest
from certificates import Authority
from problems import is_problem
from webserver import Server

import broker as broker_script

CONFIGURATION = """
auth_backends.1 = internal
auth_backends.2 = http
auth_http.http_method = post
auth_http.user_path = http://127.0.0.1:{0}/user
auth_http.vhost_path = http://127.0.0.1:{0}/vhost
auth_http.resource_path = http://127.0.0.1:{0}/resource
auth_http.topic_path = http://127.0.0.1:{0}/topic
"""
SECRET = "this is between the broker and its back end"
LOGIN = {"user": "web", "password": "pw"}


class BackEnd(Server):
    """Allows everything; ``failing``: the paths that it fails at."""

    failing: tuple[str, ...] = ()

    def respond(self, request):
        request.body()
        if request.path in self.failing:
            request.answer(500, SECRET.encode())
        else:
            request.answer(200, b"allow")


@pytest.fixture(scope="module")
def back_end():
    with BackEnd() as running:
        yield running


@pytest.fixture(scope="module")
def broker(tmp_path_factory, back_end):
    directory = tmp_path_factory.mktemp("http-back-end")
    with broker_script.Broker(
        directory,
        extra_conf=CONFIGURATION.format(back_end.server_port),
        plugins=("rabbitmq_auth_backend_http",),
    ) as running:
        # Newer Erlang's HTTP client looks for authorities before it connects without TLS, and
        # a root file system has none.
        authority = Authority(directory, ("localhost",))
        running.evaluate(f'public_key:cacerts_load("{authority.ca}").')
        yield running


@pytest.mark.parametrize("path", ["/vhost", "/resource", "/topic"])
def test_what_it_cannot_decide_is_not_refused(gateway, back_end, path):
    back_end.failing = (path,)
    headers = {"Prefer": "wait=1"}
    login = {"user": f"new at {path}", "password": "pw"}
    try:
        answer = gateway.publish("/test/amq.topic/k", **login, headers=headers)
    finally:
        back_end.failing = ()
    document = is_problem(answer, 503, "broker-unavailable")
    assert document["retryable"]
    assert "authorisation back end failed" in document["detail"]
    assert SECRET not in answer.text
    assert str(back_end.server_port) not in answer.text
    assert gateway.publish("/test/amq.topic/k", **login).status_code == 204


def test_a_batch_while_it_is_down(gateway, broker):
    """On a connection that was opened before, to an exchange that is new to it."""
    path = "rabbitmq_auth_backend_http, resource_path"
    original = broker.evaluate(f"{{ok, P}} = application:get_env({path}), P.")
    with BackEnd() as own:
        url = f'"http://127.0.0.1:{own.server_port}/resource"'
        broker.evaluate(f"application:set_env({path}, {url}).")
        assert gateway.publish("/test/amq.topic/k", **LOGIN).status_code == 204
    try:
        items = [{"routing_key": "k", "body": f"{i}"} for i in range(5)]
        results = gateway.publish("/test/amq.direct", **LOGIN, json=items).json()["results"]
        assert {each["status"] for each in results} == {503}
        assert str(own.server_port) not in f"{results}"
        # What it had allowed before is remembered by RabbitMQ on that channel.
        assert gateway.publish("/test/amq.topic/k", **LOGIN).status_code == 204
    finally:
        broker.evaluate(f"application:set_env({path}, {original}).")
