import pytest

from statelessd.amqp import decode, encode
from statelessd.amqp.confirms import Confirms
from statelessd.amqp.events import Settlement

ACKED, NACKED, RETURNED = Settlement.ACKED, Settlement.NACKED, Settlement.RETURNED
DOUBTFUL = Settlement.DOUBTFUL


def header(headers=None, **values):
    """Encoded properties, with these message headers in this order."""
    return encode.properties(values if headers is None else {"headers": headers, **values})


H, H1, H2, H3 = (header(message_id=name) for name in ("h", "h1", "h2", "h3"))


def settled_after(returned, *sent):
    """What becomes of messages that were sent with these headers, after one return."""
    confirms = Confirms()
    for tag, each in enumerate(sent, 1):
        assert confirms.publish(tag, b"key", each) == tag
    confirms.returned(b"key", returned)
    return [settlement for _, settlement in confirms.settle(0, True, True)]


# Messages as (name, header), None for one that is not mandatory; returned headers; acks as
# (tag, multiple, positive).
ALL = (0, True, True)


@pytest.mark.parametrize(
    ("sent", "returned", "acks", "settled"),
    [
        pytest.param([("a", H)], [H], [(1, False, True)], [("a", RETURNED)], id="its ack"),
        pytest.param([("a", H)], [H], [(1, False, False)], [("a", NACKED)], id="its nack"),
        pytest.param(
            [("plain", None), ("a", H)], [H], [(1, True, True), (2, True, True)],
            [("plain", ACKED), ("a", RETURNED)], id="a multiple ack between return and ack",
        ),
        pytest.param(
            [("a", H), ("b", H), ("c", H)], [H, H], [ALL],
            [("a", RETURNED), ("b", RETURNED), ("c", ACKED)], id="the oldest of identical ones",
        ),
        pytest.param(
            [("a", H1), ("b", H2)], [H2], [ALL], [("a", ACKED), ("b", RETURNED)],
            id="properties tell messages apart",
        ),
        pytest.param([("a", H1)], [H2], [ALL], [("a", RETURNED)], id="changed properties"),
        pytest.param(
            [("a", H1), ("b", H2), ("c", None)], [H3], [ALL],
            [("a", DOUBTFUL), ("b", DOUBTFUL), ("c", ACKED)], id="one of several",
        ),
    ],
)  # fmt: skip
def test_a_return(sent, returned, acks, settled):
    confirms = Confirms()
    for name, each in sent:
        confirms.publish(name, *([] if each is None else [b"key", each]))
    for each in returned:
        confirms.returned(b"key", each)
    assert [found for ack in acks for found in confirms.settle(*ack)] == settled


def test_a_message_sent_after_a_return_is_in_no_doubt():
    confirms = Confirms()
    confirms.publish("a", b"key", H1)
    confirms.publish("b", b"key", H2)
    confirms.returned(b"key", H3)
    confirms.publish("c", b"key", H1)
    assert confirms.settle(0, True, True) == [("a", DOUBTFUL), ("b", DOUBTFUL), ("c", ACKED)]


NESTED = {"z": {"b": 1, "a": [True, None, 1.5]}, "a": "text"}
TURNED = {"a": "text", "z": {"a": [True, None, 1.5], "b": 1}}
# As a client of another broker's library would encode it: 7 as a signed 32-bit integer.
SHORT = header({"n": 7, "a": 1}).replace(b"l" + bytes(7) + b"\7", b"I\0\0\0\7")
SHORT = SHORT[:2] + (len(SHORT) - 6).to_bytes(4) + SHORT[6:]


@pytest.mark.parametrize(
    ("returned", "sent", "settled"),
    [
        pytest.param(
            header(TURNED), [header(NESTED | {"a": "other"}), header(NESTED)], [ACKED, RETURNED],
            id="headers in another order are the same headers",
        ),
        pytest.param(
            header({"a": 1, "l": [2, 1]}),
            [header({"l": [1, 2], "a": 1}), header({"l": [2, 1], "a": 1})],
            [ACKED, RETURNED], id="a list in another order is another list",
        ),
        pytest.param(
            header({"k": 2, "x-opt-rabbitmq-received-time": 5}, timestamp=5),
            [header({"k": 1}), header({"k": 2})], [ACKED, RETURNED],
            id="headers that the broker added are not missed in ours",
        ),
        pytest.param(
            header({"b": 1, "a": 1}), [header({"a": 1}), header({"a": 1, "b": 1})],
            [ACKED, RETURNED], id="an equal message is meant before one with fewer headers",
        ),
        pytest.param(
            header({"a": 1, "b": 1, "added": 1}),
            [header({"a": 1}), header({"b": 1}), header({"c": 1})], [DOUBTFUL, DOUBTFUL, ACKED],
            id="of several that lack what the broker added each is in doubt",
        ),
        pytest.param(
            SHORT, [header({"n": 8, "a": 1}), header({"n": 7, "a": 1})], [ACKED, RETURNED],
            id="an integer of another size is the same number",
        ),
    ],
)  # fmt: skip
def test_a_return_with_headers(returned, sent, settled):
    assert settled_after(returned, *sent) == settled


def test_the_oldest_is_meant_though_a_younger_one_was_sent_in_the_brokers_order():
    """Its return comes before its ack; taken for the younger one's, its ack would be a confirm."""
    sorted_, turned = header({"a": 1, "b": 1}), header({"b": 1, "a": 1})
    confirms = Confirms()
    for name, each in [("other", header({"a": 2, "b": 1})), ("old", turned), ("young", sorted_)]:
        confirms.publish(name, b"key", each)
    confirms.returned(b"key", sorted_)
    assert confirms.settle(2, False, True) == [("old", RETURNED)]
    confirms.returned(b"key", sorted_)
    assert confirms.settle(3, True, True) == [("other", ACKED), ("young", RETURNED)]


@pytest.mark.parametrize(
    "malformed", [b"", b"\x20\0", b"\x20\0\0\0\1\0", b"\x20\0\0\0\0\6\1a?\0\0\0", b"\x80\0\x09x"]
)
def test_properties_that_cannot_be_read_put_what_differs_in_doubt(malformed):
    assert settled_after(malformed, H1, H2) == [DOUBTFUL, DOUBTFUL]
    assert settled_after(malformed, H1, H1) == [RETURNED, ACKED]


def test_properties_nested_without_end_are_not_followed():
    table = b""
    for _ in range(5000):
        table = b"\1a" + b"F" + len(table).to_bytes(4) + table
    assert settled_after(b"\x20\0" + len(table).to_bytes(4) + table, H1, H2) == [DOUBTFUL] * 2


def test_many_returns_with_turned_headers_cost_one_decoding_each(monkeypatch):
    count, decoded = 400, []
    confirms = Confirms()
    parts = decode.parts
    monkeypatch.setattr(decode, "parts", lambda header: decoded.append(1) or parts(header))
    for i in range(count):
        confirms.publish(i, b"key", header({"kind": "k", "a": i}))
    for i in reversed(range(count)):
        confirms.returned(b"key", header({"a": i, "kind": "k"}))
    assert {settlement for _, settlement in confirms.settle(0, True, True)} == {RETURNED}
    assert len(decoded) <= 2 * count
