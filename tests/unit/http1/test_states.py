"""The one table of a connection's states."""

import pytest

from statelessd.http1.states import TRANSITIONS, IllegalTransitionError, State


def test_every_state_can_be_reached_and_can_end():
    assert set(TRANSITIONS) == set(State)
    reached = {State.IDLE}
    while more := {after for state in reached for after in TRANSITIONS[state]} - reached:
        reached |= more
    assert reached == set(State)
    assert all(State.CLOSED in after for after in TRANSITIONS.values())
    with pytest.raises(IllegalTransitionError, match="closed -> idle"):
        State.CLOSED.to(State.IDLE)
