"""A Celery application as people have one. Each task writes a line of JSON that says it ran."""

import json
import os
import time

from celery import Celery

app = Celery("shop", broker=os.environ["AMQP_URL"], backend="rpc://")
app.conf.broker_connection_retry_on_startup = True


def note(task, args, kwargs):
    request = task.request
    line = {
        "id": request.id,
        "root_id": request.root_id,
        "correlation_id": request.correlation_id,
        "retries": request.retries,
        "args": args,
        "kwargs": kwargs,
        "at": time.time(),
    }
    with open(os.environ["RAN"], "a") as ran:  # noqa: PTH123 - one write, one line
        ran.write(json.dumps(line) + "\n")


@app.task(name="shop.send_receipt", bind=True)
def send_receipt(self, *args, **kwargs):
    note(self, args, kwargs)
    return f"a receipt for {args[0]}"


@app.task(name="shop.charge", bind=True, max_retries=3)
def charge(self, *args, **kwargs):
    """Fail the first time, as with a payment service that is away."""
    note(self, args, kwargs)
    if self.request.retries == 0:
        raise self.retry(countdown=0.1)
