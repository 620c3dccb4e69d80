"""Make room for open files: each client and each broker connection is one.

If fewer may be open than the settings need, all connections share what there is. A reserve
stays for files, for pages, and for clients that get a 503.
"""

import logging
import resource
from typing import NamedTuple

from ..broker.login_gate import AGAIN
from ..config.settings import Config
from ..http1.places import SPARE

logger = logging.getLogger(__name__)

OF_LOGIN = 1 + AGAIN  # connections under way for each first login
OWN = 100  # for listeners, logs, the event loop, files, and connections that are being made


class Room(NamedTuple):
    """How many connections a backend may have open.

    ``logins``: those under way at once. ``spare``: clients above the limit that are told so.
    """

    clients: int
    to_broker: int
    logins: int
    spare: int


def room(config: Config, files: int) -> Room:
    """Return the room where so many ``files`` may be open."""
    clients = config.http_server.max_connections
    to_broker = config.application.rabbitmq.max_connections
    logins = config.application.rabbitmq.max_logins
    if _suffices(files, _needed(config)):
        return Room(clients, to_broker, logins, SPARE)
    spare = min(SPARE, max(1, files // 10))
    logins = min(logins, max(1, files // 10 // OF_LOGIN))
    left = max(2, files - min(OWN, files // 4) - spare - logins * OF_LOGIN)
    clients = min(clients, left - min(to_broker, left // 3))
    return Room(clients, min(to_broker, left - clients), logins, spare)


def open_files() -> int:
    """Return how many files this process may have open, or RLIM_INFINITY."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def make_room(config: Config) -> None:
    """Raise this process's limit of open files to what the configured connections need."""
    needed = _needed(config)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _suffices(soft, needed):
        return
    try:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (needed, hard if _suffices(hard, needed) else needed)
        )
    except (ValueError, OSError):  # only root may raise the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        made = room(config, hard)
        logger.warning(
            "the limit of open files is %d, and the configured connections need %d: each backend "
            "takes at most %d clients and %d connections to the broker. Raise the limit "
            "(ulimit -n, LimitNOFILE) or lower HTTPServer.max_connections",
            hard,
            needed,
            made.clients,
            made.to_broker,
        )


def _needed(config: Config) -> int:
    rabbitmq = config.application.rabbitmq
    connections = config.http_server.max_connections + rabbitmq.max_connections
    return connections + rabbitmq.max_logins * OF_LOGIN + SPARE + OWN


def _suffices(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed
