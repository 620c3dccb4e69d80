"""A test of the broker layer: a scripted broker, and clients that publish through it."""

import asyncio
import functools
import inspect

from fakebroker import FakeBroker

from statelessd.amqp import encode
from statelessd.broker.publisher import Publisher
from statelessd.config.settings import Publish, RabbitMQ
from statelessd.message import Credentials, Message, Outcome
from statelessd.tls.client import Trust

GUEST = Credentials("guest", "secret-word")
O = Outcome  # noqa: E741 - comparisons read better with it


def scenario(test):
    """Run an async test, given a broker and a function that makes publishers."""

    @functools.wraps(test)
    def run(**fixtures):
        async def main():
            async with asyncio.timeout(90), FakeBroker() as broker:
                clients = []

                def client(**limits):
                    settings = {k: v for k, v in limits.items() if k in RabbitMQ.__struct_fields__}
                    rest = {k: v for k, v in limits.items() if k not in settings}
                    where = {"host": "127.0.0.1", "port": broker.port}
                    clients.append(Client(broker, RabbitMQ(**where | settings), Publish(**rest)))
                    return clients[-1]

                try:
                    await test(broker, client, **fixtures)
                finally:
                    for made in clients:
                        await made.publisher.close()

        asyncio.run(main())

    signature = inspect.signature(test)
    wanted = [p for p in signature.parameters.values() if p.name not in ("broker", "client")]
    run.__signature__ = signature.replace(parameters=wanted)  # type: ignore[attr-defined]
    return run


class Client:
    def __init__(self, broker, rabbitmq, limits):
        self.loop = asyncio.get_running_loop()
        trust = Trust(rabbitmq.tls) if rabbitmq.tls.enabled else None
        self.publisher = Publisher(rabbitmq, limits, trust=trust, loop=self.loop, backend="test:0")
        self.broker = broker

    def start(self, body=b"m", *, exchange="e", routing_key="k", timeout=20.0, mandatory=False,
              user_id=None, credentials=GUEST, virtual_host="test", header=None):  # fmt: skip
        """A publish under way: a future of its outcome, with the publish as an attribute."""
        future = Pending(self.loop)
        header = encode.properties({}) if header is None else header
        message = Message(exchange, routing_key, header, body, mandatory, user_id)
        future.publish = self.publisher.publish(
            virtual_host, credentials, message, self.loop.time() + timeout, future.settle
        )
        return future

    async def __call__(self, *args, **kwargs):
        return (await self.start(*args, **kwargs))[0]

    @property
    def statistics(self):
        return self.publisher.connection_statistics()["test:guest"]

    async def until(self, condition):
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - what it waits for has no event
                await asyncio.sleep(0.005)


class Pending(asyncio.Future):
    publish = None

    def __init__(self, loop):
        super().__init__(loop=loop)

    def settle(self, outcome, detail):
        self.set_result((outcome, detail))  # a second call raises
