"""The dashboard in a real Chromium: what an operator and a developer see of a real gateway."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from urllib.parse import quote, urlsplit

import control
import pytest
from clients import Clients
from dashboard_page import (
    LIVE,
    LOST,
    Form,
    choose,
    cut_off,
    drawn,
    figure,
    open_page,
    outcomes,
    overflow,
    rows,
    violations,
)
from gateway import GatewayProcess, running
from soak import bounded, growth, nobody, weights
from stream import Stream
from users import add_users
from waiting import wait_until

import javascript

LAPTOP, PHONE, NARROW = (1366, 768), (390, 844), (320, 640)
COMMON_PHONE = (360, 740)
LONG = "long-" * 40  # 200 characters
PASSWORD = "pw-4711-Ü$'x"
USERS = ("ada", "ben", "cleo", "dora", LONG)
NASTY = {
    "routing_key": "a.b'c\"d$e\\f/ü%41+&=☃ #?",
    "body": "one\n\"two\" 'three' $HOME `id` $(id) \\n \\\\ {$x} \t%41+&= <b> ünï 🐇\n",
    "app_id": 'it\'s "$PASSWORD" \\',
    "headers": json.dumps({"quote'\"": "$x \\ ü"}, ensure_ascii=False),
}
BROKER_IS = "document.body.dataset.broker === '{}'".format


@pytest.fixture(scope="module", autouse=True)
def axe():
    javascript.ensure()


@pytest.fixture
def user(chromium):
    """A page in which nothing goes wrong, and which asks nobody but the gateway."""
    with chromium.user() as page:
        page.size(*LAPTOP)
        yield page
        assert page.complaints == []
        schemes = {(urlsplit(url).scheme, urlsplit(url).hostname) for url in page.urls}
        assert schemes <= {("http", "127.0.0.1"), ("about", None)}


def publish(gateway, port, user, count=1, *, exchange="test", expected=204):
    path = f"/test/{quote(exchange, safe='')}/k"
    for _ in range(count):
        answer = gateway.publish(path, port=port, user=user, password=PASSWORD)
        assert answer.status_code == expected, answer.text


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, broker):
    """Two backends that have seen some publishes, and some errors."""
    directory = tmp_path_factory.mktemp("gateway")
    add_users(broker, dict.fromkeys(USERS, PASSWORD))
    with running(directory, broker, ports=2) as started:
        first, second = started.ports
        for number, name in enumerate(USERS):
            publish(started, first, name, 10 - number)
        publish(started, second, "ada", 4)
        publish(started, first, "ada", 3, exchange="no-such-exchange", expected=404)
        publish(started, second, "ada", 2, exchange=f"<b>&amp;{LONG}", expected=404)
        publish(started, second, "nobody", expected=401)
        yield started
        assert PASSWORD not in started.text


def stats(gateway):
    """Return /stats of each backend, by its name."""
    return {str(port): gateway.stats(port) for port in gateway.ports}


def total(document):
    return sum(each["publishes"] for each in document["connections"].values())


class TestFigures:
    def test_they_equal_stats(self, user, gateway):
        told = stats(gateway)
        open_page(user, gateway)
        user.wait_for(f"{figure('published')} === {sum(map(total, told.values()))}")
        connections = {
            (backend, *name.split(":", 1)): str(connection["publishes"])
            for backend, document in told.items()
            for name, connection in document["connections"].items()
        }
        assert len(connections) == len(USERS) + 1

        def shown():
            return {
                (row["backend"], row["virtual_host"], row["user"]): row["publishes"]
                for row in rows(user)
            }

        wait_until(lambda: shown() == connections, what="the table to tell the same")
        told = gateway.get("/dashboard.json").json()["backends"]
        errors = sum((Counter(backend["errors"]) for backend in told), Counter())
        assert errors["exchange-not-found"] >= 5
        assert outcomes(user) == errors
        failures = user.evaluate("document.querySelector('#errors').textContent")
        assert "no-such-exchange" in failures
        assert "<b>&amp;long-" in failures  # as text

    def test_of_one_backend(self, user, gateway):
        told = stats(gateway)
        open_page(user, gateway)
        for port in gateway.ports:
            choose(user, str(port))
            user.wait_for(f"{figure('published')} === {total(told[str(port)])}")
        assert outcomes(user) == {"exchange-not-found": 2, "unauthorized": 1}
        choose(user, "")
        user.wait_for(f"{figure('published')} === {sum(map(total, told.values()))}")

    def test_they_and_the_charts_move_under_traffic(self, user, gateway):
        open_page(user, gateway)
        user.evaluate("window.opened = 'once'")
        before = user.evaluate(figure("published"))
        with Stream(gateway, "/test/test/k", rate=100, seconds=5) as stream:
            user.wait_for(f"{figure('publishes')} > 10")
            for chart in ("publishes", "latency"):
                path = user.evaluate(drawn(chart))
                user.wait_for(f"{drawn(chart)} !== {json.dumps(path)}")
            assert 0 < user.evaluate(figure("p50")) <= user.evaluate(figure("p99"))
        confirmed = len(stream.confirmed())
        assert confirmed > 300
        user.wait_for(f"{figure('published')} === {before + confirmed}")
        assert user.evaluate("window.opened") == "once"  # nothing was loaded again

    def test_the_seconds_before_are_there_for_the_keyboard(self, user, gateway):

        def history():
            series = gateway.get("/dashboard.json").json()["series"]
            return series if max(series["published"][:-3], default=0) > 10 else None

        kept = wait_until(history, what="some seconds after one with publishes")
        busiest = max(range(len(kept["time"])), key=lambda i: kept["published"][i])
        open_page(user, gateway)
        at = "Number(document.querySelector('[data-chart=publishes] [data-crosshair]')"
        at += ".dataset.crosshair)"
        user.evaluate("document.querySelector('[data-chart=publishes] [tabindex]').focus()")
        user.press("End")
        assert user.wait_for(at) >= kept["time"][-1]
        user.press("Home")
        first = user.evaluate(at)
        assert first <= kept["time"][0] + 1
        user.press("ArrowRight")
        assert user.evaluate(at) > first
        said = "document.querySelector('[data-chart=publishes] [data-crosshair]').textContent"
        user.press("Home")
        for _ in range(len(kept["time"])):
            if user.evaluate(at) >= kept["time"][busiest]:
                break
            user.press("ArrowRight")
        assert f"{kept['published'][busiest]:.0f}" in user.evaluate(said)
        user.press("Escape")
        assert user.evaluate(at) == 0

    def test_the_crosshair_follows_the_pointer(self, user, gateway):
        open_page(user, gateway)
        box = user.place("[data-chart=latency] .plot svg")
        pointed = """[...document.querySelectorAll(".chart [data-crosshair]")].map(
            each => Number(each.dataset.crosshair))"""
        user.point(box["x"] + box["width"] * 0.98, box["y"] + box["height"] / 2)
        user.wait_for(f"{pointed}[0]")
        seconds = user.evaluate(pointed)
        assert len(seconds) == 4
        assert len(set(seconds)) == 1  # in all of them the same
        assert time.time() - 60 < seconds[0] < time.time()
        user.point(1, 1)
        user.wait_for(f"{pointed}.every(each => each === 0)")


class TestCharts:
    def test_a_picture_of_one_says_what_it_shows_of_whom_and_when(self, user, gateway):
        open_page(user, gateway)
        captions = "[...document.querySelectorAll('.chart figcaption')].map(it => it.innerText)"
        host = gateway.get("/dashboard.json").json()["host"]
        day = r"\\d+ [A-Z][a-z]+ \\d{4}, \\d\\d:\\d\\d to .*\\d\\d:\\d\\d UTC"
        for backend, whose in (("", "All 2 backends"), (str(gateway.ports[0]), "Backend")):
            choose(user, backend)
            user.wait_for(f"{captions}[0].includes('{whose}')")
            told = user.evaluate(captions)
            assert len(told) == 4
            for caption in told:
                assert f"{whose} {backend} on {host}, ".replace("  ", " ") in caption
                assert user.evaluate(f"new RegExp('{day}').test({json.dumps(caption)})"), caption
        assert "confirmed messages per second" in told[0]
        assert "per 10 seconds" in told[2]

    def test_errors_are_bars(self, user, gateway):
        publish(gateway, gateway.ports[0], "ada", exchange="no-such-exchange", expected=404)
        open_page(user, gateway)
        bars = "[...document.querySelectorAll('[data-chart=errors] [data-series]')]"
        user.wait_for(f"{bars}.some(bar => /^M.*h.*v.*z$/.test(bar.getAttribute('d')))")
        assert user.evaluate(f"{bars}.every(bar => getComputedStyle(bar).fill !== 'none')")
        kinds = user.evaluate(f"{bars}.map(bar => bar.dataset.series)")
        assert "exchange-not-found" in kinds


class TestErrors:
    def test_a_bad_request_has_its_reason_and_its_whole_request_id(self, user, gateway):
        request_id = "checkout-7f3a9c51-4f0e-4a52-9d1d-0b6b4f6a9d10"
        answer = gateway.publish(
            "/test/test/k",
            user="ada",
            password=PASSWORD,
            data={"body": "x", "priority": "urgent-customer"},
            headers={"X-Request-ID": request_id},
        )
        assert answer.status_code == 400
        open_page(user, gateway)
        row = f"document.querySelector('#errors tr[data-request=\"{request_id}\"]')"
        user.wait_for(f"{row} !== null")
        text = user.evaluate(f"{row}.innerText")
        assert "priority must be an integer from 0 to 255." in text
        assert request_id in text
        assert "urgent-customer" not in user.text()


class TestConnections:
    def test_they_are_sorted_by_mouse_and_keyboard(self, user, gateway):
        open_page(user, gateway)
        user.wait_for("document.querySelectorAll('#connections tr[data-key]').length")
        user.click("#connections [data-sort=publishes]")
        direction = "document.querySelector('#connections [data-sort={}]').closest('th').ariaSort"
        for _ in range(2):
            found = [int(row["publishes"].replace(",", "")) for row in rows(user)]
            told = user.evaluate(direction.format("publishes"))
            assert found == sorted(found, reverse=told == "descending")
            user.click("#connections [data-sort=publishes]")
        user.evaluate("document.querySelector('#connections [data-sort=user]').focus()")
        for key, order in (("Enter", "ascending"), (" ", "descending")):
            user.press(key)
            assert user.evaluate(direction.format("user")) == order
            assert user.evaluate(direction.format("publishes")) is None
            found = [row["user"] for row in rows(user)]
            assert found == sorted(found, reverse=order == "descending")
        assert set(found) >= set(USERS)

    def test_they_are_filtered(self, user, gateway):
        open_page(user, gateway)
        user.wait_for("document.querySelectorAll('#connections tr[data-key]').length > 5")
        user.evaluate("document.querySelector('#filter').focus()")
        for key in "CLEO":
            user.press(key)
        assert [row["user"] for row in rows(user)] == ["cleo"]
        count = "document.querySelector('#connections-count').textContent"
        assert user.evaluate(count).startswith("1 of ")
        user.fill("#filter", str(gateway.ports[1]))
        assert {row["backend"] for row in rows(user)} == {str(gateway.ports[1])}
        user.fill("#filter", "")
        assert len(rows(user)) > 5

    def test_a_thousand_are_usable(self, user, gateway):
        row = {
            "backend": "8000", "virtual_host": "shop", "state": "connected", "since": 1.0,
            "publishes": 1, "rate": 0.5, "queue_size": 0, "in_flight": 0, "channels": 1,
            "reconnects": 0, "last_error": "",
        }  # fmt: skip
        user.run_first(f"""{{
            const real = fetch;
            const connections = Array.from({{length: 1000}}, (_, i) => (
                {{...{json.dumps(row)}, user: `user-${{i}}`, publishes: i}}
            ));
            globalThis.fetch = async (target, ...rest) => {{
                const answer = await real(target, ...rest);
                if (!String(target.url ?? target).includes("/details.json")) return answer;
                return new Response(JSON.stringify({{...await answer.json(), connections}}));
            }};
        }}""")
        open_page(user, gateway)
        count = "document.querySelector('#connections-count').textContent"
        user.wait_for(f"{count}.includes('1,000')")
        user.click("#connections [data-sort=publishes]")
        publishes = [int(row["publishes"]) for row in rows(user)]
        assert 0 in publishes or 999 in publishes
        user.fill("#filter", "user-77")
        assert {row["user"] for row in rows(user)} == {
            "user-77",
            *(f"user-77{i}" for i in range(10)),
        }


class TestTryIt:
    def test_a_message_is_published_and_its_outcome_told(self, user, gateway, queue):
        open_page(user, gateway)
        form = Form(user)
        form.fill(
            virtual_host="test", exchange=queue.name, routing_key="a.b", body="héllo",
            content_type="text/plain", message_id="m-1", username="ada", password=PASSWORD,
        )  # fmt: skip
        said, _ = form.submit()
        assert said.strip().startswith("RabbitMQ confirmed the message.")
        assert "204" in said
        properties, body, key = queue.get()
        assert (body.decode(), key) == ("héllo", "a.b")
        assert (properties.content_type, properties.message_id) == ("text/plain", "m-1")
        queue.channel.queue_unbind(queue.name, queue.name, "#")
        said, shown = form.submit()
        document = json.loads(shown)
        assert said.strip().startswith("Nothing was published: no queue took the message.")
        assert f"Bind a queue to the exchange “{queue.name}”" in said
        assert "404" in said
        assert (document["type"], document["outcome"]) == ("/docs#no-route", "not-published")
        assert document["request_id"]
        form.fill(exchange="no-such-exchange")
        said, shown = form.submit()
        assert "there is no exchange “no-such-exchange” in the virtual host “test”" in said
        form.fill(password="wrong")
        said, shown = form.submit()
        assert said.strip().startswith("Nothing was published: ")
        assert "Check the user name and password" in said
        assert "401" in said
        assert json.loads(shown)["type"] == "/docs#unauthorized"
        form.fill(virtual_host="")
        user.click("#try-it [type=submit]")
        user.wait_for("document.querySelector('#answer').innerText.includes('Nothing was sent')")
        assert "401" not in user.evaluate("document.querySelector('#answer').innerText")

    def test_what_it_suggests_arrives_where_make_run_declares_it(self, user, gateway):
        open_page(user, gateway)
        form = Form(user)
        form.fill(password="guest")
        said, _ = form.submit()
        assert "RabbitMQ confirmed the message. At least one queue took it." in " ".join(
            said.split()
        ).replace("message.At", "message. At")
        line = user.evaluate("document.querySelector('#first-line').textContent")
        command = line.replace("-u guest", "-u guest:guest")
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, timeout=20, check=False
        )
        assert "204" in done.stdout, done
        assert "mandatory=true" in command

    @pytest.mark.parametrize("language", ["curl", "php", "python"])
    def test_the_copied_code_publishes_the_same(self, user, gateway, queue, tmp_path, language):
        open_page(user, gateway)
        form = Form(user)
        form.fill(virtual_host="test", exchange=queue.name, username="ada", **NASTY)
        form.fill(password=PASSWORD)
        code = form.code(language)
        assert "PASSWORD" in code
        program = tmp_path / "program"
        program.write_text(code)
        run = {"curl": ["sh"], "php": ["php"], "python": [sys.executable]}[language]
        done = subprocess.run(
            [*run, program],
            env={"PATH": os.environ["PATH"], "PASSWORD": PASSWORD, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert "204" in done.stdout, done
        assert "204" in form.submit()[0]  # and so does the page itself
        for _ in range(2):
            properties, body, key = queue.get()
            assert (body.decode(), key) == (NASTY["body"], NASTY["routing_key"])
            assert properties.app_id == NASTY["app_id"]
            assert properties.headers == json.loads(NASTY["headers"])

    def test_the_password_is_kept_nowhere(self, user, gateway, queue):
        open_page(user, gateway)
        form = Form(user)
        form.fill(virtual_host="test", exchange=queue.name, routing_key="k", body="x")
        form.fill(username="ada", password=PASSWORD)
        assert "204" in form.submit()[0]
        form.code("curl")
        basic = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
        places = user.evaluate("""[
            document.documentElement.outerHTML, location.href, document.cookie, history.state,
            JSON.stringify({...localStorage}), JSON.stringify({...sessionStorage}),
        ].join(" ")""")
        for text in (PASSWORD, quote(PASSWORD), basic):
            assert text not in places + " ".join(user.urls)
        user.open(gateway.url)  # again
        user.wait_for(LIVE)
        assert user.evaluate("document.querySelector('#try [name=password]').value") == ""


class TestForEveryone:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing(self, user, gateway, scheme):
        user.prefer(scheme)
        open_page(user, gateway)
        form = Form(user)
        form.fill(virtual_host="test", exchange="missing", routing_key="k", username="nobody")
        form.code("php")
        assert form.submit()[1]
        for size in (LAPTOP, PHONE):
            user.size(*size)
            assert violations(user) == []

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing_where_nothing_has_happened(self, user, start_gateway, scheme):
        gateway = start_gateway(against=nobody())
        user.prefer(scheme)
        open_page(user, gateway)
        for size in (LAPTOP, PHONE):
            user.size(*size)
            assert violations(user) == []
        assert "curl" in user.text()
        assert gateway.url in user.text()  # what to try first

    def test_webhook_endpoints_have_a_table_if_there_are_any(self, user, gateway, start_gateway):
        hidden = "document.querySelector('#webhooks').hidden"
        open_page(user, gateway)
        assert user.evaluate(hidden)
        hook = {"name": "shop-orders", "path": "/hooks/secret-path", "username": "u"}
        hook["verify"] = {"scheme": "github", "secrets": ["a-secret"]}
        other = start_gateway({"Webhooks": [hook]}, against=nobody())
        other.publish(hook["path"], user=None, data=b"forged")
        open_page(user, other)
        user.wait_for(f"!{hidden}")
        user.wait_for("document.querySelector('#webhooks tbody tr').innerText.includes('1')")
        [row] = user.evaluate(
            "[...document.querySelectorAll('#webhooks tbody tr')].map(row => "
            "[...row.cells].map(cell => cell.innerText))"
        )
        assert row == ["shop-orders", "0", "1", "0", "0"]
        assert "secret-path" not in user.text()
        for size in (LAPTOP, PHONE):
            user.size(*size)
            assert violations(user) == []
            assert overflow(user) == []

    def test_the_figures_are_there_without_scripts(self, user, gateway):
        user.allow_scripts(False)
        user.open(gateway.url)
        text = user.text()
        for port, document in stats(gateway).items():
            assert port in text
            assert str(total(document)) in text
        for name in (*USERS, "exchange-not-found", "no-such-exchange"):
            assert name in text
        assert overflow(user) == []

    def test_all_that_matters_is_seen_without_scrolling(self, user, gateway):
        user.size(1366, 657)  # what browsers leave of a small laptop's 768
        open_page(user, gateway)
        below = """[...document.querySelectorAll("[data-figure], #status, [data-chart]")].filter(
            element => element.getBoundingClientRect().bottom > innerHeight
        ).map(element => element.outerHTML.slice(0, 80))"""
        assert user.evaluate(below) == []

    def test_nothing_sticks_out_at_the_side(self, user, gateway):
        open_page(user, gateway)
        user.wait_for("document.querySelectorAll('#connections tr[data-key]').length > 5")
        for size in (LAPTOP, PHONE, NARROW):
            user.size(*size)
            assert overflow(user) == [], size

    @pytest.mark.parametrize("size", [(1120, 700), (768, 1024), COMMON_PHONE, NARROW])
    def test_the_headings_that_sort_do_not_cover_each_other(self, user, gateway, size):
        user.size(*size)
        open_page(user, gateway)
        too_narrow = (
            "[...document.querySelectorAll('#connections thead button')]"
            ".filter(each => each.scrollWidth > each.clientWidth)"
            ".map(each => each.textContent.trim())"
        )
        assert user.evaluate(too_narrow) == []

    @pytest.mark.parametrize("size", [LAPTOP, (1000, 768), COMMON_PHONE, NARROW])
    def test_every_name_and_every_column_is_seen_in_whole(self, user, gateway, size):
        user.size(*size)
        open_page(user, gateway)
        user.wait_for("document.querySelectorAll('#connections tr[data-key]').length > 5")
        user.wait_for("document.querySelectorAll('#errors tr[data-request]').length > 3")
        user.click("#outcomes-all")
        wait_until(lambda: cut_off(user) == [], what="tables without a cut-off text")
        assert LONG in user.evaluate("document.querySelector('#connections').innerText")
        assert f"<b>&amp;{LONG}" in user.evaluate("document.querySelector('#errors').innerText")

    def test_a_phone_names_the_values_of_a_row_and_still_sorts(self, user, gateway):
        user.size(*COMMON_PHONE)
        open_page(user, gateway)
        user.wait_for("document.querySelectorAll('#connections tr[data-key]').length > 5")
        named = (
            "getComputedStyle(document.querySelector('#connections tr[data-key] td'), '::after')"
        )
        assert user.evaluate(f"{named}.content") == "attr(data-title)" or "User" in user.evaluate(
            f"{named}.content"
        )
        user.click("#connections [data-sort=user]")
        found = [row["user"] for row in rows(user)]
        assert found == sorted(found)

    def test_the_documentation_leads_back(self, user, gateway):
        user.size(*COMMON_PHONE)
        user.open(f"{gateway.url}/docs")
        assert overflow(user) == []
        cut = """[...document.querySelectorAll("section, td, th, dd")].filter(
            element => element.scrollWidth > element.clientWidth + 1
        ).map(element => element.textContent.trim().slice(0, 80))"""
        assert user.evaluate(cut) == []
        user.click("header a")
        user.wait_for(LIVE)


def test_the_page_does_not_grow(chromium, start_gateway):
    """The short form of ``make soak-dashboard``."""
    gateway = start_gateway(against=nobody())
    with chromium.user() as page:
        page.size(*LAPTOP)
        taken = list(weights(page, gateway.url, seconds=600, every=150))
        assert page.complaints == []
    # Its scripts are still being compiled; a document that is kept would be 5,000 bytes.
    assert bounded(growth(taken), heap=1000), taken


def now_and_then(gateway, stopping):
    """A client that goes on publishing, and what it is told."""
    while not stopping.wait(0.05):
        yield gateway.publish().status_code


class TestTroubles:
    def test_the_broker_blocks_and_is_stopped(self, user, own, start_gateway):
        settings = {"Application": {"publish": {"timeout": 1}}}
        gateway = start_gateway(settings, against=own, ports=2)
        status = "document.querySelector('#status').textContent"
        open_page(user, gateway)
        with Clients(1, lambda stopping: now_and_then(gateway, stopping)):
            user.wait_for(BROKER_IS("connected"))
            control.use_up_memory(own)
            try:
                user.wait_for(BROKER_IS("blocked"))
                assert "low on memory" in user.evaluate(status)
            finally:
                control.limit_memory(own)
            user.wait_for(BROKER_IS("connected"))
            own.node.stop()
            user.wait_for(BROKER_IS("unreachable"))
            assert "is unreachable" in user.evaluate(status)
            own.start()
            user.wait_for(BROKER_IS("connected"))
        assert user.evaluate(LIVE)
        assert outcomes(user).keys() & {"broker-blocked", "broker-unavailable", "unconfirmed"}

    def test_the_gateway_is_killed_and_started_again(self, user, tmp_path, broker):
        gateway = GatewayProcess(tmp_path, broker, ports=2).start()
        try:
            open_page(user, gateway)
            user.evaluate("window.opened = 'once'")
            user.wait_for(f"{drawn('publishes')}.includes('L')")  # a line, of two seconds
            backends = gateway.backends()
            for pid in (gateway.process.pid, *backends):
                os.kill(pid, signal.SIGKILL)
            gateway.process.wait()
            user.wait_for(LOST)
            assert "gateway" in user.evaluate("document.querySelector('#status').textContent")
            gateway.start()
            user.wait_for(LIVE)
            path = "document.querySelector('[data-chart=load] [data-series]').getAttribute('d')"
            user.wait_for(f"{path}.split('M').length > 2")  # and a gap, in which nobody knows
            assert user.evaluate("window.opened") == "once"
        finally:
            assert gateway.stop() == 0
