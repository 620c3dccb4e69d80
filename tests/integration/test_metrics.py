"""/metrics of real backends: what it says, and that it adds up."""

import os
import signal

import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from waiting import wait_until

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def samples(gateway, port=None, *, scope="", headers=None):
    """Sample name and labels to value."""
    url = f"{gateway.url_of(port or gateway.port)}/metrics{scope}"
    answer = requests.get(url, headers=headers, timeout=5)
    assert answer.status_code == 200
    families = (parse_openmetrics if headers else parse)(answer.text)
    return {
        (s.name, frozenset(s.labels.items())): s.value
        for family in families
        for s in family.samples
    }


def value(found, name, **labels):
    return found["statelessd_" + name, frozenset(labels.items())]


def publish(gateway, queue, count, port=None):
    url = f"{gateway.url_of(port or gateway.port)}/test/{queue.name}/k"
    for _ in range(count):
        answer = requests.post(url, data={"body": "x"}, auth=("guest", "guest"), timeout=10)
        assert answer.status_code == 204


@pytest.mark.parametrize("headers", [None, OPENMETRICS])
def test_what_happened_is_counted(start_gateway, queue, headers):
    gateway = start_gateway()
    publish(gateway, queue, 5)
    gateway.publish("/test/no-such-exchange/k", data={"body": "x"})
    gateway.publish(f"/test/{queue.name}/k", data={"body": "x"}, password="wrong")
    items = [{"routing_key": "k", "body": "x"}] * 3 + [{"routing_key": 1}]
    assert gateway.publish(f"/test/{queue.name}", json=items).status_code == 207
    found = samples(gateway, headers=headers)
    requests_ = {"method": "POST", "problem": ""}
    assert value(found, "http_requests_total", **requests_, status="204") == 5
    assert value(found, "http_requests_total", **requests_, status="207") == 1
    missing = {"method": "POST", "status": "404", "problem": "exchange-not-found"}
    assert value(found, "http_requests_total", **missing) == 1
    assert value(found, "publishes_total", outcome="confirmed") == 8
    assert value(found, "publishes_total", outcome="unauthorized") == 1
    assert value(found, "publishes_total", outcome="nacked") == 0
    assert value(found, "publish_confirm_duration_seconds_count") == 8
    assert 0 < value(found, "publish_confirm_duration_seconds_sum") < 8
    assert value(found, "publish_confirm_duration_seconds_bucket", le="+Inf") == 8
    assert value(found, "publish_wait_duration_seconds_count") == 9  # one more was handed over
    assert value(found, "http_request_duration_seconds_count") >= 8
    assert value(found, "broker_logins_refused_total") == 1
    assert value(found, "broker_connections") == 1
    assert value(found, "broker_state", state="connected") == 1
    assert value(found, "broker_channels_opened_total") == 2
    assert value(found, "broker_channels_closed_total", reason="broker") == 1
    assert value(found, "broker_channels_closed_total", reason="connection") == 0
    assert value(found, "broker_channels") == 1
    assert value(found, "broker_sent_bytes_total") > 500
    assert value(found, "messages", state="in_flight") == 0
    assert value(found, "messages_limit") == 10_000
    assert found["process_resident_memory_bytes", frozenset()] > 1_000_000
    assert len(queue.bodies()) == 8


def test_the_loops_lag_is_looked_at(start_gateway):
    gateway = start_gateway()
    wait_until(lambda: value(samples(gateway), "event_loop_lag_seconds_count") > 2)


def test_no_label_comes_from_a_message_or_a_client(start_gateway, queue):
    gateway = start_gateway()
    before = set(samples(gateway))
    for n in range(20):
        gateway.publish(f"/test/{queue.name}/key-{n}", data={"body": "x"})
        requests.request(f"METHOD{n}", f"{gateway.url}/path-{n}", timeout=5)
    new = set(samples(gateway)) - before
    assert len(new) < 5, new
    assert not [labels for _, labels in new if "key-" in str(labels) or "METHOD" in str(labels)]


def test_all_backends_are_told_of_by_each(start_gateway, queue, tmp_path):
    gateway = start_gateway(ports=2, unix=[tmp_path / "third.sock"])
    first, second = gateway.ports
    publish(gateway, queue, 3, first)
    publish(gateway, queue, 4, second)
    unix = f"unix:{tmp_path / 'third.sock'}"
    expected = {first: 3, second: 4, unix: 0}
    for port in gateway.ports:
        found = wait_until(
            lambda port=port: _told(gateway, port, expected), what="all to be told of"
        )
        assert value(found, "backend_up", backend=unix) == 1
        for backend in expected:
            memory = found["process_resident_memory_bytes", frozenset({("backend", str(backend))})]
            assert memory > 1_000_000
    stats = requests.get(f"{gateway.url}/stats?scope=all", timeout=5).json()
    assert stats["backends"][0]["port"] == first
    assert {each["port"] for each in stats["backends"]} == {first, second, unix}
    assert stats["total"]["connections"]["test:guest"]["publishes"] == 7
    assert stats["total"]["requests"]["response.204"] == 7


