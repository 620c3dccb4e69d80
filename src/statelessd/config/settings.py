"""Every setting, declared once: its type, default, bounds and a line of help.

The settings of HTTPServer are in ``config.http_server``. ``config.loader`` fills all of
them from the YAML file and the environment, and ``config.report`` prints them.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from .http_server import KIB, MIB, Cors, HTTPServer, Listener, Pages, Tls, TlsVersion

__all__ = ["Cors", "HTTPServer", "Listener", "Pages", "Tls"]


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """Applies to ``statelessd --daemon`` only; in the foreground the caller decides."""

    pidfile: Annotated[
        str | None, Meta(description="File that holds the parent's process id while it runs.")
    ] = None
    user: Annotated[
        str | None,
        Meta(description="User that the backend processes become, when started as root."),
    ] = None


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Directories of your own pages; relative ones start at base."""

    base: Annotated[
        str | None,
        Meta(description="Directory that the two below are relative to; else the working one."),
    ] = None
    static: Annotated[
        str | None, Meta(description="Files for /static/, before the packaged ones.")
    ] = None
    templates: Annotated[
        str | None, Meta(description="Jinja2 templates, before the packaged ones.")
    ] = None


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """How the broker is asked for its state while there is no connection to it."""

    interval: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Seconds after which /readyz and /stats ask the broker again whether it "
            "is there, while there is no connection that tells; 0: never.",
        ),
    ] = 30.0
    username: Annotated[
        str,
        Meta(
            max_length=255,
            description="User that logs in to ask. Without one the broker only has to greet, "
            "and logs a warning each time.",
        ),
    ] = ""
    password: Annotated[
        str, Meta(max_length=512, description="That user's password. It is never shown.")
    ] = ""
    virtual_host: Annotated[
        str, Meta(max_length=255, description="Virtual host that this user opens.")
    ] = "/"

    def __repr__(self) -> str:
        return f"<Probe as {self.username!r} every {self.interval:g} s>"


AMQPS_PORT = 5671  # IANA's, for AMQP over TLS


class BrokerTls(msgspec.Struct, frozen=True, kw_only=True):
    """TLS to the broker, whose certificate and name are always verified."""

    enabled: Annotated[bool, Meta(description="Talk TLS to the broker.")] = False
    ca: Annotated[
        str | None,
        Meta(
            description="PEM file with the certificates to trust: authorities', or the broker's "
            "own; else the system's authorities. Changed files are taken up for new connections."
        ),
    ] = None
    certificate: Annotated[
        str | None,
        Meta(
            description="PEM file with a certificate to show to a broker that asks for one, then "
            "those up to its authority."
        ),
    ] = None
    key: Annotated[
        str | None,
        Meta(description="PEM file with its private key; else that is in the certificate's file."),
    ] = None
    server_name: Annotated[
        str | None,
        Meta(description="Name that the broker's certificate has to be for; else that of host."),
    ] = None
    minimum_version: Annotated[
        TlsVersion, Meta(description="The oldest version of TLS that is spoken.")
    ] = "1.2"


class RabbitMQ(msgspec.Struct, frozen=True, kw_only=True):
    """The broker, and how its connections are kept."""

    host: Annotated[str, Meta(min_length=1, description="Name or address of the broker.")] = (
        "localhost"
    )
    port: Annotated[
        int, Meta(ge=1, le=65535, description="The broker's AMQP port, with or without TLS.")
    ] = 5672
    hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Nodes of a cluster, instead of host: `name`, `name:port`, "
            "`192.0.2.1:port` or `[::1]:port`; a name may have several addresses."
        ),
    ] = ()
    tls: BrokerTls = BrokerTls()
    connect_timeout: Annotated[
        float,
        Meta(
            gt=0,
            le=60,
            description="Seconds for a connection to any node of the broker, with the handshake "
            "of TLS.",
        ),
    ] = 5.0
    login_timeout: Annotated[
        float, Meta(gt=0, le=60, description="Seconds for a login, once connected.")
    ] = 5.0
    channel_timeout: Annotated[
        float, Meta(gt=0, le=60, description="Seconds for opening a channel.")
    ] = 5.0
    heartbeat: Annotated[
        int,
        Meta(
            ge=0,
            le=3600,
            description="Seconds between heartbeats, at most; 0 leaves it to the broker.",
        ),
    ] = 30
    frame_max: Annotated[
        int,
        Meta(
            ge=4096,
            le=16 * MIB,
            description=(
                "Bytes of an AMQP frame, at most; the broker may ask for less. RabbitMQ 4.1 and "
                "later take no less than 8192: there a smaller value counts as that."
            ),
        ),
    ] = 128 * KIB
    max_connections: Annotated[
        int, Meta(ge=1, le=60000, description="Connections to the broker from each backend.")
    ] = 1000
    channels_per_connection: Annotated[
        int,
        Meta(
            ge=1,
            le=65535,
            description="Channels, one for each exchange, of each connection; "
            "the least recently used idle one goes first. More exchanges in turn cost a new "
            "channel for nearly each message.",
        ),
    ] = 256
    in_flight_per_connection: Annotated[
        int, Meta(ge=1, description="Messages that wait or are unconfirmed, for each connection.")
    ] = 2000
    refused_for: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Seconds for which credentials that the broker refused are refused here, "
            "without asking it again.",
        ),
    ] = 2.0
    reverify_after: Annotated[
        float,
        Meta(
            gt=0,
            description="Seconds after which a connection is replaced by a new login, "
            "so that changed passwords and permissions apply.",
        ),
    ] = 300.0
    idle_timeout: Annotated[
        float, Meta(gt=0, description="Seconds after which an unused connection is closed.")
    ] = 600.0
    stalled_timeout: Annotated[
        float,
        Meta(
            gt=0,
            description="Seconds for the broker to answer when it is asked whether it still "
            "reads a connection, after which the connection is replaced. It is asked when "
            "a message is unconfirmed for about a second.",
        ),
    ] = 2.5
    probe: Probe = Probe()


