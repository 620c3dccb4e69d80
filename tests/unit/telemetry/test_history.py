"""The ring of the last ten minutes: what is left in it is there, and nothing else."""

import os
import random

import msgspec
import pytest

from statelessd.telemetry.histogram import FineHistogram, Histogram, percentile
from statelessd.telemetry.history import CELL, CELLS, HEAD, WINDOW, Sample, Second, without_stalls
from statelessd.telemetry.scoreboard import Scoreboard, Snapshot

NOW = 1_800_000_000
BASE = Sample(
    pid=os.getpid(), seconds=1, broker="connected", gauges={"in_flight": 0}, counts={},
    durations={},
)  # fmt: skip


def sample(published=None, latency=None, errors=None, **changes):
    changes["counts"] = {} if published is None else {"published": {"": published}}
    if errors is not None:
        changes["counts"]["errors"] = errors
    if latency is not None:
        changes["durations"] = {"latency": latency}
    return msgspec.structs.replace(BASE, **changes)


@pytest.fixture
def scoreboard():
    """With a listener that has a page, as each has once it serves."""
    shared = Scoreboard.make()
    page(shared, 8000)
    return shared


def page(shared, listener):
    assert shared.write(listener, Snapshot(os.getpid(), 1.0, {}, {}, {}))


def confirmed(history):
    return {
        second: [each.counts["published"][""] for each in samples]
        for second, samples in history.items()
    }


def test_seconds_without_data_are_missing(scoreboard):
    for second in (NOW, NOW + 1, NOW + 5):
        scoreboard.record(8000, second, sample(published=second - NOW))
    assert confirmed(scoreboard.history(8000, NOW - 3, NOW + 9)) == {
        NOW: [0],
        NOW + 1: [1],
        NOW + 5: [5],
    }
    assert confirmed(scoreboard.history(8000, NOW + 1, NOW + 4)) == {NOW + 1: [1]}


def test_what_is_older_than_the_ring_is_written_over_or_not_seen(scoreboard):
    for second in range(NOW, NOW + 2 * CELLS, 2):
        scoreboard.record(8000, second, sample(published=second - NOW))
    last = NOW + 2 * CELLS
    found = scoreboard.history(8000, last - WINDOW + 1, last)
    assert confirmed(found) == {s: [s - NOW] for s in range(last - WINDOW + 2, last, 2)}
    assert scoreboard.history(8000, NOW, NOW + 9) == {}
    assert scoreboard.history(8000, last + 1, last + WINDOW) == {}


def test_each_listener_has_its_own_and_others_find_it(scoreboard):
    page(scoreboard, "unix:/x")
    scoreboard.record(8000, NOW, sample(published=1))
    scoreboard.record("unix:/x", NOW, sample(published=2))
    other = Scoreboard(scoreboard.descriptor)
    assert confirmed(other.history("unix:/x", NOW, NOW)) == {NOW: [2]}
    assert confirmed(other.history(8000, NOW, NOW)) == {NOW: [1]}
    assert other.history(8001, NOW, NOW) == {}


def test_a_process_replaces_its_own_and_no_other(scoreboard):
    for pid, count in ((1, 2), (2, 4), (1, 3)):
        scoreboard.record(8000, NOW, sample(pid=pid, published=count))
    assert confirmed(scoreboard.history(8000, NOW, NOW)) == {NOW: [4, 3]}


def test_a_sample_that_does_not_fit_loses_precision_and_no_count(scoreboard):
    latency = dict.fromkeys(range(16, 528), 10**6)
    assert len(msgspec.msgpack.encode([sample(latency=latency)])) > CELL - HEAD
    scoreboard.record(8000, NOW, sample(latency=latency, published=7))
    [found] = scoreboard.history(8000, NOW, NOW)[NOW]
    assert sum(found.durations["latency"].values()) == 512 * 10**6
    assert found.counts["published"] == {"": 7}
    was, now = percentile(latency, 0.5), percentile(found.durations["latency"], 0.5)
    assert 0.5 < now / was < 2


def test_two_in_trouble_fit_a_cell(scoreboard):
    worst = sample(
        latency=dict.fromkeys(range(80, 320), 10**6),  # 1 us to 5 minutes
        errors={f"problem-of-some-kind-{n:02}": 10**9 for n in range(21)},
    )
    for pid in (1, 2):
        scoreboard.record(8000, NOW, msgspec.structs.replace(worst, pid=pid))
    assert len(scoreboard.history(8000, NOW, NOW)[NOW]) == 2


def test_who_watches_is_seen_by_all(scoreboard):
    assert not scoreboard.is_watched
    Scoreboard(scoreboard.descriptor).watch()
    assert scoreboard.is_watched


def test_a_stall_is_no_gap_and_no_dip():
    stalled = sample(published=30, seconds=3, errors={"nacked": 6})
    known = without_stalls({NOW: [sample()], NOW + 4: [stalled]})
    found = {second: Second(samples).rates for second, samples in known}
    assert sorted(found) == [NOW, NOW + 2, NOW + 3, NOW + 4]
    for second in (NOW + 2, NOW + 3, NOW + 4):
        assert found[second] == {"published": {"": 10}, "errors": {"nacked": 2}}


def test_several_make_one_with_the_sum_of_their_distributions():
    fast, slow = FineHistogram(), FineHistogram()
    for _ in range(99):
        fast.observe(1_000_000)
    slow.observe(1_000_000_000)
    both = Second([
        sample(latency=nonzero(fast), gauges={"waiting": 2}, errors={"nacked": 1}),
        sample(latency=nonzero(slow), gauges={"waiting": 4}, errors={"no-route": 2},
               broker="blocked"),
    ])  # fmt: skip
    assert percentile(both.durations["latency"], 0.98) == pytest.approx(0.001, rel=0.1)
    assert percentile(both.durations["latency"], 0.995) == pytest.approx(1, rel=0.1)
    assert both.gauges == {"waiting": 6}
    assert both.rates == {"errors": {"nacked": 1, "no-route": 2}}
    assert both.brokers == ["connected", "blocked"]


def nonzero(histogram):
    return {index: count for index, count in enumerate(histogram.counts) if count}


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_right_within_some_percent(seed):
    chance = random.Random(seed)
    taken = sorted(int(chance.lognormvariate(14.5, 0.8)) for _ in range(3000))
    histogram = FineHistogram()
    for each in taken:
        histogram.observe(each)
    for share in (0.5, 0.9, 0.99):
        exact = taken[int(share * len(taken))] / 1e9
        assert percentile(nonzero(histogram), share) == pytest.approx(exact, rel=0.05)
    assert percentile({}, 0.5) is None


def test_parts_of_octaves_add_up_to_octaves():
    """What /metrics shows must not depend on them."""
    chance = random.Random(1)
    coarse, fine = Histogram(), FineHistogram()
    for nanoseconds in [0, 1, 2, 3, 7, 8, 2**17 - 1, 2**17, 2**36, 2**63] + [
        chance.getrandbits(chance.randrange(1, 45)) for _ in range(2000)
    ]:
        coarse.observe(nanoseconds)
        fine.observe(nanoseconds)
    assert fine.octaves() == coarse.octaves()
    assert fine.cumulative() == coarse.cumulative()
    assert fine.sum == coarse.sum
