"""The documents of real backends: they agree with /stats and /metrics, and outlive these."""

import os
import signal
import time

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families as parse
from users import add_users
from waiting import wait_until

SECRET = "canary-91bd"


def overview(gateway, port=None, **query):
    return gateway.get("/dashboard.json", port, **query).json()


def details(gateway, port=None):
    return gateway.get("/details.json", port).json()


def rows(gateway, user="guest", port=None):
    return [each for each in details(gateway, port)["connections"] if each["user"] == user]


def now(gateway, name, port=None):
    found = {each["backend"]: each for each in overview(gateway, port)["backends"]}
    return found[str(name)]


def publish(gateway, count, port=None, path="/test/test/k"):
    with gateway.client() as session:
        for _ in range(count):
            gateway.publish(path, port=port or gateway.port, session=session)


def total(series):
    return round(sum(series["published"]))


def test_figures_of_all_backends_equal_those_of_stats(start_gateway):
    gateway = start_gateway(ports=2)
    first, second = gateway.ports
    publish(gateway, 30, first)
    publish(gateway, 20, second)
    publish(gateway, 4, second, "/test/no-such/k")
    items = [{"routing_key": "k", "body": "x"}] * 3 + [{"routing_key": 1}]
    assert gateway.publish("/test/test", json=items).status_code == 207

    for port in gateway.ports:  # whichever is asked
        wait_until(lambda port=port: total(overview(gateway, port)["series"]) == 53)
        wait_until(lambda port=port: len(rows(gateway, port=port)) == 2)
        wait_until(lambda port=port: sum(r["publishes"] for r in rows(gateway, port=port)) == 53)
        stats = gateway.stats(port, scope="all")
        found = overview(gateway, port)
        assert [each["backend"] for each in found["backends"]] == [str(first), str(second)]
        assert [each["published"] for each in found["backends"]] == [33, 20]
        assert stats["total"]["connections"]["test:guest"]["publishes"] == 53
        by_port = {
            str(each["port"]): each["connections"]["test:guest"]["publishes"]
            for each in stats["backends"]
        }
        assert by_port == {str(first): 33, str(second): 20}
        assert by_port == {r["backend"]: r["publishes"] for r in rows(gateway, port=port)}
        assert [each["errors"] for each in found["backends"]] == [
            {"bad-request": 1},
            {"exchange-not-found": 4},
        ]
        errors = {kind: round(sum(v)) for kind, v in found["series"]["errors"].items()}
        assert errors == {"bad-request": 1, "exchange-not-found": 4}
        assert total(overview(gateway, port, backend=second)["series"]) == 20

    series = overview(gateway)["series"]
    columns = [v for k, v in series.items() if k not in ("backend", "errors")]
    assert {len(each) for each in [*columns, *series["errors"].values()]} == {len(series["time"])}
    assert series["time"] == sorted(set(series["time"]))
    busy = [i for i, each in enumerate(series["published"]) if each]
    assert all(0 < series["p50"][i] <= series["p99"][i] < 5 for i in busy)
    assert {series["broker"][i] for i in busy} == {"connected"}
    backend = found["backends"][0]
    assert backend["pid"] in gateway.backends()
    assert time.time() - 60 < backend["loaded"] <= backend["started"] <= time.time()
    assert backend["memory"] > 10_000_000
    assert backend["client_connections"] >= 0
    assert backend["broker_connections"] == 1


def confirmed(gateway, port=None, **query):
    """Return what /metrics says, by backend."""
    families = parse(gateway.get("/metrics", port, **query).text)
    return {
        sample.labels.get("backend"): sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("outcome") == "confirmed"
    }


