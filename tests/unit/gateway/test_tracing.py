"""Spans of publishes and batches, and the trace context that their messages carry."""

import json
import logging
import re
import tracemalloc

import pytest
from edge import AUTH, FORM, edge_test, post
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode
from outcomes import JSON, NDJSON, chunked, item, lines

from statelessd.amqp import encode
from statelessd.config.hosts import Host
from statelessd.config.settings import Publish, Tracing
from statelessd.gateway.target import Target
from statelessd.gateway.tracing import Tracer
from statelessd.message import Outcome

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
ALL, NOTHING = Tracing(enabled=True), Tracing(enabled=True, sample_ratio=0)
HEAD = b"POST /v/e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"


def traced(parent=SAMPLED, more=b""):
    return AUTH + FORM + b"Traceparent: %b\r\n" % parent.encode() + more


def header(**headers):
    return encode.properties({"delivery_mode": 2, "headers": headers})


def parent_of(span):
    """Return the traceparent that belongs to a span."""
    context = span.context
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def carried_by(properties):
    """Return the traceparent in encoded properties."""
    return re.search(rb"traceparentS....(00-[0-9a-f]{32}-[0-9a-f]{16}-..)", properties)[1].decode()


def error_of(span):
    return span.status.status_code, span.attributes.get("error.type")


@edge_test(tracing=ALL)
async def test_a_message_carries_the_context_of_its_span_which_is_the_requests_child(edge):
    more = b"Tracestate: a=1 , b=2\r\nBaggage: c=3\r\nX-Request-ID: order-7\r\n"
    body = b"body=hello&message_id=m-1&correlation_id=c-1"
    answer = await edge.ask(post(body, headers=traced(more=more)))
    assert answer.status == 204
    (span,) = await edge.spans()
    assert span.name == "send e"
    assert span.kind is SpanKind.PRODUCER
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert f"{span.context.span_id:016x}" != PARENT
    assert error_of(span) == (StatusCode.UNSET, None)
    assert span.start_time < span.end_time
    assert span.attributes == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "e:k",
        "messaging.destination.template": "e",
        "messaging.rabbitmq.destination.routing_key": "k",
        "messaging.message.id": "m-1",
        "messaging.message.conversation_id": "c-1",
        "messaging.message.body.size": 5,
        "server.address": "rabbit.example",
        "server.port": 5672,
        "statelessd.request_id": "order-7",
        "statelessd.virtual_host": "v",
    }
    assert span.instrumentation_scope.schema_url.endswith("/1.44.0")
    assert span.resource.attributes["service.name"] == "statelessd"
    (sent,) = edge.publisher.headers
    assert sent == encode.properties(
        {
            "delivery_mode": 2,
            "message_id": "m-1",
            "correlation_id": "c-1",
            "headers": {"traceparent": parent_of(span), "tracestate": "a=1,b=2", "baggage": "c=3"},
        }
    )


@pytest.mark.parametrize("form", [True, False])
@edge_test(tracing=ALL)
async def test_heads_that_repeat_get_a_span_for_each_message(edge, form):
    kind = FORM if form else b"Content-Type: text/plain\r\n"
    client = await edge.connect()
    for _ in range(5):
        client.send(post(b"body=x", headers=AUTH + kind))
        assert (await client.answer()).status == 204
    spans = await edge.spans()
    assert len({span.context.trace_id for span in spans}) == 5
    sizes = [span.attributes["messaging.message.body.size"] for span in spans]
    assert sizes == 5 * [1 if form else 6]
    assert list(map(carried_by, edge.publisher.headers)) == list(map(parent_of, spans))
    assert edge.parsed < 5


@pytest.mark.parametrize(
    "parent",
    [SAMPLED.upper(), SAMPLED.replace("00-", "ff-", 1), f"00-{'0' * 32}-{PARENT}-01", "nonsense"],
)
@edge_test(tracing=ALL)
async def test_an_invalid_parent_begins_a_new_trace(edge, parent):
    await edge.ask(post(headers=traced(parent, b"Tracestate: a=1\r\n")))
    (span,) = await edge.spans()
    assert span.parent is None
    assert f"{span.context.trace_id:032x}" != TRACE
    assert not span.context.trace_state
    assert edge.publisher.headers == [header(traceparent=parent_of(span))]


