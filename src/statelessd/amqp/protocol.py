"""One AMQP 0-9-1 connection that publishes with confirms, without I/O.

The driver calls, in this order:

1. ``Protocol(login)``, then it sends ``data_to_send()``;
2. ``receive_data(bytes)`` for whatever arrives, which returns events. After this and
   every other call ``data_to_send()`` returns the bytes that have to be sent;
3. ``open_channel()`` after ``Opened``, and ``publish()`` after ``ChannelOpened``;
4. ``close_channel()`` and ``close()``. After ``Closed`` the driver closes the socket.

After ``Failed`` the driver drops the socket. When a socket is gone, ``lost()`` returns
the messages that are unsettled.
A call that the state does not allow raises StateError and changes nothing.
"""

import enum
from collections.abc import Callable, Container
from typing import Any, Final, NamedTuple

from pamqp import commands
from pamqp import frame as pamqp_frame
from pamqp.common import FieldTable

from . import encode, events
from .confirms import Confirms
from .encode import FRAME_END
from .errors import LoginTooLargeError, ProtocolError, StateError
from .events import BasicAck, BasicReturn, CloseMethod, Event, Settled, Start
from .frames import (
    ACK,
    ACK_LENGTH,
    ACK_SIZE,
    BASIC_ACK,
    BODY,
    HEADER,
    METHOD,
    FrameSplitter,
    Method,
    decode_content_header,
    decode_method,
)
from .peer import FRAME_MIN_SIZE, Peer

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"  # section 4.2.2
HEARTBEAT_FRAME: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"  # section 4.2.7
BEFORE_TUNING = 65536  # bytes of a frame that we accept: brokers describe themselves at length

MOST_KEPT: Final = 1024  # bytes of the properties that a channel remembers

REPLY_SUCCESS = 200
PROOF = 1  # the number of the channel that a login through a proxy is proved with

CAPABILITIES: FieldTable = {
    # Without the first RabbitMQ closes the socket on a wrong password. Without the
    # second it does not say that it stops reading. A publisher understands the others.
    "authentication_failure_close": True,
    "connection.blocked": True,
    "publisher_confirms": True,
    "basic.nack": True,
}


class Login(NamedTuple):
    """What a connection is opened with. The broker may lower the three limits."""

    username: str
    password: str
    virtual_host: str
    client_properties: FieldTable
    frame_max: int = 131072  # bytes
    channel_max: int = 2047
    heartbeat: int = 30  # seconds

    def __repr__(self) -> str:
        return f"<Login of {self.username!r} to {self.virtual_host!r}>"


class ConnectionState(enum.Enum):
    """The states of a connection (section 2.2.4)."""

    STARTING = "starting"  # header sent, Start awaited
    AUTHENTICATING = "authenticating"  # Start-Ok sent, Tune awaited
    OPENING = "opening"  # Open sent, Open-Ok awaited
    PROVING = "proving"  # Open-Ok was a proxy's own; a channel is opened to get the broker's answer
    OPEN = "open"
    CLOSING = "closing"  # Close sent, Close-Ok awaited
    CLOSED = "closed"


class ChannelState(enum.Enum):
    """The states of a channel (section 2.2.5), with RabbitMQ's confirm mode."""

    PROVING = "proving"  # opened and closed again, to learn whether the login holds
    OPENING = "opening"  # Open and Confirm.Select sent, Open-Ok awaited
    SELECTING = "selecting"  # Select-Ok awaited
    OPEN = "open"
    CLOSING = "closing"  # Close sent


# Python 3.11 is slow to find enum members, and each message needs these.
OPEN: Final = ConnectionState.OPEN
CLOSED: Final = ConnectionState.CLOSED
CHANNEL_OPEN: Final = ChannelState.OPEN


class _Channel:
    __slots__ = ("confirms", "digest", "envelope", "header", "largest", "left", "returned", "state")

    def __init__(self, state: ChannelState = ChannelState.OPENING) -> None:
        self.state = state
        self.confirms: Confirms[Any] = Confirms()
        self.envelope: encode.Envelope | None = None  # of the last message: the next may be alike
        self.largest = 0  # bytes of the largest body that the broker may return
        # The return that is arriving. Its body is not kept, because a digest identifies it.
        self.returned = False
        self.digest: Any = None
        self.header = b""
        self.left = -1  # bytes of the body still to come; -1 while the header is to come


