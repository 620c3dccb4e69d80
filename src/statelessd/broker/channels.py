"""The channels of one session: opened as there is room, one for each exchange."""

import asyncio
from abc import ABC, abstractmethod

from .channel import ExchangeChannel, Phase
from .connection import BrokerConnection
from .publish import Publish
from .state import SessionState


class ChannelKeeping(ABC):
    """What a session does with its channels. ``starved``: one of them waits for room."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        self.state = SessionState.IDLE
        self.connection: BrokerConnection | None = None
        self.starved = False
        self._loop = loop
        self._channels: dict[str, ExchangeChannel] = {}  # by exchange
        self._single_use: dict[ExchangeChannel, None] = {}
        self._channel_limit = limit

    @abstractmethod
    def _new_channel(self, exchange: str, *, single_use: bool) -> ExchangeChannel:
        """One whose owner is this session."""

    @abstractmethod
    def submit_again(self, publishes: list[Publish]) -> None:
        """Messages of this session that were not handed over, or discarded by the broker."""

    def _open_channel_for(self, publish: Publish, *, single_use: bool) -> None:
        exchange = publish.message.exchange
        channel = self._new_channel(exchange, single_use=single_use)
        if single_use:
            self._single_use[channel] = None
        else:
            self._channels[exchange] = channel
        channel.submit(publish)
        self._make_room()
        self._open_channels()

    def _open_channels(self) -> None:
        """Open what is queued, as far as the connection has room."""
        connection = self.connection
        assert connection is not None  # noqa: S101 - the session is open
        queued = []
        for channel in self._all_channels():
            if channel.phase is Phase.QUEUED:
                if channel.idle:
                    self.drop(channel)  # whoever wanted it gave up
                else:
                    queued.append(channel)
        for channel in queued:
            if not self._has_room(connection):
                break
            number = connection.amqp.open_channel(connection.channels)
            connection.channels[number] = channel
            channel.open(number, self._loop.time())
            connection.flush_soon()
        self.starved = any(c.phase is Phase.QUEUED for c in queued)

    def _has_room(self, connection: BrokerConnection) -> bool:
        return len(connection.channels) < min(self._channel_limit, connection.amqp.channel_max)

    def _make_room(self) -> None:
        """At the limit of channels the least recently used idle one goes."""
        connection = self.connection
        assert connection is not None  # noqa: S101 - the session is open
        if self._has_room(connection):
            return
        idle = [
            c
            for c in self._channels.values()
            if c.idle and c.phase in (Phase.FRESH, Phase.PIPELINED)
        ]
        if idle:
            self.release(min(idle, key=lambda c: c.used_at))

    def release(self, channel: ExchangeChannel) -> None:
        """Close an idle channel."""
        if channel.phase is Phase.GONE:
            return
        self.drop(channel)
        # While the session closes, every channel is being closed already.
        if self.state is SessionState.OPEN and self.connection is not None:
            channel.phase = Phase.GONE
            self.connection.amqp.close_channel(channel.number)
            self.connection.flush_soon()

    def drop(self, channel: ExchangeChannel) -> None:
        """Give the channel no more messages."""
        self._single_use.pop(channel, None)
        if self._channels.get(channel.exchange) is channel:
            del self._channels[channel.exchange]

    def _renew(self, channel: ExchangeChannel) -> None:
        """Let a fresh channel take over, and the old one settle what it has.

        A channel of RabbitMQ 3.10 that began while a quorum queue had no leader
        goes on asking the one that is gone, and nacks, until it is back.
        """
        self.drop(channel)
        self._single_use[channel] = None
        self.submit_again(channel.retire())

    def _all_channels(self) -> list[ExchangeChannel]:
        return [*self._channels.values(), *self._single_use]
