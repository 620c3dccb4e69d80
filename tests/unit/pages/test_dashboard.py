"""What a page of figures is given: the documents, their history, and nothing that is secret."""

import asyncio
import gc
import json
import os
import sys
import time

import msgspec
import pytest
from edge import AUTH, FORM, Edge, edge_test, post

from statelessd.broker.figures import BrokerState, BrokerStatus
from statelessd.broker.logins import Login
from statelessd.config.settings import Paths
from statelessd.message import Outcome, Public
from statelessd.pages.details import MOST
from statelessd.pages.monitoring import Monitoring
from statelessd.pages.openapi_document import document as description
from statelessd.pages.overview import WORSE, later, overview
from statelessd.pages.single_flight import SingleFlight
from statelessd.pages.snapshot import snapshot
from statelessd.telemetry.history import WINDOW
from statelessd.telemetry.process import resident
from statelessd.telemetry.scoreboard import Scoreboard

SECRET = "canary-7f3a"
JSON = b"Content-Type: application/json\r\n"
PARENT = os.getppid()  # some process that lives


def get(path="/"):
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


async def document(edge, path):
    answer = await edge.ask(get(path))
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-cache")
    assert answer.headers["content-type"] == "application/json"
    return json.loads(answer.body)


class Clock:
    def __init__(self, now=1_800_000_000.5):
        self.now = now

    def __call__(self):
        return self.now


def leave(edge, scoreboard, *, pid=None, **changes):
    """What the edge's backend leaves for the others, perhaps as if it were another process."""
    monitoring = edge.monitoring
    left = snapshot(monitoring, monitoring.read())
    left = msgspec.structs.replace(left, pid=pid or os.getpid(), **changes)
    assert scoreboard.write(edge.gateway.port, left)


class Played:
    """The seconds of an edge's backend, as the test plays them."""

    def __init__(self, edge):
        self.clock = Clock()
        self.edge = edge
        edge.monitoring.scoreboard = self.scoreboard = Scoreboard.make()
        leave(edge, self.scoreboard)
        self.monitoring = Monitoring(
            edge.gateway, self.scoreboard, wall=self.clock, steady=self.clock
        )

    def second(self, published=0, *, reported=True):
        """One in which so many messages are confirmed and as many refused."""
        self.edge.publisher.published += [0] * published
        for _ in range(published):
            self.edge.publisher.confirms.observe(2_000_000)
        self.edge.gateway.statistics.errors["nacked"] += published
        self.clock.now += 1
        second = self.monitoring.second_over()
        sample = self.monitoring.sample(second, self.monitoring.read())
        if reported:
            self.scoreboard.record(1, second, sample)
        return second

    async def overview(self, *args, **kwargs):
        return await overview(self.monitoring, *args, clock=self.clock, **kwargs)


# /dashboard.json


@edge_test(ports=[5, "unix:/x"])
async def test_figures_of_now_are_those_of_this_moment(edge):
    edge.publisher.broker = BrokerState(BrokerStatus.BLOCKED, "low on memory")
    await edge.ask(post())
    await edge.ask(post(headers=FORM))
    found = await document(edge, "/dashboard.json")
    assert abs(found["time"] - time.time()) < 5
    assert found["window"] == WINDOW
    *others, now = found["backends"]
    assert (now["backend"], now["up"], now["pid"]) == ("1", True, os.getpid())
    assert (now["published"], now["errors"]) == (1, {"unauthorized": 1})
    assert now["broker"] == {"state": "blocked", "reason": "low on memory"}
    assert now["memory"] > 1_000_000
    assert now["descriptors"] is None or now["descriptors"] > 3
    # Those that nobody serves are named in their order.
    assert [(each["backend"], each["up"]) for each in others] == [("5", False), ("unix:/x", False)]
    assert (others[0]["published"], others[0]["errors"], others[0]["draining"]) == (0, {}, False)
    assert others[0]["broker"] == {"state": "unused", "reason": ""}
    assert others[0].keys() == now.keys()


@edge_test()
async def test_it_is_described(edge):
    played = Played(edge)
    played.second(1)
    played.clock.now += 1
    schemas = description()["components"]["schemas"]
    found = msgspec.to_builtins(await played.overview())
    assert schemas["Overview"]["properties"].keys() == found.keys()
    properties = schemas["Overview"]["properties"]
    assert properties["backends"]["items"]["properties"].keys() == found["backends"][0].keys()
    assert properties["series"]["properties"].keys() == found["series"].keys()


@edge_test(ports=[1, 2])
async def test_other_backends_are_as_they_left_it_and_not_up_when_they_say_nothing(edge):
    edge.monitoring.scoreboard = Scoreboard.make()
    async with Edge() as other:
        other.gateway.port = 2
        await other.ask(post())
        for age, is_up in ((0, True), (10, False)):
            leave(other, edge.monitoring.scoreboard, pid=PARENT, time=time.time() - age)
            found = (await overview(edge.monitoring))["backends"][1]
            assert (found["backend"], found["up"]) == ("2", is_up)
            assert found["published"] == int(is_up)


