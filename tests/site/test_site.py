"""The built site in a browser that reaches nothing else: ``make site`` has made it."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from chromium import Chromium

OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Log nothing: standard error belongs to pytest."""


@pytest.fixture(scope="module")
def site(pytestconfig):
    """The folder of the pages, and the URL at which they are served."""
    folder = pytestconfig.rootpath / ".run/site/html"
    handler = functools.partial(Quiet, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("chromium"), OFFLINE) as started:
        yield started


def test_each_page_is_whole_on_a_phone_and_without_the_network(site, chromium):
    folder, url = site
    pages = [str(path.relative_to(folder)) for path in folder.rglob("*.html")]
    assert len(pages) > 30
    wide = []
    with chromium.user() as user:
        user.size(360, 740, mobile=True)
        for page in pages:
            user.open(f"{url}/{page}")
            if user.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wide.append(page)
        assert wide == []
        assert user.complaints == []
        assert {urlsplit(each).hostname for each in user.urls if each[:5] != "data:"} == {
            "127.0.0.1"
        }


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("mandatory", "reference/http.html"),
        ("stalled_timeout", "reference/configuration.html"),
        ("laravel", "how-to/recipes/laravel.html"),
    ],
)
def test_the_search_finds_a_page(site, chromium, words, page):
    with chromium.user() as user:
        user.open(f"{site[1]}/search.html?q={words}")
        found = "[...document.querySelectorAll('ul.search a')].map(a => a.pathname)"
        user.wait_for(f"{found}.includes('/{page}')")


def test_the_navigation_leads_to_each_division(site, chromium):
    with chromium.user() as user:
        user.open(site[1])
        links = user.evaluate(
            "[...document.querySelectorAll('.sidebar-tree .toctree-l1 > a')].map(a => a.innerText)"
        )
    assert links == ["Tutorial", "How-to guides", "Reference", "Explanation", "Development"]
