"""Capacity on paper: what a rate takes, by the figures of a result, with the arithmetic."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from capacity import SCENARIO
from contenders import OURS
from report import Run
from results import Document
from singles import SCENARIO as SINGLES

RATES = (10_000, 100_000, 1_000_000)
FULL = 0.6  # of every core, so that the death of one, or a burst, finds room
NODE = 8  # cores of a broker's node
SEGMENT = 90  # bytes around a TCP segment: TCP with time stamps 32, IP 20, Ethernet 38 on the wire
POINT = "32"


@dataclass(frozen=True)
class Needs:
    """Of one rate."""

    gateway_cores: float
    broker_cores: float
    network: dict[str, float]  # MB/s of each direction

    @property
    def backends(self) -> int:
        """One core each, and two at least: one may die."""
        return max(2, ceil(self.gateway_cores))

    @property
    def queues(self) -> int:
        """A queue is one Erlang process, and so a core at most."""
        return ceil(self.broker_cores)

    @property
    def nodes(self) -> int:
        return ceil(self.broker_cores / NODE)


def needs(rate: float, gateway_us: float, broker_us: float, sizes: dict[str, float]) -> Needs:
    """Each message in segments of its own, which is the most that it can be."""
    return Needs(
        gateway_cores=rate * gateway_us / 1e6 / FULL,
        broker_cores=rate * broker_us / 1e6 / FULL,
        network={name: rate * (size + SEGMENT) / 1e6 for name, size in sizes.items()},
    )


def section(document: Document) -> Iterator[str]:
    """The lines of the page; none when the result lacks what they need."""
    at = {
        run["point"]: run
        for run in document["medians"]
        if (run["scenario"], run["gateway"]) == (SINGLES, OURS)
    }
    if POINT not in at or "bytes" not in document:
        return
    ours, sizes = at[POINT], document["bytes"]
    gateway_us, broker_us = round(ours["gateway_us"], 1), round(ours["broker_us"], 1)
    yield f"""\
## Capacity on paper

Persistent messages of 100 bytes, one request each over kept connections, into classic
queues, at the cost of {POINT} connections above: {gateway_us} us of the gateway and
{broker_us} us of RabbitMQ for each. Every core is {FULL:.0%} full, so that a burst, or the death
of one, finds room: cores = messages a second x us / 1,000,000 / {FULL}.

| messages/s | gateway cores | backends | RabbitMQ cores | nodes of {NODE} | queues |
|---:|---:|---:|---:|---:|---:|"""
    every = {rate: needs(rate, gateway_us, broker_us, sizes) for rate in RATES}
    for rate, each in every.items():
        yield (
            f"| {rate:,} | {rate:,} x {gateway_us} / 1 M / {FULL} = {each.gateway_cores:.1f} | "
            f"{each.backends} | {rate:,} x {broker_us} / 1 M / {FULL} = "
            f"{each.broker_cores:.1f} | {each.nodes} | {each.queues} |"
        )
    yield f"""
A backend is one core, and two are the least, for one may die. A queue is one Erlang
process, and so at most a core. Quorum queues of three replicas cost RabbitMQ about three
times as much ([growing.md](growing.md)): take three times the nodes, for safety.

The network, for each message, by the gateway's own counters: a request of
{sizes["request"]:.0f} bytes, an answer of {sizes["answer"]:.0f}, {sizes["to_broker"]:.0f} of AMQP
to RabbitMQ and {sizes["from_broker"]:.1f} of confirms back. {SEGMENT} bytes are added to each
for a TCP segment of its own (TCP 32, IP 20, Ethernet 38): that is the most, for to the
broker many messages go in one.

| messages/s | from clients | to clients | to RabbitMQ | from RabbitMQ | one backend, in + out |
|---:|---:|---:|---:|---:|---:|"""
    for rate, each in every.items():
        request, answer, to_broker, from_broker = each.network.values()
        share = 8 / each.backends
        yield (
            f"| {rate:,} | {rate:,} x ({sizes['request']:.0f} + {SEGMENT}) = "
            f"{request:,.1f} MB/s | "
            f"{answer:,.1f} MB/s | {to_broker:,.1f} MB/s | {from_broker:,.1f} MB/s | "
            f"{(request + from_broker) * share:,.0f} + "
            f"{(answer + to_broker) * share:,.0f} Mbit/s |"
        )
    yield "\nThe last column is for one of the backends in the table, on a host of its own."
    small_end = [run for run in document["medians"] if run["scenario"] == SCENARIO]
    if small_end and "1" in at:
        yield from _checked(small_end, ours, at["1"])


def _checked(small_end: Sequence[Run], full: Run, alone: Run) -> Iterator[str]:
    yield f"""
### The small end, measured

One backend, and {small_end[0]["connections"]} clients that pause between their requests.
Predicted, from left to right: by the cost at {POINT} connections, where each turn of the
loop finds several messages, and by the cost at 1, where each message pays for its own. An
unhurried backend is between the two; the fuller it gets, the nearer it comes to the
first, which is what counts for its limit.

| messages/s | gateway, predicted | measured | RabbitMQ, predicted | measured |
|---:|---:|---:|---:|---:|"""
    for run in small_end:
        rate = run["requests_per_second"]
        cells = [f"{rate:,.0f}"]
        for key in ("gateway_us", "broker_us"):
            low, high, measured = (rate * each[key] / 1e4 for each in (full, alone, run))
            cells += [f"{low:.1f} to {high:.1f} %", f"{measured:.1f} %"]
        yield f"| {' | '.join(cells)} |"
    yield "\nPer cent are of one core."
