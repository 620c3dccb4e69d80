"""The channels of one session: one for each exchange, or several while something parts it."""

import asyncio
from abc import ABC, abstractmethod
from typing import Any

from .channel import ExchangeChannel, Watcher
from .connection import SPARE_CHANNELS, BrokerConnection
from .pending import Publish
from .quarantine import Diversion, Quarantine
from .split_exchange import SplitExchange
from .state import ChannelPhase, SessionState

MOST_PATIENCE, SLOW_FOR = 5.0, 60.0  # seconds
MOST_PARTED = 16  # channels of a session that do not answer, with a successor each


class ChannelKeeping(ABC):
    """What a session does with its channels. ``starved``: one of them waits for room."""

    virtual_host: str
    username: str
    load: int

    def __init__(
        self,
        limit: int,
        exchange_limit: int,
        watcher: Watcher | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.state = SessionState.IDLE
        self.connection: BrokerConnection | None = None
        self.starved = False
        self.slowness = 0.0  # seconds that a channel is given because the broker was slow
        self._slow_until = 0.0
        self._loop = loop
        self._channels: dict[str, ExchangeChannel | SplitExchange | Diversion] = {}
        self._single_use: dict[ExchangeChannel, None] = {}
        self._channel_limit = limit
        self.quarantine: Quarantine[Any] | None = None
        self._watcher = watcher  # of every channel, where a quarantine uses the session
        self._exchange_limit = exchange_limit  # messages of one, while it does not answer

    @abstractmethod
    def _new_channel(self, exchange: str, **how: Any) -> ExchangeChannel:
        """Return one whose owner is this session."""

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether channels can be opened and used."""

    @abstractmethod
    def why_waiting(self) -> str:
        """Return a sentence for the client whose message was not handed over in time."""

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
        self.open_channels()

    def new_channel(
        self, exchange: str, *, watcher: Watcher, alone: bool, is_question: bool
    ) -> ExchangeChannel:
        """Return one more channel of a parted exchange; ``open_channels`` opens it."""
        return self._new_channel(exchange, watcher=watcher, alone=alone, is_question=is_question)

    def open_channels(self) -> None:
        """Open what is queued, at the limit in place of the least recently used idle one."""
        self._make_room()
        self._open_queued()

    def _open_queued(self) -> None:
        """Open what is queued, as far as the connection has room."""
        connection = self.connection
        assert connection is not None  # noqa: S101 - the session is open
        queued = []
        for channel in self.all_channels():
            if channel.phase is ChannelPhase.QUEUED:
                if channel.idle and channel.watcher is None:
                    self.drop(channel)  # whoever wanted it gave up
                else:
                    queued.append(channel)
        for channel in queued:
            if not self._has_room(connection, SPARE_CHANNELS if channel.watcher else 0):
                break
            number = connection.amqp.open_channel(connection.channels)
            connection.channels[number] = channel
            channel.open(number, self._loop.time())
            connection.flush_soon()
        self.starved = any(c.phase is ChannelPhase.QUEUED for c in queued)

    def _has_room(self, connection: BrokerConnection, spare: int = 0) -> bool:
        limit = min(self._channel_limit + spare, connection.amqp.channel_max)
        return len(connection.channels) < limit

    def _make_room(self) -> None:
        """At the limit of channels the least recently used idle one goes."""
        connection = self.connection
        assert connection is not None  # noqa: S101 - the session is open
        if self._has_room(connection):
            return
        idle = [
            c
            for c in self.all_channels()
            if c.idle and c.phase in (ChannelPhase.FRESH, ChannelPhase.PIPELINED)
        ]
        if idle:
            self.release(min(idle, key=lambda c: c.used_at))

    def release(self, channel: ExchangeChannel) -> None:
        """Close an idle channel."""
        if channel.phase is ChannelPhase.GONE:
            return
        self.drop(channel)
        # While the session closes, every channel is being closed already.
        if self.state is SessionState.OPEN and self.connection is not None:
            if channel.phase is not ChannelPhase.QUEUED:
                self.connection.amqp.close_channel(channel.number)
                self.connection.flush_soon()
            channel.phase = ChannelPhase.GONE
        if channel.watcher is not None:
            channel.watcher.gone(channel, ())

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
        self.submit_again(self.retire(channel))

    def retire(self, channel: ExchangeChannel) -> list[Publish]:
        """Let a channel settle what it has, and end; return what waits for it."""
        self.drop(channel)
        self._single_use[channel] = None
        return channel.retire()

    def set_aside(self, exchange: str) -> None:
        """Open a new channel for an exchange, so that its next message waits for no confirm."""
        channel = self._channels.get(exchange)
        if isinstance(channel, ExchangeChannel) and len(self._single_use) < MOST_PARTED:
            self._renew(channel)

    def owns(self, channel: ExchangeChannel) -> bool:
        """Return whether a retired channel is on this session's connection."""
        return channel in self._single_use

    def unretire(self, channel: ExchangeChannel) -> None:
        """Let a channel that was retired, and is this session's, go on after all."""
        del self._single_use[channel]
        channel.single_use = False

    def unsettled(self, channel: ExchangeChannel) -> dict[int, Publish]:
        """Return a channel's messages that await the broker's word, by delivery tag."""
        connection = self.connection
        return connection.amqp.unsettled(channel.number) if connection is not None else {}

    @property
    def may_part(self) -> bool:
        """Whether one more channel may be left to settle what it has, with a successor."""
        connection = self.connection
        parted = sum(channel.watcher is not None for channel in self._single_use)
        return (
            connection is not None
            and self._watcher is None
            and parted < MOST_PARTED
            and self._has_room(connection, SPARE_CHANNELS)
        )

    def parted(self, exchange: str) -> SplitExchange:
        """Return the exchange as one that several channels serve from now on."""
        route = self._channels.get(exchange)
        if isinstance(route, SplitExchange):
            return route
        assert not isinstance(route, Diversion)  # noqa: S101 - no channel of it is here
        made = SplitExchange(self, exchange, self._exchange_limit)
        if route is not None:
            made.adopt(route)
        self._channels[exchange] = made
        return made

    def guard(self, exchange: str) -> None:
        """A topic of the exchange was refused: let routing keys prove themselves alone."""
        if not isinstance(self._channels.get(exchange), Diversion) and self._watcher is None:
            self.parted(exchange).guard(self.now)

    def divert(self, exchange: str, quarantine: Quarantine[Any]) -> None:
        """Let a quarantine have the messages of an exchange."""
        self._channels[exchange] = Diversion(quarantine)

    def divert_suspects(self, quarantine: Quarantine[Any] | None) -> None:
        """Let a quarantine have the messages of the exchanges that it suspects."""
        self.quarantine = quarantine
        for exchange in list(self._channels):
            self.undivert(exchange)  # it may have returned to another session meanwhile
        if quarantine is not None:
            for exchange in quarantine.exchanges:
                self.divert(exchange, quarantine)

    def take_over_channels(self, old: "ChannelKeeping") -> None:
        """Let each exchange go on here when the old connection has confirmed what it sent."""
        self.divert_suspects(old.quarantine)
        for exchange, route in list(old._channels.items()):
            if isinstance(route, Diversion) or (isinstance(route, ExchangeChannel) and route.idle):
                continue
            parted = old.parted(exchange)
            old.whole_again(parted, None)
            self._channels[exchange] = parted
            parted.follow(self, self.now)

    def undivert(self, exchange: str) -> None:
        """Let the messages of an exchange take this connection again."""
        if isinstance(self._channels.get(exchange), Diversion):
            del self._channels[exchange]

    def whole_again(self, parted: SplitExchange, channel: ExchangeChannel | None) -> None:
        """Give the exchange back to one channel."""
        if self._channels.get(parted.exchange) is parted:
            del self._channels[parted.exchange]
            if channel is not None:
                self._channels[parted.exchange] = channel

    def _lose_channels(self) -> list[Publish]:
        """The connection is gone: return what waited, in order for each exchange."""
        routes, single_use = self._channels, self._single_use
        self._channels, self._single_use = {}, {}
        waiting = [publish for route in routes.values() for publish in route.lost()]
        return waiting + [publish for channel in single_use for publish in channel.lost()]

    def was_slow(self, took: float) -> None:
        """A message that did not seem to be confirmed was, after so many seconds.

        For a while channels are given twice that time, so that a slow broker does not get
        one new channel after the other.
        """
        self.slowness = max(self.slowness, min(2 * took, MOST_PATIENCE))
        self._slow_until = self.now + SLOW_FOR

    @property
    def now(self) -> float:
        """Return the event loop's time, in seconds."""
        return self._loop.time()

    def routes(self) -> list[ExchangeChannel | SplitExchange]:
        """Return what takes messages, for each exchange that is not on quarantine."""
        return [each for each in self._channels.values() if not isinstance(each, Diversion)]

    def all_channels(self) -> list[ExchangeChannel]:
        """Return every channel that may still settle something."""
        found = list(self._single_use)
        for route in self._channels.values():
            if isinstance(route, ExchangeChannel):
                found.append(route)
            else:
                found += route.channels
        return found
