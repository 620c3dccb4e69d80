"""One TCP connection to RabbitMQ: bytes <-> ``amqp.Protocol``, heartbeats, back-pressure."""

import asyncio
import fcntl
import logging
import sys
import termios
from ssl import SSLError
from typing import Any
from typing import Protocol as Interface

from ..amqp import events
from ..amqp.errors import LoginTooLargeError
from ..amqp.peer import RABBITMQ
from ..amqp.protocol import ConnectionState, Login, Protocol
from ..config.settings import RabbitMQ
from ..message import Credentials
from .publish import Publish
from .refusals import closing_words
from .unreachable import why

logger = logging.getLogger(__name__)

CLOSED = ConnectionState.CLOSED
SPARE_CHANNELS = 16  # beyond the setting, for exchanges that several channels serve for a while
HUNG_UP = "the broker closed the socket"
OFFERS = (events.Opened, events.ChannelOpened, events.ChannelEnded, events.Unblocked)
BACKLOG = 64 * 1024  # bytes; less is acknowledged at once, also by a peer that reads nothing
LARGE_WRITE = 32 * 1024  # bytes; from here on a copy costs more than a list of buffers
# Bytes, of some forty small messages, for the broker to begin with while more requests are read.
FULL = 8 * 1024


def login_of(
    virtual_host: str, credentials: Credentials, settings: RabbitMQ, told: dict[str, Any]
) -> Login:
    """``told``: what the broker's lists of connections are to show of us."""
    return Login(
        credentials.username,
        credentials.password,
        virtual_host,
        dict(told),
        frame_max=settings.frame_max,
        channel_max=min(settings.channels_per_connection + SPARE_CHANNELS, 65535),
        heartbeat=settings.heartbeat,
    )


class Owner(Interface):
    """Who is told what happens on the connection."""

    def connection_opened(self) -> None: ...
    def connection_refused(self, code: int, text: str) -> None: ...
    def connection_closed(self, code: int, text: str) -> None: ...
    def login_too_large(self, text: str) -> None: ...
    def connection_ending(self) -> None: ...
    def connection_lost(self, lost: list[Any], reason: str) -> None: ...
    def connection_blocked(self, reason: str) -> None: ...
    def connection_unblocked(self) -> None: ...
    def connection_writable(self) -> None: ...


class Channel(Interface):
    """Who is told what happens on a channel."""

    def opened(self) -> None: ...
    def settled(self, settled: list[tuple[Any, events.Settlement]], oldest: int) -> None: ...
    def closed(self, code: int, text: str, lost: list[Any], method: tuple[int, int]) -> None: ...
    def ended(self) -> None: ...


