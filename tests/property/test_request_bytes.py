"""Whatever a client sends: answers in step, and the same in whatever pieces.

No exception leaves a parser but RequestError, no request is a 500, none is
published without its 204, and a connection that ended gives back what it held.
"""

import string
from urllib.parse import quote_plus, urlencode

from decoding import decode_multipart
from edge import AUTH, post
from hypothesis import assume, example, given
from hypothesis import strategies as st
from mutate import cuts, mutated, octets
from wire import converse

from statelessd.gateway import request, target
from statelessd.gateway.credentials import parse_authorization
from statelessd.message import RequestError
from statelessd.parsing.forms import decode_urlencoded

TARGET = target.Target("v", "e", "k")
DEFAULTS = request.Defaults()
USER = b"Authorization: Basic dTpw\r\n"  # u:p, where AUTH is guest's
SETTINGS = {"max_body_bytes": 300, "max_header_bytes": 700}

tokens = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=8)
names = st.sampled_from(
    ["body", "headers", "headers[a]", "headers[a][b]", "expire", "priority", "delivery_mode",
     "message_id", "mandatory", "timestamp", "user_id", "nothing"]
)  # fmt: skip
values = st.one_of(
    st.text(max_size=10),
    st.sampled_from(["1", "0", "true", "60000", '{"a":1}', "a:b", "99999999999999999999", "256"]),
)
fields = st.lists(st.tuples(names, values), max_size=5)
forms = fields.map(lambda pairs: urlencode(pairs).encode())
boundaries = tokens.map(str.encode)


