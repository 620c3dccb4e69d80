"""Every setting, declared once: its type, default, bounds and a line of help."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from .http_server import KIB, MIB, YEAR, HTTPServer, KeyFile, Listener, TlsVersion, setting
from .webhooks import Webhook

__all__ = ["HTTPServer", "Listener"]


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """Applies to ``statelessd --daemon`` only; in the foreground the caller decides."""

    pidfile: Annotated[
        str | None, setting("File that holds the parent's process id while it runs.")
    ] = None
    user: Annotated[
        str | None, setting("User that the backend processes become, when started as root.")
    ] = None


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Directories of your own pages; relative ones start at base."""

    base: Annotated[
        str | None, setting("Directory that the two below are relative to; else the working one.")
    ] = None
    static: Annotated[str | None, setting("Files for /static/, before the packaged ones.")] = None
    templates: Annotated[str | None, setting("Jinja2 templates, before the packaged ones.")] = None


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """How the broker is asked for its state while there is no connection to it."""

    interval: Annotated[
        float,
        setting(
            "Seconds after which /readyz and /stats ask the broker again whether it is there, "
            "while there is no connection that tells; 0: never.",
            ge=0,
            le=3600,
        ),
    ] = 30.0
    username: Annotated[
        str,
        setting(
            "User that logs in to ask. Without one the broker only has to greet, and logs a "
            "warning each time.",
            max_length=255,
        ),
    ] = ""
    password: Annotated[
        str, setting("That user's password. It is never shown.", max_length=512)
    ] = ""
    virtual_host: Annotated[str, setting("Virtual host that this user opens.", max_length=255)] = (
        "/"
    )

    def __repr__(self) -> str:
        return f"<Probe as {self.username!r} every {self.interval:g} s>"


AMQPS_PORT = 5671  # IANA's, for AMQP over TLS


class BrokerTls(msgspec.Struct, frozen=True, kw_only=True):
    """TLS to the broker, whose certificate and name are always verified."""

    enabled: Annotated[bool, setting("Talk TLS to the broker.")] = False
    ca: Annotated[
        str | None,
        setting(
            "PEM file with the certificates to trust: authorities', or the broker's own; else the "
            "system's authorities. Changed files are taken up for new connections."
        ),
    ] = None
    certificate: Annotated[
        str | None,
        setting(
            "PEM file with a certificate to show to a broker that asks for one, then those up to "
            "its authority."
        ),
    ] = None
    key: KeyFile = None
    server_name: Annotated[
        str | None, setting("Name that the broker's certificate has to be for; else that of host.")
    ] = None
    minimum_version: TlsVersion = "1.2"


class RabbitMQ(msgspec.Struct, frozen=True, kw_only=True):
    """The broker, and how its connections are kept."""

    host: Annotated[str, setting("Name or address of the broker.", min_length=1)] = "localhost"
    port: Annotated[
        int, setting("The broker's AMQP port, with or without TLS.", ge=1, le=65535)
    ] = 5672
    hosts: Annotated[
        tuple[str, ...],
        setting(
            "Nodes of a cluster, instead of host: `name`, `name:port`, `192.0.2.1:port` or "
            "`[::1]:port`; a name may have several addresses."
        ),
    ] = ()
    tls: BrokerTls = BrokerTls()
    connect_timeout: Annotated[
        float,
        setting(
            "Seconds for a connection to any node of the broker, with the handshake of TLS.",
            gt=0,
            le=60,
        ),
    ] = 5.0
    login_timeout: Annotated[
        float, setting("Seconds for a login, once connected.", gt=0, le=60)
    ] = 5.0
    channel_timeout: Annotated[float, setting("Seconds for opening a channel.", gt=0, le=60)] = 5.0
    heartbeat: Annotated[
        int,
        setting("Seconds between heartbeats, at most; 0 leaves it to the broker.", ge=0, le=3600),
    ] = 30
    frame_max: Annotated[
        int,
        setting(
            "Bytes of an AMQP frame, at most; the broker may ask for less. RabbitMQ 4.1 and later "
            "take no less than 8192: there a smaller value counts as that.",
            ge=4096,
            le=16 * MIB,
        ),
    ] = 128 * KIB
    max_connections: Annotated[
        int,
        setting(
            "Connections to the broker from each backend, beside those that log in. One more login "
            "closes the least recently used idle connection.",
            ge=1,
            le=60000,
        ),
    ] = 1000
    max_logins: Annotated[
        int,
        setting(
            "Logins under way at once, from each backend, of users whom the broker has not let in "
            "before. Users whom it has let in have four times as many places of their own. More "
            "places slow the broker down for everybody while it refuses invented users.",
            ge=1,
            le=1000,
        ),
    ] = 8
    channels_per_connection: Annotated[
        int,
        setting(
            "Channels, one for each exchange, of each connection; the least recently used idle one "
            "goes first. More exchanges in turn cost a new channel for nearly each message.",
            ge=1,
            le=65535,
        ),
    ] = 256
    in_flight_per_connection: Annotated[
        int, setting("Messages that wait or are unconfirmed, for each connection.", ge=1)
    ] = 2000
    refused_for: Annotated[
        float,
        setting(
            "Seconds for which credentials that the broker refused are refused here, without "
            "asking it again.",
            ge=0,
            le=3600,
        ),
    ] = 2.0
    reverify_after: Annotated[
        float,
        setting(
            "Seconds after which a connection is replaced by a new login, so that changed "
            "passwords and permissions apply.",
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
            "Seconds for the broker to answer when it is asked whether it still reads a "
            "connection, after which the connection is replaced. It is asked when a message is "
            "unconfirmed for about a second.",
            gt=0,
            le=3600,
        ),
    ] = 2.5
    probe: Probe = Probe()