class BrokerConnection(asyncio.Protocol):
    """Made for one login; lives until its socket is gone.

    ``login_timeout``: seconds for the login, of which at most ``patience`` may
    pass before the broker's first word.
    ``channels`` maps channel numbers to whom their events go.
    """

    def __init__(
        self,
        login: Login,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        login_timeout: float,
        patience: float,
    ) -> None:
        self.amqp = Protocol(login)
        self.channels: dict[int, Channel] = {}
        self.writable = False
        self._held = self._paused = False
        self._owner = owner
        self._loop = loop
        self._patience = patience
        self._login_timeout = login_timeout
        self._login_timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._reason = ""
        self._flush_scheduled = False
        self._backlog = (
            0,
            0,
        )  # bytes: not acknowledged by the peer when last looked at, and all that were
        self._unflushed = 0  # bytes of messages that the transport has not got yet
        self.received = self.sent = 0  # bytes
        # Since the last tick; loop times are taken there and not for each message.
        self._heard = self._sent = True
        self._heard_at = self._sent_at = 0.0

    @property
    def is_open(self) -> bool:
        """Channels can be opened and used."""
        return self.amqp.state is ConnectionState.OPEN

    @property
    def has_socket(self) -> bool:
        """``connection_made`` was called, and ``connection_lost`` will be."""
        return self._transport is not None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # TCP gives a full Transport
        self.writable = True
        # uvloop writes what is more than this at once, and less at the end of its turn.
        transport.set_write_buffer_limits(high=FULL // 2)  # type: ignore[attr-defined]  # as above
        self._login_timer = self._loop.call_later(self._patience, self._listen)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        self.received += len(data)
        received = self.amqp.receive_data(data)
        if self.amqp.state is CLOSED:
            received = self._without_offers(received)
        for event in received:
            try:
                # In the order of how often they come: a Settled for each ack.
                if type(event) is events.Settled:
                    self.channels[event.channel].settled(event.settled, event.oldest)
                else:
                    self._handle(event)
            except Exception:
                # The other events of this read are other messages' outcomes.
                logger.exception("handling an event of the broker failed")
                self.abort("a fault of this program")
        if self.amqp.has_data_to_send:
            self.flush_soon()

    def _without_offers(self, received: list[events.Event]) -> list[events.Event]:
        """The same read tells of the connection's end: what it offers before is gone by now."""
        self.writable = False
        self._owner.connection_ending()
        return [event for event in received if not isinstance(event, OFFERS)]

    def eof_received(self) -> None:
        self._reason = self._reason or HUNG_UP

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable = False
        self._stop_login_timer()
        said = why(exc) if isinstance(exc, SSLError) else str(exc or "the socket was closed")
        reason = self._reason or said
        size = self.amqp.oversized_login
        if size and self._reason in ("", HUNG_UP):  # not by our will
            self._owner.login_too_large(f"a login of {size} bytes, at which the broker hung up")
        self._owner.connection_lost(self.amqp.lost(), reason)

    def pause_writing(self) -> None:
        self._paused, self.writable = True, False

    def resume_writing(self) -> None:
        self._paused = False
        self.hold(self._held)

    def hold(self, held: bool) -> None:
        """Take no messages while the broker does not answer, or take them again."""
        self._held = held
        was_writable, self.writable = self.writable, not (held or self._paused)
        if self.writable and not was_writable:
            self._owner.connection_writable()

    # For the session

    @property
    def tells_when_blocked(self) -> bool:
        """Whether it is RabbitMQ itself, which reads nothing while an alarm blocks it."""
        return self.amqp.peer.product == RABBITMQ

    def drains(self) -> bool:
        """Return whether a backlog of bytes has moved since the last call: the network is slow.

        What is asked now stands behind these bytes.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        backlog = transport.get_write_buffer_size()
        # What the peer's TCP has not acknowledged (tcp(7), SIOCOUTQ).
        if (connected := transport.get_extra_info("socket")) is not None:
            queued = fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, bytes(4))
            backlog += int.from_bytes(queued, sys.byteorder)
        moved = self.sent - backlog
        before, self._backlog = self._backlog, (backlog, moved)
        return before[0] >= BACKLOG and moved > before[1]

    def read_again(self) -> None:
        """The broker has answered although it had blocked the connection."""
        self._owner.connection_unblocked()

    def publish(self, channel: int, publish: Publish) -> None:
        """Hand one message over: whatever happens to it now, only the broker can tell.

        Raises amqp's StateError or EncodeError when it was not handed over.
        """
        message = publish.message
        self.amqp.publish(
            channel,
            publish,
            message.exchange,
            message.routing_key,
            message.header,
            message.body,
            message.mandatory,
        )
        self._unflushed += publish.size
        if self._unflushed < FULL:
            self.flush_soon()
        else:
            self._flush()  # now, so that back-pressure is felt before the next message

    def flush_soon(self) -> None:
        """Write what the protocol has to say; all of one loop turn goes out together."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def abort(self, reason: str) -> None:
        """Drop the socket without a word; ``connection_lost`` follows."""
        self._end(reason)
        if self._transport is not None:
            self._transport.abort()

    def _end(self, reason: str) -> None:
        """Nothing more may be handed over, though the socket is still there for a moment."""
        self._reason = self._reason or reason
        self._held, self.writable = True, False
        self._owner.connection_ending()

    def tick(self, now: float) -> None:
        """Once a second: send a heartbeat when one is due, notice a silent broker.

        Section 4.2.7: two intervals without a byte mean that the peer is gone.
        """
        if self._heard:
            self._heard, self._heard_at = False, now
        if self._sent:
            self._sent, self._sent_at = False, now
        interval = self.amqp.heartbeat
        if not interval or not self.is_open:
            return
        if now - self._heard_at > 2 * interval:
            self.abort(f"nothing was heard of the broker for {2 * interval} s")
        elif now - self._sent_at >= interval / 2:
            self.amqp.send_heartbeat()
            self.flush_soon()

    def _flush(self) -> None:
        self._flush_scheduled = False
        large = self._unflushed >= LARGE_WRITE
        self._unflushed = 0
        pieces = self.amqp.data_to_send()
        if not pieces or self._transport is None or self._transport.is_closing():
            return
        self._sent = True
        if large:
            self.sent += sum(map(len, pieces))
            self._transport.writelines(pieces)
        else:
            data = b"".join(pieces)
            self.sent += len(data)
            self._transport.write(data)

    def _handle(self, event: events.Event) -> None:
        match event:
            case events.ChannelOpened(channel):
                self.channels[channel].opened()
            case events.ChannelClosed(channel, code, text, lost, method):
                self.channels.pop(channel).closed(code, text, lost, method)
            case events.ChannelEnded(channel):
                self.channels.pop(channel).ended()
            case events.Blocked(reason):
                self._owner.connection_blocked(reason)
            case events.Unblocked():
                self._owner.connection_unblocked()
            case events.Opened():
                self._stop_login_timer()
                self._owner.connection_opened()
            case events.Failed(error):
                if isinstance(error, LoginTooLargeError):
                    self._owner.login_too_large(str(error))
                self.abort(f"the broker broke the protocol: {error}")
            case events.Closed(code, text, opened):
                self._end(closing_words(code, text) if code else "closed in order")
                if opened:
                    self._owner.connection_closed(code, text)
                else:
                    self._owner.connection_refused(code, text)
                self._flush()  # our Close-Ok
                if self._transport is not None:
                    self._transport.close()

    def _listen(self) -> None:
        rest = self._login_timeout - self._patience
        late = "the broker did not complete the login in time"
        if self.received and rest > 0:
            self._login_timer = self._loop.call_later(rest, self.abort, late)
        else:
            self.abort(late)

    def _stop_login_timer(self) -> None:
        if self._login_timer is not None:
            self._login_timer.cancel()
            self._login_timer = None
