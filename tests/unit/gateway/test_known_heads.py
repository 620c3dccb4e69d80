"""A client's next publish is known by the head of its last one."""

import pytest
from edge import AUTH, FORM, edge_test, post

from statelessd import form
from statelessd.config.settings import Publish
from statelessd.gateway import known_heads as head
from statelessd.gateway.known_heads import Head, KnownHeads, Repeat
from statelessd.http1.connection import Connection

HEAD = Head({b"authorization": b"Basic secret"}, keep_alive=True)


def repeat_of(request, size):
    return Repeat.of(HEAD, head_of(request), size)


def head_of(request):
    return b"".join(request.partition(b"\r\n\r\n")[:2])


class TestRepeat:
    @pytest.mark.parametrize(
        "data",
        [
            post(path=b"/v/e/other"),
            post(headers=AUTH),
            post()[:-1],
            post() + b"P",
            post() + post(),
            post(b"body=longer")[:-1],
            post(b"body=longer") + b"P",
            post(b"body=longer") + post(),
            post().replace(b"Length: 7", b"Length: +7"),
            post().replace(b"Length: 7", b"Length: "),
            post().replace(b"Length: 7", b"Length: 7 "),
            post().replace(b"Length: 7", b"Length: 7\r\nX: y"),
            post().replace(b"Length: 7", b"Length: 00000000007"),
            post()[:40],
            b"",
        ],
    )
    def test_anything_else_is_read_as_usual(self, data):
        assert repeat_of(post(), 7).body_of(data) is None

    def test_it_shows_no_password(self):
        assert "secret" not in repr(HEAD)
        assert "Z3Vlc3Q6" not in repr(repeat_of(post(), 7))


def known(*requests):
    heads = KnownHeads()
    for request in requests:
        heads.add(HEAD, head_of(request), len(request) - len(head_of(request)))
    return heads


def body_found(heads, data):
    found = heads.find(data)
    return None if found is None else found[1]


class TestKnownHeads:
    def test_the_oldest_is_forgotten(self):
        requests = [post(path=b"/v/e/%d" % n) for n in range(head.KNOWN_HEADS + 1)]
        heads = known(*requests)
        assert heads.find(requests[0]) is None
        assert heads.find(requests[1]) is not None
        assert heads.find(requests[-1]) is not None

    def test_one_that_is_sent_again_takes_no_second_place(self):
        requests = [post(path=b"/v/e/%d" % n) for n in range(head.KNOWN_HEADS)]
        assert known(*requests, requests[-1]).find(requests[0]) is not None

    def test_a_large_one_is_not_kept(self):
        request = post(headers=AUTH + FORM + b"X: %b\r\n" % (b"x" * head.KNOWN_SIZE))
        assert known(request).find(request) is None

    @pytest.mark.parametrize("name", [b"X-Request-ID", b"X-Request-Id", b"x-request-id"])
    def test_the_id_of_a_request_makes_no_difference(self, name):
        requests = [post(headers=name + b": %b\r\n" % each + AUTH) for each in (b"one", b"two-2")]
        repeat, body, request_id = known(requests[0]).find(requests[1])
        assert (body, request_id) == (b"body=hi", b"two-2")
        assert b"x-request-id" not in repeat.head.headers

    def test_of_several_none_is_known(self):
        request = post(headers=b"X-Request-ID: 1\r\nX-Request-ID: 2\r\n" + AUTH)
        assert known(request).find(request) is None

    def test_in_a_body_it_is_the_messages(self):
        body = b"body=\r\nX-Request-ID: 1\r\n"
        assert body_found(known(post()), post(body)) == body


