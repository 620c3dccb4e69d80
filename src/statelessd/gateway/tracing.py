"""OpenTelemetry: a producer span for each publish and each batch, exported in the background.

Nothing else imports OpenTelemetry, and this module is imported only if tracing is enabled.
Names follow version 1.44.0 of the semantic conventions, as docs/how-to/tracing.md says in full.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter_ns, time_ns
from typing import Any, Protocol
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.re import parse_env_headers

from ..config.checks import wrong_with_endpoint
from ..config.hosts import Host
from ..config.settings import Tracing
from ..message import TABLE, Outcome
from ..version import __version__
from .trace_context import Parent, as_headers, context_of, parse_parent

logger = logging.getLogger(__name__)

CONVENTIONS = "https://opentelemetry.io/schemas/1.44.0"
OPERATION = "send"
AMQ_DEFAULT = "amq.default"  # the conventions' name for the exchange without one
SYSTEM: dict[str, str | int] = {
    "messaging.system": "rabbitmq",
    "messaging.operation.name": OPERATION,
    "messaging.operation.type": "send",
}
MESSAGE_ATTRIBUTES = {
    "message_id": "messaging.message.id",
    "correlation_id": "messaging.message.conversation_id",
}
LONGEST = 255  # characters of an attribute
NONE: Mapping[str, str | int] = {}
QUIET = 60.0  # seconds after a warning in which others are only counted
SDK = "opentelemetry"  # its logger
# What complains of variables. A detector of resources may also warn where nothing is wrong.
OF_VARIABLES = (
    f"{SDK}.exporter", f"{SDK}.sdk._shared_internal", f"{SDK}.sdk.trace", f"{SDK}.util.re",
)  # fmt: skip
EXPORTER_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_")


class Destination(Protocol):
    """Where a message goes; a batch has no routing key."""

    @property
    def virtual_host(self) -> str: ...
    @property
    def exchange(self) -> str: ...
    @property
    def routing_key(self) -> str: ...


class PublishSpan:
    """The span of one publish, or of one batch. ``headers`` are for its messages."""

    __slots__ = ("_is_batch", "_is_over", "_span", "headers")

    def __init__(self, span: Any, *, is_batch: bool) -> None:
        context = span.get_span_context()
        self._span = span
        self._is_batch = is_batch
        self._is_over = not span.is_recording()  # a sampler has left it out
        # It is not valid if OTEL_SDK_DISABLED is set and the request has no traceparent.
        parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        self.headers = as_headers(
            parent if context.is_valid else "", context.trace_state.to_header()
        )

    def describe(self, fields: Mapping[str, Any]) -> None:
        """Take what a message is called, and link to the trace context that its client gave it.

        The fields have not been checked yet, so they may be long.
        """
        if self._is_over:
            return
        if not self._is_batch:
            for name, attribute in MESSAGE_ATTRIBUTES.items():
                if name in fields:
                    self._span.set_attribute(attribute, str(fields[name])[:LONGEST])
        given = fields.get("headers", {}).get("traceparent")
        if isinstance(given, str):
            parent = parse_parent(given.encode("ascii", "replace"))
            if parent is not None:
                self._span.add_link(_remote(parent, ""))

    def sized(self, size: int) -> None:
        """Take the bytes of the message's body."""
        self._span.set_attribute("messaging.message.body.size", size)

    def end(
        self,
        outcome: Outcome | None,
        request_id: bytes,
        *,
        server: Host | None = None,
        attributes: Mapping[str, str | int] = NONE,
    ) -> None:
        """End the span with the outcome, unless it has ended. None: the client is gone."""
        if self._is_over:
            return
        if server is not None:
            self._span.set_attributes(_server(server))
        self._span.set_attribute("statelessd.request_id", request_id.decode())
        self._span.set_attributes(attributes)
        if outcome is not Outcome.CONFIRMED:
            error = "client-gone" if outcome is None else outcome.value
            title = "The client did not wait" if outcome is None else TABLE[outcome].title
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR, title))
        self._is_over = True
        self._span.end()


class Tracer:
    """Makes the spans of one backend. Make it after the fork, because it starts a thread."""

    def __init__(
        self,
        settings: Tracing,
        hosts: Sequence[Host],
        loop: asyncio.AbstractEventLoop,
        exporter: SpanExporter | None = None,
    ) -> None:
        # Of several nodes, the one that a message goes to is known at its end only.
        self._attributes = SYSTEM | (_server(hosts[0]) if len(hosts) == 1 else {})
        self._loop = loop
        self._warnings = _Warnings(loop)
        self._provider = _provider_of(settings, exporter)
        self._tracer = self._provider.get_tracer("statelessd", __version__, schema_url=CONVENTIONS)

    def begin(
        self,
        headers: Mapping[bytes, bytes],
        target: Destination,
        started_at: int,
        *,
        is_batch: bool = False,
    ) -> PublishSpan:
        """Begin the span of a request that began at ``started_at``, by ``perf_counter_ns``."""
        exchange = target.exchange or AMQ_DEFAULT
        attributes = {
            **self._attributes,
            "messaging.destination.name": _destination(target) or AMQ_DEFAULT,
            "messaging.destination.template": exchange,
            "statelessd.virtual_host": target.virtual_host,
        }
        if target.routing_key:
            attributes["messaging.rabbitmq.destination.routing_key"] = target.routing_key
        parent, state = context_of(headers)
        context = Context()
        if parent is not None:
            context = set_span_in_context(NonRecordingSpan(_remote(parent, state)), context)
        span = self._tracer.start_span(
            f"{OPERATION} {exchange}",
            context,
            SpanKind.PRODUCER,
            attributes,
            start_time=time_ns() - (perf_counter_ns() - started_at),
        )
        return PublishSpan(span, is_batch=is_batch)

    async def close(self, seconds: float) -> None:
        """Export what is left, for at most so many seconds."""
        done = asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # it took too long, and the loop is closed
                self._loop.call_soon_threadsafe(done.set)

        # A daemon does not keep the backend from ending.
        threading.Thread(target=shut_down, daemon=True).start()
        try:
            async with asyncio.timeout(seconds):
                await done.wait()
        except TimeoutError:
            logger.warning("the last spans were not exported before the deadline")
        self._warnings.close()


