"""The ledger of a confirm-mode channel against a model: each message is settled exactly once."""

import copy

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
        self.told = {}
        self.returns = []

    @rule(likes=st.lists(st.none() | KINDS, min_size=1, max_size=5))
    def publish(self, likes):
        for like in likes:
            tag = len(self.sent) + 1
            assert self.ledger.publish(tag, *(like or ())) == tag
            self.sent[tag] = like
            self.open.append(tag)

    def returnable(self):
        """A tag for each kind of mandatory message that may still be returned."""
        kinds = {}
        for tag in self.open:
            like = self.sent[tag]
            if like is not None:
                kinds.setdefault(like, []).append(tag)
        for like in self.returns:
            kinds[like].pop()
        return sorted(like for like, tags in kinds.items() if tags)

    @precondition(lambda self: self.returnable())
    @rule(data=st.data())
    def return_one(self, data):
        like = data.draw(st.sampled_from(self.returnable()))
        self.ledger.returned(*like)
        self.returns.append(like)

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
            assert tag not in self.told
            self.told[tag] = settlement
            self.open.remove(tag)
            like = self.sent[tag]
            if settlement is Settlement.RETURNED:
                assert positive
                self.returns.remove(like)  # raises when no such return came
            elif not positive:
                assert settlement is Settlement.NACKED
                self.forget_a_return(like)
            else:
                assert settlement is Settlement.ACKED

    def forget_a_return(self, like):
        """A nacked message may have been the one of a return; then no other is."""
        open_ones = [t for t in self.open if self.sent[t] == like]
        if like is not None and self.returns.count(like) > len(self.ledger_returned(open_ones)):
            self.returns.remove(like)

    def ledger_returned(self, tags):
        return [tag for tag in tags if tag in self.ledger._returned]

    def refused(self, call):
        before = copy.deepcopy(vars(self.ledger))
        try:
            call()
        except ProtocolError:
            assert vars(self.ledger) == before
        else:
            raise AssertionError("it was not refused")

    @invariant()
    def each_return_has_a_message_that_will_be_told_of_it(self):
        for like in set(self.returns):
            assert self.returns.count(like) <= sum(self.sent[t] == like for t in self.open)

    @invariant()
    def as_many_as_are_open(self):
        assert len(self.ledger) == len(self.open)


TestLedger = Ledger.TestCase