@pytest.mark.parametrize("end", [signal.SIGHUP, signal.SIGKILL])
def test_history_and_totals_outlive_their_backends(start_gateway, end):
    gateway = start_gateway(ports=2)
    first, second = gateway.ports
    before = gateway.backends()
    was_loaded = now(gateway, first)["loaded"]
    publish(gateway, 25, first)
    publish(gateway, 15, second)
    wait_until(lambda: total(overview(gateway)["series"]) == 40, what="the history")
    if end == signal.SIGHUP:
        gateway.reload()
    else:
        for pid in before:
            os.kill(pid, end)
    wait_until(lambda: not set(before) & set(gateway.backends()), what="their end")
    wait_until(lambda: answers(gateway), what="successors")
    successors = wait_until(lambda: all_up(gateway, before), what="successors to tell")
    assert [each["published"] for each in successors] == [0, 0]
    publish(gateway, 5)
    wait_until(lambda: total(overview(gateway)["series"]) == 45, what="the sum")
    assert total(overview(gateway, backend=first)["series"]) == 30
    totals = {str(first): 30, str(second): 15}
    wait_until(lambda: confirmed(gateway, second, scope="all") == totals, what="the totals")
    assert confirmed(gateway, first) == {None: 5}
    # Which tells a death from a reload.
    assert (now(gateway, first)["loaded"] > was_loaded) == (end == signal.SIGHUP)


def answers(gateway):
    try:
        return [overview(gateway, port) for port in gateway.ports]
    except requests.ConnectionError:
        return None


def all_up(gateway, before):
    found = overview(gateway)["backends"]
    return found if all(b["up"] and b["pid"] not in before for b in found) else None


def test_the_broker_goes_and_comes_back(start_gateway, own):
    """Also as a backend sees it that nobody publishes through, and whose page nobody has open."""
    gateway = start_gateway({"Application": {"publish": {"timeout": 1}}}, against=own, ports=2)
    asked, _ = gateway.ports
    for port in gateway.ports:
        publish(gateway, 1, port)

    def states():
        return {each["broker"]["state"] for each in overview(gateway, asked)["backends"]}

    wait_until(lambda: states() == {"connected"})
    own.node.stop()
    wait_until(lambda: now(gateway, asked)["broker"]["state"] == "unreachable")
    wait_until(lambda: states() == {"unreachable"})
    assert now(gateway, asked)["broker"]["reason"]
    waits = gateway.publish()
    assert waits.status_code == 503
    [row] = [each for each in rows(gateway) if each["backend"] == str(asked)]
    assert row["state"] in ("waiting", "connecting", "closed", "idle")
    assert row["last_error"]
    own.node.start()
    wait_until(lambda: now(gateway, asked)["broker"]["state"] == "reachable")
    wait_until(lambda: states() == {"reachable"}, what="all to know of it")
    publish(gateway, 1, asked)
    wait_until(lambda: [r["reconnects"] for r in rows(gateway) if r["state"] == "connected"] == [1])
    wait_until(lambda: "unreachable" in overview(gateway, asked)["series"]["broker"])


def test_a_refused_login_is_a_row_for_a_while(start_gateway):
    gateway = start_gateway()
    assert gateway.publish(password="wrong").status_code == 401
    [row] = rows(gateway)
    assert (row["state"], row["publishes"]) == ("refused", 0)
    assert row["last_error"] == "The broker refused the user name or password."
    wait_until(lambda: not rows(gateway))


def test_what_the_broker_says_of_a_message_is_not_shown(start_gateway, broker):
    add_users(broker, {"narrow": "pw"}, topics={"amq.topic": "^ok"})
    gateway = start_gateway()
    form = {"body": SECRET, "app_id": SECRET, "headers": f'{{"x": "{SECRET}"}}'}
    requests_ = [
        ("/test/amq.topic/", {**form, "user_id": SECRET}, "narrow"),  # the user's name is another
        (f"/test/amq.topic/{SECRET}", form, "narrow"),  # the topic is not permitted
        ("/test/amq.topic/ok?priority=" + SECRET, form, "narrow"),
        ("/test/no-such/k", form, "narrow"),
        ("/test/amq.topic/ok", {**form, "mandatory": "true"}, "narrow"),
    ]
    for path, data, user in requests_:
        assert gateway.publish(path, data=data, user=user, password="pw").status_code >= 400
    assert gateway.publish("/test/test/k", data=form, password=SECRET).status_code == 401
    wait_until(lambda: len(details(gateway)["errors"]) == 6)
    told = {each["type"]: each["detail"] for each in details(gateway)["errors"]}
    assert told["exchange-not-found"] == "The broker says: no exchange 'no-such' in vhost 'test'"
    assert told["no-route"].startswith("No queue took the mandatory message")
    for path in ("/details.json", "/dashboard.json", "/"):
        assert SECRET not in gateway.get(path).text
