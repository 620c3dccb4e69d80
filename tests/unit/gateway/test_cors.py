"""Whose pages may call, and whose posts are not their user's wish."""

import json

import msgspec
import pytest
from edge import AUTH, FORM, edge_test, post
from outcomes import JSON, NDJSON, item, lines

from statelessd.config.http_server import Cors, Pages
from statelessd.gateway.cors import CorsPolicy
from statelessd.message import Outcome, RequestError

APP = b"https://app.example"
OF_APP = b"Origin: https://app.example\r\n"
OF_EVIL = b"Origin: https://evil.example\r\n"
CROSS = b"Sec-Fetch-Site: cross-site\r\n"
ALLOWED = Cors(origins=("https://App.example", "http://localhost:3000"))
ALLOWED_WITH_CREDENTIALS = Cors(origins=ALLOWED.origins, credentials=True)
ANYBODY = Cors(origins=("*",), credentials=True)  # which "*" goes without

NAMES = {"host": b"gateway:8000"}


def checked(cors=Cors(), *, strict=False, **headers):  # noqa: B008 - frozen
    """Whether a publish with such headers goes on; ``sec_fetch_site`` is Sec-Fetch-Site."""
    named = {k.replace("_", "-").encode(): v for k, v in {**NAMES, **headers}.items()}
    try:
        CorsPolicy(cors, strict=strict).check(named)
    except RequestError as error:
        return error.outcome is not Outcome.CROSS_SITE
    return True


def cors_headers(answer):
    """Those that a browser looks at; none may come twice, or it takes none of them."""
    found = [field for field in answer.fields if field[0].startswith("access-control-")]
    assert len(dict(found)) == len(found)
    assert sum(name == "vary" for name, _ in answer.fields) <= 1
    return {name.removeprefix("access-control-"): value for name, value in found}


def preflight(path=b"/v/e/k", origin=OF_APP, headers=b"authorization, prefer"):
    return (
        b"OPTIONS %b HTTP/1.1\r\nHost: x\r\n" % path
        + origin
        + b"Access-Control-Request-Method: POST\r\n"
        + (b"Access-Control-Request-Headers: %b\r\n" % headers if headers else b"")
        + b"\r\n"
    )


def batch(headers, media_type=JSON):
    body = lines([item(1)]) if media_type == NDJSON else json.dumps([item(1)]).encode()
    return post(body, path=b"/v/e", headers=AUTH + media_type + headers)


# A publish, a batch of either form, and how to make one with more headers.
WAYS = pytest.mark.parametrize(
    "publish",
    [
        lambda headers: post(headers=AUTH + FORM + headers),
        batch,
        lambda headers: batch(headers, NDJSON),
    ],
    ids=["publish", "batch", "stream"],
)
PATHS = pytest.mark.parametrize("path", [b"/v/e/k", b"/v/e", b"/stats", b"/", b"/none"])


class TestCheck:
    @pytest.mark.parametrize("strict", [False, True])
    @pytest.mark.parametrize(
        ("site", "passes"),
        [
            (b"same-origin", True),
            (b"none", True),
            (b"same-site", False),
            (b"cross-site", False),
            (b"", False),
            (b"what comes next", False),
        ],
    )
    def test_the_browsers_own_word_decides(self, site, passes, strict):
        assert checked(strict=strict, sec_fetch_site=site) is passes
        for origin in (b"http://gateway:8000", b"https://evil.example", b"null"):
            assert checked(strict=strict, sec_fetch_site=site, origin=origin) is passes

    @pytest.mark.parametrize("strict", [False, True])
    @pytest.mark.parametrize(
        ("origin", "passes"),
        [
            (b"http://gateway:8000", True),
            (b"https://gateway:8000", True),  # a proxy speaks TLS for us
            (b"http://GATEWAY:8000", True),
            (b"http://gateway", False),
            (b"http://gateway:80", False),
            (b"http://gateway:8000.evil.example", False),
            (b"http://gateway:8000@evil.example", False),
            (b"http://evil.example?gateway:8000", False),
            (b"gateway:8000", False),
            (b"null", False),
            (b"", False),
            (b"http://[", False),
            (b"\xff", False),
        ],
    )
    def test_an_origin_alone_is_compared_with_the_host(self, origin, passes, strict):
        assert checked(strict=strict, origin=origin) is passes
        assert not checked(strict=strict, origin=origin, host=b"")

    def test_what_no_browser_sends_passes_unless_it_is_strict(self):
        assert checked()
        assert not checked(strict=True)
        assert not checked(ANYBODY, strict=True, content_type=b"application/json")

    @pytest.mark.parametrize("strict", [False, True])
    def test_allowed_origins_pass(self, strict):
        for origin in (APP, b"http://localhost:3000"):
            assert checked(ALLOWED, strict=strict, origin=origin)
            assert checked(ALLOWED, strict=strict, origin=origin, sec_fetch_site=b"cross-site")
        for origin in (b"http://app.example", b"http://localhost", APP + b".evil", b"null"):
            assert not checked(ALLOWED, strict=strict, origin=origin)
            assert not checked(ALLOWED, strict=strict, origin=origin, sec_fetch_site=b"cross-site")

    @pytest.mark.parametrize(
        ("media_type", "passes"),
        [
            (b"application/json", True),
            (b"application/octet-stream", True),
            (b"text/plain", False),
            (b"Text/Plain; charset=utf-8", False),
            (b"application/x-www-form-urlencoded;x", False),
            (b"multipart/form-data ;boundary=b", False),
            (b"text/plain, application/json", False),
            (b"", False),
            (None, False),
        ],
    )
    def test_where_all_are_allowed_what_comes_unasked_may_ride_on_kept_credentials(
        self, media_type, passes
    ):
        headers = {} if media_type is None else {"content_type": media_type}
        for more in ({}, {"sec_fetch_site": b"cross-site"}):
            assert checked(ANYBODY, origin=b"https://evil.example", **headers, **more) is passes
        assert checked(ANYBODY, origin=b"http://gateway:8000", **headers)
        assert checked(ANYBODY, **headers)


