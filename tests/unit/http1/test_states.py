"""The one table of a connection's states."""

import itertools

import pytest

from statelessd.http1.states import TRANSITIONS, IllegalTransitionError, State

LEGAL = {
    "idle": ["reading head", "reading body", "responding", "waiting for its turn", "lingering",
             "closed"],
    "reading head": ["reading body", "responding", "lingering", "closed"],
    "reading body": ["idle", "responding", "lingering", "closed"],
    "responding": ["idle", "waiting for its turn", "lingering", "closed"],
    "waiting for its turn": ["idle", "lingering", "closed"],
    "lingering": ["closed"],
    "closed": ["closed"],
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), [*itertools.product(State, repeat=2)])
def test_a_state_follows_on_those_that_the_table_has_and_on_no_other(before, after):
    if after.value in LEGAL[before.value]:
        assert before.to(after) is after
    else:
        with pytest.raises(IllegalTransitionError, match=f"{before.value} -> {after.value}"):
            before.to(after)


def test_every_state_can_be_reached_and_can_end():
    assert set(TRANSITIONS) == set(State)
    reached = {State.IDLE}
    while more := {after for state in reached for after in TRANSITIONS[state]} - reached:
        reached |= more
    assert reached == set(State)
    assert all(State.CLOSED in after for after in TRANSITIONS.values())