def _told(gateway, port, expected):
    found = samples(gateway, port, scope="?scope=all")
    told = {}
    for each in expected:
        labels = frozenset({("backend", str(each)), ("outcome", "confirmed")})
        told[each] = found.get(("statelessd_publishes_total", labels))
    return found if told == expected else None


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGHUP])
def test_a_backend_that_has_gone_keeps_its_totals(start_gateway, queue, end):
    gateway = start_gateway(ports=2)
    first, second = gateway.ports
    publish(gateway, queue, 3, first)
    publish(gateway, queue, 2, second)
    wait_until(lambda: _told(gateway, first, {first: 3, second: 2}), what="both to be told of")
    before = gateway.backends()
    was_loaded = samples(gateway, scope="?scope=all")
    if end == signal.SIGHUP:
        gateway.process.send_signal(end)
    else:
        for pid in before:
            os.kill(pid, end)
    wait_until(lambda: not set(before) & set(gateway.backends()), what="their end")
    wait_until(lambda: gateway.stats()["requests"].get("response.204", 0) == 0, what="successors")
    publish(gateway, queue, 1, first)
    wait_until(lambda: _told(gateway, second, {first: 4, second: 2}), what="the totals")
    own = samples(gateway)
    assert value(own, "publishes_total", outcome="confirmed") == 1
    loaded = "config_loaded_timestamp_seconds"
    was_read_again = value(own, loaded) > value(was_loaded, loaded, backend=str(first))
    assert was_read_again == (end == signal.SIGHUP)  # which tells a death from a reload


def test_what_is_to_be_watched_is_there_before_it_happens(start_gateway):
    """A counter that comes into being with a 1 has never risen, for Prometheus."""
    found = samples(start_gateway())
    fault = {"method": "POST", "status": "500", "problem": "internal-error"}
    assert value(found, "http_requests_total", **fault) == 0
    assert value(found, "publishes_total", outcome="unconfirmed") == 0
    assert value(found, "refusals_total", limit="bytes") == 0
    assert value(found, "broker_connections_closed_total", reason="stalled") == 0
    assert value(found, "broker_channels_closed_total", reason="broker") == 0


def test_a_listener_that_was_removed_is_not_down(start_gateway, queue):
    gateway = start_gateway(ports=2)
    kept, removed = gateway.ports
    publish(gateway, queue, 2, removed)
    wait_until(lambda: _told(gateway, kept, {kept: 0, removed: 2}), what="both to be told of")
    gateway.change(HTTPServer={"ports": [kept]})
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(gateway.backends()) == 1, what="the other to end")
    found = wait_until(lambda: _told(gateway, kept, {kept: 0, removed: 2}), what="the totals")
    up = {labels: v for (name, labels), v in found.items() if name == "statelessd_backend_up"}
    assert up == {frozenset({("backend", str(kept))}): 1}


def test_exchanges_are_counted_one_by_one_when_told_so(start_gateway, queue):
    gateway = start_gateway({"Application": {"metrics": {"exchanges": 1}}})
    gateway.publish("/test/made-up/k", data={"body": "x"})  # takes no place
    publish(gateway, queue, 3)
    form = {"body": "x", "mandatory": "true"}
    assert gateway.publish("/test/test/foo", data=form).status_code == 204  # one too many
    assert gateway.publish(f"/test/{queue.name}/k", data=form).status_code == 204
    found = samples(gateway)
    named = {"virtual_host": "test", "exchange": queue.name}
    others = {"virtual_host": "", "exchange": ""}
    assert value(found, "exchange_publishes_total", **named, outcome="confirmed") == 4
    assert value(found, "exchange_publishes_total", **others, outcome="confirmed") == 1
    assert value(found, "exchange_publishes_total", **others, outcome="exchange-not-found") == 1
    assert not [labels for _, labels in found if "made-up" in str(labels)]


def test_exchanges_are_not_told_of_by_default(start_gateway, queue):
    gateway = start_gateway()
    publish(gateway, queue, 1)
    assert queue.name not in requests.get(f"{gateway.url}/metrics", timeout=5).text
