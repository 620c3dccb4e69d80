"""A scripted broker that some messages crash, and these messages."""

import asyncio

import brokerside

from statelessd.amqp import encode

POISON = encode.properties({"headers": {"h": None}})


def distinct(number):
    """Return the properties of a poisonous message that is like no other."""
    return encode.properties({"headers": {"h": None, "id": number}})


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
            asyncio.get_running_loop().call_later(self.delay, self.confirm, peer, channel, tag)

    def confirm(self, peer, channel, tag):
        if not peer.crashed:
            peer.send(brokerside.ack(channel, tag))
