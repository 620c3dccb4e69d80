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
    poll = select.poll()
    poll.register(transport.get_extra_info("socket"), event)
    return bool(poll.poll(0))


def has_bytes(transport: asyncio.BaseTransport) -> bool:
    """Return whether bytes of the client wait in the socket."""
    count = bytearray(4)
    fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, count)
    return any(count)


def was_reset(transport: asyncio.BaseTransport) -> bool:
    """Return whether the client has reset the connection.

    A loop that has read the end of the stream no longer hears of it.
    """
    connection = transport.get_extra_info("socket")
    return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
