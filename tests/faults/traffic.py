"""Clients of a run that publish numbered messages, and every answer that they got."""

import contextlib
import dataclasses
import itertools
import random
import time

from clients import Clients
from http_clients import BatchClient, CurlClient, HttpClient, PhpClient, Place
from tasks import Task, exchange_of
from verdict import CONFIRMED
from world import FULL, QUEUES, USERS, VICTIM


def good_task(message_id, rng):
    """Return a message mostly to the queues that stay; a few to what refuses or comes and goes."""
    user = rng.choice(USERS)
    topic = "ok" if user == "carol" else rng.choice(["ok", "any"])
    path = f"/test/traffic/{topic}.{rng.randrange(len(QUEUES))}"
    fields = {}
    kind = rng.random()
    if kind < 0.05:
        path = f"/test//{rng.choice(QUEUES)}"  # by the default exchange
    elif kind < 0.10:
        path = f"/test/{VICTIM}/k"
    elif kind < 0.13:
        path = f"/test//{FULL}"
    elif kind < 0.16:
        path = "/test/traffic/nowhere"
    elif kind < 0.18:
        fields["user_id"] = rng.choice(["somebody", user])
    size = rng.choice([0, 0, 0, 1, 1, 100, 100, 1000, 10_000, 200_000])
    return Task(message_id, path, user, size=size, fields=fields)


class Traffic:
    """Clients of all kinds; ``answers`` grows while they publish. Places may be ports."""

    def __init__(self, seed, places, begun, number=0):
        self.answers = []
        self.begun = begun
        self._seed = f"{seed} {number}"
        self._places = [Place(each) if isinstance(each, int) else each for each in places]
        self._number = number
        self._storms = itertools.count(1)
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return self._stack.__exit__(*exception)

    def start(self, clients):
        """Start so many clients, of all kinds."""
        for kind, count in [(PhpClient, 1), (CurlClient, 1), (BatchClient, 2)]:
            self.begin(kind, count, good_task)
        self.begin(HttpClient, clients - 4, good_task)

    def steady(self, make_task, clients, pause):
        """Start clients that keep their connections, and ``pause`` for seconds after a 204."""
        self.begin(HttpClient, clients, make_task, pause)

    def storm(self, make_task):
        """Return four clients of one more kind, for a ``with`` statement."""
        return Clients(4, self._asking(f"storm-{next(self._storms)}", HttpClient, make_task))

    def begin(self, kind, count, make_task, pause=0.0):
        """Start clients of one kind, of which there are none yet; ``pause`` as in ``steady``."""
        asking = self._asking(kind.__name__, kind, make_task, pause)
        self._stack.enter_context(Clients(count, asking))

    def _asking(self, name, kind, make_task, pause=0.0):
        """Return a client that publishes, with a pause after each request that was not a 204."""
        numbers = itertools.count()

        def ask(stopping):
            own = f"{self._number}-{name}-{next(numbers)}"
            rng = random.Random(f"{self._seed} {own}")
            with contextlib.closing(kind(rng.choice(self._places))) as client:
                for number in itertools.count(1):
                    if stopping.is_set():
                        return
                    tasks = [make_task(f"{own}-{number}", rng)]
                    others = [make_task(f"{own}-{number}-{n}", rng) for n in range(1, client.most)]
                    told = client.publish(tasks + [o for o in others if _fit(o, tasks[0])])
                    at = time.monotonic() - self.begun
                    self.answers += [dataclasses.replace(each, at=at) for each in told]
                    yield len(told)
                    good = all(each.outcome == CONFIRMED for each in told)
                    if seconds := pause if good else rng.uniform(0, 0.05):
                        stopping.wait(seconds)

        return ask


def _fit(one, other):
    """Return whether both may be in a batch."""
    return one.user == other.user and exchange_of(one) == exchange_of(other)
