"""A real broker's queues, by pika: connections, and what arrived."""

import collections
import contextlib

import pika


@contextlib.contextmanager
def channel_to(broker, virtual_host="test"):
    """Yield a channel of a new connection, as guest."""
    where = pika.ConnectionParameters(broker.host, broker.amqp_port, virtual_host)
    with pika.BlockingConnection(where) as connection:
        yield connection.channel()


class Queue:
    """A queue, and what is in it."""

    def __init__(self, channel, name="test"):
        self.channel = channel
        self.name = name

    def __len__(self):
        return self.channel.queue_declare(self.name, passive=True).method.message_count

    def get(self):
        """Return the next message as (properties, body, routing key), or None."""
        method, properties, body = self.channel.basic_get(self.name, auto_ack=True)
        return None if method is None else (properties, body, method.routing_key)

    def bodies(self):
        """Return all bodies in their order; the queue is empty afterwards."""
        found = []
        while missing := len(self):
            for method, _, body in self.channel.consume(self.name):
                found.append(body)
                missing -= 1
                # A quorum queue gives no more than 2,000 that are not acknowledged.
                if not missing or missing % 1000 == 0:
                    self.channel.basic_ack(method.delivery_tag, multiple=True)
                if not missing:
                    break
            self.channel.cancel()  # which puts back what came beyond those
        return found

    def counted(self):
        """Return how often each body is in the queue, which is empty afterwards."""
        return collections.Counter(self.bodies())


def count_ids(channel, queues):
    """Return how often each message id, a body's first word, is there; empty the queues."""
    found = collections.Counter()
    for name in queues:
        found.update(body.partition(b" ")[0].decode() for body in Queue(channel, name).bodies())
    return found
