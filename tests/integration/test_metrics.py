"""/metrics of a real backend: what it says."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from waiting import wait_until

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
ITEMS = [{"routing_key": "k", "body": "x"}] * 3 + [{"routing_key": 1}]


def samples(gateway, headers=None):
    """Return the values by sample name and labels."""
    with gateway.client() as session:
        answer = session.get(f"{gateway.url}/metrics", headers=headers, timeout=30)
    assert answer.status_code == 200
    families = (parse_openmetrics if headers else parse)(answer.text)
    return {
        (s.name, frozenset(s.labels.items())): s.value
        for family in families
        for s in family.samples
    }


def value(found, name, **labels):
    return found["statelessd_" + name, frozenset(labels.items())]


def publish(gateway, queue, count):
    for _ in range(count):
        assert gateway.publish(f"/test/{queue.name}/k").status_code == 204


@pytest.mark.parametrize("headers", [None, OPENMETRICS])
def test_what_happened_is_counted(start_gateway, queue, headers):
    gateway = start_gateway()
    wait_until(lambda: value(samples(gateway), "event_loop_lag_seconds_count") > 2)
    publish(gateway, queue, 5)
    gateway.publish("/test/no-such-exchange/k")
    gateway.publish(f"/test/{queue.name}/k", password="wrong")
    assert gateway.publish(f"/test/{queue.name}", json=ITEMS).status_code == 207
    found = samples(gateway, headers)
    for status, problem, count in (
        (204, "", 5),
        (207, "", 1),
        (404, "exchange-not-found", 1),
        (500, "internal-error", 0),
    ):
        labels = {"method": "POST", "status": str(status), "problem": problem}
        assert value(found, "http_requests_total", **labels) == count
    # A counter that comes into being with a 1 has never risen, for Prometheus.
    for name, labels, count in (
        ("publishes_total", {"outcome": "confirmed"}, 8),
        ("publishes_total", {"outcome": "unauthorized"}, 1),
        ("publishes_total", {"outcome": "unconfirmed"}, 0),
        ("publish_confirm_duration_seconds_count", {}, 8),
        ("publish_confirm_duration_seconds_bucket", {"le": "+Inf"}, 8),
        ("publish_wait_duration_seconds_count", {}, 9),  # one more was handed over
        ("refusals_total", {"limit": "bytes"}, 0),
        ("messages", {"state": "in_flight"}, 0),
        ("messages_limit", {}, 10_000),
        ("broker_logins_refused_total", {}, 1),
        ("broker_connections", {}, 1),
        ("broker_state", {"state": "connected"}, 1),
        ("broker_connections_closed_total", {"reason": "stalled"}, 0),
        ("broker_channels_opened_total", {}, 2),
        ("broker_channels_closed_total", {"reason": "broker"}, 1),
        ("broker_channels_closed_total", {"reason": "connection"}, 0),
        ("broker_channels", {}, 1),
    ):
        assert value(found, name, **labels) == count, name
    assert 0 < value(found, "publish_confirm_duration_seconds_sum") < 60
    assert value(found, "http_request_duration_seconds_count") >= 8
    assert value(found, "broker_sent_bytes_total") > 500
    assert found["process_resident_memory_bytes", frozenset()] > 1_000_000
    assert len(queue.bodies()) == 8


def test_no_label_comes_from_a_message_or_a_client(start_gateway, queue):
    gateway = start_gateway()
    before = set(samples(gateway))
    with gateway.client() as session:
        for n in range(20):
            gateway.publish(f"/test/{queue.name}/key-{n}")
            session.request(f"METHOD{n}", f"{gateway.url}/path-{n}", timeout=30)
    new = set(samples(gateway)) - before
    assert len(new) < 5, new
    for made_up in ("key-", "METHOD", queue.name):
        assert made_up not in str(new)


def test_exchanges_are_counted_one_by_one_when_told_so(start_gateway, queue):
    gateway = start_gateway({"Application": {"metrics": {"exchanges": 1}}})
    gateway.publish("/test/made-up/k")  # takes no place
    publish(gateway, queue, 4)
    assert gateway.publish("/test/test/foo").status_code == 204  # one too many
    found = samples(gateway)
    named = {"virtual_host": "test", "exchange": queue.name}
    others = {"virtual_host": "", "exchange": ""}
    assert value(found, "exchange_publishes_total", **named, outcome="confirmed") == 4
    assert value(found, "exchange_publishes_total", **others, outcome="confirmed") == 1
    assert value(found, "exchange_publishes_total", **others, outcome="exchange-not-found") == 1
    assert "made-up" not in str(set(found))
