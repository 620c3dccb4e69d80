"""Which login is next: bounded in number, and fair between addresses and between logins."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statelessd.broker.login_queue import LoginQueue


def queue_of(places, **logins):
    """A queue in which each address has so many logins, by their numbers."""
    queue = LoginQueue(places)
    for address, count in logins.items():
        for number in range(count):
            queue.enter((address, number), address)
    return queue


def served(queue):
    """The logins in the order of their turns, each of which ends before the next."""
    while (login := queue.next()) is not None:
        yield login
        queue.leave(login)


def test_so_many_are_under_way_and_the_next_has_its_turn_when_one_ends():
    queue = queue_of(2, a=3)
    first, second = queue.next(), queue.next()
    assert queue.next() is None
    assert (queue.under_way, queue.waiting) == (2, 1)
    queue.leave(first)
    third = queue.next()
    assert {first, second, third} == {("a", 0), ("a", 1), ("a", 2)}
    assert (queue.under_way, queue.waiting) == (2, 0)


def test_a_login_that_waits_no_more_has_no_turn():
    queue = queue_of(5, a=3)
    queue.leave(("a", 1))
    assert set(served(queue)) == {("a", 0), ("a", 2)}
    assert (queue.under_way, queue.waiting) == (0, 0)


def test_a_storm_from_one_address_delays_the_others_by_some_turns():
    queue = queue_of(1, storm=10_000, other=10)
    turns = [address for address, _ in itertools.islice(served(queue), 100)]
    assert turns.count("other") == 10


def test_of_many_addresses_each_login_has_its_turn():
    queue = queue_of(1, **{f"address {number}": 1 for number in range(1000)})
    assert len(set(served(queue))) == 1000


def test_under_a_lasting_storm_from_the_same_address_nobody_waits_much_longer_than_others():
    """A hundred clients that ask again at once: each would have its turn after a hundred."""
    queue = queue_of(1, a=100)
    entered = {("a", number): 0 for number in range(100)}
    longest = 0
    for turn, login in enumerate(itertools.islice(served(queue), 10_000)):
        longest = max(longest, turn - entered.pop(login))
        entered["a", 100 + turn] = turn
        queue.enter(("a", 100 + turn), "a")
    assert longest < 1000


def test_in_an_overload_turns_come_while_there_is_time_to_log_in():
    """In the order of arrival each would come at the last moment, and nobody would get in."""
    queue, patience, numbers = LoginQueue(1), 400, itertools.count()
    entered, rests = {}, []
    for turn in range(4000):
        for number in itertools.islice(numbers, 4):
            queue.enter(number, "a")
            entered[number] = turn
        while (oldest := next(iter(entered))) is not None and entered[oldest] <= turn - patience:
            queue.leave(oldest)
            del entered[oldest]
        login = queue.next()
        queue.leave(login)
        rests.append(entered.pop(login) + patience - turn)
    in_time = sum(rest > patience / 20 for rest in rests)
    assert in_time > 0.75 * len(rests)


@given(st.lists(st.tuples(st.sampled_from(["enter", "leave", "next"]), st.integers(0, 9))))
def test_whatever_comes_none_is_lost_or_admitted_twice(steps):
    queue, waiting, under_way = LoginQueue(3), set(), set()
    for what, number in steps:
        login = f"login {number}"
        if what == "enter" and login not in waiting | under_way:
            # Equal texts are one address, also if they are not one object.
            queue.enter(login, f"address {number % 3}")
            waiting.add(login)
        elif what == "leave":
            queue.leave(login)
            waiting.discard(login)
            under_way.discard(login)
        elif what == "next":
            found = queue.next()
            assert (found is None) == (len(under_way) == 3 or not waiting)
            if found is not None:
                waiting.remove(found)
                under_way.add(found)
        assert (queue.waiting, queue.under_way) == (len(waiting), len(under_way))


@pytest.fixture(autouse=True)
def the_same_lots_each_time():
    random.seed(17)
