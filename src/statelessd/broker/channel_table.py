"""The channels of one session: one for each exchange, or several for an exchange that is split."""

import asyncio
from abc import abstractmethod
from typing import Final, TypeGuard

from ..config.settings import RabbitMQ
from .channel import ChannelOwner, ExchangeChannel, Route, Watcher
from .connection import SPARE_CHANNELS, BrokerConnection
from .pending import Publish
from .split_exchange import SplitExchange
from .state import ChannelPhase, SessionState

MOST_PATIENCE, SLOW_FOR = 5.0, 60.0  # seconds
MOST_SILENT = 16  # channels of a session that do not answer, with a successor each
NO_LIMIT: Final = 1 << 60  # bytes
NACKS = 1.0  # seconds after which a channel is replaced that the broker nacks on


class Diverted(Route):
    """Takes the messages of some exchanges to another connection, in place of a channel."""

    @property
    @abstractmethod
    def exchanges(self) -> list[str]: ...


class ChannelTable:
    """Finds or opens the channel for each message of a session.

    ``watcher`` watches every channel. ``limit`` bounds them. ``starved``: one waits for room.
    """

    def __init__(
        self,
        session: ChannelOwner,
        settings: RabbitMQ,
        watcher: Watcher | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.session = session
        self.starved = False
        self.limit = settings.channels_per_connection
        self.too_large = NO_LIMIT  # bytes of a body that the broker closed a channel over
        self.quarantine: Diverted | None = None
        self._slowness = self._slow_until = 0.0
        # The one user_id that the broker surely accepts; it alone knows the user of a token.
        mine = session.credentials
        self._user_id = None if mine.is_token else mine.username
        self._exchange_limit = settings.in_flight_per_connection // 4  # once it is stuck
        self._watcher = watcher
        self._loop = loop
        self._routes: dict[str, Route] = {}
        self._single_use: dict[ExchangeChannel, None] = {}

    def submit(self, publish: Publish) -> None:
        """Give the message to the channel of its exchange, or to a channel of its own."""
        message = publish.message
        route = self._routes.get(message.exchange)
        if (message.user_id is not None or publish.size >= self.too_large) and (
            route is None or _is_here(route)
        ):
            foreign = message.user_id is not None and message.user_id != self._user_id
            if foreign or publish.body_size >= self.too_large:
                self._open_for(publish, single_use=True)
                return
        if route is None:
            self._open_for(publish, single_use=False)
        else:
            route.used_at = self.session.used_at
            route.submit(publish)

    def _open_for(self, publish: Publish, *, single_use: bool) -> None:
        exchange = publish.message.exchange
        channel = ExchangeChannel(
            self.session, self, exchange, watcher=self._watcher, single_use=single_use
        )
        if single_use:
            self._single_use[channel] = None
        else:
            self._routes[exchange] = channel
        channel.submit(publish)
        self.open_channels()

    # Opening and closing

    def open_channels(self) -> None:
        """Open what is queued, at the limit in place of the least recently used idle channel."""
        if not self.has_room():
            open_ones = (ChannelPhase.FRESH, ChannelPhase.PIPELINED)
            idle = [c for c in self.channels() if c.idle and c.phase in open_ones]
            if idle:
                self.release(min(idle, key=lambda channel: channel.used_at))
        self.open_queued()

    def open_queued(self) -> None:
        """Open what is queued, as far as the connection has room."""
        queued = []
        for channel in self.channels():
            if channel.phase is ChannelPhase.QUEUED:
                if channel.idle and channel.watcher is None:
                    self.drop(channel)  # the client that wanted it gave up
                else:
                    queued.append(channel)
        for channel in queued:
            if not self.has_room(SPARE_CHANNELS if channel.watcher else 0):
                break
            channel.open(self._connection.open_channel(channel), self.now)
        self.starved = any(channel.phase is ChannelPhase.QUEUED for channel in queued)

    def has_room(self, spare: int = 0) -> bool:
        """Return whether the connection may have one more channel, ``spare`` beyond the limit."""
        connection = self._connection
        limit = min(self.limit + spare, connection.amqp.channel_max)
        return len(connection.channels) < limit

    def release(self, channel: ExchangeChannel) -> None:
        """Close an idle channel."""
        if channel.phase is ChannelPhase.GONE:
            return
        self.drop(channel)
        # While the session closes, every channel is being closed already.
        if self.is_open:
            if channel.phase is not ChannelPhase.QUEUED:
                self._connection.close_channel(channel.number)
            channel.end()
        if channel.watcher is not None:
            channel.watcher.gone(channel, ())

    def drop(self, channel: ExchangeChannel) -> None:
        """Give the channel no more messages."""
        self._single_use.pop(channel, None)
        if self._routes.get(channel.exchange) is channel:
            del self._routes[channel.exchange]

    def retire(self, channel: ExchangeChannel) -> list[Publish]:
        """Let a channel settle what it has, then end; return the messages that wait for it."""
        self.drop(channel)
        self._single_use[channel] = None
        return channel.retire()

    def unretire(self, channel: ExchangeChannel) -> bool:
        """Let a retired channel go on; return False if it is not on this connection."""
        if channel not in self._single_use:
            return False
        del self._single_use[channel]
        channel.single_use = False
        return True

    def renew(self, channel: ExchangeChannel) -> None:
        """Let a fresh channel take over, and the old one settle what it has."""
        self.session.submit_again(self.retire(channel))

    def renew_nacked(self) -> None:
        """Replace the channels that the broker nacks on.

        A channel of RabbitMQ 3.10 that began while a quorum queue had no leader asks the one
        that is gone, and nacks, until that one is back.
        """
        for channel in [each for each in self.routes() if isinstance(each, ExchangeChannel)]:
            if channel.nacked and self.now - channel.opened_at > NACKS:
                self.renew(channel)

    def set_aside(self, exchange: str) -> None:
        """Open a new channel for an exchange, so that its next message waits for no confirm."""
        channel = self._routes.get(exchange)
        if isinstance(channel, ExchangeChannel) and len(self._single_use) < MOST_SILENT:
            self.renew(channel)

    def lose(self) -> list[Publish]:
        """Return what waited, in order for each exchange: the connection is gone."""
        self.starved = False
        lost = [*self.routes(), *self._single_use]
        self._routes, self._single_use = {}, {}
        return [publish for each in lost for publish in each.lost()]

    # Split exchanges

    @property
    def may_split(self) -> bool:
        """Return whether one more channel may be left to settle what it has."""
        silent = sum(channel.watcher is not None for channel in self._single_use)
        return (
            self.session.connection is not None
            and self._watcher is None
            and silent < MOST_SILENT
            and self.has_room(SPARE_CHANNELS)
        )

    def split(self, exchange: str) -> SplitExchange:
        """Return the exchange as one that several channels serve from now on."""
        route = self._routes.get(exchange)
        if isinstance(route, SplitExchange):
            return route
        assert route is None or isinstance(route, ExchangeChannel)  # noqa: S101 - else no channel of it is here
        self._routes[exchange] = made = SplitExchange(self, exchange, self._exchange_limit, route)
        return made

    def join(self, split: SplitExchange, channel: ExchangeChannel | None) -> None:
        """Give a split exchange back to one channel."""
        if self._routes.get(split.exchange) is split:
            del self._routes[split.exchange]
            if channel is not None:
                self._routes[split.exchange] = channel

    def guard(self, exchange: str) -> None:
        """Let routing keys prove themselves alone, because a topic of the exchange was refused."""
        route = self._routes.get(exchange)
        if self._watcher is None and (route is None or _is_here(route)):
            self.split(exchange).guard(self.now)

    @property
    def slowness(self) -> float:
        """Return the seconds that a channel is given because the broker was slow lately."""
        return self._slowness if self.now <= self._slow_until else 0.0

    def was_slow(self, took: float) -> None:
        """Give channels twice ``took`` seconds for a while: a confirm took that long."""
        self._slowness = max(self.slowness, min(2 * took, MOST_PATIENCE))
        self._slow_until = self.now + SLOW_FOR

    # Other connections

    def divert(self, quarantine: Diverted | None) -> None:
        """Let a quarantine have the messages of the exchanges that it suspects, and no others."""
        self.quarantine = quarantine
        for exchange in list(self._routes):
            self.undivert(exchange)  # it may have returned to another session meanwhile
        if quarantine is not None:
            self._routes.update(dict.fromkeys(quarantine.exchanges, quarantine))

    def undivert(self, exchange: str) -> None:
        """Let the messages of an exchange take this connection again."""
        route = self._routes.get(exchange)
        if route is not None and not _is_here(route):
            del self._routes[exchange]

    def take_over(self, old: "ChannelTable") -> None:
        """Let each exchange go on here when the old connection has confirmed what it sent."""
        self.divert(old.quarantine)
        for route in old.routes():
            if isinstance(route, SplitExchange) or not route.idle:
                split = old.split(route.exchange)
                old.join(split, None)
                self._routes[route.exchange] = split
                split.follow(self, self.now)

    # Looking

    @property
    def now(self) -> float:
        """Return the event loop's time, in seconds."""
        return self._loop.time()

    @property
    def is_open(self) -> bool:
        """Return whether channels can be opened and used."""
        return self.session.state is SessionState.OPEN

    @property
    def is_at_rest(self) -> bool:
        """Return whether nothing is under way on any channel, and each exchange has one."""
        return not self._single_use and all(
            isinstance(route, ExchangeChannel)
            and route.idle
            and route.phase in (ChannelPhase.FRESH, ChannelPhase.PIPELINED)
            for route in self._routes.values()
        )

    @property
    def _connection(self) -> BrokerConnection:
        connection = self.session.connection
        assert connection is not None  # noqa: S101 - the session is open
        return connection

    def routes(self) -> list[ExchangeChannel | SplitExchange]:
        """Return what takes the messages of each exchange that is not in quarantine."""
        return [route for route in self._routes.values() if _is_here(route)]

    def channels(self) -> list[ExchangeChannel]:
        """Return every channel that may still settle something."""
        found = list(self._single_use)
        for route in self.routes():
            found += [route] if isinstance(route, ExchangeChannel) else route.channels
        return found


def _is_here(
    route: Route,
) -> TypeGuard[ExchangeChannel | SplitExchange]:
    return isinstance(route, ExchangeChannel | SplitExchange)