@pytest.mark.parametrize("flags", ["00", "01", "02", "03", "ff"])
@edge_test(tracing=NOTHING)
async def test_the_parent_decides_whether_a_span_is_exported(edge, flags):
    await edge.ask(post(headers=traced(SAMPLED[:-2] + flags, b"Tracestate: a=1\r\n")))
    spans = await edge.spans()
    assert len(spans) == int(flags, 16) & 1
    (sent,) = edge.publisher.headers
    # An unsampled message has a parent of its own as well, in the same trace.
    _, trace, parent, carried = carried_by(sent).split("-")
    assert (trace, parent == PARENT, int(carried, 16) & 1) == (TRACE, False, len(spans))
    assert b"a=1" in sent


@edge_test(tracing=NOTHING)
async def test_without_a_parent_the_ratio_decides(edge):
    for _ in range(20):
        await edge.ask(post())
    assert await edge.spans() == ()
    assert all(b"traceparent" in sent for sent in edge.publisher.headers)
    assert len(set(edge.publisher.headers)) == 20


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(Outcome.NO_ROUTE, 404), (Outcome.UNCONFIRMED, 504), (Outcome.UNAUTHORIZED, 401)],
)
@edge_test(tracing=ALL)
async def test_a_failure_is_an_error_with_the_outcome_as_its_type(edge, outcome, status):
    edge.publisher.outcome = (outcome, "the detail may quote what the client sent")
    assert (await edge.ask(post(headers=traced()))).status == status
    (span,) = await edge.spans()
    assert error_of(span) == (StatusCode.ERROR, outcome.value)
    assert "quote" not in span.status.description


@pytest.mark.parametrize("body", [b"nothing=1", b"body=x&priority=1000", b"body=" + b"%" * 70_000])
@edge_test(tracing=ALL)
async def test_a_body_that_is_refused_is_one_too(edge, body):
    answer = await edge.ask(post(body, headers=traced()))
    spans = await edge.spans()
    assert [error_of(span) for span in spans] == (
        [(StatusCode.ERROR, "bad-request")] if answer.status == 400 else [(StatusCode.UNSET, None)]
    )


@pytest.mark.parametrize(
    "request_of",
    [
        lambda: post(headers=FORM),  # without credentials
        lambda: post(path=b"/%zz/e/k"),
        lambda: post(headers=traced()).replace(b"POST", b"PUT", 1),
        lambda: b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n",
        lambda: b"nonsense\r\n\r\n",
    ],
)
@edge_test(tracing=ALL)
async def test_what_its_head_decides_makes_no_span(edge, request_of):
    await edge.ask(request_of())
    assert await edge.spans() == ()


@edge_test(tracing=ALL)
async def test_a_client_that_hangs_up_ends_its_span(edge):
    edge.publisher.hold = True
    client = await edge.connect()
    client.send(post(headers=traced()))
    await edge.until(lambda: edge.publisher.held)
    client.writer.transport.abort()
    await edge.until(lambda: edge.sweep(0) or edge.publisher.cancelled)
    (span,) = await edge.spans()
    assert error_of(span) == (StatusCode.ERROR, "client-gone")


@edge_test(tracing=ALL, publish=Publish(stamp_message_id=True))
async def test_a_stamped_id_is_in_the_span(edge):
    await edge.ask(post(headers=traced(more=b"Idempotency-Key: k\r\n")))
    (span,) = await edge.spans()
    assert span.attributes["messaging.message.id"] == "k"


@edge_test(tracing=ALL)
async def test_the_messages_own_context_stays_and_is_linked(edge):
    own = f"00-{'a' * 32}-{'b' * 16}-00"
    body = b"body=x&headers[traceparent]=%b" % own.encode()
    await edge.ask(post(body, headers=traced(more=b"Tracestate: a=1\r\n")))
    (span,) = await edge.spans()
    assert edge.publisher.headers == [header(traceparent=own)]
    (link,) = span.links
    assert (link.context.trace_id, link.context.span_id) == (int("a" * 32, 16), int("b" * 16, 16))


@edge_test(tracing=ALL)
async def test_the_default_exchange_has_its_usual_name(edge):
    await edge.ask(post(path=b"/%2f/amq.default/queue-1"))
    (span,) = await edge.spans()
    assert span.name == "send amq.default"
    assert span.attributes["messaging.destination.name"] == "queue-1"
    assert span.attributes["messaging.destination.template"] == "amq.default"


