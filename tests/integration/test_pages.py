"""HTTPServer.pages with real gateways: a listener of their own, networks, nginx, reloads."""

import contextlib
import http.client
import re
from pathlib import Path

import pytest
import requests
from certificates import Authority
from clients import LOGIN, UnixConnection
from gateway import free_port, free_ports
from proxies import nginx
from waiting import wait_until

RESTRICTED = [
    "/", "/dashboard.json", "/details.json", "/stats", "/metrics", "/docs", "/openapi.json",
]  # fmt: skip
OPEN = ["/healthz", "/readyz", "/static/statelessd.css"]
PROXIES = Path(__file__).resolve().parents[2] / "docs/how-to/nginx-and-haproxy.md"


def ask(port, path, method="GET", source="127.0.0.1", body=None, **headers):
    """The status, for a client with this address."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=30, source_address=(source, 0)
    )
    return _status(connection, method, path, body, headers)


def ask_unix(socket, path, method="GET", body=None, **headers):
    return _status(UnixConnection(socket), method, path, body, headers)


def _status(connection, method, path, body, headers):
    with contextlib.closing(connection):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        return connection.getresponse().status


def table(port, asked=ask):
    """The statuses of the pages, and those of what is everywhere: publishing too."""
    restricted = {asked(port, path, m) for path in RESTRICTED for m in ("GET", "HEAD")}
    everywhere = {asked(port, path) for path in OPEN}
    published = asked(port, "/test/test/k", "POST", body="x", **LOGIN)
    return restricted, everywhere, published


OF_THEIR_OWN = ({200}, {200}, 204)
WITHOUT = ({404}, {200}, 204)


def test_a_listener_of_their_own(start_gateway):
    own = free_port()
    pages = {"listener": own, "address": "127.0.0.2"}
    gateway = start_gateway({"HTTPServer": {"pages": pages}}, ports=2)
    assert f"; pages on 127.0.0.2, port {own}" in gateway.text
    gateway.says(f"listening on port {own}")
    url = f"http://127.0.0.2:{own}"
    assert {requests.get(url + path, timeout=30).status_code for path in RESTRICTED + OPEN} == {200}
    with pytest.raises(ConnectionRefusedError):
        ask(own, "/stats")
    assert [table(port) for port in gateway.ports] == [WITHOUT, WITHOUT]
    assert requests.get(f"{url}/stats", timeout=30).json()["port"] == own

    def all_are_told():
        text = requests.get(f"{url}/metrics?scope=all", timeout=30).text
        up = re.findall(r'^statelessd_backend_up\{backend="(\d+)"\} 1\.0$', text, re.MULTILINE)
        return sorted(map(int, up)) == sorted([*gateway.ports, own])

    wait_until(all_are_told, what="every backend in the figures of all")


def test_what_a_page_there_sends_is_published_with_the_brokers_credentials_only(
    start_gateway, queue
):
    own = free_port()
    start_gateway({"HTTPServer": {"pages": {"listener": own}}})
    wait_until(lambda: _answers(own), what="the pages")
    assert {ask(own, path, "POST", body="body=x", **LOGIN) for path in RESTRICTED} == {405}
    target = f"/test/{queue.name}/k"
    origin = f"http://127.0.0.1:{own}"
    same = {"Sec_Fetch_Site": "same-origin", "Origin": origin}
    cross = {"Sec_Fetch_Site": "cross-site", "Origin": "http://evil.example"}
    assert ask(own, target, "POST", body="x", **same) == 401
    wrong = {"Authorization": "Basic Z3Vlc3Q6d3Jvbmc="}
    assert ask(own, target, "POST", body="x", **same, **wrong) == 401
    assert ask(own, target, "POST", body="x", **cross, **LOGIN) == 403
    assert queue.bodies() == []
    assert ask(own, target, "POST", body="x", **same, **LOGIN) == 204
    assert queue.bodies() == [b"x"]


def test_a_reload_adds_changes_and_removes_it(start_gateway):
    gateway = start_gateway()
    first, second = free_ports(2)
    assert table(gateway.port) == OF_THEIR_OWN

    def reload(**pages):
        gateway.hang_up(HTTPServer={"pages": pages})

    reload(listener=first)
    wait_until(lambda: _answers(first) and table(gateway.port) == WITHOUT, what="the pages")
    assert table(first) == OF_THEIR_OWN
    reload(listener=second, networks=["192.0.2.0/24"])
    wait_until(lambda: _answers(second) and not _answers(first), what="the other port")
    assert table(second) == ({403}, {200}, 204)
    assert table(gateway.port) == WITHOUT
    reload(listener=second, address="127.0.0.2")
    gateway.says("nothing changes")
    gateway.says(f"HTTPServer.pages.address cannot change on a reload while port {second} stays")
    reload()
    wait_until(lambda: not _answers(second) and table(gateway.port) == OF_THEIR_OWN)


def test_a_port_cannot_become_that_of_the_pages_at_another_address(start_gateway):
    """It would go on listening where it did, which may be everywhere."""
    gateway = start_gateway(ports=2)
    stays, other = gateway.ports
    pages = {"listener": other, "address": "127.0.0.2"}
    gateway.hang_up(HTTPServer={"ports": [stays], "pages": pages})
    gateway.says("nothing changes")
    pages.pop("address")
    gateway.hang_up(HTTPServer={"pages": pages})
    wait_until(lambda: table(stays) == WITHOUT, what="the port to have none")
    assert table(other) == OF_THEIR_OWN


def _answers(port):
    try:
        return ask(port, "/healthz") == 200
    except OSError:
        return False


def test_networks(start_gateway):
    settings = {
        "Application": {"access_log": 1},
        "HTTPServer": {"pages": {"networks": ["127.0.0.8/32"]}},
    }
    gateway = start_gateway(settings)
    assert table(gateway.port) == ({403}, {200}, 204)
    assert {ask(gateway.port, path, source="127.0.0.8") for path in RESTRICTED} == {200}
    assert ask(gateway.port, "/stats", X_Real_IP="127.0.0.8") == 403
    gateway.says("path=/metrics status=403 outcome=forbidden")


def test_behind_nginx_no_header_of_the_client_gets_it_in(start_gateway, tmp_path):
    settings = {
        "HTTPServer": {"xheaders": True, "pages": {"networks": ["127.0.0.8", "10.0.0.0/8"]}}
    }
    gateway = start_gateway(settings)
    with nginx(tmp_path, f"127.0.0.1:{gateway.port}") as port:
        assert table(port) == ({403}, {200}, 204)
        assert {ask(port, path, source="127.0.0.8") for path in RESTRICTED} == {200}
        for name in ("X_Real_IP", "X_Forwarded_For", "Forwarded"):
            assert ask(port, "/stats", **{name: "10.0.0.1"}) == 403
            assert ask(gateway.port, "/stats", **{name: "192.0.2.1"}) == 403


def documented_location(start):
    """The one of docs/how-to/nginx-and-haproxy.md that begins so."""
    locations = re.findall(r"```nginx\n(.*?)```", PROXIES.read_text(), re.DOTALL)
    [found] = [each for each in locations if f"location {start}" in each]
    return found


def test_below_a_path_of_another_site(gateway, tmp_path, chromium):
    """With the location that docs/how-to/nginx-and-haproxy.md has, in a browser."""
    location = documented_location("/statelessd/")
    with (
        nginx(tmp_path, f"127.0.0.1:{gateway.port}", location=location) as port,
        chromium.user() as page,
    ):
        below = f"http://127.0.0.1:{port}/statelessd"
        page.open(f"{below}/")
        state = "document.body.dataset.state"
        wait_until(lambda: page.evaluate(state) == "live", what="the page to be live")
        links = page.evaluate("Array.from(document.querySelectorAll('a[href], link'), a => a.href)")
        assert {link for link in links if not link.startswith(f"{below}/")} == set()
        assert f"{below}/test/test/hello" in page.evaluate("code.textContent")
        page.evaluate("""{
            const form = document.querySelector("#try");
            form.elements.password.value = "guest";
            form.requestSubmit();
        }""")
        answered = page.exchange("POST", f"{below}/test/test/hello")
        assert answered.status == 204
        page.open(f"{below}/docs")
        page.evaluate("history.back()")
        wait_until(lambda: shown(page) == ["live", ""], what="the page without the password")


def shown(page):
    """The state of the page, and the password in its form."""
    return page.evaluate("""
        [document.body.dataset.state, document.querySelector("#try")?.elements.password.value]
    """)


def test_nginx_shows_a_unix_sockets_pages_to_some(start_gateway, tmp_path):
    """With the location that docs/how-to/nginx-and-haproxy.md has."""
    own = tmp_path / "pages.sock"
    gateway = start_gateway(
        {"HTTPServer": {"xheaders": True, "pages": {"listener": f"unix:{own}"}}}
    )
    assert f"; pages on unix:{own}" in gateway.text
    gateway.says(f"listening on unix:{own}")
    assert table(own, ask_unix) == OF_THEIR_OWN
    location = documented_location("~")
    location = location.replace("/run/statelessd/pages.sock", str(own))
    location = location.replace("127.0.0.0/8", "127.0.0.8")
    with nginx(tmp_path, f"127.0.0.1:{gateway.port}", location=location) as port:
        assert {ask(port, path, source="127.0.0.8") for path in RESTRICTED + OPEN} == {200}
        assert table(port) == ({403}, {200}, 204)
    assert gateway.stop() == 0
    assert not own.exists()


def test_it_speaks_tls_as_the_other_ports(start_gateway, tmp_path):
    own = free_port()
    authority = Authority(tmp_path)
    settings = {"HTTPServer": {"tls": authority.settings, "pages": {"listener": own}}}
    gateway = start_gateway(settings, ca=authority.ca)
    gateway.says(f"listening on port {own}")
    with gateway.client() as session:
        assert session.get(f"https://127.0.0.1:{own}/stats", timeout=30).json()["port"] == own
        assert session.get(f"{gateway.url}/stats", timeout=30).status_code == 404


def test_systemd_may_open_it(start_gateway):
    own = free_port()
    gateway = start_gateway({"HTTPServer": {"pages": {"listener": own}}})
    assert gateway.stop() == 0
    with gateway.activated(*(f"127.0.0.1:{port}" for port in (gateway.port, own))):
        wait_until(lambda: _answers(own), what="the pages")  # which starts it
        assert table(own) == OF_THEIR_OWN
        assert table(gateway.port) == WITHOUT
