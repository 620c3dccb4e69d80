"""A test of the broker layer: a scripted broker, and clients that publish through it."""

import asyncio
import contextlib
import gc
import inspect

from fakebroker import FakeBroker

from statelessd.amqp import encode
from statelessd.broker.publisher import Publisher
from statelessd.config.settings import Publish, RabbitMQ
from statelessd.message import Credentials, Message, Outcome
from statelessd.tls.client import Trust

GUEST = Credentials("guest", "secret-word")
O = Outcome  # noqa: E741 - comparisons read better with it
PLAIN = encode.properties({})


def play(test, fixtures, loop_factory):
    """Run an async test whose brokers and clients live in its loop."""

    async def main():
        clients = fixtures["client"]
        wanted = inspect.signature(test).parameters
        async with asyncio.timeout(90), contextlib.AsyncExitStack() as stack:
            for each in fixtures.values():
                if isinstance(each, FakeBroker):
                    await stack.enter_async_context(each)
            if "publish" in wanted:
                fixtures["publish"] = clients()
            try:
                await test(**{name: fixtures[name] for name in wanted})
            finally:
                for made in clients.made:
                    await made.publisher.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    gc.collect()  # a socket that was left complains, and pytest hears it


class Clients:
    """Makes clients of a broker; of their settings, ``settings`` are the defaults."""

    def __init__(self, broker, settings):
        self._broker = broker
        self._settings = settings
        self.made = []

    def __call__(self, loop=None, **given):
        given = {"host": "127.0.0.1", "port": self._broker.port} | self._settings | given
        rabbitmq = {k: v for k, v in given.items() if k in RabbitMQ.__struct_fields__}
        limits = Publish(**{k: v for k, v in given.items() if k not in rabbitmq})
        self.made.append(Client(self._broker, RabbitMQ(**rabbitmq), limits, loop))
        return self.made[-1]


class Client:
    """``loop`` takes the place of the running one for the publisher."""

    def __init__(self, broker, rabbitmq, limits, loop=None):
        self.loop = asyncio.get_running_loop()
        trust = Trust(rabbitmq.tls) if rabbitmq.tls.enabled else None
        self.publisher = Publisher(
            rabbitmq, limits, trust=trust, loop=loop or self.loop, backend="test:0"
        )
        self.broker = broker

    def start(self, body=b"m", *, exchange="e", routing_key="k", timeout=20.0, mandatory=False,
              user_id=None, credentials=GUEST, virtual_host="test", header=None,
              sender=None):  # fmt: skip
        """A publish under way: a future of its outcome, with the publish as an attribute."""
        future = Pending(self.loop)
        message = Message(exchange, routing_key, header or PLAIN, body, mandatory, user_id)
        future.publish = self.publisher.publish(
            virtual_host, credentials, message, self.loop.time() + timeout, future.settle, sender
        )
        return future

    async def __call__(self, *args, **kwargs):
        return (await self.start(*args, **kwargs))[0]

    async def opens(self, *exchanges):
        """Publish until each exchange has a channel that does not send alone."""
        for exchange in exchanges or ("e",):
            assert await self(b"opens", exchange=exchange) is O.CONFIRMED

    async def becomes(self, outcome, *args, **kwargs):
        """Publish again and again until that is the outcome."""
        async with asyncio.timeout(60):
            while await self(*args, **kwargs) is not outcome:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)

    async def logins(self, count):
        """Publish with so many logins, each a connection of its own; their outcomes."""
        users = [Credentials(f"user-{number}", "x") for number in range(count)]
        return [await self(credentials=each, timeout=5.0) for each in users]

    @property
    def statistics(self):
        return self.publisher.connection_statistics()["test:guest"]

    @property
    def state(self):
        """The broker's state, in one word."""
        return self.publisher.broker_state().state.value

    def shows(self, *texts):
        """Whether the publisher's picture of itself has all of these."""
        return all(text in repr(self.publisher) for text in texts)

    def nodes(self, what):
        """Of each node by its name: how many "connections" it has, or whether it is "up"."""
        figures = self.publisher.figures()
        return figures.nodes_up if what == "up" else figures.node_connections

    async def until(self, condition):
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - what it waits for has no event
                await asyncio.sleep(0.005)

    async def published(self, body, count=1):
        """Wait until the broker has got it so often."""
        await self.until(lambda: self.broker.published.count(body) >= count)

    async def is_idle(self):
        """Wait until nothing is counted for any session."""
        idle = "0 in flight, 0 waiting>"
        await self.until(
            lambda: (
                self.shows("<Publisher: 0 messages, 0 bytes")
                and repr(self.publisher).count(" in flight, ") == repr(self.publisher).count(idle)
            )
        )


class Pending(asyncio.Future):
    publish = None

    def __init__(self, loop):
        super().__init__(loop=loop)

    def settle(self, outcome, detail):
        self.set_result((outcome, detail))  # a second call raises


async def outcomes(*pending):
    """What became of each publish, in their order."""
    return [(await each)[0] for each in pending]


def hosts(*brokers):
    """The setting for these nodes, each a broker or a port."""
    return tuple(f"127.0.0.1:{getattr(broker, 'port', broker)}" for broker in brokers)
