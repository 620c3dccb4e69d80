import pytest
from hypothesis import given
from hypothesis import strategies as st

from statelessd.amqp.confirms import Confirms
from statelessd.amqp.errors import ProtocolError
from statelessd.amqp.events import Settlement

ACKED, NACKED, RETURNED = Settlement.ACKED, Settlement.NACKED, Settlement.RETURNED


def ledger(names):
    confirms = Confirms()
    for name in names:
        confirms.publish(name)
    return confirms


def test_tags_count_from_one():
    confirms = Confirms()
    assert [confirms.publish("a"), confirms.publish("b")] == [1, 2]


def test_acks_out_of_order_settle_what_they_name():
    confirms = ledger("abc")
    assert confirms.settle(2, False, True) == [("b", ACKED)]
    assert confirms.settle(3, False, False) == [("c", NACKED)]
    assert confirms.settle(1, False, True) == [("a", ACKED)]
    assert len(confirms) == 0


def test_multiple_settles_all_up_to_the_tag_that_are_left():
    confirms = ledger("abcd")
    confirms.settle(2, False, True)
    assert confirms.settle(3, True, True) == [("a", ACKED), ("c", ACKED)]
    assert confirms.settle(4, True, False) == [("d", NACKED)]


def test_multiple_with_tag_zero_settles_all():
    assert ledger("ab").settle(0, True, True) == [("a", ACKED), ("b", ACKED)]


@pytest.mark.parametrize(("tag", "multiple"), [(3, False), (3, True), (0, False)])
def test_a_tag_that_was_never_sent_is_refused_and_changes_nothing(tag, multiple):
    confirms = ledger("ab")
    with pytest.raises(ProtocolError):
        confirms.settle(tag, multiple, True)
    assert confirms.settle(2, True, True) == [("a", ACKED), ("b", ACKED)]


def test_a_second_ack_of_one_tag_is_refused():
    confirms = ledger("ab")
    confirms.settle(1, False, True)
    with pytest.raises(ProtocolError):
        confirms.settle(1, False, True)


def test_a_returned_message_is_settled_as_returned_by_its_ack():
    confirms = Confirms()
    confirms.publish("a", b"key", b"h")
    confirms.returned(b"key", b"h")
    assert confirms.settle(1, False, True) == [("a", RETURNED)]


def test_a_multiple_ack_between_return_and_ack_does_not_settle_the_returned():
    confirms = Confirms()
    confirms.publish("plain")
    confirms.publish("mandatory", b"key", b"h")
    confirms.returned(b"key", b"h")
    assert confirms.settle(1, True, True) == [("plain", ACKED)]
    assert confirms.settle(2, True, True) == [("mandatory", RETURNED)]


def test_of_identical_messages_the_oldest_unreturned_is_the_returned():
    confirms = Confirms()
    for name in "abc":
        confirms.publish(name, b"key", b"h")
    confirms.returned(b"key", b"h")
    confirms.returned(b"key", b"h")
    assert confirms.settle(3, True, True) == [("a", RETURNED), ("b", RETURNED), ("c", ACKED)]


def test_a_settled_message_is_no_longer_a_candidate():
    confirms = Confirms()
    confirms.publish("a", b"key", b"h")
    confirms.publish("b", b"key", b"h")
    assert confirms.settle(1, False, True) == [("a", ACKED)]
    confirms.returned(b"key", b"h")
    assert confirms.settle(2, False, True) == [("b", RETURNED)]


def test_messages_that_differ_in_properties_only_are_told_apart():
    confirms = Confirms()
    confirms.publish("a", b"key", b"h1")
    confirms.publish("b", b"key", b"h2")
    confirms.returned(b"key", b"h2")
    assert confirms.settle(2, True, True) == [("a", ACKED), ("b", RETURNED)]


def test_properties_that_the_broker_changed_still_find_their_message():
    confirms = Confirms()
    confirms.publish("a", b"key", b"with BCC")
    confirms.returned(b"key", b"without")
    assert confirms.settle(1, False, True) == [("a", RETURNED)]


def test_a_return_that_could_be_of_several_puts_each_in_doubt():
    confirms = Confirms()
    confirms.publish("a", b"key", b"h1")
    confirms.publish("b", b"key", b"h2")
    confirms.publish("c")
    confirms.returned(b"key", b"h3")
    confirms.publish("d", b"key", b"h1")
    doubtful = Settlement.DOUBTFUL
    settled = [("a", doubtful), ("b", doubtful), ("c", ACKED), ("d", ACKED)]
    assert confirms.settle(4, True, True) == settled


def test_a_return_of_nothing_we_sent_is_refused():
    confirms = Confirms()
    confirms.publish("a")
    with pytest.raises(ProtocolError):
        confirms.returned(b"key", b"h")


def test_a_nack_of_a_returned_message_is_a_nack():
    confirms = Confirms()
    confirms.publish("a", b"key", b"h")
    confirms.returned(b"key", b"h")
    assert confirms.settle(1, False, False) == [("a", NACKED)]


def test_lost_names_what_is_left_in_order():
    confirms = ledger("abc")
    confirms.settle(2, False, True)
    assert confirms.lost() == ["a", "c"]
    assert len(confirms) == 0


@given(st.data())
def test_each_message_is_settled_exactly_once_whatever_the_order(data):
    count = data.draw(st.integers(1, 30))
    confirms = Confirms()
    keys = {}
    for tag in range(1, count + 1):
        key = data.draw(st.sampled_from([None, b"k1", b"k2"]))
        keys[tag] = key
        assert confirms.publish(tag, key, b"h") == tag
    outstanding = dict.fromkeys(range(1, count + 1))
    returned = []
    while outstanding:
        candidates = [t for t in outstanding if keys[t] and t not in returned]
        if candidates and data.draw(st.booleans()):
            tag = candidates[0]
            confirms.returned(keys[tag], b"h")
            returned.append(next(t for t in candidates if keys[t] == keys[tag]))
            continue
        tag = data.draw(st.sampled_from(sorted(outstanding)))
        multiple = data.draw(st.booleans())
        positive = data.draw(st.booleans())
        expected = [t for t in outstanding if t <= tag] if multiple else [tag]
        settled = confirms.settle(tag, multiple, positive)
        assert [t for t, _ in settled] == expected
        for t, settlement in settled:
            del outstanding[t]
            right = NACKED if not positive else RETURNED if t in returned else ACKED
            assert settlement is right
    assert len(confirms) == 0
