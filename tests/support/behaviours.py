"""What a scripted broker does with messages: it crashes, holds, hangs or refuses some of them."""

import asyncio

import brokerside

from statelessd.amqp import encode

POISON = encode.properties({"headers": {"h": None}})
TOPIC = "ACCESS_REFUSED - access to topic 'no' in exchange 'e' in vhost 'test' refused for user"


def distinct(number):
    """The properties of a poisonous message that is like no other."""
    return encode.properties({"headers": {"h": None, "id": number}})


def ack(peer, channel, tag):
    """Confirm a message, unless its connection has crashed."""
    if not peer.crashed:
        peer.send(brokerside.ack(channel, tag))


class Crashing:
    """Closes the connection with 541 over each message ``poison…``; confirms after ``delay``."""

    def __init__(self, broker, delay=0.005):
        self.delay = delay
        self.crashes = 0
        broker.on_publish = self

    def __call__(self, peer, channel, tag, body):
        if peer.crashed:
            return
        if body.startswith(b"poison"):
            self.crashes += 1
            peer.crashed = True
            peer.send(brokerside.close(541, "INTERNAL_ERROR"))
        else:
            asyncio.get_running_loop().call_later(self.delay, ack, peer, channel, tag)


class Holding:
    """Confirms nothing that begins with ``what`` until ``release``; crashes over ``poison…``."""

    def __init__(self, broker, what=b""):
        self.unconfirmed = []
        self.peer_of = {}
        self._what = what
        self._crashing = Crashing(broker)
        broker.on_publish = self

    def __call__(self, peer, channel, tag, body):
        self.peer_of[body] = peer
        if body.startswith(b"poison"):
            self._crashing(peer, channel, tag, body)
        elif body.startswith(self._what):
            self.unconfirmed.append((peer, channel, tag))
        else:
            ack(peer, channel, tag)

    def release(self):
        unconfirmed, self.unconfirmed = self.unconfirmed, []
        for each in unconfirmed:
            ack(*each)


class Hanging:
    """Lets a channel hang at the first message that begins with ``what``, as RabbitMQ does.

    It confirms nothing more on that channel, whatever queue the message is for.
    """

    def __init__(self, broker, what):
        self._what = what
        self._hung = set()
        broker.on_publish = self

    def __call__(self, peer, channel, tag, body):
        if body.startswith(self._what):
            self._hung.add((peer, channel))
        if (peer, channel) not in self._hung:
            ack(peer, channel, tag)


class Refusing:
    """Closes the channel over each message ``bad…`` and then ignores what comes on it."""

    def __init__(self, broker, code=403, text=TOPIC, delay=0.005):
        self._closing = code, text
        self._delay = delay
        self._life = {}  # of each channel's number; none: it is closed
        broker.on_publish = self
        broker.on_open_channel = self._open

    def _open(self, peer, channel):
        self._life[peer, channel] = object()
        peer.send(brokerside.channel_open_ok(channel))

    def __call__(self, peer, channel, tag, body):
        life = self._life.setdefault((peer, channel), object())
        if life is None:
            return
        if body.startswith(b"bad"):
            self._life[peer, channel] = None
            peer.send(brokerside.channel_close(channel, *self._closing))
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(self._delay, self._ack, life, peer, channel, tag)

    def _ack(self, life, peer, channel, tag):
        if self._life[peer, channel] is life:
            ack(peer, channel, tag)
