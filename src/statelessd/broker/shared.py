"""What all sessions of a backend share."""

import asyncio
from typing import Any, NamedTuple

from ..amqp.protocol import Login
from ..config.settings import RabbitMQ
from ..message import Credentials
from .alarm import ResourceAlarm
from .connection import SPARE_CHANNELS
from .login_gate import LoginGate
from .reachability import Reachability
from .statistics import ConnectionCounters


class Shared(NamedTuple):
    """What all sessions of a backend share."""

    settings: RabbitMQ
    client_properties: dict[str, Any]
    alarm: ResourceAlarm
    reachability: Reachability
    counters: ConnectionCounters
    gate: LoginGate
    loop: asyncio.AbstractEventLoop

    def login(self, virtual_host: str, credentials: Credentials) -> Login:
        """Return what to log in with, and what to ask the broker for."""
        settings = self.settings
        return Login(
            credentials.username,
            credentials.password,
            virtual_host,
            self.client_properties,
            frame_max=settings.frame_max,
            channel_max=min(settings.channels_per_connection + SPARE_CHANNELS, 65535),
            heartbeat=settings.heartbeat,
        )
