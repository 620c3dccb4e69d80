"""Basic.Get with pamqp over a plain socket: pika shows doubles as integers."""

import socket

from pamqp import commands, frame, header


class RawChannel:
    """One channel to a virtual host, as guest."""

    def __init__(self, broker, virtual_host="test"):
        self._socket = socket.create_connection((broker.host, broker.amqp_port), timeout=10)
        self._data = b""
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._receive(commands.Connection.Start)
        self._send(commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest"))
        tune = self._receive(commands.Connection.Tune)
        self._send(commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self._send(commands.Connection.Open(virtual_host))
        self._receive(commands.Connection.OpenOk)
        self._send(commands.Channel.Open(), 1)
        self._receive(commands.Channel.OpenOk)

    def get_properties(self, queue):
        """The properties of the next message."""
        self._send(commands.Basic.Get(queue=queue, no_ack=True), 1)
        self._receive(commands.Basic.GetOk)
        return self._receive(header.ContentHeader).properties

    def close(self):
        self._socket.close()

    def _send(self, method, channel=0):
        self._socket.sendall(frame.marshal(method, channel))

    def _receive(self, kind):
        while True:
            if len(self._data) >= 7:
                size = int.from_bytes(self._data[3:7]) + 8
                if len(self._data) >= size:
                    _, _, value = frame.unmarshal(self._data[:size])
                    self._data = self._data[size:]
                    assert isinstance(value, kind), value
                    return value
            received = self._socket.recv(65536)
            assert received, "the broker closed the socket"
            self._data += received
