"""Long work takes turns, so that however much there is, the event loop is never held."""

import asyncio
import time

from edge import AUTH, edge_test, post

NDJSON = b"Content-Type: application/x-ndjson\r\n"


class Turns:
    """Counts the turns of the event loop, and knows the CPU time of the longest one."""

    def __init__(self):
        self.count, self.longest, self.begun = 0, 0.0, time.thread_time()
        self.next()

    def next(self):
        now = time.thread_time()
        self.count += 1
        self.longest, self.begun = max(self.longest, now - self.begun), now
        asyncio.get_running_loop().call_soon(self.next)


@edge_test()
async def test_each_has_a_turn_of_its_own(edge):
    slices, turns, worked = edge.gateway.slices, Turns(), []

    async def work():
        for _ in range(3):
            await slices.turn()
            worked.append(turns.count)

    await asyncio.gather(*(work() for _ in range(20)))
    assert len(set(worked)) == 60


@edge_test()
async def test_lines_of_many_clients_take_turns(edge):
    lines = post(b"{}\n" * 500, b"/v/e", AUTH + NDJSON)
    clients = [await edge.connect() for _ in range(60)]
    turns = Turns()
    for client in clients:
        client.send(lines)
    for client in clients:
        assert (await client.answer()).status == 200
    assert turns.longest < 0.09