@edge_test()
async def test_each_second_has_its_own_figures_and_gaps_stay(edge):
    played = Played(edge)
    first = played.second(10)
    played.second()
    played.second(7, reported=False)
    played.second(4)
    played.clock.now += 1
    found = (await played.overview())["series"]
    assert found["time"] == [first, first + 1, first + 3]
    assert found["published"] == [10, 0, 4]
    assert found["errors"] == {"nacked": [10, 0, 4]}
    assert found["p50"][1] is None
    assert found["p99"][0] == pytest.approx(0.002, rel=0.1)
    assert found["broker"] == ["unused"] * 3
    assert found["backend"] is None


@edge_test()
async def test_a_backend_that_reports_late_loses_no_count(edge):
    """A machine that is busy wakes it after three seconds, and then after little more than one."""
    played = Played(edge)
    played.clock.now += 2.4
    for n in (30, 4, 5):
        last = played.second(n)
        played.clock.now += 0.3
    played.clock.now += 1
    found = (await played.overview())["series"]
    assert found["time"] == list(range(last - 5, last + 1))
    assert found["published"] == [10, 10, 10, 2, 2, 5]


@edge_test()
async def test_since_and_backend_choose(edge):
    played = Played(edge)
    for n in range(20):
        last = played.second(n % 2)
    played.clock.now += 1
    everything = (await played.overview())["series"]
    assert everything["time"] == list(range(last - 19, last + 1))
    found = (await played.overview("1", last - 3))["series"]
    assert (found["time"], found["backend"]) == ([last - 2, last - 1, last], "1")
    for since in (last - 30, last - 3, last):
        assert later(everything, since) == (await played.overview(since=since))["series"]


@edge_test()
async def test_questions_about_long_ago_share_one_reading(edge, monkeypatch):
    reads = []

    async def counted(monitoring, *args):
        reads.append(args)
        return await overview(monitoring, *args)

    monkeypatch.setattr("statelessd.pages.dashboard.overview", counted)
    now = int(time.time())
    answers = await asyncio.gather(
        *(edge.ask(get(f"/dashboard.json?since={now - 100 - n}")) for n in range(20)),
        edge.ask(get("/dashboard.json")),
    )
    assert {answer.status for answer in answers} == {200}
    assert len(reads) <= 2  # the second may end in between


@edge_test()
async def test_a_bad_question_is_a_bad_request(edge):
    for query in ("backend=2", "since=x", "since=-1", "since=", "since=1e3", f"since={'9' * 13}"):
        answer = await edge.ask(get(f"/dashboard.json?{query}"))
        assert (answer.status, answer.problem) == (400, "bad-request")
    assert (await edge.ask(get("/dashboard.json?backend=1&since=0"))).status == 200


def test_every_state_of_the_broker_has_a_rank():
    assert sorted(WORSE) == sorted(each.value for each in BrokerStatus)


@edge_test()
async def test_pages_that_ask_in_one_second_get_one_rendering(edge):
    clock, made = Clock(), []

    async def make():
        made.append(1)
        await asyncio.sleep(0)
        return len(made)

    async def fail():
        raise RuntimeError

    kept = SingleFlight(1, clock)
    answers = await asyncio.gather(*(kept.get("a", make) for _ in range(50)))
    assert set(answers) == {1}
    assert await kept.get("b", make) == 2
    with pytest.raises(RuntimeError):
        await kept.get("c", fail)
    clock.now += 1
    assert [await kept.get("a", make), await kept.get("c", make)] == [3, 4]
    for key in range(1000):
        await kept.get(key, make)
    assert len(kept) <= 64


def held():
    """Objects, and bytes."""
    gc.collect()
    return sys.getallocatedblocks(), resident()


@edge_test()
async def test_two_hours_leave_no_trace_in_memory(edge):
    """7,200 seconds, and a page that asks for them."""
    played = Played(edge)

    async def play(seconds):
        for n in range(seconds):
            edge.publisher.confirms.observe(1_000_000 + n % 7 * 100_000)
            edge.gateway.statistics.errors["nacked"] += 1
            edge.gateway.recent_errors.add(Outcome.NACKED, "x")
            second = played.second()
            if n % 60 == 0:
                msgspec.json.encode(await played.overview(since=second - 5))
        return len((await played.overview())["series"]["time"])

    await play(WINDOW + 100)
    blocks, memory = held()
    assert await play(7_200) in (WINDOW - 1, WINDOW)
    blocks_after, memory_after = held()
    assert blocks_after - blocks < 1000  # objects; one left by each second would be 7,200
    assert memory_after - memory < 2_000_000


