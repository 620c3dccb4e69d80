"""The part of an AMQP login that shows whether a broker takes logins."""

import socket
import struct


def takes_logins(host: str, port: int, user: str = "guest", password: str = "guest") -> bool:
    """Return whether a login gets to Connection.Tune (AMQP 0-9-1 section 2.2.4)."""
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
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            if _method(connection) != (10, 10):  # Start
                return False
            connection.sendall(struct.pack(">BHI", 1, 0, len(start_ok)) + start_ok + b"\xce")
            return _method(connection) == (10, 30)  # Tune
    except OSError:
        return False


def _method(connection: socket.socket) -> tuple[int, int]:
    head = _exactly(connection, 7)
    payload = _exactly(connection, struct.unpack(">BHI", head)[2] + 1)
    return struct.unpack(">HH", payload[:4])


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        received = connection.recv(size - len(data))
        if not received:
            raise ConnectionError("the broker closed the socket")
        data += received
    return data