class Publish(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for each message."""

    timeout: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            description="Seconds for a publish in all, from the request to the broker's confirm.",
        ),
    ] = 4.0
    max_timeout: Annotated[
        float,
        Meta(gt=0, le=3600, description="Ceiling of what a client may ask for with Prefer: wait."),
    ] = 60.0
    mandatory: Annotated[
        bool,
        Meta(
            description="Whether a message that no queue takes is a 404, "
            "where the client does not say."
        ),
    ] = False
    persistent: Annotated[
        bool,
        Meta(
            description="Whether messages survive a restart of the broker, "
            "where the client does not say."
        ),
    ] = True
    max_messages: Annotated[
        int, Meta(ge=1, description="Messages that wait or are unconfirmed, in each backend.")
    ] = 10_000
    max_bytes: Annotated[
        int,
        Meta(
            ge=1,
            description="Bytes of those messages and of bodies that are arriving, in each backend.",
        ),
    ] = 64 * MIB
    max_batch: Annotated[
        int,
        Meta(
            ge=1,
            description="Items of a JSON batch, at most; a batch in NDJSON may have any number.",
        ),
    ] = 10_000
    stamp_message_id: Annotated[
        bool,
        Meta(
            description="Give messages without a message_id one: the request's Idempotency-Key, "
            "else a UUID. The answer tells it."
        ),
    ] = False
    stamp_timestamp: Annotated[
        bool, Meta(description="Give messages without a timestamp the time of their request.")
    ] = False
    stamp_app_id: Annotated[
        Annotated[str, Meta(max_length=63)] | None,
        Meta(description="The app_id of messages that have none."),
    ] = None
    allow_remote_guest: Annotated[
        bool,
        Meta(
            description="Let the user guest publish from other hosts. RabbitMQ lets guest in over "
            "loopback only, and takes all our clients to be there."
        ),
    ] = False


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """What ``/metrics`` tells beyond the usual."""

    exchanges: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="Exchanges whose publishes are counted one by one, by virtual host and "
            "outcome: the first so many that take a message. The rest is counted together.",
        ),
    ] = 0


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway does."""

    debug: Annotated[
        bool,
        Meta(description="Log at DEBUG, and use handlers marked debug_only (in the foreground)."),
    ] = False
    log: Annotated[
        str,
        Meta(
            pattern="^(auto|console|json|syslog)$",
            description="Form of the log, without a section Logging: console (lines on standard "
            "error), json (an object in each line there), or syslog; auto is console, and syslog "
            "for a daemon.",
        ),
    ] = "auto"
    access_log: Annotated[
        int,
        Meta(
            ge=0,
            description="Every how many requests one is logged, as statelessd.access at INFO; "
            "1 is each, 0 none.",
        ),
    ] = 0
    xsrf_cookies: Annotated[
        bool,
        Meta(
            description="Refuse also what does not say which site it comes from, as no browser's "
            "request does since 2020. Cookies are never used."
        ),
    ] = False
    paths: Paths = Paths()
    rabbitmq: RabbitMQ = RabbitMQ()
    publish: Publish = Publish()
    metrics: Metrics = Metrics()


class Route(msgspec.Struct, frozen=True):
    """A regular expression for raw paths, and the class that answers, by its dotted name."""

    pattern: str
    endpoint: str


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration.

    Without ``routes`` the built-in ones apply, and without ``logging`` a ready-made log.
    """

    daemon: Daemon = Daemon()
    application: Application = Application()
    http_server: HTTPServer = HTTPServer()
    routes: tuple[Route, ...] = ()
    logging: dict[str, Any] | None = None


SECTIONS: dict[str, tuple[str, type[msgspec.Struct]]] = {
    "Daemon": ("daemon", Daemon),
    "Application": ("application", Application),
    "HTTPServer": ("http_server", HTTPServer),
}
"""The attribute of Config and the type of each section; Routes and Logging have other forms."""


def without_secrets(config: Config) -> Config:
    """Return the configuration without passwords."""
    probe = config.application.rabbitmq.probe
    if not probe.password:
        return config
    replace = msgspec.structs.replace
    shown = replace(probe, password="…")  # noqa: S106 - stands for one
    rabbitmq = replace(config.application.rabbitmq, probe=shown)
    return replace(config, application=replace(config.application, rabbitmq=rabbitmq))
