"""The ledger of a confirm-mode channel against a model: each message is settled exactly once."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from statelessd.amqp import encode
from statelessd.amqp.confirms import Confirms
from statelessd.amqp.errors import ProtocolError
from statelessd.amqp.events import Settlement

KEYS = [b"one", b"other"]
HEADERS = [encode.properties({}), encode.properties({"message_id": "with properties"})]
KINDS = st.tuples(st.sampled_from(KEYS), st.sampled_from(HEADERS))  # of mandatory messages


class Ledger(RuleBasedStateMachine):
    """``sent``: what each delivery tag was sent as; ``open``: the tags without a settlement."""

    def __init__(self):
        super().__init__()
        self.ledger = Confirms()
        self.sent = {}
        self.open = []
        self.returned = set()

    @rule(likes=st.lists(st.none() | KINDS, min_size=1, max_size=5))
    def publish(self, likes):
        for like in likes:
            tag = len(self.sent) + 1
            assert self.ledger.publish(tag, *(like or ())) == tag
            self.sent[tag] = like
            self.open.append(tag)

    def returnable(self):
        """Return the kinds of mandatory messages of which one may still be returned."""
        kinds = (self.sent[tag] for tag in self.open if tag not in self.returned)
        return sorted({like for like in kinds if like is not None})

    @precondition(lambda self: self.returnable())
    @rule(data=st.data())
    def return_one(self, data):
        like = data.draw(st.sampled_from(self.returnable()))
        self.ledger.returned(*like)
        # The oldest is meant.
        self.returned.add(
            next(t for t in self.open if self.sent[t] == like and t not in self.returned)
        )

    @rule(like=KINDS)
    def return_what_was_not_sent(self, like):
        if not any(key == like[0] for key, _ in self.returnable()):
            self.refused(lambda: self.ledger.returned(*like))

    @rule(data=st.data(), positive=st.booleans())
    def settle_one(self, data, positive):
        tag = data.draw(st.integers(1, len(self.sent) + 2))
        if tag in self.open:
            self.took([tag], self.ledger.settle(tag, False, positive), positive)
        else:
            self.refused(lambda: self.ledger.settle(tag, False, positive))

    @rule(data=st.data(), positive=st.booleans())
    def settle_several(self, data, positive):
        tag = data.draw(st.integers(0, len(self.sent) + 2))
        if tag > len(self.sent):
            self.refused(lambda: self.ledger.settle(tag, True, positive))
        else:
            tags = [t for t in self.open if t <= tag or tag == 0]
            self.took(tags, self.ledger.settle(tag, True, positive), positive)

    def teardown(self):
        assert self.ledger.lost() == self.open
        assert len(self.ledger) == 0

    def took(self, tags, settled, positive):
        assert [tag for tag, _ in settled] == tags
        for tag, settlement in settled:
            self.open.remove(tag)
            positively = Settlement.RETURNED if tag in self.returned else Settlement.ACKED
            assert settlement is (positively if positive else Settlement.NACKED)

    def refused(self, call):
        unsettled = self.ledger.unsettled
        try:
            call()
        except ProtocolError:
            assert self.ledger.unsettled == unsettled
        else:
            raise AssertionError("it was not refused")

    @invariant()
    def as_many_as_are_open(self):
        assert len(self.ledger) == len(self.open)


TestLedger = Ledger.TestCase
