"""Questions to the kernel about a client connection that the event loop does not answer."""

import asyncio
import fcntl
import select
import socket
import termios

READABLE, WRITABLE = select.POLLIN, select.POLLOUT  # in the loop's next turn
ENDED = select.POLLRDHUP  # the client has closed its half, which a paused transport does not read


def polls(transport: asyncio.BaseTransport, event: int) -> bool:
    """Return whether poll(2) reports this event of the client's socket."""
    connected = _socket(transport)
    if connected is None:
        return False
    poll = select.poll()
    poll.register(connected, event)
    return bool(poll.poll(0))


def has_bytes(transport: asyncio.BaseTransport) -> bool:
    """Return whether bytes of the client wait in the socket."""
    connected, count = _socket(transport), bytearray(4)
    if connected is not None:
        fcntl.ioctl(connected.fileno(), termios.FIONREAD, count)
    return any(count)


def was_reset(transport: asyncio.BaseTransport) -> bool:
    """Return whether the client has reset the connection.

    A loop that has read the end of the stream no longer hears of it.
    """
    connected = _socket(transport)
    return connected is None or bool(connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def _socket(transport: asyncio.BaseTransport) -> socket.socket | None:
    """Return the client's socket, or None if the transport has lost it.

    With TLS that is a moment before the connection learns of it.
    """
    try:
        found: socket.socket | None = transport.get_extra_info("socket")
    except RuntimeError:  # uvloop raises it for a handle that is closed
        return None
    return None if found is None or found.fileno() < 0 else found
