"""HTTPServer.pages: who sees the pages, and where they are."""

import pytest
from edge import edge_test, post

from statelessd.config.http_server import Pages
from statelessd.config.settings import Route
from statelessd.pages import app

HERE, ELSEWHERE = 1, 2  # the listener of an Edge is 1
OPEN = [b"/healthz", b"/readyz", b"/static/statelessd.css"]
PAGES = [pattern for pattern, page in app.PAGES if page not in app.EVERYWHERE]
RESTRICTED = [b"/", b"/stats", *(pattern.replace("\\", "").encode() for pattern in PAGES)]
METHODS = [b"GET", b"HEAD", b"OPTIONS", b"POST", b"DELETE"]
NOBODY = Pages(networks=("192.0.2.0/24",))
NEAR = Pages(networks=("192.0.2.0/24", "127.0.0.0/8"))
STATS = b"GET /stats HTTP/1.1\r\nHost: x\r\n"


async def statuses(edge, paths, methods=(b"GET",)):
    """Of each path, by each method."""
    found = set()
    for path in paths:
        for method in methods:
            client = await edge.connect()
            client.send(method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            found.add((await client.answer(head_only=method == b"HEAD")).status)
    return found


def test_what_the_settings_are_about():
    assert {b"/", b"/stats", b"/metrics", b"/docs", b"/openapi.json"} <= set(RESTRICTED)
    assert not set(OPEN) & set(RESTRICTED)


@pytest.mark.parametrize(
    "pages", [Pages(), NEAR, Pages(listener=HERE)], ids=["default", "networks", "listener"]
)
def test_who_may_see_the_pages_does(pages):
    @edge_test(pages=pages)
    async def check(edge):
        assert await statuses(edge, RESTRICTED + OPEN, [b"OPTIONS"]) == {204}
        assert (await edge.ask(post())).status == 204

    check()


class TestNetworks:
    @edge_test(pages=NOBODY)
    async def test_others_are_refused_by_any_method(self, edge):
        assert await statuses(edge, RESTRICTED, METHODS) == {403}
        assert await statuses(edge, OPEN) == {200}
        assert (await edge.ask(post())).status == 204
        counted = edge.gateway.statistics.document()["response.403"]
        answer = await edge.ask(STATS + b"\r\n")
        assert (answer.status, answer.problem) == (403, "forbidden")
        assert b"HTTPServer.pages.networks" in answer.body  # and not which they are
        assert b"192.0.2" not in answer.body
        assert edge.gateway.statistics.document()["response.403"] == counted + 1

    @edge_test(pages=NEAR, routes=[Route("/wall", "statelessd.Dashboard")], xheaders=True)
    async def test_the_dashboard_is_restricted_where_routes_have_it(self, edge):
        wall = b"GET /wall HTTP/1.1\r\nHost: x\r\n"
        assert (await edge.ask(wall + b"\r\n")).status == 200
        assert (await edge.ask(wall + b"X-Real-IP: 198.51.100.1\r\n\r\n")).status == 403


class TestListener:
    @edge_test(pages=Pages(listener=ELSEWHERE))
    async def test_others_have_none_and_publish(self, edge):
        assert await statuses(edge, RESTRICTED, METHODS) == {404}
        assert (await edge.ask(STATS + b"\r\n")).problem == "not-found"
        assert await statuses(edge, OPEN) == {200}
        assert (await edge.ask(post())).status == 204

    @edge_test(pages=Pages(listener=HERE, networks=NOBODY.networks))
    async def test_networks_hold_there_too(self, edge):
        assert await statuses(edge, RESTRICTED) == {403}

    @edge_test(pages=Pages(listener=ELSEWHERE), routes=[
        Route("/a/b/c", "statelessd.Stats"),
        Route("/([^/]+)/([^/]*)/([^/]*)", "statelessd.Publisher"),
    ])  # fmt: skip
    async def test_a_page_that_is_not_there_does_not_become_a_place_to_publish(self, edge):
        assert (await edge.ask(post(path=b"/a/b/c"))).status == 404
        assert edge.publisher.published == []


@pytest.mark.parametrize("settings", [{}, {"pages": Pages(listener=HERE)}])
def test_nothing_is_published_by_a_page(settings):
    @edge_test(**settings)
    async def test(edge):
        assert await statuses(edge, RESTRICTED, [b"POST"]) == {405}
        assert edge.publisher.published == []

    test()
