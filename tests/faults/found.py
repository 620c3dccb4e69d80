"""What is in the queues in the end."""

import collections


def bodies(channel, queue):
    """Yield each body in the queue, in order; it is empty afterwards."""
    for method, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=1.0):
        if method is not None:
            yield body
        elif not channel.queue_declare(queue, passive=True).method.message_count:
            break
    channel.cancel()


def count_ids(channel, queues):
    """How often each message id is in them; they are empty afterwards."""
    found = collections.Counter()
    for queue in queues:
        found.update(body.partition(b" ")[0].decode() for body in bodies(channel, queue))
    return found
