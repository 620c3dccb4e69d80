"""The arithmetic of ``make test-cluster``: a silence counts from when the queue has a leader."""

import pytest
from silence import Change, confirmed_at, longest, spans_led, without_leader
from verdict import CONFIRMED, UNKNOWN, Answer

CHANGES = [Change(0, "a"), Change(4, None), Change(6, "b"), Change(8, "c"), Change(9, None)]


def test_only_what_was_confirmed_ends_a_silence():
    answers = [Answer("1", CONFIRMED, at=3), Answer("2", UNKNOWN, at=2), Answer("3", CONFIRMED)]
    assert confirmed_at(answers) == [0.0, 3]


@pytest.mark.parametrize(
    ("times", "led", "expected"),
    [
        ([1, 2, 9], None, 7),
        ([1, 2, 9], [(0, 3), (6, 10)], 3),  # between them nobody could have confirmed
        ([1, 2, 9], [(0, 7), (8, 10)], 5),
        ([1, 2, 9], [(0, 10)], 7),
        ([1, 2], None, 8),  # to the end
        ([9], None, 9),  # from the beginning
        ([], [(4, 5)], 1),
        ([], [], 0),
        ([-5, 5, 50], None, 5),  # what lies outside is not looked at
    ],
)
def test_the_longest_silence(times, led, expected):
    assert longest(times, 0, 10, led) == expected


def test_when_there_was_a_leader():
    led = spans_led(CHANGES, 10)
    assert led == [(0, 4), (6, 8), (8, 9)]
    assert without_leader(0, 10, led) == 3
    assert without_leader(5, 9.5, led) == 1.5
    assert spans_led([Change(0, "a"), Change(1, "a", ("leader",)), Change(2, "a")], 3) == [(0, 3)]


def test_a_cluster_is_whole_when_all_follow():
    assert Change(0, "a", ("leader", "follower", "follower")).whole
    assert not Change(0, "a", ("leader", "follower", "none")).whole
    assert not Change(0, None, ("follower", "follower", "follower")).whole
