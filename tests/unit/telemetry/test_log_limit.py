"""Of too many lines the first and the last are written, and the others are counted."""

import pytest

from statelessd.telemetry.log_limit import LINES, WINDOW, Line, LogLimit


@pytest.fixture
def time():
    """The seconds that have passed, in a list."""
    return [0.0]


@pytest.fixture
def limit(time):
    return LogLimit(clock=lambda: time[0])


def written(lines):
    return [f"{line.content}{line.suffix}" for line in lines]


def add(limit, kind, count):
    return [line for number in range(count) for line in limit.add(kind, f"{kind}{number}")]


def test_the_first_lines_are_written_at_once(limit):
    assert written(add(limit, "a", LINES)) == [f"a{number}" for number in range(LINES)]
    assert limit.due(at_once=True) == []


def test_of_the_others_the_last_is_written_with_their_number(limit, time):
    add(limit, "a", LINES)
    assert add(limit, "a", 121) == []
    assert limit.due() == []
    time[0] = WINDOW
    assert written(limit.due()) == ["a120 (and 120 more like it in the last 10 s)"]
    assert limit.due() == []


def test_one_line_that_was_left_out_stands_for_itself(limit, time):
    add(limit, "a", LINES + 1)
    time[0] = WINDOW
    assert limit.due() == [Line(f"a{LINES}", 0, WINDOW)]


def test_the_next_line_writes_what_is_due_before_itself(limit, time):
    add(limit, "a", LINES + 3)
    time[0] = WINDOW + 2
    assert written(limit.add("a", "later")) == [
        f"a{LINES + 2} (and 2 more like it in the last 12 s)",
        "later",
    ]


def test_kinds_have_bounds_of_their_own_and_come_in_the_order_of_their_last_lines(limit, time):
    add(limit, "a", LINES + 2)
    time[0] = 1
    add(limit, "b", LINES + 2)
    assert add(limit, "c", LINES)
    assert [line.content[0] for line in limit.due(at_once=True)] == ["a", "b"]


def test_too_many_kinds_share_one_bound(time):
    limit = LogLimit(1, kinds=3, clock=lambda: time[0])
    assert [len(limit.add(number, number)) for number in range(6)] == [1, 1, 1, 1, 0, 0]
    [line] = limit.due(at_once=True)
    assert (line.content, line.left_out) == (5, 1)


def test_a_flood_that_lasts_writes_little(limit, time):
    count = 0
    for _ in range(10_000):
        time[0] += 0.01
        count += len(limit.add("a", "x")) + len(limit.due())
    assert count <= (LINES + 1) * (100 / WINDOW)