class TestConversation:
    @edge_test()
    async def test_every_publish_is_answered_and_counted(self, edge):
        client = await edge.connect()
        bodies = [b"one", b"two", b"three", b"", b"three"]
        for body in bodies:
            client.send(post(b"body=" + body))
            assert (await client.answer()).status == 204
            assert edge.parsed == 1
        assert [body for *_, body in edge.publisher.published] == bodies
        assert edge.gateway.statistics.document()["method.POST"] == 5
        assert edge.gateway.statistics.document()["response.204"] == 5

    @edge_test(publish=Publish(stamp_message_id=True))
    async def test_each_has_its_own_stamp(self, edge):
        client = await edge.connect()
        stamps = set()
        for _ in range(3):
            client.send(post())
            stamps.add((await client.answer()).headers["amqp-message-id"])
        assert len(stamps) == 3
        assert edge.parsed == 1

    @edge_test()
    async def test_a_client_that_never_repeats_is_not_compared_for_ever(self, edge):
        client = await edge.connect()
        for number in range(30):
            client.send(post(path=b"/v/e/%d" % number))
            assert (await client.answer()).status == 204
        client.send(post(path=b"/v/e/29"))
        assert (await client.answer()).status == 204
        assert edge.parsed == 31


USER = b"Authorization: Basic dTpw\r\n"  # u:p; guest is a case of its own


class TestOtherConnections:
    @edge_test()
    async def test_a_new_connection_repeats_the_head_of_another(self, edge):
        for body in (b"one", b"two", b"longer"):
            client = await edge.connect()
            client.send(post(b"body=" + body, headers=USER + FORM))
            assert (await client.answer()).status == 204
        assert [body for *_, body in edge.publisher.published] == [b"one", b"two", b"longer"]
        assert edge.parsed == 1

    @pytest.mark.parametrize(
        "request_",
        [
            post(headers=USER + FORM + b"Connection: close\r\n"),
            post(headers=USER + FORM, version=b"1.0"),
        ],
    )
    @edge_test()
    async def test_it_is_closed_where_the_head_asks_for_that(self, edge, request_):
        for _ in range(3):
            client = await edge.connect()
            client.send(request_)
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (204, "close")
            assert await client.at_end()

    @edge_test()
    async def test_another_password_is_another_login(self, edge):
        for login, password in ((b"dTpw", "p"), (b"dTpw", "p"), (b"dTpx", "q"), (b"dTpw", "p")):
            client = await edge.connect()
            client.send(post(headers=b"Authorization: Basic %b\r\n" % login + FORM))
            assert (await client.answer()).status == 204
            assert edge.publisher.credentials[-1].password == password

    @pytest.mark.skipif(form.FORM == "compiled", reason="a compiled class takes no other method")
    @edge_test()
    async def test_guest_is_asked_each_time_where_it_comes_from(self, edge, monkeypatch):
        assert (await edge.ask(post())).status == 204
        monkeypatch.setattr(Connection, "addresses", lambda _: (None, ("192.0.2.2", 1)))
        assert (await edge.ask(post())).status == 403
        assert len(edge.publisher.published) == 1

    @edge_test()
    async def test_heads_in_turn_on_one_connection_are_all_known(self, edge):
        client = await edge.connect()
        requests = [post(path=b"/v/e/%d" % n, headers=USER + FORM) for n in range(5)]
        for request in requests * 10:
            client.send(request)
            assert (await client.answer()).status == 204
        assert edge.parsed == 5

    @edge_test()
    async def test_however_many_there_are(self, edge):
        client = await edge.connect()
        parsed = []
        for _ in range(10):
            for number in range(60):
                client.send(post(path=b"/v/e/%d" % number, headers=USER + FORM))
                assert (await client.answer()).status == 204
            parsed.append(edge.parsed)
        # A connection that has seen 20 new heads is looked at seldom, and learns the others later.
        assert parsed[-1] == parsed[-2]

    @edge_test()
    async def test_one_head_on_a_new_connection_is_soon_only_compared(self, edge):
        request = post(headers=USER + FORM)
        assert (await edge.ask(request)).status == 204
        client = await edge.connect()
        for _ in range(3):
            client.send(request)
            assert (await client.answer()).status == 204
        assert edge.parsed == 1

    @edge_test()
    async def test_each_request_is_answered_with_its_own_id(self, edge):
        client = await edge.connect()
        for number in range(3):
            client.send(post(headers=USER + FORM + b"X-Request-ID: id-%d\r\n" % number))
            assert (await client.answer()).headers["x-request-id"] == f"id-{number}"
        client.send(post(headers=USER + FORM + b"X-Request-ID: \r\n"))
        assert not (await client.answer()).headers["x-request-id"].startswith("id-")
        assert edge.parsed <= 2
