"""The raw path of a request, and what it leads to."""

import pytest

from statelessd.config.settings import Paths, Route
from statelessd.gateway.router import CACHED_PATHS, Router
from statelessd.gateway.target import Target
from statelessd.pages import Stats
from statelessd.pages.app import build_router
from statelessd.pages.batch_page import BatchPage
from statelessd.pages.restricted import Restricted


@pytest.fixture
def built_in():
    return build_router((), Paths())


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"/v/e/k", Target("v", "e", "k")),
        (b"/%2f/e/a%2Fb", Target("/", "e", "a/b")),
        (b"/v//k", Target("v", "", "k")),
        (b"/v/e/", Target("v", "e", "")),
        (b"/v//", Target("v", "", "")),
    ],
)
def test_the_built_in_route_publishes(built_in, path, target):
    assert built_in.match(path).target == target


@pytest.mark.parametrize("path", [b"//e", b"/v/", b"//e/k", b"/v/e/k/x", b"/stats/", b"", b"*"])
def test_what_matches_nothing(built_in, path):
    match = built_in.match(path)
    assert (match.target, match.page, match.publishes) == (None, None, False)


def test_two_segments_are_a_batch_or_the_users_own_page(built_in):
    match = built_in.match(b"/v/e%2f")
    assert (match.page, match.target) == (BatchPage, Target("v", "e/", ""))
    assert not match.publishes  # by itself
    own = build_router([Route("/own/page", "statelessd.Stats")], Paths())
    assert own.match(b"/own/page").page == Restricted(Stats)
    assert own.match(b"/own/other").page is BatchPage


def test_a_broken_escape_is_a_refusal_and_not_a_404(built_in):
    match = built_in.match(b"/v/e/%zz")
    assert match.publishes
    assert "%" in match.refusal.detail


def test_a_virtual_host_may_be_called_like_a_page(built_in):
    assert built_in.match(b"/static/e/k").target == Target("static", "e", "k")
    assert built_in.match(b"/static/e/k").page is not None  # for a GET


def test_configured_routes_come_in_their_order():
    routes = [
        Route("/stats/([^/]+)/([^/]+)/([^/]+)", "statelessd.Publisher"),
        Route("/s.*", "statelessd.Stats"),
    ]
    router = build_router(routes, Paths())
    assert router.match(b"/stats/v/e/k").target == Target("v", "e", "k")
    assert router.match(b"/something").page == Restricted(Stats)
    assert not router.match(b"/v/e/k").publishes


def test_the_cache_is_bounded():
    router = Router([("/([^/]+)/([^/]*)/([^/]*)", None)])
    for i in range(CACHED_PATHS):
        router.match(b"/v/e/%d" % i)
    assert repr(router) == f"<Router of 1 rules, {CACHED_PATHS} paths are remembered>"
    router.match(b"/v/e/" + b"%41" * 200)  # too long
    router.match(b"/v/e/k")
    assert repr(router) == "<Router of 1 rules, 1 paths are remembered>"
