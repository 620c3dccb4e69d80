"""Spans in a collector and trace context in messages, of a real gateway and broker."""

import os
import re
import socket
import subprocess
import sys
import time

import pytest
from collector import Collector
from gateway import free_port

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
PRODUCER, ERROR = 4, 2  # of OTLP's enums
SECRET = "collector-key-1234"


@pytest.fixture
def collector():
    with Collector() as running:
        yield running


@pytest.fixture
def start_traced(start_gateway, collector, monkeypatch):
    """Starts gateways that send their spans to the collector soon."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-api-key={SECRET}")

    def start(endpoint=None, **options):
        tracing = {"enabled": True, "endpoint": endpoint or collector.url}
        return start_gateway({"Application": {"tracing": tracing}}, **options)

    return start


def carried(queue):
    """Return the parts of the next message's traceparent."""
    properties, _, _ = queue.get()
    return properties.headers["traceparent"].split("-")


def test_the_span_and_the_messages_context_belong_together(start_traced, collector, queue, broker):
    gateway = start_traced()
    headers = {"traceparent": TRACEPARENT, "tracestate": "a=1", "X-Request-ID": "order-7"}
    data = {"body": "hello", "message_id": "m-1"}
    assert gateway.publish(f"/test/{queue.name}/k.1", data=data, headers=headers).status_code == 204
    (span,) = collector.has(1)
    assert carried(queue) == ["00", TRACE, span.span_id, "01"]
    assert (span.trace_id, span.parent_id) == (TRACE, PARENT)
    assert (span.name, span.kind) == (f"send {queue.name}", PRODUCER)
    assert span.nanoseconds > 0
    assert span.attributes == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": f"{queue.name}:k.1",
        "messaging.destination.template": queue.name,
        "messaging.rabbitmq.destination.routing_key": "k.1",
        "messaging.message.id": "m-1",
        "messaging.message.body.size": 5,
        "server.address": broker.host,
        "server.port": broker.amqp_port,
        "statelessd.request_id": "order-7",
        "statelessd.virtual_host": "test",
    }
    assert span.resource["service.name"] == "statelessd"
    ((path, sent),) = collector.requests
    assert (path, sent["x-api-key"]) == ("/v1/traces", SECRET)
    for shown in (gateway.text, gateway.run("--print-config").stdout, gateway.get("/stats").text):
        assert SECRET not in shown


@pytest.mark.parametrize(
    ("parent", "trace"),
    [
        (None, None),
        ("nonsense", None),
        (TRACEPARENT.upper(), None),
        (TRACEPARENT[:-1] + "0", TRACE),
    ],
    ids=["none", "invalid", "upper case", "unsampled"],
)
def test_other_parents(start_traced, collector, queue, parent, trace):
    gateway = start_traced()
    headers = {"traceparent": parent} if parent else {}
    assert gateway.publish(f"/test/{queue.name}/k", headers=headers).status_code == 204
    _, found, own, flags = carried(queue)
    gateway.stop()
    if trace is None:
        (span,) = collector.spans
        assert (found, own, span.parent_id) == (span.trace_id, span.span_id, "")
        assert found != TRACE
        assert int(flags, 16) & 1
    else:
        assert (found, own == PARENT, flags, collector.spans) == (trace, False, "00", [])


def test_a_batch_is_one_span(start_traced, collector, queue):
    gateway = start_traced()
    items = [{"routing_key": f"k{i}", "body": "x"} for i in range(5)] + [{"body": "x"}]
    headers = {"traceparent": TRACEPARENT}
    answer = gateway.publish(f"/test/{queue.name}", json=items, headers=headers)
    assert answer.status_code == 207
    (span,) = collector.has(1)
    assert span.attributes["messaging.batch.message_count"] == 6
    assert span.attributes["statelessd.batch.failed"] == 1
    assert span.attributes["error.type"] == "bad-request"
    assert [carried(queue) for _ in range(5)] == 5 * [["00", TRACE, span.span_id, "01"]]


@pytest.mark.parametrize(
    ("exchange", "options", "status", "kind"),
    [
        ("amq.direct", {"params": {"mandatory": "true"}}, 404, "no-route"),
        ("missing", {}, 404, "exchange-not-found"),
        ("amq.direct", {"password": "wrong"}, 401, "unauthorized"),
        ("amq.direct", {"data": {"nothing": "x"}}, 400, "bad-request"),
    ],
)
def test_a_failure_is_an_error(start_traced, collector, exchange, options, status, kind):
    gateway = start_traced()
    assert gateway.publish(f"/test/{exchange}/nowhere", **options).status_code == status
    (span,) = collector.has(1)
    assert (span.status.code, span.attributes["error.type"]) == (ERROR, kind)


def test_the_last_spans_are_exported_before_the_end(start_traced, collector, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    gateway = start_traced(ports=2)
    for port in gateway.ports * 3:
        assert gateway.publish("/test/amq.direct/k", port=port).status_code == 204
    assert collector.spans == []
    gateway.stop()
    assert len(collector.spans) == 6
    # Each backend has an exporter of its own.
    assert len({span.resource["service.instance.id"] for span in collector.spans}) == 2


def test_after_a_reload_it_goes_on(start_traced, collector):
    gateway = start_traced()
    gateway.reload(Application={"tracing": {"enabled": True, "endpoint": f"{collector.url}/else"}})
    assert gateway.publish("/test/amq.direct/k").status_code == 204
    collector.has(1)
    assert collector.requests[-1][0] == "/else"


def test_without_a_collector_publishes_go_on(start_traced, collector):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and is silent
        for port in (free_port(), silent.getsockname()[1]):
            gateway = start_traced(f"http://127.0.0.1:{port}")
            with gateway.client() as session:
                for _ in range(300):
                    answer = gateway.publish("/test/amq.direct/k", session=session)
                    assert answer.status_code == 204
            began = time.monotonic()
            gateway.stop()
            assert time.monotonic() - began < 30  # the drain time, and much for a busy machine
            assert gateway.text.count("not exported before the deadline") <= 1
            assert len(re.findall("tracing: (?:Transient|Failed)", gateway.text)) <= 1
    assert collector.spans == []


WRONG = {
    "OTEL_EXPORTER_OTLP_COMPRESSION": "nonsense",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "soon",
    "OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key: {SECRET}",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"x-api-key={SECRET}%0Ax",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://collector/?key={SECRET}",
    "OTEL_TRACES_SAMPLER": "nonsense",
    "OTEL_BSP_MAX_QUEUE_SIZE": "-1",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "9999",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER": "nonsense",
}


@pytest.mark.parametrize(("variable", "value"), WRONG.items(), ids=WRONG)
def test_what_the_sdk_cannot_use_is_an_error_of_the_configuration(tmp_path, variable, value):
    file = tmp_path / "statelessd.yml"
    file.write_text("Application: {tracing: {enabled: true}}\n")
    command = [sys.executable, "-m", "statelessd", "-c", str(file)]
    variables = os.environ | {variable: value}
    # One of them is enough for the start, because it has the same check.
    for arguments in ((), ("--check-config",))[variable != "OTEL_EXPORTER_OTLP_HEADERS" :]:
        ended = subprocess.run(
            [*command, *arguments],
            env=variables,
            timeout=60,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 2
        assert "Application.tracing: " in ended.stderr
        assert "Traceback" not in ended.stderr
        assert SECRET not in ended.stderr + ended.stdout
