"""What arrived in a queue of a real broker."""

import pika


def parameters_of(broker, virtual_host):
    return pika.ConnectionParameters(broker.host, broker.amqp_port, virtual_host)


class Queue:
    """A queue, and what is in it."""

    def __init__(self, channel, name):
        self.channel = channel
        self.name = name

    def get(self):
        """The next message as (properties, body, routing key), or None."""
        method, properties, body = self.channel.basic_get(self.name, auto_ack=True)
        return None if method is None else (properties, body, method.routing_key)

    def bodies(self):
        found = []
        while (message := self.get()) is not None:
            found.append(message[1])
        return found
