"""A queue that is full and rejects: the broker's nack, and what it does and does not say."""

import contextlib

import pytest
from problems import is_problem
from stream import Stream

LIMIT = 50  # messages


@pytest.fixture(params=["classic", "quorum"])
def full(request, make_queue):
    """A queue of that type which takes LIMIT messages and rejects more."""
    return make_queue(request.param, x_max_length=LIMIT, x_overflow="reject-publish")


def test_a_full_queue(gateway, full):
    with Stream(gateway, f"/test//{full.name}") as stream:
        pass
    assert set(stream.statuses()) == {204, 503}
    # All that was confirmed is there, once; a nacked one is not (though it might be).
    assert sorted(full.bodies()) == sorted(stream.confirmed())
    assert stream.statuses()[204] >= LIMIT


def test_another_queue_may_have_it(gateway, full, queue):
    """So the answer is "unknown": the second queue takes what the first one rejects."""
    full.channel.queue_bind(full.name, queue.name, "#")
    with contextlib.ExitStack() as stack:
        stack.callback(full.channel.queue_unbind, full.name, queue.name, "#")
        for i in range(LIMIT * 4):  # a quorum queue's limit is soft
            answer = gateway.publish(f"/test/{queue.name}/k", data={"body": str(i)})
            if answer.status_code != 204:
                break
        document = is_problem(answer, 503, "nacked", "unknown")
        assert document["retryable"] is True
        assert "Other queues may have it" in document["detail"]
    assert queue.bodies()[-1] == str(i).encode()
    assert str(i).encode() not in full.bodies()