class Protocol:
    """The state of one connection and its channels. The module describes the order of calls."""

    def __init__(self, login: Login) -> None:
        self.state = ConnectionState.STARTING
        self.greeted = False  # the broker has sent Start, so there is a broker
        self.peer = Peer()  # according to Start
        # The bytes of a login that was sent although it may be too large for the broker. 0 if
        # it was not, or once the broker has taken it. The broker answers such a login only by
        # closing the socket.
        self.oversized_login = 0
        self.frame_max = login.frame_max
        self.max_header = login.frame_max - encode.CONTENT_HEADER_OVERHEAD
        self.channel_max = login.channel_max
        self.heartbeat = login.heartbeat  # seconds; 0 for none
        self._login: Login | None = login
        self._frames = FrameSplitter(BEFORE_TUNING)
        self._channels: dict[int, _Channel] = {}
        self._abandoned: list[Any] = []  # unsettled on channels that we have closed
        self._events: list[Event] = []
        self._out: list[bytes | memoryview] = [PROTOCOL_HEADER]

    # What the driver sends

    @property
    def has_data_to_send(self) -> bool:
        """Return whether ``data_to_send`` would return anything."""
        return bool(self._out)

    def data_to_send(self) -> list[bytes | memoryview]:
        """Take the pieces that have to be written, in order. Each is returned once."""
        pieces, self._out = self._out, []
        return pieces

    def open_channel(self, taken: Container[int] = ()) -> int:
        """Begin to open a channel in confirm mode, and return its number.

        ``taken`` holds numbers of ended channels whose event the driver has not handled
        yet. Raise StateError if the connection is not open or no number is free.
        """
        self._require(ConnectionState.OPEN)
        numbers = range(1, self.channel_max + 1)
        number = next((n for n in numbers if n not in self._channels and n not in taken), None)
        if number is None:
            raise StateError(f"all {self.channel_max} channels are in use")
        self._channels[number] = _Channel()
        # A channel handles its methods in order, so one round trip is enough for both.
        self._send(number, commands.Channel.Open())
        self._send(number, commands.Confirm.Select())
        return number

    def publish(
        self,
        number: int,
        entry: object,
        exchange: str,
        routing_key: str,
        header: bytes,
        body: bytes,
        mandatory: bool = False,
    ) -> None:
        """Send one message; ``entry`` comes back in ``Settled`` or among the lost.

        ``header`` comes from ``encode.properties``. Raise StateError if the channel is
        not open or ``header`` exceeds ``max_header``, and EncodeError if a name is too long.
        """
        channel = self._channels.get(number)
        if channel is None or channel.state is not CHANNEL_OPEN:
            raise StateError(f"channel {number} is not open")
        if self.state is not OPEN:
            self._require(OPEN)
        envelope = channel.envelope
        if (
            envelope is None
            or envelope.header != header
            or envelope.key != routing_key
            or envelope.exchange != exchange
            or envelope.mandatory is not mandatory
        ):
            envelope = encode.Envelope(number, exchange, routing_key, header, mandatory)
            if len(header) > self.max_header:
                raise StateError("the content header exceeds the negotiated frame_max")
            channel.envelope = envelope if len(header) <= MOST_KEPT else None
        if mandatory:
            key = encode.content_key(exchange, routing_key, body)
            channel.confirms.publish(entry, key, encode.without_bcc(header))
            channel.largest = max(channel.largest, len(body))
        else:
            channel.confirms.publish(entry)
        envelope.seal(body, self.frame_max, self._out)

    def unsettled(self, number: int) -> dict[int, Any]:
        """Return the channel's unsettled messages by delivery tag."""
        channel = self._channels.get(number)
        return channel.confirms.unsettled if channel else {}

    def close_channel(self, number: int) -> None:
        """Begin to close a channel; ``lost`` has what stays unsettled. Raise StateError."""
        self._require(ConnectionState.OPEN)
        channel = self._channels.get(number)
        if channel is None or channel.state is ChannelState.CLOSING:
            raise StateError(f"channel {number} is not open")
        channel.state = ChannelState.CLOSING
        self._send(number, commands.Channel.Close(REPLY_SUCCESS, "", 0, 0))

    def send_heartbeat(self) -> None:
        """Send a heartbeat (section 4.2.7), due after half the interval. Raise StateError."""
        self._require(ConnectionState.OPEN)
        self._out.append(HEARTBEAT_FRAME)

    def close(self, text: str = "") -> None:
        """Begin an orderly close; ``Closed`` follows. Raise StateError if it is not open."""
        self._require(ConnectionState.OPEN)
        self.state = ConnectionState.CLOSING
        self._send(0, commands.Connection.Close(REPLY_SUCCESS, text, 0, 0))

    def lost(self) -> list[Any]:
        """Take note that the socket is gone, and return the messages that are unsettled."""
        self.state = ConnectionState.CLOSED
        self._login = None
        lost = [entry for channel in self._channels.values() for entry in channel.confirms.lost()]
        lost, self._abandoned = self._abandoned + lost, []
        self._channels.clear()
        return lost

    # What the broker sends

    def receive_data(self, data: bytes) -> list[Event]:
        """Take bytes from the socket, and return the events that follow from them, in order.

        If the bytes break the protocol, ``Failed`` comes last. What was settled before
        the fault stays settled.
        """
        found = self._events = []
        try:
            if self.state is OPEN and not self._frames.rest:
                data = self._receive_acks(data)
                if not data:
                    return found
            for kind, number, payload in self._frames.feed(data):
                if kind == METHOD:
                    self._receive_method(number, decode_method(payload))
                elif kind in (HEADER, BODY):
                    self._receive_content(kind, number, payload)
                # The remaining frames are heartbeats; any byte proves that the broker lives.
        except ProtocolError as error:
            self.state = ConnectionState.CLOSED
            found.append(events.Failed(error))
        return found

    def _receive_acks(self, data: bytes) -> bytes:
        """Settle what the acks at the beginning of ``data`` settle, and return the rest.

        Most reads are acks and nothing else. With many users or exchanges each message has one.
        """
        size = len(data)
        for start in range(0, size - ACK_SIZE + 1, ACK_SIZE):
            kind, number, length, method, tag, bits, end = ACK.unpack_from(data, start)
            if method != BASIC_ACK or kind != METHOD or length != ACK_LENGTH or end != FRAME_END:
                return data[start:]
            confirms = self._channel(number).confirms
            settled = confirms.settle(tag, bits & 1 == 1, True)
            self._events.append(Settled(number, settled, confirms.oldest))
        return data[size - size % ACK_SIZE :]

    def _receive_method(self, number: int, method: Method) -> None:
        if self.state is CLOSED:
            return  # nothing after the closing handshake concerns us
        if type(method) is BasicAck:
            channel = self._channel(number)
            settled = channel.confirms.settle(method.delivery_tag, method.multiple, method.positive)
            self._events.append(Settled(number, settled, channel.confirms.oldest))
        elif number:
            state = self._channel(number).state
            handler = _CHANNEL_METHODS.get((state, type(method)))
            if handler is not None:
                handler(self, number, method)
            elif state is not ChannelState.CLOSING:
                raise ProtocolError(f"{_name(method)} is not expected on channel {number}")
        else:
            handler_0 = _CONNECTION_METHODS.get((self.state, type(method)))
            if handler_0 is None:
                raise ProtocolError(f"{_name(method)} is not expected while {self.state.value}")
            handler_0(self, method)

    # Connection methods

    def _on_start(self, method: Start) -> None:
        self.greeted = True
        login = self._login
        if login is None or "PLAIN" not in method.mechanisms.split():
            raise ProtocolError("the broker does not offer the PLAIN mechanism")
        self.peer = Peer.of(method.properties)
        limit = self.peer.first_frame
        data = _start_ok(login, login.client_properties)
        if len(data) > (limit or FRAME_MIN_SIZE):
            data = _start_ok(login, {})  # a long token needs the space
        if limit is not None and len(data) > limit:
            raise LoginTooLargeError(f"a login of {len(data)} bytes; the broker takes {limit}")
        if len(data) > FRAME_MIN_SIZE and limit is None:
            self.oversized_login = len(data)
        self._out.append(data)
        self.state = ConnectionState.AUTHENTICATING

    def _on_tune(self, method: commands.Connection.Tune) -> None:
        login = self._login
        assert login is not None  # noqa: S101 - the state says so
        self.channel_max = _negotiate(login.channel_max, method.channel_max) or 65535
        # The broker refuses less, and a connection matters more than the setting.
        ours = max(login.frame_max, self.peer.least_frame_max)
        self.frame_max = _negotiate(ours, method.frame_max)
        self.heartbeat = _negotiate(login.heartbeat, method.heartbeat)
        if self.frame_max < FRAME_MIN_SIZE:
            raise ProtocolError(f"the broker tunes frames to {self.frame_max} bytes")
        self.max_header = self.frame_max - encode.CONTENT_HEADER_OVERHEAD
        self._frames.max_size = self.frame_max
        self._send(0, commands.Connection.TuneOk(self.channel_max, self.frame_max, self.heartbeat))
        self._out.append(encode.connection_open(login.virtual_host))
        self._login = None  # the password is not needed any more
        self.state = ConnectionState.OPENING

    def _on_open_ok(self, _: commands.Connection.OpenOk) -> None:
        if self.peer.logs_in_later:
            self.state = ConnectionState.PROVING
            self._channels[PROOF] = _Channel(ChannelState.PROVING)
            self._send(PROOF, commands.Channel.Open())
        else:
            self._logged_in()

    def _logged_in(self) -> None:
        self.oversized_login = 0
        self.state = ConnectionState.OPEN
        self._events.append(events.Opened())

    def _on_blocked(self, method: events.Blocked) -> None:
        self._events.append(method)

    def _on_unblocked(self, _: commands.Connection.Unblocked) -> None:
        self._events.append(events.Unblocked())

    def _on_close(self, method: CloseMethod) -> None:
        opened = self.state in (ConnectionState.OPEN, ConnectionState.CLOSING)
        self._send(0, commands.Connection.CloseOk())
        self.state = ConnectionState.CLOSED
        self._events.append(events.Closed(method.code, method.text, opened))

    def _on_close_ok(self, _: commands.Connection.CloseOk) -> None:
        self.state = ConnectionState.CLOSED
        self._events.append(events.Closed(0, "", True))

    # Channel methods

    def _on_proof_open_ok(self, number: int, _: commands.Channel.OpenOk) -> None:
        self._send(number, commands.Channel.Close(REPLY_SUCCESS, "", 0, 0))

    def _on_proof_close_ok(self, number: int, _: commands.Channel.CloseOk) -> None:
        del self._channels[number]
        self._logged_in()

    def _on_proof_close(self, number: int, method: CloseMethod) -> None:
        del self._channels[number]
        self._send(number, commands.Channel.CloseOk())
        self.state = ConnectionState.CLOSED
        self._events.append(events.Closed(method.code, method.text, False))

    def _on_channel_open_ok(self, number: int, _: commands.Channel.OpenOk) -> None:
        self._channel(number).state = ChannelState.SELECTING

    def _on_select_ok(self, number: int, _: commands.Confirm.SelectOk) -> None:
        self._channel(number).state = ChannelState.OPEN
        self._events.append(events.ChannelOpened(number))

    def _on_channel_close(self, number: int, method: CloseMethod) -> None:
        channel = self._channels.pop(number)
        self._send(number, commands.Channel.CloseOk())
        lost = channel.confirms.lost()
        self._events.append(
            events.ChannelClosed(number, method.code, method.text, lost, method.method)
        )

    def _on_channel_close_ok(self, number: int, _: commands.Channel.CloseOk) -> None:
        self._abandoned += self._channels.pop(number).confirms.lost()
        self._events.append(events.ChannelEnded(number))

    def _on_return(self, number: int, method: BasicReturn) -> None:
        channel = self._channel(number)
        if channel.returned:
            raise ProtocolError("a return within the content of another")
        channel.returned, channel.left = True, -1
        channel.digest = encode.content_digest(method.exchange, method.routing_key)

    def _receive_content(self, kind: int, number: int, payload: bytes) -> None:
        channel = self._channel(number)
        if kind == HEADER:
            if not channel.returned or channel.left >= 0:
                raise ProtocolError("a content header that no return announced")
            channel.left, channel.header = decode_content_header(payload)
            if channel.left > channel.largest:
                raise ProtocolError(
                    f"a return of {channel.left} bytes; no mandatory message is as large"
                )
        elif not channel.returned or not 0 < len(payload) <= channel.left:
            raise ProtocolError("a content body that no header announced")
        else:
            channel.left -= len(payload)
            channel.digest.update(payload)
        if channel.left == 0:
            header, channel.header, channel.returned = channel.header, b"", False
            channel.confirms.returned(channel.digest.digest(), header)

    # Helpers

    def _channel(self, number: int) -> _Channel:
        try:
            return self._channels[number]
        except KeyError:
            raise ProtocolError(f"a frame on channel {number}, which is not open") from None

    def _send(self, number: int, method: Any) -> None:
        self._out.append(pamqp_frame.marshal(method, number))

    def _require(self, state: ConnectionState) -> None:
        if self.state is not state:
            raise StateError(f"the connection is {self.state.value}, not {state.value}")


