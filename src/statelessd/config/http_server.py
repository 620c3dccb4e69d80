"""The settings of HTTPServer, declared once as the others in ``settings``."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

KIB, MIB = 1024, 1024 * 1024
YEAR = 365 * 24 * 3600  # seconds


def setting(description: str, **bounds: Any) -> Meta:
    """Return a setting's line of help and its bounds."""
    return Meta(description=description, **bounds)


KeyFile = Annotated[
    str | None,
    setting(
        "PEM file with the private key of the certificate. Without it, the key is in "
        "the file of the certificate."
    ),
]
TlsVersion = Annotated[Literal["1.2", "1.3"], setting("Oldest version of TLS to accept.")]


class Cors(msgspec.Struct, frozen=True, kw_only=True):
    """Web pages of other origins that may publish (Fetch standard, section 3.2)."""

    origins: Annotated[
        tuple[str, ...],
        setting(
            "Origins such as https://app.example.com whose pages may publish and read the "
            "answers. * allows all, but without stored credentials, and so not with a "
            "form. Empty: none."
        ),
    ] = ()
    methods: Annotated[
        tuple[str, ...], setting("Methods that the answer to a preflight allows.", min_length=1)
    ] = ("GET", "HEAD", "POST")
    headers: Annotated[
        tuple[str, ...],
        setting(
            "Request headers that the answer to a preflight allows. * allows all that it asks for."
        ),
    ] = ("*",)
    credentials: Annotated[
        bool, setting("Let pages of these origins use credentials that the browser has stored.")
    ] = False
    max_age: Annotated[
        int,
        setting("Seconds for which browsers may keep the answer to a preflight.", ge=0, le=86_400),
    ] = 600


Port = Annotated[int, Meta(title="a port from 1 to 65535", ge=1, le=65535)]
UnixSocket = Annotated[
    str,
    Meta(
        title="a Unix socket such as unix:/run/statelessd.sock",
        pattern="^unix:/[^\\x00-\\x1f\\x7f]+\\Z",
    ),
]
Listener = Port | UnixSocket


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """TLS of the TCP ports."""

    certificate: Annotated[
        str | None,
        setting(
            "PEM file with the certificate, followed by its intermediate certificates. "
            "With it, all TCP ports use TLS. New connections use a changed file."
        ),
    ] = None
    key: KeyFile = None
    minimum_version: TlsVersion = "1.2"


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """Who may read the pages about the gateway, and at which listener."""

    networks: Annotated[
        tuple[str, ...],
        setting(
            "Networks whose clients may read the dashboard, /stats, /metrics, /docs and "
            "what belongs to them. Empty: everybody may. The address of a client is that "
            "of its connection, or with xheaders the one that its proxy names. A client "
            "of a Unix socket counts as loopback."
        ),
    ] = ()
    listener: Annotated[
        Listener | None,
        setting(
            "TCP port, or Unix socket as `unix:/path`, on which alone those pages are. "
            "Without it, they are on all ports. It must not be one of ports. Its own "
            "backend process publishes as well."
        ),
    ] = None
    address: Annotated[
        str | None,
        setting(
            "Address of this port. Without it, that of HTTPServer.address. An empty text "
            "means all interfaces."
        ),
    ] = None


