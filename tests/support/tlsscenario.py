"""A test of the broker layer over TLS, on both event loops: their TLS is not the same code."""

import asyncio
import functools
import gc
import inspect

import pytest
import uvloop
from fakebroker import FakeBroker
from scenario import Client

from statelessd.config.settings import BrokerTls, Publish, RabbitMQ


def on_both_loops(test):
    """A broker that speaks TLS, and a function that makes publishers."""

    @functools.wraps(test)
    def run(loop, authority, **fixtures):
        if "authority" in wanted:
            fixtures["authority"] = authority

        async def main():
            async with asyncio.timeout(90), FakeBroker(authority.server_context()) as broker:
                made = []

                def client(**settings):
                    tls = BrokerTls(enabled=True, ca=str(authority.ca))
                    where = {"host": "127.0.0.1", "port": broker.port, "tls": tls}
                    made.append(Client(broker, RabbitMQ(**where | settings), Publish()))
                    return made[-1]

                try:
                    await test(broker, client, **fixtures)
                finally:
                    for each in made:
                        await each.publisher.close()

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(main())
        gc.collect()  # a socket that was left complains, and pytest hears it

    wanted = inspect.signature(test).parameters
    others = [p for n, p in wanted.items() if n not in ("broker", "client", "authority")]
    ours = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in ("loop", "authority")]
    run.__signature__ = inspect.Signature([*others, *ours])  # type: ignore[attr-defined]
    loops = [asyncio.new_event_loop, uvloop.new_event_loop]
    return pytest.mark.parametrize("loop", loops, ids=["asyncio", "uvloop"])(run)
