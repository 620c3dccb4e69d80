"""One message on its way to the gateway, and what the gateway told of it."""

import re
import time

from verdict import CONFIRMED, Answer

NO_ANSWER = "no answer: the connection was lost"


class Task:
    """A mandatory message.

    Its body begins with its id. ``size``: of the rest of the body; 1 gives all such
    messages the same message_id. ``fields``: more of the form.
    """

    def __init__(self, message_id, path, user, password=None, *, size=0, fields=None):
        self.message_id = message_id
        self.path = path
        self.user = user
        self.password = user if password is None else password
        self.form = {
            "body": f"{message_id} {'x' * size}",
            "message_id": "the same for all" if size == 1 else message_id,
            "mandatory": "true",
            **(fields or {}),
        }


def answer(task, status, document, begun):
    """Return what the status and the problem document say of the task."""
    seconds = time.monotonic() - begun
    if status == 204:
        return Answer(task.message_id, CONFIRMED, seconds=seconds)
    assert document["status"] == status
    assert document.get("id", task.message_id) == task.message_id, document
    assert status != 500, document
    # Without the numbers and names that differ from one message to the next.
    detail = re.sub(r"'[^']*'|\d+(\.\d+)?", "…", document["detail"])
    kind = document["type"].rpartition("#")[2]
    return Answer(task.message_id, document["outcome"], f"{kind}: {detail}", seconds=seconds)


def exchange_of(task):
    """Return the path of the batch that the task can be a part of."""
    path = task.path.rpartition("/")[0]
    return f"{path}amq.default" if path.endswith("/") else path
