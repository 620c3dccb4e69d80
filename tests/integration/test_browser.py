"""A real Chromium: whose pages may publish, and whose may not with somebody else's password."""

import base64
import json

import pytest
from gateway import running
from pages import Pages
from waiting import wait_until

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
LOGIN = {"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode()}
# Chromium keeps passwords apart by the site of the page in the tab. A form takes
# the tab to the gateway's own; a script finds them only where the sites are one,
# and these are.
GATEWAY, APP, EVIL = "gateway.localhost", "app.gateway.localhost", "evil.gateway.localhost"
NAMED = {"HTTPServer": {"hosts": ["gateway.example"]}}
FAILED = {"error": "TypeError: Failed to fetch"}  # all that a page learns of a refusal by CORS


@pytest.fixture
def user(chromium):
    with chromium.user() as page:
        yield page


@pytest.fixture(scope="module")
def pages():
    with Pages() as started:
        yield started


@pytest.fixture
def site(pages):
    """A server of other origins than the gateway's."""
    pages.clear()
    return pages


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, broker):
    """One that is known by a name which is not on loopback to a browser."""
    with running(tmp_path_factory.mktemp("gateway"), broker, NAMED) as started:
        yield started


@pytest.fixture(scope="module")
def open_gateway(tmp_path_factory, broker, pages):
    """One that lets pages of two origins in, with what their users' browsers keep."""
    origins = [pages.origin("app.example"), pages.origin(APP)]
    cors = {"origins": origins, "credentials": True}
    directory = tmp_path_factory.mktemp("open-gateway")
    with running(directory, broker, {"HTTPServer": {"cors": cors}}) as started:
        yield started


def log_in(user, gateway_url, queue):
    """The user publishes from the gateway's own page, and is asked for the password once."""
    path = f"/test/{queue.name}/login"
    user.open(f"{gateway_url}/healthz")  # the dashboard would draw charts all the while
    logins = user.logins
    with user.typing("guest", "guest"):
        assert post(user, path, body="body=first")["status"] == 204
    assert post(user, path, body="body=again")["status"] == 204
    assert user.logins == logins + 1
    assert user.exchange("POST", gateway_url + path).headers["authorization"]
    assert queue.bodies() == [b"first", b"again"]


def post(user, url, *, body="body=x", headers=FORM, **options):
    return user.fetch(url, method="POST", body=body, headers=headers, **options)


def problem_of(answer):
    assert answer["headers"]["content-type"] == "application/problem+json"
    return json.loads(answer["text"])["type"].removeprefix("/docs#")


class TestForms:
    """A page of another site sends one, with the password that the browser keeps."""

    @staticmethod
    def refused(user, site, queue, url, *, host="evil.example", sandbox="", **form):
        """Return the headers of a form that is refused."""
        log_in(user, url, queue)
        target = f"{url}/test/{queue.name}/stolen"
        site.submit_at_once(target, **form, body="stolen")
        if sandbox:
            site.headers = {"Content-Security-Policy": sandbox}
        user.open(site.origin(host))
        sent = user.exchange("POST", target)
        assert (sent.status, sent.headers["authorization"]) == (403, LOGIN["Authorization"])
        assert queue.bodies() == []
        return sent.headers

    @pytest.mark.parametrize(
        "enctype", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"]
    )
    def test_it_is_refused(self, gateway, queue, user, site, enctype):
        sent = self.refused(user, site, queue, gateway.url, enctype=enctype)
        assert sent["sec-fetch-site"] == "cross-site"
        wait_until(lambda: "/docs#cross-site" in user.text(), what="the refusal to be shown")

    def test_it_is_refused_when_only_origin_tells(self, gateway, queue, user, site):
        # Sec-Fetch-Site is kept from hosts that neither HTTPS nor loopback vouches for.
        url, evil = f"http://gateway.example:{gateway.port}", "evil.test.example"
        sent = self.refused(user, site, queue, url, host=evil)
        assert sent["origin"] == site.origin(evil)
        assert "sec-fetch-site" not in sent

    @pytest.mark.parametrize("host", ["127.0.0.1", "gateway.example"])
    def test_from_a_page_without_an_origin_it_is_refused(self, gateway, queue, user, site, host):
        url, sandbox = f"http://{host}:{gateway.port}", "sandbox allow-scripts allow-forms"
        assert self.refused(user, site, queue, url, sandbox=sandbox)["origin"] == "null"

    def test_from_an_allowed_origin_it_is_published(self, open_gateway, queue, user, site):
        log_in(user, open_gateway.url, queue)
        target = f"{open_gateway.url}/test/{queue.name}/k"
        site.submit_at_once(target, body="given")
        user.open(site.origin("app.example"))
        assert user.exchange("POST", target).status == 204
        assert queue.bodies() == [b"given"]


def test_a_page_whose_name_leads_to_this_machine_is_refused(gateway, queue, user):
    """DNS rebinding: to the browser the page is of the gateway's own origin."""
    user.open(f"http://evil.example:{gateway.port}/healthz")
    path = f"/test/{queue.name}/stolen"
    answer = post(user, path, headers={**FORM, **LOGIN})
    assert (answer["status"], problem_of(answer)) == (403, "cross-site")
    sent = user.exchange("POST", f"http://evil.example:{gateway.port}{path}").headers
    assert sent["origin"] == f"http://evil.example:{gateway.port}"
    assert queue.bodies() == []


