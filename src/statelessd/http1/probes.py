"""Questions to the kernel about a client connection that the event loop does not answer."""

import asyncio
import fcntl
import select
import socket
import termios


def is_readable(transport: asyncio.BaseTransport) -> bool:
    """Return whether the loop's next turn reads bytes or the end of the stream here."""
    return _polled(transport, select.POLLIN)


def is_writable(transport: asyncio.BaseTransport) -> bool:
    """Return whether the loop's next turn can write something here."""
    return _polled(transport, select.POLLOUT)


def has_ended(transport: asyncio.BaseTransport) -> bool:
    """Return whether the client has closed its half, which a paused transport does not read."""
    return _polled(transport, select.POLLRDHUP)


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


def _polled(transport: asyncio.BaseTransport, events: int) -> bool:
    poll = select.poll()
    poll.register(transport.get_extra_info("socket"), events)
    return bool(poll.poll(0))
