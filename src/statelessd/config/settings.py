"""Every setting, declared once: its type, default, bounds and a line of help."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from .http_server import KIB, MIB, YEAR, HTTPServer, KeyFile, Listener, TlsVersion, setting
from .webhooks import Webhook

__all__ = ["HTTPServer", "Listener"]


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of ``statelessd --daemon``. They do not apply in the foreground."""

    pidfile: Annotated[
        str | None,
        setting(
            "File for the process id of the parent while it runs. --reload needs it. To change "
            "it, restart: a reload refuses that."
        ),
    ] = None
    user: Annotated[
        str | None, setting("User that the backends become if the daemon is started as root.")
    ] = None


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Directories of your own pages and templates."""

    base: Annotated[
        str | None,
        setting(
            "Directory to which the relative paths static and templates belong. Without "
            "it, that is the working directory."
        ),
    ] = None
    static: Annotated[
        str | None,
        setting("Directory with files for /static/. They replace packaged files of the same name."),
    ] = None
    templates: Annotated[
        str | None,
        setting(
            "Directory with Jinja2 templates. They replace packaged templates of the same name."
        ),
    ] = None


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """How the gateway asks for the state of RabbitMQ without an open connection."""

    interval: Annotated[
        float,
        setting(
            "Seconds between two questions to RabbitMQ whether it is there. Only /readyz, "
            "/stats and the dashboard ask, and only without an open connection. 0 means "
            "never.",
            ge=0,
            le=3600,
        ),
    ] = 30.0
    username: Annotated[
        str,
        setting(
            "User that logs in to ask. Without one the gateway only waits for RabbitMQ's "
            "greeting, and RabbitMQ logs a warning each time.",
            max_length=255,
        ),
    ] = ""
    password: Annotated[
        str, setting("Password of this user. It is never shown.", max_length=512)
    ] = ""
    virtual_host: Annotated[str, setting("Virtual host that this user opens.", max_length=255)] = (
        "/"
    )

    def __repr__(self) -> str:
        return f"<Probe as {self.username!r} every {self.interval:g} s>"


AMQPS_PORT = 5671  # IANA's, for AMQP over TLS


class BrokerTls(msgspec.Struct, frozen=True, kw_only=True):
    """TLS to RabbitMQ. The gateway always verifies its certificate and its name."""

    enabled: Annotated[bool, setting("Use TLS for the connections to RabbitMQ.")] = False
    ca: Annotated[
        str | None,
        setting(
            "PEM file with the certificates to trust: of authorities, or RabbitMQ's own. "
            "Without it, the authorities of the system are trusted. New connections use a "
            "changed file."
        ),
    ] = None
    certificate: Annotated[
        str | None,
        setting(
            "PEM file with the client certificate, followed by its intermediate "
            "certificates. RabbitMQ may ask for one. New connections use a changed file."
        ),
    ] = None
    key: KeyFile = None
    server_name: Annotated[
        str | None,
        setting(
            "Name that RabbitMQ's certificate must have. Without it, the certificate must "
            "have the name of the node."
        ),
    ] = None
    minimum_version: TlsVersion = "1.2"


class RabbitMQ(msgspec.Struct, frozen=True, kw_only=True):
    """Connections to RabbitMQ."""

    host: Annotated[str, setting("Name or address of RabbitMQ.", min_length=1)] = "localhost"
    port: Annotated[int, setting("RabbitMQ's AMQP port, with or without TLS.", ge=1, le=65535)] = (
        5672
    )
    hosts: Annotated[
        tuple[str, ...],
        setting(
            "Nodes of a cluster, instead of host: `name`, `name:port`, `192.0.2.1:port` "
            "or `[::1]:port`. A name may have several addresses."
        ),
    ] = ()
    tls: BrokerTls = BrokerTls()
    connect_timeout: Annotated[
        float,
        setting(
            "Seconds to connect to any node of RabbitMQ, with the TLS handshake.",
            gt=0,
            le=60,
        ),
    ] = 5.0
    login_timeout: Annotated[
        float, setting("Seconds for a login on a connection that is open.", gt=0, le=60)
    ] = 5.0
    channel_timeout: Annotated[float, setting("Seconds to open a channel.", gt=0, le=60)] = 5.0
    heartbeat: Annotated[
        int,
        setting(
            "Longest time in seconds between heartbeats. RabbitMQ may ask for a shorter "
            "one. 0 leaves it to RabbitMQ.",
            ge=0,
            le=3600,
        ),
    ] = 30
    frame_max: Annotated[
        int,
        setting(
            "Largest AMQP frame in bytes. RabbitMQ may ask for less. With RabbitMQ 4.1 or "
            "later a value below 8192 counts as 8192, which those versions need.",
            ge=4096,
            le=16 * MIB,
        ),
    ] = 128 * KIB
    max_connections: Annotated[
        int,
        setting(
            "Largest number of connections to RabbitMQ from each backend, without those "
            "that log in. One more login closes the idle connection that was used least "
            "recently.",
            ge=1,
            le=60000,
        ),
    ] = 1000
    max_logins: Annotated[
        int,
        setting(
            "Largest number of logins at a time from each backend, for users whom "
            "RabbitMQ has not accepted before. Users whom it has accepted have four times "
            "as many places of their own. A higher value lets a storm of invented users "
            "slow RabbitMQ down.",
            ge=1,
            le=1000,
        ),
    ] = 8
    channels_per_connection: Annotated[
        int,
        setting(
            "Largest number of channels of each connection, one for each exchange. One "
            "more channel closes the idle one that was used least recently. Publishing to "
            "more exchanges in turn costs a new channel for nearly each message.",
            ge=1,
            le=65535,
        ),
    ] = 256
    in_flight_per_connection: Annotated[
        int,
        setting(
            "Largest number of messages of each connection that wait or are unconfirmed. "
            "Further ones get a 503 (overloaded).",
            ge=1,
        ),
    ] = 2000
    refused_for: Annotated[
        float,
        setting(
            "Seconds for which the gateway refuses credentials that RabbitMQ has just "
            "refused, without asking RabbitMQ.",
            ge=0,
            le=3600,
        ),
    ] = 2.0
    reverify_after: Annotated[
        float,
        setting(
            "Age in seconds at which a new login replaces a connection. Only new "
            "connections get changed passwords and permissions.",
            gt=0,
            le=YEAR,
        ),
    ] = 300.0
    idle_timeout: Annotated[
        float, setting("Seconds after which an unused connection is closed.", gt=0, le=YEAR)
    ] = 600.0
    stalled_timeout: Annotated[
        float,
        setting(
            "Seconds that RabbitMQ has to open another channel, if a message is "
            "unconfirmed for about a second. If it does not, the connection counts as "
            "dead and is replaced.",
            gt=0,
            le=3600,
        ),
    ] = 2.5
    probe: Probe = Probe()


class Publish(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults and limits of messages."""

    timeout: Annotated[
        float,
        setting(
            "Deadline of a publish in seconds, from the request to the confirm.", gt=0, le=3600
        ),
    ] = 4.0
    max_timeout: Annotated[
        float,
        setting(
            "Longest deadline in seconds that a client may set with Prefer: wait.", gt=0, le=3600
        ),
    ] = 60.0
    mandatory: Annotated[
        bool,
        setting("Answer 404 if no queue takes a message, unless the client sets mandatory itself."),
    ] = False
    persistent: Annotated[
        bool,
        setting(
            "Make messages persistent, so that they survive a restart of RabbitMQ, unless "
            "the client sets delivery_mode itself."
        ),
    ] = True
    max_messages: Annotated[
        int,
        setting(
            "Largest number of messages in each backend that wait or are unconfirmed. Further "
            "ones get a 503 (overloaded).",
            ge=1,
        ),
    ] = 10_000
    max_bytes: Annotated[
        int,
        setting(
            "Largest size in bytes of the messages that wait or are unconfirmed and of the "
            "bodies that are arriving, in each backend. More get a 503 (overloaded).",
            ge=1,
        ),
    ] = 64 * MIB
    max_batch: Annotated[
        int,
        setting(
            "Largest number of items in a JSON batch. A batch in NDJSON may have any number.", ge=1
        ),
    ] = 10_000
    stamp_message_id: Annotated[
        bool,
        setting(
            "Give each message without a message_id a UUID, unless its request has an "
            "Idempotency-Key. The response has the UUID."
        ),
    ] = False
    stamp_timestamp: Annotated[
        bool, setting("Give each message without a timestamp the time of its request.")
    ] = False
    stamp_app_id: Annotated[
        Annotated[str, Meta(max_length=63)] | None,
        setting("app_id for messages that have none."),
    ] = None
    forward_headers: Annotated[
        tuple[Annotated[str, Meta(max_length=127)], ...],
        setting(
            "Request headers that become message headers, in this spelling. A message "
            "header that the client sets wins."
        ),
    ] = ()
    cloudevents_prefix: Annotated[
        str,
        setting(
            "Prefix of the attributes of a CloudEvent in message headers: `ce-` for the "
            "SDKs and Knative, `cloudEvents:` or `cloudEvents_` for AMQP 1.0 consumers.",
            max_length=63,
        ),
    ] = "ce-"
    allow_remote_guest: Annotated[
        bool,
        setting(
            "Let the user guest publish from other machines. RabbitMQ accepts guest over "
            "loopback only, and the gateway is on loopback to it."
        ),
    ] = False


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics that are not counted by default."""

    exchanges: Annotated[
        int,
        setting(
            "Number of exchanges that have counters of their own, by virtual host and "
            "outcome. The first exchanges that take a message get them. All others share "
            "one.",
            ge=0,
            le=1000,
        ),
    ] = 0


class Tracing(msgspec.Struct, frozen=True, kw_only=True):
    """OpenTelemetry spans of publishes. The SDK reads its own ``OTEL_*`` variables as well."""

    enabled: Annotated[
        bool,
        setting("Make a span for each publish. Install the extra otel for it."),
    ] = False
    endpoint: Annotated[
        str | None,
        setting(
            "URL to which spans are exported, with OTLP over HTTP. /v1/traces is added if "
            "it has no path. Without it, OTEL_EXPORTER_OTLP_ENDPOINT applies, or "
            "http://localhost:4318.",
        ),
    ] = None
    sample_ratio: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        setting(
            "Share of the traces that begin in the gateway and are exported, from 0 to 1. "
            "A request with a traceparent decides for itself. Without it, "
            "OTEL_TRACES_SAMPLER applies, or all traces are exported."
        ),
    ] = None
    service_name: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        setting(
            "The service.name of the spans. Without it, OTEL_SERVICE_NAME applies, or statelessd."
        ),
    ] = None


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """Logging and checks."""

    debug: Annotated[
        bool,
        setting(
            "Log at level DEBUG. In the foreground, also use log handlers that are marked "
            "debug_only."
        ),
    ] = False
    log: Annotated[
        str,
        setting(
            "Form of the log if there is no section Logging: console (lines on standard error), "
            "json (an object in each line there) or syslog. With auto it is syslog for a daemon, "
            "and console otherwise.",
            pattern="^(auto|console|json|syslog)$",
            title="auto, console, json or syslog",
        ),
    ] = "auto"
    access_log: Annotated[
        int,
        setting(
            "Log one of this many requests, with the logger statelessd.access at INFO. 1 "
            "logs each request, 0 none.",
            ge=0,
        ),
    ] = 0
    xsrf_cookies: Annotated[
        bool,
        setting(
            "Refuse publishes of curl, PHP and other programs: all that carry neither Origin "
            "nor Sec-Fetch-Site. Browsers send one of them and may publish. No cookie is used."
        ),
    ] = False
    paths: Paths = Paths()
    rabbitmq: RabbitMQ = RabbitMQ()
    publish: Publish = Publish()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()


class Route(msgspec.Struct, frozen=True):
    """A regular expression for raw paths, and the class that answers, by its dotted name."""

    pattern: str
    endpoint: str


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration; without ``routes`` and ``logging`` the built-in ones apply."""

    daemon: Daemon = Daemon()
    application: Application = Application()
    http_server: HTTPServer = HTTPServer()
    webhooks: tuple[Webhook, ...] = ()
    routes: tuple[Route, ...] = ()
    logging: dict[str, Any] | None = None

    def __repr__(self) -> str:  # without the section Logging, which may have passwords
        return f"<Config {self.daemon!r} {self.application!r} {self.http_server!r}>"


SECTIONS: dict[str, tuple[str, type[msgspec.Struct]]] = {
    "Daemon": ("daemon", Daemon),
    "Application": ("application", Application),
    "HTTPServer": ("http_server", HTTPServer),
}
"""The attribute of Config and the type of each section that is a mapping.

Webhooks, Routes and Logging have other forms.
"""