# /details.json


def login(name, publishes=0, state="connected"):
    return Login("1", "v", name, state, 1.0, publishes, 0.0, 0, 0, 1, 0, "")


@edge_test()
async def test_of_too_many_connections_the_open_and_busy_ones_are_told(edge):
    rows = [login(f"u{n}", n, "closed") for n in range(MOST)]
    edge.publisher.logins = lambda backend: [*rows, login("open"), login("busy", 10**6, "closed")]
    found = await document(edge, "/details.json")
    assert found["connections"][0] == msgspec.to_builtins(login("open"))
    assert [each["user"] for each in found["connections"][1:3]] == ["busy", f"u{MOST - 1}"]
    assert (len(found["connections"]), found["left_out"], found["errors"]) == (MOST, 2, [])


@edge_test()
async def test_all_backends_are_told_of(edge):
    edge.monitoring.scoreboard = Scoreboard.make()
    async with Edge() as other:
        other.gateway.port = 2
        other.publisher.logins = lambda backend: [login("theirs")]
        other.gateway.recent_errors.add(Outcome.NACKED, "full", user="u")
        leave(other, edge.monitoring.scoreboard, pid=PARENT)
    edge.publisher.logins = lambda backend: [login("ours")]
    await edge.ask(post(headers=FORM))
    found = await document(edge, "/details.json")
    assert [each["user"] for each in found["connections"]] == ["ours", "theirs"]
    assert [each["type"] for each in found["errors"]] == ["unauthorized", "nacked"]


@edge_test()
async def test_of_a_backend_that_retires_there_are_errors_and_no_second_rows(edge):
    edge.monitoring.scoreboard = Scoreboard.make()
    edge.publisher.logins = lambda backend: [login("www")]
    edge.gateway.recent_errors.add(Outcome.NACKED, "full")
    for pid in (PARENT, os.getpid()):
        leave(edge, edge.monitoring.scoreboard, pid=pid)
    found = await document(edge, "/details.json")
    assert [each["user"] for each in found["connections"]] == ["www"]
    assert [each["type"] for each in found["errors"]] == ["nacked", "nacked"]


@edge_test()
async def test_recent_errors_are_bounded_and_the_newest_come_first(edge):
    for n in range(150):
        edge.gateway.recent_errors.add(Outcome.NACKED, Public(n), exchange="x" * 500)
    found = (await document(edge, "/details.json"))["errors"]
    assert [each["detail"] for each in found] == [f"{n}" for n in range(149, 49, -1)]
    assert len(found[0]["exchange"]) == 255


@edge_test()
async def test_what_was_answered_is_told_with_its_place(edge):
    edge.publisher.outcome = (Outcome.NO_ROUTE, Public("The message was mandatory."))
    await edge.ask(post(headers=AUTH + FORM + b"X-Request-ID: mine-1\r\n"))
    await edge.ask(post(b'[{"routing_key": "k", "body": "x"}]', b"/v/e", AUTH + JSON))
    await edge.ask(get("/nothing"))
    page, item, single = (await document(edge, "/details.json"))["errors"]
    place = {"backend": "1", "virtual_host": "v", "exchange": "e", "user": "guest"}
    assert abs(single.pop("time") - time.time()) < 5
    assert single == {
        **place, "status": 404, "type": "no-route", "outcome": "not-published",
        "detail": "The message was mandatory.", "request_id": "mine-1", "endpoint": "",
    }  # fmt: skip
    assert place.items() <= item.items()
    assert (item["type"], item["detail"]) == ("no-route", "The message was mandatory.")
    assert item["request_id"]
    assert (page["type"], page["virtual_host"], page["user"]) == ("not-found", "", "")
    now = (await document(edge, "/dashboard.json"))["backends"][-1]
    assert now["errors"] == {"no-route": 2, "not-found": 1}


@edge_test()
async def test_a_batch_that_fails_within_is_answered_and_told(edge):
    def fail(*_):
        raise RuntimeError

    edge.publisher.publish = fail
    answer = await edge.ask(post(b'[{"routing_key": "k", "body": "x"}]', b"/v/e", AUTH + JSON))
    assert (answer.status, answer.problem) == (500, "internal-error")
    [told] = (await document(edge, "/details.json"))["errors"]
    assert (told["type"], told["exchange"]) == ("internal-error", "e")


# Secrets

