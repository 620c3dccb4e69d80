"""mq-bridge-basic, a bridge in Rust: POSTs of plain bodies to one exchange and routing key.

``python rust_bridge.py PORT AMQP_URL EXCHANGE ROUTING_KEY`` serves ``/publish`` until
SIGTERM. It waits for the broker's confirm before its answer, a 202; it knows one user,
no forms and no properties from the client. Messages are persistent, as its default is.
"""

import signal
import sys

from mq_bridge import Route

PORT, AMQP_URL, EXCHANGE, ROUTING_KEY = sys.argv[1:]

# Its defaults take 100 requests at a time, and have one batch under way. Of 1, 4, 8 and 16
# batches the last gave the highest rate; the CPU for each message hardly differed.
REQUESTS = 1024
BATCHES = 16

route = Route.from_config(
    {
        "input": {
            "http": {
                "url": f"127.0.0.1:{PORT}",
                "path": "/publish",
                "method": "POST",
                "concurrency_limit": REQUESTS,
                "internal_buffer_size": REQUESTS,
            }
        },
        "output": {
            "amqp": {
                "url": AMQP_URL,
                "exchange": EXCHANGE,
                "queue": ROUTING_KEY,  # what it calls the routing key
                "no_declare_queue": True,
            }
        },
        "concurrency": BATCHES,
    }
)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # by its threads as well
with route:
    signal.sigwait({signal.SIGTERM})