def _start_ok(login: Login, client_properties: FieldTable) -> bytes:
    start_ok = commands.Connection.StartOk(
        client_properties={**client_properties, "capabilities": CAPABILITIES},
        mechanism="PLAIN",
        response=f"\0{login.username}\0{login.password}",  # RFC 4616
        locale="en_US",
    )
    return pamqp_frame.marshal(start_ok, 0)


def _negotiate(ours: int, theirs: int) -> int:
    """Return the lower of two limits, where 0 means no limit (section 1.4.2.5)."""
    return min(ours, theirs) if ours and theirs else max(ours, theirs)


def _name(method: Method) -> str:
    name: str = getattr(method, "name", type(method).__name__)
    return name


_AFTER_OPEN_OK = (ConnectionState.PROVING, ConnectionState.OPEN, ConnectionState.CLOSING)
_BEFORE_CLOSED = tuple(s for s in ConnectionState if s is not ConnectionState.CLOSED)

# Every transition of a connection: (state, method) -> handler. Nothing else is allowed.
_CONNECTION_METHODS: dict[tuple[ConnectionState, type[Any]], Callable[[Protocol, Any], None]] = {
    (ConnectionState.STARTING, Start): Protocol._on_start,
    (ConnectionState.AUTHENTICATING, commands.Connection.Tune): Protocol._on_tune,
    (ConnectionState.OPENING, commands.Connection.OpenOk): Protocol._on_open_ok,
    **{(state, events.Blocked): Protocol._on_blocked for state in _AFTER_OPEN_OK},
    **{(state, commands.Connection.Unblocked): Protocol._on_unblocked for state in _AFTER_OPEN_OK},
    (ConnectionState.CLOSING, commands.Connection.CloseOk): Protocol._on_close_ok,
    **{(state, CloseMethod): Protocol._on_close for state in _BEFORE_CLOSED},
}

# Every transition of a channel. While it is closing, other methods are ignored.
_CHANNEL_METHODS: dict[tuple[ChannelState, type[Any]], Callable[[Protocol, int, Any], None]] = {
    (ChannelState.OPENING, commands.Channel.OpenOk): Protocol._on_channel_open_ok,
    (ChannelState.SELECTING, commands.Confirm.SelectOk): Protocol._on_select_ok,
    (ChannelState.OPEN, BasicReturn): Protocol._on_return,
    (ChannelState.CLOSING, BasicReturn): Protocol._on_return,
    (ChannelState.CLOSING, commands.Channel.CloseOk): Protocol._on_channel_close_ok,
    **{(state, CloseMethod): Protocol._on_channel_close for state in ChannelState},
    (ChannelState.PROVING, commands.Channel.OpenOk): Protocol._on_proof_open_ok,
    (ChannelState.PROVING, commands.Channel.CloseOk): Protocol._on_proof_close_ok,
    (ChannelState.PROVING, CloseMethod): Protocol._on_proof_close,
}