class Publish(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for each message."""

    timeout: Annotated[
        float,
        setting(
            "Seconds for a publish in all, from the request to the broker's confirm.", gt=0, le=3600
        ),
    ] = 4.0
    max_timeout: Annotated[
        float, setting("Ceiling of what a client may ask for with Prefer: wait.", gt=0, le=3600)
    ] = 60.0
    mandatory: Annotated[
        bool,
        setting("Whether a message that no queue takes is a 404, where the client does not say."),
    ] = False
    persistent: Annotated[
        bool,
        setting("Whether messages survive a restart of the broker, where the client does not say."),
    ] = True
    max_messages: Annotated[
        int, setting("Messages that wait or are unconfirmed, in each backend.", ge=1)
    ] = 10_000
    max_bytes: Annotated[
        int,
        setting("Bytes of those messages and of bodies that are arriving, in each backend.", ge=1),
    ] = 64 * MIB
    max_batch: Annotated[
        int, setting("Items of a JSON batch, at most; a batch in NDJSON may have any number.", ge=1)
    ] = 10_000
    stamp_message_id: Annotated[
        bool,
        setting(
            "Give messages a UUID as message_id if their requests give neither one nor an "
            "Idempotency-Key. The answer has it."
        ),
    ] = False
    stamp_timestamp: Annotated[
        bool, setting("Give messages without a timestamp the time of their request.")
    ] = False
    stamp_app_id: Annotated[
        Annotated[str, Meta(max_length=63)] | None,
        setting("The app_id of messages that have none."),
    ] = None
    forward_headers: Annotated[
        tuple[Annotated[str, Meta(max_length=127)], ...],
        setting(
            "Request headers that become headers of the request's messages, in this spelling. "
            "Headers that the client gives the message win."
        ),
    ] = ()
    cloudevents_prefix: Annotated[
        str,
        setting(
            "What stands before the names of a CloudEvent's attributes in message headers: `ce-` "
            "for the SDKs and Knative, `cloudEvents:` or `cloudEvents_` for AMQP 1.0 consumers.",
            max_length=63,
        ),
    ] = "ce-"
    allow_remote_guest: Annotated[
        bool,
        setting(
            "Let the user guest publish from other hosts. RabbitMQ lets guest in over loopback "
            "only, and takes all our clients to be there."
        ),
    ] = False


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """What ``/metrics`` tells beyond the usual."""

    exchanges: Annotated[
        int,
        setting(
            "Exchanges whose publishes are counted one by one, by virtual host and outcome: the "
            "first so many that take a message. The rest is counted together.",
            ge=0,
            le=1000,
        ),
    ] = 0


class Tracing(msgspec.Struct, frozen=True, kw_only=True):
    """Spans of OpenTelemetry for publishes. All else is in the SDK's own OTEL_* variables."""

    enabled: Annotated[
        bool,
        setting("Make a span for each publish. It needs the packages of the extra otel."),
    ] = False
    endpoint: Annotated[
        str | None,
        setting(
            "URL that takes spans by OTLP over HTTP; without a path, /v1/traces is added. Else "
            "OTEL_EXPORTER_OTLP_ENDPOINT counts, or http://localhost:4318.",
        ),
    ] = None
    sample_ratio: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        setting(
            "Part of the traces that begin here which is exported, from 0 to 1. Requests with a "
            "traceparent have decided themselves. Else OTEL_TRACES_SAMPLER counts, or all are."
        ),
    ] = None
    service_name: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        setting("service.name of the spans. Else OTEL_SERVICE_NAME counts, or statelessd."),
    ] = None


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway does."""

    debug: Annotated[
        bool, setting("Log at DEBUG, and use handlers marked debug_only (in the foreground).")
    ] = False
    log: Annotated[
        str,
        setting(
            "Form of the log, without a section Logging: console (lines on standard error), json "
            "(an object in each line there), or syslog; auto is console, and syslog for a daemon.",
            pattern="^(auto|console|json|syslog)$",
            title="auto, console, json or syslog",
        ),
    ] = "auto"
    access_log: Annotated[
        int,
        setting(
            "Every how many requests one is logged, as statelessd.access at INFO; 1 is each, 0 "
            "none.",
            ge=0,
        ),
    ] = 0
    xsrf_cookies: Annotated[
        bool,
        setting(
            "Refuse also what does not say which site it comes from, as no browser's request does "
            "since 2020. Cookies are never used."
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
