"""Long work takes turns, so that however much there is, the event loop is never held."""

import asyncio

from edge import AUTH, edge_test, post

NDJSON = b"Content-Type: application/x-ndjson\r\n"


class Turns:
    """Counts the turns of the event loop."""

    def __init__(self):
        self.count = 0
        self.next()

    def next(self):
        self.count += 1
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
async def test_lines_wait_for_their_turn(edge, monkeypatch):
    slices, waited = edge.gateway.slices, []
    turn = slices.turn
    monkeypatch.setattr(slices, "turn", lambda: waited.append(True) or turn())
    answer = await edge.ask(post(b"{}\n" * 200, b"/v/e", AUTH + NDJSON))
    assert answer.status == 200
    assert waited
