"""A soak tells a process that grows from one whose memory goes up and down."""

import pytest
from growth import Size, complaints, trend_of

MIB = 2**20


def sizes(memory, descriptors=20, threads=5):
    return [Size(int(each * MIB), descriptors, threads) for each in memory]


@pytest.mark.parametrize(
    "memory",
    [
        [45.0] * 16,
        [45.0 + 0.001 * hour for hour in range(16)],  # 24 KiB a day
        [45, 47, 44, 46] * 4,
        [47, 45, 45, 45] * 4,
        [50.0 - 0.2 * hour for hour in range(16)],
    ],
)
def test_memory_that_stays_is_good(memory):
    assert complaints("backend 1", sizes(memory)) == []


@pytest.mark.parametrize(
    "memory",
    [
        [45.0 + 0.03 * hour for hour in range(16)],  # 0.7 MiB a day
        [45.0 + 0.2 * hour + (hour % 3) for hour in range(16)],
        [45.0, 46.0, 47.0],
    ],
)
def test_memory_that_grows_is_named(memory):
    [found] = complaints("backend 1", sizes(memory))
    assert found.startswith("backend 1: memory grows, +")


@pytest.mark.parametrize("name", ["descriptors", "threads"])
def test_a_count_that_changes_is_named(name):
    found = complaints("parent", [*sizes([20.0] * 5), *sizes([20.0], **{name: 21})])
    before = {"descriptors": 20, "threads": 5}[name]
    assert found == [f"parent: {name} change, {', '.join([str(before)] * 5)}, 21"]


def test_the_trend_is_that_of_a_day():
    trend = trend_of([100.0 + hour for hour in range(10)])
    assert (trend.slope, trend.error, trend.mean) == pytest.approx((24.0, 0.0, 104.5), abs=1e-9)
