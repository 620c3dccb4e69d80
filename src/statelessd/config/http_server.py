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
    str | None, setting("PEM file with its private key; else that is in the certificate's file.")
]
TlsVersion = Annotated[Literal["1.2", "1.3"], setting("The oldest version of TLS that is spoken.")]


class Cors(msgspec.Struct, frozen=True, kw_only=True):
    """Which web pages of other origins may call this one (Fetch standard, section 3.2)."""

    origins: Annotated[
        tuple[str, ...],
        setting(
            "Origins such as https://app.example.com whose pages may publish and read the answers; "
            "* for all, without credentials that the browser keeps, and so not with a form. Empty: "
            "none."
        ),
    ] = ()
    methods: Annotated[
        tuple[str, ...], setting("Methods that a preflight is granted.", min_length=1)
    ] = ("GET", "HEAD", "POST")
    headers: Annotated[
        tuple[str, ...],
        setting("Request headers that a preflight is granted; * for whatever it asks for."),
    ] = ("*",)
    credentials: Annotated[
        bool, setting("Let pages of these origins use the credentials that the browser keeps.")
    ] = False
    max_age: Annotated[
        int, setting("Seconds for which a preflight's answer is kept.", ge=0, le=86_400)
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
    """TLS for the TCP ports."""

    certificate: Annotated[
        str | None,
        setting(
            "PEM file with the certificate, then those up to its authority. With it all TCP ports "
            "speak TLS; a changed file is taken up."
        ),
    ] = None
    key: KeyFile = None
    minimum_version: TlsVersion = "1.2"


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """Who may read the pages about this gateway, and where."""

    networks: Annotated[
        tuple[str, ...],
        setting(
            "Networks whose clients may read the dashboard, /stats, /metrics, /docs and what "
            "belongs to them; empty: everybody. The client is the peer, or whom xheaders tells of; "
            "that of a Unix socket is on loopback."
        ),
    ] = ()
    listener: Annotated[
        Listener | None,
        setting(
            "TCP port, or Unix socket as `unix:/path`, beside ports, where alone those pages are; "
            "else they are everywhere. It has a backend process of its own, which publishes as "
            "well."
        ),
    ] = None
    address: Annotated[
        str | None, setting("Address of that port; else that of HTTPServer; empty: all interfaces.")
    ] = None


class HTTPServer(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how HTTP is served."""

    ports: Annotated[
        tuple[Listener, ...],
        setting(
            "TCP ports, and Unix sockets as `unix:/path`; a backend process for each.", min_length=1
        ),
    ] = (8000,)
    address: Annotated[
        str,
        setting(
            "Address to listen on; empty: all interfaces, which is the default with a "
            "configuration file."
        ),
    ] = "127.0.0.1"
    unix_mode: Annotated[
        str,
        setting(
            "Who may connect to the Unix sockets: their mode, in octal and in quotes.",
            pattern="^0?[0-7]{3}\\Z",
            title='an octal mode in quotes, such as "0660"',
        ),
    ] = "0660"
    unix_group: Annotated[
        str | None, setting("Group of the Unix sockets; else the process's own.")
    ] = None
    hosts: Annotated[
        tuple[str, ...],
        setting(
            "Names of this gateway besides localhost and the machine's own. A browser's page may "
            "use these and IP addresses only, if its user is guest or the listener is on loopback."
        ),
    ] = ()
    tls: Tls = Tls()
    no_keep_alive: Annotated[bool, setting("Close each client connection after one request.")] = (
        False
    )
    xheaders: Annotated[
        bool, setting("Believe X-Real-IP and X-Forwarded-For from trusted_proxies.")
    ] = False
    trusted_proxies: Annotated[
        tuple[str, ...], setting("Networks whose word on the client's address counts.")
    ] = ("127.0.0.0/8", "::1/128")
    max_connections: Annotated[int, setting("Client connections of each backend.", ge=1)] = 10_000
    max_body_bytes: Annotated[
        int,
        setting(
            "Bytes of a request's body, at most, also after decompression.", ge=1, le=512 * MIB
        ),
    ] = 10 * MIB
    max_unverified_bytes: Annotated[
        int,
        setting(
            "Bytes that requests may hold in each backend before RabbitMQ has let their users in. "
            "A request that needs more gets a 503.",
            ge=64 * KIB,
        ),
    ] = 32 * MIB
    max_header_bytes: Annotated[
        int, setting("Bytes of a request's line and headers, at most.", ge=1 * KIB, le=1 * MIB)
    ] = 16 * KIB
    max_header_fields: Annotated[
        int, setting("Header fields of a request, at most.", ge=1, le=10_000)
    ] = 100
    header_timeout: Annotated[
        float, setting("Seconds for a request's headers to arrive.", gt=0, le=YEAR)
    ] = 10.0
    body_timeout: Annotated[
        float,
        setting("Seconds without a byte of the body, or of room for the answer.", gt=0, le=YEAR),
    ] = 10.0
    idle_timeout: Annotated[
        float, setting("Seconds for which an idle client connection is kept.", gt=0, le=YEAR)
    ] = 75.0
    linger_rate: Annotated[
        int,
        setting(
            "Bytes a second that a client has to send while the rest of a request is discarded "
            "that was answered early. The connection of a slower client is closed after 5 s.",
            ge=1,
        ),
    ] = 64 * KIB
    linger_timeout: Annotated[
        float,
        setting(
            "Seconds for which the rest of such a request is discarded, so that the client can "
            "read its answer.",
            ge=0,
            le=3600,
        ),
    ] = 30.0
    max_lingering: Annotated[
        int,
        setting(
            "Connections of each backend that discard the rest of a request at once. Others are "
            "closed right after their answer, which their clients may lose.",
            ge=0,
        ),
    ] = 1000
    drain_timeout: Annotated[
        float, setting("Seconds for requests under way when stopping.", gt=0, le=3600)
    ] = 10.0
    ready_needs_broker: Annotated[
        bool,
        setting(
            "Let /readyz be 503 also while the broker cannot be reached, does not take the probe's "
            "login, or blocks publishers."
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
