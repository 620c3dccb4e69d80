"""A queue that is full and rejects: the broker's nack, and what it does and does not say."""

import collections
import contextlib

import pytest
from problems import is_problem
from stream import Stream

LIMIT = 50  # messages


@pytest.fixture(params=["classic", "quorum"])
def full(request, amqp):
    """Declares a queue of that type which takes LIMIT messages and rejects more."""
    channel = amqp()
    name = f"full-{request.param}"
    arguments = {
        "x-queue-type": request.param,
        "x-max-length": LIMIT,
        "x-overflow": "reject-publish",
    }
    channel.queue_declare(name, durable=True, arguments=arguments)
    yield name, channel
    channel.queue_delete(name)


def drain(channel, name):
    found = collections.Counter()
    while True:
        method, _, body = channel.basic_get(name, auto_ack=True)
        if method is None:
            return found
        found[body] += 1


def test_a_full_queue(gateway, full):
    name, channel = full
    with Stream(gateway, f"/test//{name}") as stream:
        pass
    told = stream.statuses()
    assert set(told) == {204, 503}
    found = drain(channel, name)
    # All that was confirmed is there, once; a nacked one is not (though it might be).
    assert found == collections.Counter(stream.confirmed())
    assert told[204] >= LIMIT


def test_another_queue_may_have_it(gateway, full, queue):
    """So the answer is "unknown": the second queue takes what the first one rejects."""
    name, channel = full
    channel.queue_bind(name, queue.name, "#")
    with contextlib.ExitStack() as stack:
        stack.callback(channel.queue_unbind, name, queue.name, "#")
        for i in range(LIMIT * 4):  # a quorum queue's limit is soft
            answer = gateway.publish(f"/test/{queue.name}/k", data={"body": str(i)})
            if answer.status_code != 204:
                break
        document = is_problem(answer, 503, "nacked", "unknown")
        assert document["retryable"] is True
        assert "Other queues may have it" in document["detail"]
    assert queue.bodies()[-1] == str(i).encode()
    assert drain(channel, name)[str(i).encode()] == 0
