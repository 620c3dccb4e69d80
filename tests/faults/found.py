"""What is in the queues in the end."""

import collections


def count_ids(channel, queues):
    """How often each message id is in them; they are empty afterwards."""
    found = collections.Counter()
    for queue in queues:
        channel.basic_qos(prefetch_count=1000)
        for method, _, body in channel.consume(queue, inactivity_timeout=1.0):
            if method is None:
                break
            found[body.partition(b" ")[0].decode()] += 1
            channel.basic_ack(method.delivery_tag)
        channel.cancel()
    return found