def multipart(boundary, pairs):
    parts = b"".join(
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (boundary, name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in pairs
    )
    return parts + b"--%b--\r\n" % boundary


paths = st.sampled_from(
    [b"/v/e/k", b"/%2f/e/k", b"/v/e/", b"/v/amq.default/k", b"/v/e/k?expire=1", b"/v/e/%zz"]
)
authorizations = st.sampled_from(
    [AUTH, AUTH, USER, USER, b"", b"Authorization: Basic !\r\n", b"Authorization: Bearer x\r\n"]
)
extras = st.sampled_from(
    [b"", b"Expect: 100-continue\r\n", b"Prefer: wait=3\r\n", b"Connection: close\r\n",
     b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"AMQP-Priority: 3\r\n", b"Host: y\r\n",
     b"X-Request-ID: a1\r\n", b"X-Request-ID: b22\r\n", b"X-Request-ID: \r\n"]
)  # fmt: skip
types = st.sampled_from(
    [b"Content-Type: application/x-www-form-urlencoded\r\n",
     b"Content-Type: multipart/form-data; boundary=b\r\n",
     b"Content-Type: application/json\r\n", b""]
)  # fmt: skip
bodies = st.one_of(forms, st.just(b"body=hi"), st.binary(max_size=400))


@st.composite
def chunked(draw, path, headers, body):
    pieces = [piece for piece in cuts(draw, body) if piece]
    sizes = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" % path
    return head + headers + b"\r\n" + sizes + b"0\r\n\r\n"


@st.composite
def requests(draw):
    path = draw(paths)
    headers = draw(authorizations) + draw(types) + draw(extras)
    body = draw(bodies)
    if draw(st.booleans()):
        return draw(chunked(path, headers, body))
    return post(body, path, headers)


pages = st.sampled_from(
    [
        b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HEAD /v/e/k HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi",
    ]
)
streams = st.lists(requests(), min_size=1, max_size=3).map(b"".join)
mixed = st.lists(requests() | pages, min_size=1, max_size=4).map(b"".join)


LENGTHLESS = (411, "/docs#length-required")


def check(conversation):
    """What holds for every conversation."""
    statuses = [status for status, _ in conversation.answers]
    assert 500 not in statuses
    assert statuses.count(204) == len(conversation.published)
    assert conversation.reserved == 0
    return conversation


def compare(later, whole):
    """Both are the same; ``whole`` came in fewer reads than ``later``.

    If bytes that cannot be a request have come behind a head without a length, its answer is
    the last. If they come later, they are refused as a request of their own.
    """
    if later != whole:
        count = len(whole.answers)
        assert whole.ended
        assert later.answers[:count] == whole.answers
        assert [status for status, _ in later.answers[count:]] in ([], [400], [431])
        assert later.published == whole.published


@st.composite
def repeated(draw):
    """Requests of one client, most of them with the head of the one before."""
    path, headers = draw(paths), draw(authorizations) + draw(types) + draw(extras)
    ids = st.sampled_from([b"", b"X-Request-ID: a1\r\n", b"x-request-id: b22\r\n"])
    alike = st.builds(lambda body, id_: post(body, path, headers + id_), bodies, ids)
    return draw(st.lists(alike | alike | mutated(alike) | requests() | pages, max_size=6))


line_ends = st.lists(st.sampled_from([b"\r\n", b"\n", b"\r"]), max_size=4).map(b"".join)
ids = st.sampled_from(
    [b"", b"", b"X-Request-ID: a1", b"x-request-id: b22", b"X-REQUEST-ID: a1", b"X-Request-Id:  a1",
     b"x-request-id:\ta1", b"X-Request-ID:a1", b"X-Request-ID: a1 ", b"X-Request-ID: a b",
     b"X-Request-ID: ", b"X-Request-ID: a1\r\nX-REQUEST-ID: b22", b"X-Request-Info: a1",
     b"X-Request-Info: a1\r\nX-Request-ID: b22", b"x-request-id: a1\r\nX-Request-ID: b22",
     b"X-Request-ID: a1\r\n b22", b"X-Request-ID: \xe4"]
)  # fmt: skip
# Fields like those that a known head leaves open; some change the message or its sender.
others = st.lists(
    st.sampled_from(
        [b"X-Length: 3", b"X-Length: 4", b"X: length: 5", b"X-Content-Length: 7", b"AMQP-Type: a",
         b"AMQP-Type:", b"AMQP-Type: b", b"amqp-type:\tb ", b"Authorization: Basic dTpx",
         b"Idempotency-Key: a", b"Prefer: wait=3", b"Prefer:  wait=3", b"Connection: keep-alive",
         b"Connection: close", b"X: \r", b"X: a\r\n b", b"X : a", b"AMQP-Header-A: b"]
    ),
    max_size=3,
)  # fmt: skip
raw_bodies = st.lists(
    st.sampled_from([b"\r\n", b"\n", b"\r", b"abc", post(b"x", headers=USER), b"0123456789"]),
    max_size=4,
).map(b"".join)


@st.composite
def known_heads(draw):
    """Reads of a client that sends few heads, with line ends around them, some pipelined."""
    lengths = st.sampled_from(
        [b"Content-Length: ", b"content-length: ", b"CONTENT-LENGTH: ", b"Content-length:",
         b"Content-Length:  ", b"Content-Length: 0", b"Content-Length: 00", b"content-length:\t"]
    )  # fmt: skip

    def one_of_them(kind, body):
        target, user, id_, length, more, length_last = kind
        lines = [b"Host: x", user.removesuffix(b"\r\n"), id_, *more]
        lines.insert(len(lines) if length_last else 1, b"%b%d" % (length, len(body)))
        head = b"\r\n".join([b"POST " + target + b" HTTP/1.1", *filter(None, lines)])
        return head + b"\r\n\r\n" + body

    targets = st.sampled_from(
        [b"/v/e/k", b"/v/e/k", b"/v/e/ength:", b"/v/e/k?type=a", b"http://x/v/e/k", b"/v/e/k#7"]
    )
    users = st.sampled_from([USER, USER, AUTH, b""])
    kinds = st.tuples(targets, users, ids, lengths, others, st.booleans())
    one = st.builds(one_of_them, kinds, raw_bodies)
    same = st.sampled_from(draw(st.lists(kinds, min_size=1, max_size=2)))
    again = st.builds(one_of_them, same, raw_bodies)
    framed = st.tuples(line_ends, again | again | one, line_ends).map(b"".join)
    return draw(st.lists(framed | again | line_ends | again.map(lambda r: r + r), max_size=6))


class TestConversations:
    @given(repeated())
    def test_a_head_that_repeats_means_the_same_as_one_that_is_read(self, pieces):
        whole = check(converse(pieces, **SETTINGS))
        assert check(converse(pieces, before=pieces, **SETTINGS)) == whole
        assume(not whole.pages)
        assume(LENGTHLESS not in whole.answers)  # bytes behind a head may come too late
        compare(check(converse(octets(b"".join(pieces)), **SETTINGS)), whole)

    @given(known_heads(), st.data())
    @example([post(b"\r\nabc", headers=USER) + b"\r\n"] * 2, None)
    @example([post(b"hi", headers=USER + b"X-REQUEST-ID: a1\r\n")] * 2, None)
    @example([post(b"hi", headers=USER + b"X-Request-ID: a b\r\n")] * 2, None)
    @example([post(b"hi", headers=user) for user in (USER, AUTH, USER, b"")], None)
    @example([post(b"x" * size, headers=USER) for size in (1, 400, 1)], None)  # above the limit
    def test_with_known_heads_the_edge_is_the_same_as_without(self, pieces, draw):
        """A read that is never a whole request is always parsed."""
        data = b"".join(pieces)
        parsed = check(converse(octets(data), **SETTINGS))
        assert check(converse(pieces, **SETTINGS)) == parsed
        assert check(converse(pieces, before=pieces, **SETTINGS)) == parsed
        if draw is not None:
            assert check(converse(cuts(draw.draw, data), before=pieces, **SETTINGS)) == parsed

    @given(streams.flatmap(lambda data: mutated(st.just(data))), st.data())
    def test_publishes_are_answered_the_same_however_they_arrive(self, data, draw):
        whole = check(converse([data], **SETTINGS))
        assume(LENGTHLESS not in whole.answers)  # bytes behind a head may come too late
        assume(not whole.pages)  # their answers may overtake what is wrong in their bodies
        compare(check(converse(cuts(draw.draw, data), **SETTINGS)), whole)
        compare(check(converse(octets(data), **SETTINGS)), whole)

    @given(mixed.flatmap(lambda data: mutated(st.just(data))), st.data())
    def test_pages_and_publishes_in_turn(self, data, draw):
        check(converse([data], **SETTINGS))
        check(converse(cuts(draw.draw, data), **SETTINGS))
        check(converse(octets(data), **SETTINGS))

    @given(st.binary(max_size=200))
    def test_noise_publishes_nothing(self, data):
        assert check(converse([data])).published == []

    @given(st.lists(st.binary(max_size=30), min_size=1, max_size=4))
    def test_each_of_several_requests_is_one_message(self, payloads):
        data = b"".join(post(b"body=" + quote_plus(payload).encode()) for payload in payloads)
        conversation = check(converse(octets(data)))
        assert [body for (*_, body), *_ in conversation.published] == payloads
        assert not conversation.ended


class TestParsers:
    """Each returns, or raises RequestError; any other exception fails the test."""

    @given(st.binary(max_size=40), st.binary(max_size=300), st.binary(max_size=40))
    def test_the_path(self, virtual_host, exchange, routing_key):
        try:
            found = target.decode_target(virtual_host, exchange, routing_key)
        except RequestError:
            return
        for name in (found.exchange, found.routing_key):
            assert len(name.encode()) <= 255

    @given(st.binary(max_size=40) | mutated(st.just(b"Basic Z3Vlc3Q6Z3Vlc3Q=")))
    def test_authorization(self, value):
        try:
            credentials = parse_authorization(value)
        except RequestError as error:
            refused = error.detail
        else:
            assert credentials.name
            assert "\0" not in credentials.username + credentials.password
            return
        assert refused in {  # and so quotes nothing of it
            "The Authorization header is not of type Basic or Bearer.",
            "The Authorization header is malformed.",
            "The Authorization header has a user name or password that is not UTF-8.",
            "The bearer token is malformed.",
        }

    @given(st.binary(max_size=60) | mutated(st.just(b'wait=10; x="a,b", respond-async')))
    @example(b'"' * 5000)
    def test_prefer(self, value):
        seconds = request.wait_seconds(value)
        assert seconds is None or seconds >= 0

    @given(mutated(forms) | st.binary(max_size=100), mutated(forms))
    def test_urlencoded_forms(self, body, query):
        self.read({b"content-type": b"application/x-www-form-urlencoded"}, body, query)

    @given(fields.flatmap(lambda pairs: mutated(st.just(multipart(b"b", pairs)))), forms)
    def test_multipart_forms(self, body, query):
        self.read({b"content-type": b"multipart/form-data; boundary=b"}, body, query)

    @given(mutated(st.just(b'multipart/form-data; boundary="b"; charset=x')))
    def test_the_type_of_a_form(self, content_type):
        self.read({b"content-type": content_type}, multipart(b"b", [("body", "hi")]), b"")

    @given(
        st.dictionaries(
            st.one_of(
                st.sampled_from([b"content-type", b"content-encoding", b"amqp-headers"]),
                names.map(lambda name: b"amqp-" + name.replace("_", "-").encode()),
                st.binary(max_size=10).map(lambda name: b"amqp-header-" + name),
            ),
            st.binary(max_size=20) | values.map(str.encode),
            max_size=5,
        )
    )
    def test_raw_publishes(self, headers):
        self.read(headers, b"the body", b"")

    @staticmethod
    def read(headers, body, query):
        try:
            message = request.message_reader(TARGET, headers, query, DEFAULTS, 10**7).read(body)
        except RequestError:
            return
        assert isinstance(message.body, bytes)
        assert isinstance(message.mandatory, bool)


class TestRoundTrips:
    @given(st.lists(st.tuples(st.binary(min_size=1, max_size=20), st.binary(max_size=50))))
    def test_urlencoded(self, pairs):
        assert decode_urlencoded(urlencode(pairs).encode()) == pairs

    @given(boundaries, st.lists(st.tuples(tokens, st.binary(max_size=50)), min_size=1))
    def test_multipart(self, boundary, pairs):
        assume(not any(b"\r\n--" + boundary in b"\r\n" + value for _, value in pairs))
        content_type = b"multipart/form-data; boundary=" + boundary
        decoded = decode_multipart(multipart(boundary, pairs), content_type)
        assert decoded == [(name.encode(), value) for name, value in pairs]