BEARER = b"Authorization: Bearer %b\r\n" % (b"!" + SECRET.encode())
S = SECRET.encode()
TELLING = [  # requests that are refused with a detail that may quote them
    post(b"body=x&priority=" + S),
    post(b"body=x&delivery_mode=" + S),
    post(b"body=x&timestamp=" + S),
    post(b"body=x&expiration=" + S),
    post(b"body=x&mandatory=" + S),
    post(b'body=x&headers={"a":' + S),
    post(b'body=x&headers={"CC":"' + S + b'"}'),
    post(b"body=x&headers[a][b" + S + b"=1"),
    post(b"body=x&type=" + S * 100),
    post(b"payload=" + S),
    post(path=b"/v/e/k?priority=" + S),
    post(path=b"/v/e/" + S + b"%zz"),
    post(path=b"/v/e/" + S * 100),
    post(headers=AUTH + b"Content-Type: text/plain\r\nAMQP-Priority: " + S + b"\r\n"),
    post(headers=AUTH + b"AMQP-Header-" + S + b": \xff\r\n"),
    post(headers=AUTH + FORM + b"Origin: https://" + S + b"\r\n"),
    post(headers=AUTH + FORM + b"Transfer-Encoding: " + S + b"\r\n"),
    post(headers=AUTH + b"Content-Type: multipart/form-data; boundary=" + S + b"\r\n"),
    post(headers=b"Authorization: Basic " + S + b"\r\n" + FORM),
    post(headers=b"Authorization: " + S + b"\r\n" + FORM),
    post(headers=BEARER + FORM),
    post(b'[{"routing_key": "k", "body": "x", "' + S + b'": 1}]', b"/v/e", AUTH + JSON),
    post(b'[{"routing_key": "k", "body": "x", "priority": "' + S + b'"}]', b"/v/e", AUTH + JSON),
    post(b'{"' + S + b'": []}', b"/v/e", AUTH + JSON),
    post(b"[" + S, b"/v/e", AUTH + JSON),
    post(b"x", b"/v/e", AUTH + b"Content-Type: " + S + b"\r\n"),
    S + b" garbage\r\n\r\n",
    get(f"/{SECRET}"),
    get(f"/dashboard.json?backend={SECRET}"),
    get(f"/dashboard.json?since={SECRET}"),
]
# What the broker or a fault may say of a message.
SAID = [
    *((outcome, f"about {SECRET}") for outcome in Outcome if outcome is not Outcome.CONFIRMED),
    (Outcome.FORBIDDEN, f"The broker says: access to topic '{SECRET}' in exchange 'e' refused"),
    (Outcome.FORBIDDEN, f"The broker says: user_id property set to '{SECRET}' but was 'www'"),
    (Outcome.BAD_REQUEST, f"The broker says: invalid expiration '{SECRET}'"),
    (Outcome.UNCONFIRMED, f"The broker closed the channel (access to topic '{SECRET}'), perhaps"),
    (Outcome.UNCONFIRMED, f"The broker closed the channel: 406 {SECRET}"),
]


@edge_test(max_connections=1000)
async def test_nothing_that_a_client_sent_is_shown(edge):
    for request in TELLING:
        await edge.ask(request)
    for said in SAID:
        edge.publisher.outcome = said
        await edge.ask(post())
        await edge.ask(post(b'[{"routing_key": "k", "body": "x"}]', b"/v/e", AUTH + JSON))
    errors = (await document(edge, "/details.json"))["errors"]
    assert len(errors) == len(TELLING) + 2 * len(SAID)
    for path in ("/details.json", "/dashboard.json", "/"):
        assert SECRET not in (await edge.ask(get(path))).body.decode()


@edge_test(max_connections=1000)
async def test_each_bad_request_has_a_reason_that_is_not_the_clients(edge):
    for request in TELLING:
        await edge.ask(request)
    errors = (await document(edge, "/details.json"))["errors"]
    details = [each["detail"] for each in errors if each["status"] == 400]
    assert len(details) > 18
    assert all(details)
    for reason in (
        "priority must be an integer from 0 to 255.",
        "The JSON cannot be read.",
        "The path cannot be read.",
        "A property or a message header is not valid.",
        "A field or header is not UTF-8.",
        "An item of the batch is not valid.",
        "The request is not valid HTTP/1.1.",
    ):
        assert reason in details
    assert any(detail.startswith("The form has no field 'body'.") for detail in details)


# The page

TEMPLATE = (
    "{{ stats.port }} {{ version }} {{ now|tojson }} {{ details|tojson }} {{ problems|length }}"
)


def test_a_page_of_ones_own_gets_the_same_figures_and_no_policy(tmp_path):
    (tmp_path / "dashboard.html").write_text(TEMPLATE)

    async def main():
        async with Edge(paths=Paths(templates=str(tmp_path))) as edge:
            edge.publisher.logins = lambda backend: [login("www")]
            return await edge.ask(get())

    answer = asyncio.run(main())
    assert "content-security-policy" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    page = answer.body.decode()
    assert page.startswith("1 ")
    assert '"user": "www"' in page
    assert '"window": 600' in page
    assert page.endswith(f" {len(Outcome) - 1}")