class TestBatches:
    @pytest.mark.parametrize("is_stream", [False, True])
    @edge_test(tracing=ALL)
    async def test_one_span_counts_the_messages_and_is_the_parent_of_each(self, edge, is_stream):
        items = [item(0), item(1), {"routing_key": "k"}]
        kind, body = (NDJSON, lines(items)) if is_stream else (JSON, json.dumps(items).encode())
        headers = AUTH + kind + b"Traceparent: %b\r\n" % SAMPLED.encode()
        answer = await edge.ask(post(body, b"/v/e", headers))
        assert answer.status in (200, 207)
        (span,) = await edge.spans()
        assert (span.name, span.kind) == ("send e", SpanKind.PRODUCER)
        assert f"{span.parent.span_id:016x}" == PARENT
        assert span.attributes["messaging.batch.message_count"] == 3
        assert span.attributes["statelessd.batch.failed"] == 1
        assert span.attributes["statelessd.batch.unknown"] == 0
        assert span.attributes["messaging.destination.name"] == "e"
        assert "messaging.message.body.size" not in span.attributes
        assert "messaging.message.id" not in span.attributes
        assert error_of(span) == (StatusCode.ERROR, "bad-request")
        assert edge.publisher.headers == 2 * [header(traceparent=parent_of(span))]

    @edge_test(tracing=ALL)
    async def test_one_without_failures_is_no_error(self, edge):
        await edge.ask(post(lines([item(0)]), b"/v/e", AUTH + NDJSON))
        (span,) = await edge.spans()
        assert error_of(span) == (StatusCode.UNSET, None)

    @edge_test(tracing=ALL)
    async def test_one_that_is_refused_as_a_whole_is_an_error(self, edge):
        await edge.ask(post(b"{", b"/v/e", AUTH + JSON))
        (span,) = await edge.spans()
        assert error_of(span) == (StatusCode.ERROR, "bad-request")

    @edge_test(tracing=ALL)
    async def test_one_whose_client_hangs_up_ends_too(self, edge):
        client = await edge.connect()
        client.send(HEAD + AUTH + NDJSON + b"\r\n" + chunked(lines([item(0)]), end=False))
        await edge.until(lambda: edge.publisher.published)
        client.writer.transport.abort()
        await edge.until(lambda: not edge.connections and not edge.tasks)
        (span,) = await edge.spans()
        assert error_of(span) == (StatusCode.ERROR, "client-gone")

    @edge_test(tracing=ALL)
    async def test_many_contexts_of_the_client_are_few_links(self, edge):
        items = [
            item(i, headers={"traceparent": f"00-{'a' * 32}-{i + 1:016x}-01"}) for i in range(1000)
        ]
        await edge.ask(post(lines(items), b"/v/e", AUTH + NDJSON))
        (span,) = await edge.spans()
        assert 1 <= len(span.links) <= 128


class Away(SpanExporter):
    """A collector that fails for each batch, with a library's warning."""

    def __init__(self):
        self.attempts = 0

    def export(self, spans):
        self.attempts += 1
        logging.getLogger("opentelemetry.exporter").error("no collector (%d)", self.attempts)
        return SpanExportResult.FAILURE


@edge_test()
async def test_spans_that_nobody_takes_cost_little_memory_and_few_lines(edge, caplog):
    exporter = Away()
    tracer = Tracer(ALL, [Host("h", 1)], edge.loop, exporter)

    def make(count):
        for number in range(count):
            span = tracer.begin({}, Target("v", "e", f"k{number}"), 0)
            span.describe({"message_id": "m" * 100_000})
            span.end(Outcome.CONFIRMED, b"id")

    tracemalloc.start()
    try:
        make(2000)
        before, _ = tracemalloc.get_traced_memory()
        make(10_000)
        assert tracemalloc.get_traced_memory()[0] - before < 10_000_000
    finally:
        tracemalloc.stop()
    await edge.until(lambda: exporter.attempts > 5)
    await tracer.close(30)
    ours = [each for each in caplog.records if each.name.startswith("statelessd")]
    assert [each.getMessage() for each in ours] == ["tracing: no collector (1)"]