class HTTPServer(msgspec.Struct, frozen=True, kw_only=True):
    """Listeners, and limits of HTTP."""

    ports: Annotated[
        tuple[Listener, ...],
        setting(
            "TCP ports, and Unix sockets as `unix:/path`. Each has a backend process.", min_length=1
        ),
    ] = (8000,)
    address: Annotated[
        str,
        setting(
            "Address of the TCP ports. An empty text means all interfaces, which is the "
            "default with a configuration file."
        ),
    ] = "127.0.0.1"
    unix_mode: Annotated[
        str,
        setting(
            "Mode of the Unix sockets, in octal and in quotes. It decides who may connect.",
            pattern="^0?[0-7]{3}\\Z",
            title='an octal mode in quotes, such as "0660"',
        ),
    ] = "0660"
    unix_group: Annotated[
        str | None,
        setting("Group of the Unix sockets. Without it, they have the group of the process."),
    ] = None
    hosts: Annotated[
        tuple[str, ...],
        setting(
            "Host names of this gateway besides localhost and the machine's own name. If "
            "the listener is on loopback or the user is guest, web pages may use only "
            "these names and IP addresses."
        ),
    ] = ()
    tls: Tls = Tls()
    no_keep_alive: Annotated[bool, setting("Close each client connection after one request.")] = (
        False
    )
    xheaders: Annotated[
        bool,
        setting(
            "Take the address of a client from X-Real-IP and X-Forwarded-For, if the "
            "request comes from trusted_proxies or over a Unix socket."
        ),
    ] = False
    trusted_proxies: Annotated[
        tuple[str, ...],
        setting("Networks of the proxies whose X-Real-IP and X-Forwarded-For are believed."),
    ] = ("127.0.0.0/8", "::1/128")
    max_connections: Annotated[
        int,
        setting(
            "Largest number of client connections of each backend. Further clients get a 503 "
            "(overloaded).",
            ge=1,
        ),
    ] = 10_000
    max_body_bytes: Annotated[
        int,
        setting(
            "Largest body of a request in bytes, also after decompression.", ge=1, le=512 * MIB
        ),
    ] = 10 * MIB
    max_unverified_bytes: Annotated[
        int,
        setting(
            "Bytes that requests may hold in each backend before RabbitMQ has accepted "
            "their users. A request that needs more gets a 503.",
            ge=64 * KIB,
        ),
    ] = 32 * MIB
    max_header_bytes: Annotated[
        int,
        setting(
            "Largest size in bytes of the request line and the headers.", ge=1 * KIB, le=1 * MIB
        ),
    ] = 16 * KIB
    max_header_fields: Annotated[
        int, setting("Largest number of header fields of a request.", ge=1, le=10_000)
    ] = 100
    header_timeout: Annotated[
        float, setting("Seconds for the headers of a request to arrive.", gt=0, le=YEAR)
    ] = 10.0
    body_timeout: Annotated[
        float,
        setting(
            "Seconds that a client may send nothing of a body, or read nothing of an answer.",
            gt=0,
            le=YEAR,
        ),
    ] = 10.0
    idle_timeout: Annotated[
        float, setting("Seconds for which an idle client connection is kept.", gt=0, le=YEAR)
    ] = 75.0
    linger_rate: Annotated[
        int,
        setting(
            "Bytes a second that a client must send while the gateway discards the rest "
            "of a request that it has already answered. The connection of a slower client "
            "is closed after 5 s.",
            ge=1,
        ),
    ] = 64 * KIB
    linger_timeout: Annotated[
        float,
        setting(
            "Longest time in seconds for which the rest of such a request is discarded, "
            "so that the client can read its answer.",
            ge=0,
            le=3600,
        ),
    ] = 30.0
    max_lingering: Annotated[
        int,
        setting(
            "Largest number of connections of each backend that discard the rest of a "
            "request. Further ones are closed right after their answer, which their "
            "clients may lose.",
            ge=0,
        ),
    ] = 1000
    drain_timeout: Annotated[
        float, setting("Seconds for the requests in flight when a backend stops.", gt=0, le=3600)
    ] = 10.0
    ready_needs_broker: Annotated[
        bool,
        setting(
            "Answer 503 to /readyz also while RabbitMQ cannot be reached, refuses the "
            "login of the probe, or blocks publishers."
        ),
    ] = False
    cors: Cors = Cors()
    pages: Pages = Pages()

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Return all listeners. Each has a backend."""
        own = self.pages.listener
        return self.ports if own is None else (*self.ports, own)

    def address_of(self, port: Listener) -> str:
        """Return the address of this port; empty for all interfaces."""
        own = self.pages.address
        return own if own is not None and port == self.pages.listener else self.address
