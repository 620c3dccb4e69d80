"""What is in the queues in the end."""

import collections


def bodies(channel, queue):
    """Yield each body in the queue, in order; it is empty afterwards."""
    channel.basic_qos(prefetch_count=1000)
    for method, _, body in channel.consume(queue, inactivity_timeout=1.0):
        if method is None:
            break
        yield body
        channel.basic_ack(method.delivery_tag)
    channel.cancel()


def count_ids(channel, queues):
    """How often each message id is in them; they are empty afterwards."""
    found = collections.Counter()
    for queue in queues:
        found.update(body.partition(b" ")[0].decode() for body in bodies(channel, queue))
    return found
