"""DNS rebinding: a page whose own name leads to this machine."""

import json
import socket

import pytest
from edge import AUTH, FORM, edge_test, post
from outcomes import JSON, NDJSON, item, lines

from statelessd.config.http_server import Cors
from statelessd.gateway.hosts import Hosts
from statelessd.process.sockets import is_on_loopback

USER = b"Authorization: Basic dTpw\r\n"
EVIL = b"evil.example:8000"
MACHINE = socket.gethostname().encode()
WAYS = pytest.mark.parametrize(
    ("path", "media_type", "body"),
    [
        (b"/v/e/k", FORM, b"body=hi"),
        (b"/v/e/k", b"", b"hi"),
        (b"/v/e", JSON, json.dumps([item(1)]).encode()),
        (b"/v/e", NDJSON, lines([item(1)])),
    ],
    ids=["form", "raw", "batch", "stream"],
)


def from_page(request, host, origin=None):
    """Return the request as a page of that host sends it to its own origin."""
    origin = b"http://" + host if origin is None else origin
    return request.replace(b"Host: x\r\n", b"Host: %b\r\nOrigin: %b\r\n" % (host, origin), 1)


def get(path, headers):
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (path, headers)


class TestNames:
    @pytest.mark.parametrize(
        "host",
        [
            b"localhost",
            b"LocalHost:8000",
            b"localhost.:8000",
            b"shop.localhost",
            b"127.0.0.1",
            b"127.0.0.1:8000",
            b"192.0.2.7:80",
            b"[::1]",
            b"[::1]:8000",
            b"[2001:DB8::1]:8000",
            MACHINE,
            MACHINE.upper() + b":8000",
            MACHINE + b".",
            b"gateway.example",
            b"GATEWAY.example.:8000",
            b"other",
        ],
    )
    def test_what_no_other_site_can_be_called(self, host):
        assert Hosts(("Gateway.Example", "other."), ()).has(host)

    @pytest.mark.parametrize(
        "host",
        [
            b"",
            b".",
            b":8000",
            b"evil.example",
            b"localhost.evil.example",
            b"evillocalhost",
            b"localhost:evil",
            b"localhost:80:80",
            b"localhost@evil.example",
            b"evil@localhost",
            b"localhost, evil.example",
            b"localhost..",
            b"127.0.0.1.evil.example",
            b"127.1",
            b"2130706433",
            b"0x7f.0.0.1",
            b"::1",
            b"[::1",
            b"[127.0.0.1]",
            b"[localhost]",
            b"[::1].evil.example",
            b"a.gateway.example",
            b"gateway.example.evil",
            b"\xff",
        ],
    )
    def test_what_another_site_can_be_called(self, host):
        assert not Hosts(("gateway.example",), ()).has(host)


class TestPublishes:
    @WAYS
    @pytest.mark.parametrize(("login", "on_loopback"), [(AUTH, False), (AUTH, True), (USER, True)])
    def test_a_page_by_a_strange_name_is_refused(self, path, media_type, body, login, on_loopback):
        @edge_test(on_loopback=on_loopback)
        async def check(edge):
            request = post(body, path, login + media_type)
            for _ in range(3):
                answer = await edge.ask(from_page(request, EVIL))
                assert (answer.status, answer.problem) == (403, "cross-site")
                assert b"HTTPServer.hosts" in answer.body
            assert not edge.publisher.published
            for host in (b"localhost:8000", b"127.0.0.1:8000", b"[::1]:8000", MACHINE, b"x"):
                assert (await edge.ask(from_page(request, host))).status in (200, 204)

        check()

    @WAYS
    @edge_test(on_loopback=False)
    async def test_elsewhere_the_name_is_not_ours_to_know(self, edge, path, media_type, body):
        answer = await edge.ask(from_page(post(body, path, USER + media_type), EVIL))
        assert answer.status in (200, 204)

    @WAYS
    @edge_test()
    async def test_programs_may_use_any_name(self, edge, path, media_type, body):
        request = post(body, path, AUTH + media_type).replace(b"Host: x", b"Host: " + EVIL)
        assert (await edge.ask(request)).status in (200, 204)
        assert (await edge.ask(request)).status in (200, 204)

    @WAYS
    @edge_test(hosts=("gateway.example",))
    async def test_the_settings_name_more(self, edge, path, media_type, body):
        request = post(body, path, AUTH + media_type)
        assert (await edge.ask(from_page(request, b"gateway.example"))).status in (200, 204)
        assert (await edge.ask(from_page(request, b"x"))).status == 403

    @edge_test()
    async def test_nobody_is_asked_for_a_password(self, edge):
        answer = await edge.ask(from_page(post(headers=FORM), EVIL))
        assert (answer.problem, "www-authenticate" in answer.headers) == ("cross-site", False)

    @pytest.mark.parametrize("head", [b"", b"Host:\r\n"])
    @edge_test()
    async def test_a_page_names_a_host(self, edge, head):
        request = post(version=b"1.0").replace(b"Host: x\r\n", head + b"Origin: http://x\r\n")
        assert (await edge.ask(request)).problem == "cross-site"

    @edge_test(cors=Cors(origins=("http://app.example",)))
    async def test_pages_that_the_settings_let_in_may_use_any_name(self, edge):
        request = post(headers=USER + FORM)
        for origin in (b"http://app.example", b"http://APP.example"):
            assert (await edge.ask(from_page(request, EVIL, origin))).status == 204

    @edge_test(cors=Cors(origins=("*",)))
    async def test_that_all_may_call_names_none(self, edge):
        request = from_page(post(headers=USER + JSON), EVIL)
        assert (await edge.ask(request)).problem == "cross-site"

    @edge_test()
    async def test_a_head_that_became_known_without_an_origin_lets_no_page_in(self, edge):
        request = post(headers=USER + FORM).replace(b"Host: x", b"Host: " + EVIL)
        for _ in range(3):
            client = await edge.connect()
            client.send(request)
            assert (await client.answer()).status == 204
            client.send(from_page(post(headers=USER + FORM), EVIL))
            assert (await client.answer()).status == 403


class TestPages:
    @pytest.mark.parametrize(
        "path", [b"/", b"/stats", b"/metrics", b"/details.json", b"/dashboard.json", b"/docs"]
    )
    @edge_test()
    async def test_a_page_by_a_strange_name_reads_none(self, edge, path):
        headers = b"Host: %b\r\nOrigin: http://%b\r\n" % (EVIL, EVIL)
        answer = await edge.ask(get(path, headers))
        assert (answer.status, answer.problem) == (403, "cross-site")
        assert (await edge.ask(get(path, headers.replace(EVIL, b"localhost")))).status == 200
        assert (await edge.ask(get(path, b"Host: %b\r\n" % EVIL))).status == 200

    @edge_test()
    async def test_probes_are_always_answered(self, edge):
        for path in (b"/healthz", b"/readyz"):
            assert (await edge.ask(get(path, b"Host: a\r\nOrigin: http://a\r\n"))).status == 200


@pytest.mark.parametrize(
    ("family", "address", "is_loopback"),
    [
        (socket.AF_INET, "127.0.0.1", True),
        (socket.AF_INET, "127.9.9.9", True),
        (socket.AF_INET6, "::1", True),
        (socket.AF_INET, "0.0.0.0", False),
        (socket.AF_INET6, "::", False),
    ],
)
def test_which_listeners_are_on_loopback(family, address, is_loopback):
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        assert is_on_loopback(listener) is is_loopback


def test_a_unix_socket_is_not(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        assert not is_on_loopback(listener)
