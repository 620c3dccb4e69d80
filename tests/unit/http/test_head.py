"""A client's next publish is known by the head of its last one."""

import pytest
from edge import AUTH, FORM, edge_test, post

from statelessd.config import Publish
from statelessd.http.head import Head, Repeat

HEAD = Head({b"authorization": b"Basic secret"}, keep_alive=True)


def repeat_of(request, size):
    return Repeat.of(HEAD, request, size)


class TestRepeat:
    def test_the_same_head_with_bodies_of_any_length(self):
        repeat = repeat_of(post(b"body=hi"), 7)
        for body in (b"body=yo", b"", b"x", b"body=" + b"x" * 1000):
            assert repeat.body_of(post(body)) == body

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

    @pytest.mark.parametrize(
        "request_",
        [
            post().replace(b"Content-Length: 7", b"Content-Length:7"),
            post().replace(b"Content-Length: 7", b"Content-Length: 07"),
            post().replace(b"Content-Length: 7", b"Content-Length: 7\t"),
            post().replace(b"\r\n", b"\n"),
        ],
    )
    def test_a_length_in_another_form_is_not_looked_for(self, request_):
        assert repeat_of(request_, 7) is None

    def test_it_shows_no_password(self):
        assert "secret" not in repr(HEAD)
        assert "Z3Vlc3Q6" not in repr(repeat_of(post(), 7))


def repeats(edge):
    """Whether the one client's next read is expected to repeat."""
    [connection] = edge.state.connections
    return connection._repeat is not None


class TestConversation:
    @edge_test()
    async def test_every_publish_is_answered_and_counted(self, edge):
        client = await edge.connect()
        bodies = [b"one", b"two", b"three", b"", b"three"]
        for body in bodies:
            client.send(post(b"body=" + body))
            assert (await client.answer()).status == 204
            assert repeats(edge)
        assert [body for *_, body in edge.publisher.published] == bodies
        assert edge.gateway.statistics.document()["method.POST"] == 5
        assert edge.gateway.statistics.document()["response.204"] == 5

    @edge_test()
    async def test_another_route_or_user_or_type_is_seen(self, edge):
        client = await edge.connect()
        other = b"Authorization: Basic b3RoZXI6cA==\r\n"
        for request, status in (
            (post(), 204),
            (post(path=b"/v/e/other"), 204),
            (post(headers=other + FORM), 204),
            (post(headers=FORM), 401),
            (post(headers=AUTH), 204),
        ):
            client.send(request)
            assert (await client.answer()).status == status
        keys = [(key, body) for _, _, key, body in edge.publisher.published]
        assert keys == [("k", b"hi"), ("other", b"hi"), ("k", b"hi"), ("k", b"body=hi")]

    @edge_test()
    async def test_a_request_in_pieces_behind_a_whole_one(self, edge):
        client = await edge.connect()
        client.send(post())
        assert (await client.answer()).status == 204
        await client.send_slowly(post(b"body=slow"))
        assert (await client.answer()).status == 204
        client.send(post(b"body=last"))
        assert (await client.answer()).status == 204
        assert [body for *_, body in edge.publisher.published] == [b"hi", b"slow", b"last"]

    @edge_test(max_body_bytes=20)
    async def test_the_limit_of_a_body_holds(self, edge):
        client = await edge.connect()
        client.send(post())
        assert (await client.answer()).status == 204
        client.send(post(b"body=" + b"x" * 20))
        assert (await client.answer()).status == 413

    @edge_test()
    async def test_what_is_bad_in_the_body_is_told(self, edge):
        client = await edge.connect()
        for body, status in ((b"body=x", 204), (b"nobody=x", 400), (b"body=x", 204)):
            client.send(post(body))
            assert (await client.answer()).status == status

    @edge_test(publish=Publish(stamp_message_id=True))
    async def test_each_has_its_own_stamp(self, edge):
        client = await edge.connect()
        stamps = set()
        for _ in range(3):
            client.send(post())
            stamps.add((await client.answer()).headers["amqp-message-id"])
        assert len(stamps) == 3
        assert repeats(edge)

    @edge_test()
    async def test_a_client_that_never_repeats_is_not_compared_for_ever(self, edge):
        client = await edge.connect()
        for number in range(30):
            client.send(post(path=b"/v/e/%d" % number))
            assert (await client.answer()).status == 204
        assert not repeats(edge)
