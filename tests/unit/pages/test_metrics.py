"""``/metrics`` of all backends, as they have left their figures on the scoreboard."""

import os
import subprocess
import sys

from edge import edge_test, post
from prometheus_client.parser import text_string_to_metric_families as parse

from statelessd.telemetry.scoreboard import Scoreboard, Snapshot

ALL = b"GET /metrics?scope=all HTTP/1.1\r\nHost: x\r\n\r\n"
BLOCKED = ("broker_blocked_seconds",)  # counted in nanoseconds
SENT = ("broker_sent_bytes",)


def ended():
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


async def told(edge, name):
    answer = await edge.ask(ALL)
    families = parse(answer.body.decode())
    found = [sample for each in families for sample in each.samples if sample.name == name]
    return {sample.labels["backend"]: sample.value for sample in found}


@edge_test(ports=[1, 2])
async def test_of_those_that_are_gone_counters_stay_and_no_gauges(edge):
    edge.monitoring.scoreboard = scoreboard = Scoreboard.make()
    gauges = {("broker_connections",): 9.0}
    for listener in (2, 3):  # the last one was removed by a reload
        for counted in (10**9 // 3, 10**9 // 3 * 2 + 1):
            left = Snapshot(ended(), 1.0, {BLOCKED: [counted], SENT: [counted]}, gauges, {})
            scoreboard.write(listener, left)
    for pid, counted in ((os.getppid(), 7), (os.getpid(), 99)):
        scoreboard.write(1, Snapshot(pid, 1.0, {SENT: [counted]}, {}, {}))
    await edge.ask(post())
    assert await told(edge, "statelessd_broker_blocked_seconds_total") == {"1": 0, "2": 1, "3": 1}
    # Of ours what is counted at this moment, and what the one has that we replace.
    sent = await told(edge, "statelessd_broker_sent_bytes_total")
    assert sent == {"1": 7, "2": 10**9, "3": 10**9}
    assert (await told(edge, "statelessd_broker_connections")) == {"1": 0}
    assert await told(edge, "statelessd_backend_up") == {"1": 1, "2": 0}
