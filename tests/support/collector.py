"""An OpenTelemetry collector: takes spans by OTLP over HTTP, as protobuf, and keeps them."""

import gzip

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from waiting import wait_until
from webserver import Server


class Collected:
    """One span as it arrived."""

    def __init__(self, span, resource):
        self.name, self.kind, self.status = span.name, span.kind, span.status
        self.trace_id, self.span_id = span.trace_id.hex(), span.span_id.hex()
        self.parent_id = span.parent_span_id.hex()
        self.attributes = _values(span.attributes)
        self.resource = _values(resource.attributes)
        self.nanoseconds = span.end_time_unix_nano - span.start_time_unix_nano


class Collector(Server):
    """``requests`` has the path and headers of what came, ``spans`` what was in it."""

    def __init__(self):
        super().__init__()
        self.requests = []
        self.spans = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def respond(self, request):
        body = request.body()
        if request.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in group.scope_spans:
                self.spans += [Collected(span, group.resource) for span in scope.spans]
        self.requests.append((request.path, dict(request.headers)))
        request.answer(200)

    def has(self, count):
        """Wait until so many spans have come, and return them."""
        wait_until(lambda: len(self.spans) >= count, what=f"{count} spans")
        return self.spans


def _values(attributes):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