@pytest.mark.parametrize("origins", [[], ["*"]])
def test_a_script_that_wants_no_answer_is_refused(start_gateway, queue, user, site, origins):
    gateway = start_gateway({"HTTPServer": {"cors": {"origins": origins}}})
    url = f"http://{GATEWAY}:{gateway.port}"
    log_in(user, url, queue)
    target = f"{url}/test/{queue.name}/stolen"
    user.open(site.origin(EVIL))
    assert post(user, target, mode="no-cors", credentials="include")["status"] == 0  # opaque
    sent = user.exchange("POST", target)
    assert sent.status == 403
    assert sent.headers["authorization"] == LOGIN["Authorization"]
    assert sent.headers["sec-fetch-site"] == "same-site"
    assert queue.bodies() == []


class TestAllowedOrigin:
    def test_it_publishes_with_a_password_of_its_own(self, open_gateway, queue, user, site):
        target = f"{open_gateway.url}/test/{queue.name}"
        user.open(site.origin("app.example"))
        assert post(user, f"{target}/k", headers={**FORM, **LOGIN})["status"] == 204
        assert user.exchange("OPTIONS", f"{target}/k").status == 204
        assert user.exchange("POST", f"{target}/k").headers["sec-fetch-site"] == "cross-site"
        batch = json.dumps([{"routing_key": "k", "body": "1"}, {"routing_key": "k", "body": "2"}])
        answer = post(user, target, body=batch, headers={**JSON, **LOGIN})
        assert (answer["status"], json.loads(answer["text"])["published"]) == (200, 2)
        assert queue.bodies() == [b"x", b"1", b"2"]

    def test_it_publishes_with_what_the_browser_keeps(self, open_gateway, queue, user, site):
        url = f"http://{GATEWAY}:{open_gateway.port}"
        log_in(user, url, queue)
        user.open(site.origin(APP))
        for headers in (FORM, JSON):
            target = f"{url}/test/{queue.name}/{headers['Content-Type'][-4:]}"
            answer = post(user, target, headers=headers, credentials="include")
            assert answer["status"] == 204
            assert user.exchange("POST", target).headers["authorization"]
        assert queue.bodies() == [b"x", b"body=x"]

    def test_it_reads_what_was_wrong_and_the_figures(self, open_gateway, user, site):
        user.open(site.origin("app.example"))
        target = f"{open_gateway.url}/test/none-such/k"
        answer = post(user, target, headers={**FORM, **LOGIN, "X-Request-ID": "mine-1"})
        assert (answer["status"], problem_of(answer)) == (404, "exchange-not-found")
        assert answer["headers"]["x-request-id"] == "mine-1"
        answer = user.fetch(f"{open_gateway.url}/stats")
        assert json.loads(answer["text"])["port"] == open_gateway.port


class TestOtherOrigins:
    @pytest.mark.parametrize("host", ["evil.example", "localhost", "app.example.example"])
    def test_none_is_granted_anything(self, open_gateway, queue, user, site, host):
        target = f"{open_gateway.url}/test/{queue.name}/k"
        user.open(site.origin(host))
        assert post(user, target, headers={**FORM, **LOGIN}) == FAILED
        assert user.exchange("OPTIONS", target).status == 204  # and no grant in it
        assert user.fetch(f"{open_gateway.url}/stats") == FAILED
        assert queue.bodies() == []

    def test_where_all_may_call_none_may_use_what_the_browser_keeps(
        self, start_gateway, queue, user, site
    ):
        cors = {"origins": ["*"], "credentials": True}
        gateway = start_gateway({"HTTPServer": {"cors": cors}})
        url = f"http://{GATEWAY}:{gateway.port}"
        log_in(user, url, queue)
        target = f"{url}/test/{queue.name}/k"
        user.open(site.origin(EVIL))
        assert post(user, target, credentials="include") == FAILED
        sent = user.exchange("POST", target)
        assert (sent.status, sent.headers["authorization"]) == (403, LOGIN["Authorization"])
        assert post(user, target, headers=JSON, credentials="include") == FAILED
        assert queue.bodies() == []
        answer = post(user, target, headers={**FORM, **LOGIN})
        assert (answer["status"], problem_of(answer)) == (403, "cross-site")
        assert post(user, target, headers={**JSON, **LOGIN})["status"] == 204
        assert queue.bodies() == [b"body=x"]


def test_xsrf_cookies_want_to_be_told_where_a_publish_comes_from(start_gateway, queue, user):
    gateway = start_gateway({"Application": {"xsrf_cookies": True}, **NAMED})
    answer = gateway.publish(f"/test/{queue.name}/k")
    assert (answer.status_code, answer.json()["type"]) == (403, "/docs#cross-site")
    assert queue.bodies() == []
    for host in ("127.0.0.1", "gateway.example"):
        log_in(user, f"http://{host}:{gateway.port}", queue)