class TestRefusal:
    @WAYS
    @pytest.mark.parametrize(
        "headers", [CROSS, b"Sec-Fetch-Site: same-site\r\n", OF_EVIL, CROSS + OF_EVIL]
    )
    @edge_test()
    async def test_another_sites_post_is_a_403_and_publishes_nothing(self, edge, publish, headers):
        answer = await edge.ask(publish(headers))
        assert (answer.status, answer.problem) == (403, "cross-site")
        assert not cors_headers(answer)
        assert not edge.publisher.published
        answer = await edge.ask(publish(headers).replace(AUTH, b""))
        assert answer.problem == "cross-site"  # and nobody is asked for a password

    @WAYS
    @edge_test(strict=True)
    async def test_strict_wants_to_be_told(self, edge, publish):
        answer = await edge.ask(publish(b""))
        assert (answer.status, answer.problem) == (403, "cross-site")
        assert not edge.publisher.published
        assert (await edge.ask(publish(b"Origin: http://x\r\n"))).status in (200, 204)

    @edge_test()
    async def test_another_sites_page_may_link_to_ours_and_the_connection_goes_on(self, edge):
        client = await edge.connect()
        client.send(post(headers=AUTH + FORM + CROSS))
        assert (await client.answer()).status == 403
        for path in (b"/", b"/stats"):
            client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path, CROSS))
            answer = await client.answer()
            assert (answer.status, cors_headers(answer)) == (200, {})


class TestAnswers:
    GRANTED = {  # noqa: RUF012 - not changed
        "allow-origin": "https://app.example",
        "expose-headers": "retry-after, x-request-id, amqp-message-id",
    }

    @WAYS
    @edge_test(cors=ALLOWED)
    async def test_an_allowed_page_publishes_and_may_read_the_answer(self, edge, publish):
        answer = await edge.ask(publish(OF_APP + CROSS))
        assert answer.status in (200, 204)
        assert cors_headers(answer) == self.GRANTED
        assert answer.headers["vary"] == "origin"
        assert len(edge.publisher.published) == 1
        answer = await edge.ask(publish(OF_APP).replace(AUTH, b""))
        assert (answer.problem, cors_headers(answer)) == ("unauthorized", self.GRANTED)

    @edge_test(cors=ALLOWED, max_body_bytes=10)
    async def test_whatever_is_wrong(self, edge):
        wrong = [
            (post(b"x" * 11, headers=AUTH + FORM + OF_APP), 413),
            (post(b"x", headers=AUTH + FORM + OF_APP), 400),
            (post(path=b"/v/%zz/k", headers=AUTH + FORM + OF_APP), 400),
            (post(path=b"/stats", headers=OF_APP), 405),
            (post(path=b"/none/", headers=AUTH + OF_APP), 404),
            (post().replace(b"POST", b"PUT").replace(FORM, OF_APP), 405),
        ]
        for request, status in wrong:
            answer = await edge.ask(request)
            assert answer.status == status
            assert cors_headers(answer) == self.GRANTED

    @PATHS
    @edge_test(cors=ALLOWED, pages=Pages(networks=("127.0.0.0/8",)))
    async def test_pages_likewise(self, edge, path):
        answer = await edge.ask(b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path, OF_APP))
        assert answer.status in (200, 404, 405)
        assert cors_headers(answer) == self.GRANTED
        assert answer.headers["vary"] == "origin"

    @PATHS
    @edge_test(cors=ALLOWED)
    async def test_others_may_read_nothing_and_caches_learn_that_pages_differ(self, edge, path):
        for origin in (OF_EVIL, b"")[: 1 if path == b"/v/e/k" else 2]:  # no cache keeps a 405
            answer = await edge.ask(b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path, origin))
            assert (cors_headers(answer), answer.headers["vary"]) == ({}, "origin")

    @edge_test(cors=ALLOWED_WITH_CREDENTIALS)
    async def test_credentials_where_the_settings_say_so(self, edge):
        expected = {**self.GRANTED, "allow-credentials": "true"}
        assert cors_headers(await edge.ask(post(headers=AUTH + FORM + OF_APP))) == expected
        assert cors_headers(await edge.ask(post(headers=OF_APP))) == expected
        assert not cors_headers(await edge.ask(post(headers=AUTH + FORM + OF_EVIL)))

    @edge_test(cors=ANYBODY)
    async def test_everybody_and_no_credentials(self, edge):
        expected = {**self.GRANTED, "allow-origin": "*"}
        answer = await edge.ask(post(headers=AUTH + JSON + OF_EVIL + CROSS))
        assert (answer.status, cors_headers(answer)) == (204, expected)
        assert "vary" not in answer.headers
        answer = await edge.ask(post(headers=AUTH + FORM + OF_EVIL + CROSS))
        assert (answer.problem, cors_headers(answer)) == ("cross-site", expected)
        assert "Content-Type" in json.loads(answer.body)["detail"]
        answer = await edge.ask(b"GET /stats HTTP/1.1\r\nHost: x\r\n" + OF_EVIL + b"\r\n")
        assert (answer.status, cors_headers(answer)) == (200, expected)

    @pytest.mark.parametrize("pages", [Pages(networks=("127.0.0.0/8",)), Pages(listener=1)])
    @edge_test(cors=ANYBODY)
    async def test_pages_that_are_kept_from_others_are_read_by_no_site_that_is_not_named(
        self, edge, pages
    ):
        edge.gateway.http_server = msgspec.structs.replace(edge.gateway.http_server, pages=pages)
        for path in (b"/stats", b"/details.json", b"/dashboard.json", b"/"):
            answer = await edge.ask(b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path, OF_EVIL))
            assert (answer.status, cors_headers(answer)) == (200, {})
        answer = await edge.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + OF_EVIL + b"\r\n")
        assert cors_headers(answer)["allow-origin"] == "*"

    @edge_test()
    async def test_by_default_nobody_is_told_anything(self, edge):
        for request in (post(), post(headers=AUTH + FORM + b"Origin: http://x\r\n")):
            answer = await edge.ask(request)
            assert (answer.status, cors_headers(answer)) == (204, {})
            assert "vary" not in answer.headers


