"""The YAML file and the environment -> Config; every setting declared once."""

import msgspec


class RabbitMQ(msgspec.Struct, frozen=True, kw_only=True):
    """Application.rabbitmq"""

    host: str = "localhost"
    port: int = 5672
    connect_timeout: float = 5.0
    login_timeout: float = 5.0
    channel_timeout: float = 5.0
    heartbeat: int = 30
    frame_max: int = 131072
    max_connections: int = 1000
    channels_per_connection: int = 64
    in_flight_per_connection: int = 2000
    idle_timeout: float = 600.0
    stalled_timeout: float = 30.0


class Publish(msgspec.Struct, frozen=True, kw_only=True):
    """Application.publish"""

    timeout: float = 4.0
    max_timeout: float = 60.0
    mandatory: bool = False
    persistent: bool = True
    max_messages: int = 10000
    max_bytes: int = 64 * 1024 * 1024
    allow_remote_guest: bool = False


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Application.paths"""

    base: str | None = None
    static: str | None = None
    templates: str | None = None


class Application(msgspec.Struct, frozen=True, kw_only=True):
    debug: bool = False
    xsrf_cookies: bool = False
    paths: Paths = Paths()
    rabbitmq: RabbitMQ = RabbitMQ()
    publish: Publish = Publish()


class HTTPServer(msgspec.Struct, frozen=True, kw_only=True):
    ports: tuple[int, ...] = (8000,)
    address: str = "127.0.0.1"  # "" = all interfaces, the default with a config file
    no_keep_alive: bool = False
    xheaders: bool = False
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    max_connections: int = 10000
    max_body_bytes: int = 10 * 1024 * 1024
    max_header_bytes: int = 16 * 1024
    max_header_fields: int = 100
    header_timeout: float = 10.0
    body_timeout: float = 10.0  # without a byte of the body arriving
    idle_timeout: float = 75.0  # keep-alive, between requests
    drain_timeout: float = 10.0


class Route(msgspec.Struct, frozen=True):
    pattern: str
    endpoint: str  # dotted class: statelessd.Publisher, statelessd.Stats, statelessd.Dashboard


class Config(msgspec.Struct, frozen=True, kw_only=True):
    application: Application = Application()
    http_server: HTTPServer = HTTPServer()
    routes: tuple[Route, ...] = ()  # empty: the built-in ones
