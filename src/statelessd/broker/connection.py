"""One TCP connection to RabbitMQ: bytes <-> ``amqp.Protocol``, heartbeats, back-pressure."""

import asyncio
import fcntl
import logging
import sys
import termios
from typing import Any, Final
from typing import Protocol as Interface

from ..amqp import events
from ..amqp.errors import LoginTooLargeError
from ..amqp.protocol import ConnectionState, Login, Protocol
from .close_reason import CloseReason
from .pending import Publish
from .refusals import closing
from .unreachable import lost as why_lost

logger: Final = logging.getLogger(__name__)

CLOSED: Final = ConnectionState.CLOSED
SPARE_CHANNELS = 16  # beyond the setting, for exchanges that several channels serve for a while
HUNG_UP = "the broker closed the socket"
OFFERS = (events.Opened, events.ChannelOpened, events.ChannelEnded, events.Unblocked)
BACKLOG = 64 * 1024  # bytes; less is acknowledged at once, also by a peer that reads nothing
LARGE_WRITE: Final = 32 * 1024  # bytes; from here on a copy costs more than a list of buffers
# Bytes, of some forty small messages, for the broker to begin with while more requests are read.
FULL: Final = 8 * 1024


class Owner(Interface):
    """Learns what happens on the connection."""

    def connection_opened(self) -> None: ...
    def connection_refused(self, code: int, text: str) -> str: ...
    def connection_closed(self, code: int, text: str) -> None: ...
    def login_too_large(self, text: str) -> None: ...
    def connection_ending(self) -> None: ...
    def connection_lost(self, lost: list[Any], reason: CloseReason, words: str) -> None: ...
    def connection_blocked(self, reason: str) -> None: ...
    def connection_unblocked(self) -> None: ...
    def connection_writable(self) -> None: ...


class Channel(Interface):
    """Learns what happens on a channel."""

    def opened(self) -> None: ...
    def settled(self, settled: list[tuple[Any, events.Settlement]], oldest: int) -> None: ...
    def closed(self, code: int, text: str, lost: list[Any], method: tuple[int, int]) -> None: ...
    def ended(self) -> None: ...


class BrokerConnection(asyncio.Protocol):
    """Logs in once, and lives until its socket is gone.

    The login may take ``login_timeout`` seconds, and the broker's first byte ``patience``.
    ``channels`` maps channel numbers to the receivers of their events.
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
        self._reason = CloseReason.NETWORK
        self._words = ""  # once it ends
        self._flush_scheduled = False
        # Bytes: not acknowledged by the peer at the last look, and acknowledged in all.
        self._backlog = 0, 0
        self._unflushed = 0  # bytes of messages that the transport has not got yet
        self.received = self.sent = 0  # bytes
        self.close_code = 0  # of the broker's Close, once the login had succeeded
        # Since the last tick; loop times are taken there and not for each message.
        self._heard = self._sent = True
        self._heard_at = self._sent_at = 0.0

    @property
    def is_open(self) -> bool:
        """Return whether channels can be opened and used."""
        return self.amqp.state is ConnectionState.OPEN

    @property
    def has_socket(self) -> bool:
        """Return whether ``connection_made`` was called, so that ``connection_lost`` will be."""
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
            # What the broker offered in the read in which it ended the connection is void.
            self.writable = False
            self._owner.connection_ending()
            received = [event for event in received if not isinstance(event, OFFERS)]
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
                self.abort("internal error")
        if self.amqp.has_data_to_send:
            self.flush_soon()

    def eof_received(self) -> None:
        self._words = self._words or HUNG_UP

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable = False
        self._stop_login_timer()
        size = self.amqp.oversized_login
        if size and self._words in ("", HUNG_UP):  # not by our will
            self._owner.login_too_large(f"the broker hung up on a login of {size} bytes")
        self._owner.connection_lost(self.amqp.lost(), self._reason, self._words or why_lost(exc))

    def pause_writing(self) -> None:
        self._paused, self.writable = True, False

    def resume_writing(self) -> None:
        self._paused = False
        self.hold(self._held)

    def hold(self, held: bool) -> None:
        """Take no messages while the broker does not answer (``held``), or take them again."""
        self._held = held
        was_writable, self.writable = self.writable, not (held or self._paused)
        if self.writable and not was_writable:
            self._owner.connection_writable()

    # For the session

    def drains(self) -> bool:
        """Return whether a backlog of bytes has moved since the last call: the network is slow."""
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

    def open_channel(self, channel: Channel) -> int:
        """Begin to open a channel and return its number. Raise amqp's StateError."""
        number = self.amqp.open_channel(self.channels)
        self.channels[number] = channel
        self.flush_soon()
        return number

    def close_channel(self, number: int) -> None:
        """Begin to close a channel. Raise amqp's StateError."""
        self.amqp.close_channel(number)
        self.flush_soon()

    def publish(self, channel: int, publish: Publish) -> None:
        """Hand one message over. Raise amqp's StateError or EncodeError if it was not."""
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
        if self._unflushed >= FULL:
            self._flush()  # now, so that back-pressure is felt before the next message
        elif not self._flush_scheduled:
            self.flush_soon()

    def flush_soon(self) -> None:
        """Write what the protocol has to send, once for all calls in one turn of the loop."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def abort(self, words: str, reason: CloseReason = CloseReason.NETWORK) -> None:
        """Drop the socket without a Close; ``connection_lost`` follows."""
        self._end(words, reason)
        if self._transport is not None:
            self._transport.abort()

    def _end(self, words: str, reason: CloseReason) -> None:
        """Hand over nothing more, although the socket is still there for a moment."""
        if not self._words:
            self._words, self._reason = words, reason
        self._held, self.writable = True, False
        self._owner.connection_ending()

    def tick(self, now: float) -> None:
        """Send a heartbeat when one is due, and notice a silent broker. Once a second.

        After two intervals without a byte the peer is gone (AMQP 0-9-1, section 4.2.7).
        """
        if self._heard:
            self._heard, self._heard_at = False, now
        if self._sent:
            self._sent, self._sent_at = False, now
        interval = self.amqp.heartbeat
        if not interval or not self.is_open:
            return
        if now - self._heard_at > 2 * interval:
            silence = f"the broker sent nothing for {2 * interval} s"
            self.abort(silence, CloseReason.SILENT)
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
        try:
            if large:
                self.sent += sum(map(len, pieces))
                self._transport.writelines(pieces)
            else:
                data = b"".join(pieces)
                self.sent += len(data)
                self._transport.write(data)
        except Exception:  # nobody knows what of it has left
            logger.exception("writing to the broker failed")
            self.abort("internal error")

    def _handle(self, event: events.Event) -> None:
        match event:
            case events.ChannelOpened(channel):
                self.channels[channel].opened()
            case events.ChannelClosed(channel, code, text, lost, method):
                self.channels.pop(channel).closed(code, text, lost, method)
            case events.ChannelEnded(channel):
                self.channels.pop(channel).ended()
            case events.Blocked(why_blocked):
                self._owner.connection_blocked(why_blocked)
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
                words, reason = closing(code, text)
                if opened:
                    self.close_code = code
                    self._owner.connection_closed(code, text)
                else:
                    words = self._owner.connection_refused(code, text) or words
                self._end(words, reason)
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