class TestPreflight:
    GRANTED = {  # noqa: RUF012 - not changed
        "allow-origin": "https://app.example",
        "allow-methods": "get, head, post",
        "allow-headers": "authorization, prefer",
        "max-age": "600",
    }

    @PATHS
    @edge_test(cors=ALLOWED)
    async def test_an_allowed_origin_is_granted_what_it_asks_for_once(self, edge, path):
        answer = await edge.ask(preflight(path))
        assert (answer.status, cors_headers(answer)) == (204, self.GRANTED)
        assert answer.headers["vary"] == "origin"
        assert not edge.publisher.published

    @PATHS
    @pytest.mark.parametrize(
        ("cors", "origin", "granted"),
        [
            (ALLOWED, OF_EVIL, {}),
            (Cors(), OF_APP, {}),
            (ALLOWED_WITH_CREDENTIALS, OF_APP, {**GRANTED, "allow-credentials": "true"}),
            (ANYBODY, OF_EVIL, {**GRANTED, "allow-origin": "*"}),
        ],
        ids=["another", "by default", "with credentials", "everybody"],
    )
    def test_what_others_are_granted(self, path, cors, origin, granted):
        @edge_test(cors=cors)
        async def ask(edge):
            answer = await edge.ask(preflight(path, origin))
            assert (answer.status, cors_headers(answer)) == (204, granted)

        ask()

    @edge_test(cors=Cors(origins=ALLOWED.origins, headers=("A", "B"), methods=("POST",), max_age=0))
    async def test_the_settings_say_what_is_granted(self, edge):
        expected = {"allow-methods": "post", "allow-headers": "a, b", "max-age": "0"}
        for asked in (b"", b"authorization"):
            granted = cors_headers(await edge.ask(preflight(headers=asked)))
            assert granted == {**self.GRANTED, **expected}

    @PATHS
    @edge_test(cors=ALLOWED)
    async def test_what_it_asks_for_does_not_break_the_answer_up(self, edge, path):
        answer = await edge.ask(preflight(path, headers=b"a\r\n x-folded: 1"))
        assert "x-folded" not in answer.headers
        answer = await edge.ask(preflight(path, headers=b"a\rx-bare: 1"))
        assert (answer.status, "x-bare" in answer.headers) == (400, False)

    @edge_test(cors=ALLOWED)
    async def test_other_options_requests_are_none(self, edge):
        answer = await edge.ask(b"OPTIONS /v/e/k HTTP/1.1\r\nHost: x\r\n" + OF_APP + b"\r\n")
        assert (answer.status, answer.headers["allow"]) == (204, "options, post")
        assert cors_headers(answer) == TestAnswers.GRANTED