class _Warnings(logging.Handler):
    """Logs what the exporter's thread complains about: on the event loop, once a minute."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(logging.WARNING)
        self._loop = loop
        self._logged_at, self._left_out = -QUIET, 0
        library = logging.getLogger(SDK)
        library.addHandler(self)
        library.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        # The filters of the log's handlers are not made for several threads.
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._warn, record.getMessage())

    def _warn(self, text: str) -> None:
        now = time.monotonic()
        if now - self._logged_at < QUIET:
            self._left_out += 1
            return
        more = f" ({self._left_out} more warnings since the last one)" if self._left_out else ""
        self._logged_at, self._left_out = now, 0
        logger.warning("tracing: %s%s", text, more)

    def close(self) -> None:
        """Stop listening."""
        library = logging.getLogger(SDK)
        library.removeHandler(self)
        library.propagate = True
        super().close()


class _Complaints(logging.Handler):
    """Keeps what the SDK says of its variables, instead of logging it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(OF_VARIABLES):
            self.texts.append(record.getMessage())


def check(settings: Tracing) -> None:
    """Raise ValueError if the settings or the SDK's variables cannot be used."""
    if settings.endpoint is None:
        _check_endpoint()
    with _complaints() as texts:
        _check_headers(texts)
        _provider_of(settings).shutdown()
    if texts:
        raise ValueError(texts[0])


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """Yield what the SDK complains about meanwhile. It would only warn, and use a default."""
    library, complaints = logging.getLogger(SDK), _Complaints()
    library.addHandler(complaints)
    library.propagate = False
    try:
        yield complaints.texts
    finally:
        library.removeHandler(complaints)
        library.propagate = True


def _check_endpoint() -> None:
    """Raise ValueError if the variable with the collector's URL has none that can be used."""
    name, url = _variable("ENDPOINT")
    if url and (what := wrong_with_endpoint(url)):
        raise ValueError(f"{name} {what}")


def _check_headers(complaints: list[str]) -> None:
    """Raise ValueError for wrong headers, without the SDK's complaints, which quote them."""
    name, text = _variable("HEADERS")
    found = parse_env_headers(text, liberal=True)
    if complaints or not all(value.isprintable() for value in found.values()):
        raise ValueError(f"{name} must have NAME=VALUE pairs, separated by commas")


def _variable(end: str) -> tuple[str, str]:
    """Return the name and the value of the exporter's variable that counts."""
    names = [start + end for start in EXPORTER_VARIABLES]
    name = next((each for each in names if each in os.environ), names[-1])
    return name, os.environ.get(name, "").strip()


def _server(host: Host) -> dict[str, str | int]:
    """Return the attributes that name a node of the broker."""
    return {"server.address": host.name, "server.port": host.port}


def _destination(target: Destination) -> str:
    """Return the name that the convention for RabbitMQ gives an exchange with a routing key."""
    return ":".join(part for part in (target.exchange, target.routing_key) if part)


def _remote(parent: Parent, state: str) -> SpanContext:
    return SpanContext(
        parent.trace_id,
        parent.span_id,
        is_remote=True,
        trace_flags=TraceFlags(parent.flags),
        trace_state=TraceState.from_header([state]),
    )


def _provider_of(settings: Tracing, exporter: SpanExporter | None = None) -> TracerProvider:
    provider = TracerProvider(
        sampler=_sampler_of(settings), resource=_resource_of(settings), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(exporter or _exporter_of(settings)))
    return provider


def _exporter_of(settings: Tracing) -> SpanExporter:
    endpoint = settings.endpoint
    if endpoint is not None and urlsplit(endpoint).path in ("", "/"):
        endpoint = f"{endpoint.rstrip('/')}/v1/traces"
    return OTLPSpanExporter(endpoint)


def _sampler_of(settings: Tracing) -> Sampler | None:
    """Return the sampler of the settings, or None to let the SDK's variables choose."""
    ratio = settings.sample_ratio
    return None if ratio is None else ParentBased(TraceIdRatioBased(ratio))


def _resource_of(settings: Tracing) -> Resource:
    given = settings.service_name
    resource = Resource.create({} if given is None else {SERVICE_NAME: given})
    ours = {"service.version": __version__}
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        ours[SERVICE_NAME] = "statelessd"
    return resource.merge(Resource(ours))
