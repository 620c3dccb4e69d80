"""The part of AMQP that a login needs (AMQP 0-9-1 section 2.2.4), without any library."""

import socket
import struct

METHOD = 1
FRAME_END = b"\xce"
START, TUNE = (10, 10), (10, 30)


def takes_logins(host: str, port: int, user: str = "guest", password: str = "guest") -> bool:
    """Return whether a login gets to Connection.Tune."""
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            return bool(log_in(connection, user, password))
    except OSError:
        return False


def log_in(connection: socket.socket, user: str, password: str) -> bytes:
    """Log in. Return the payload of Connection.Tune, or nothing if the broker sends another.

    Raise OSError if the broker closes the connection: RabbitMQ refuses a password so.
    """
    response = f"\0{user}\0{password}".encode()
    start_ok = b"".join(
        (
            struct.pack(">HHI", 10, 11, 0),  # no client properties
            b"\x05PLAIN",
            struct.pack(">I", len(response)),
            response,
            b"\x05en_US",
        )
    )
    connection.sendall(b"AMQP\x00\x00\x09\x01")
    if method(receive(connection)[1]) != START:
        return b""
    send(connection, 0, start_ok)
    payload = receive(connection)[1]
    return payload if method(payload) == TUNE else b""


def send(connection: socket.socket, channel: int, payload: bytes) -> None:
    """Send a method frame."""
    connection.sendall(struct.pack(">BHI", METHOD, channel, len(payload)) + payload + FRAME_END)


def receive(connection: socket.socket) -> tuple[int, bytes]:
    """Return the type and the payload of the next frame."""
    kind, _, size = struct.unpack(">BHI", _exactly(connection, 7))
    return kind, _exactly(connection, size + 1)[:-1]


def method(payload: bytes) -> tuple[int, int]:
    """Return the class and the method of a method frame's payload."""
    return struct.unpack_from(">HH", payload)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        received = connection.recv(size - len(data))
        if not received:
            raise ConnectionError("the broker closed the connection")
        data += received
    return bytes(data)
