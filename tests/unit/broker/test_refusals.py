import pytest

from statelessd.broker.publish import Publish, Tally
from statelessd.broker.refusals import attribute, channel_refusal, login_refusal
from statelessd.message import Message, Outcome

O = Outcome  # noqa: E741 - a table reads better with it


@pytest.mark.parametrize(
    ("code", "text", "outcome"),
    [
        (403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For "
              "details see the broker logfile.", O.UNAUTHORIZED),
        (530, "NOT_ALLOWED - vhost test not found", O.VIRTUAL_HOST_NOT_FOUND),
        (530, "NOT_ALLOWED - access to vhost 'test' refused for user 'bob'", O.FORBIDDEN),
        (530, "NOT_ALLOWED - access to vhost 'test' refused for user 'bob': "
              "connection limit (1) is reached", O.BROKER_UNAVAILABLE),
        (530, "NOT_ALLOWED - Connection refused for user 'bob': user connection limit (1) "
              "is reached", O.BROKER_UNAVAILABLE),
        (541, "INTERNAL_ERROR - access to vhost 'test' refused for user 'bob': "
              "vhost 'test' is down", O.BROKER_UNAVAILABLE),
        (320, "CONNECTION_FORCED - broker forced connection closure", O.BROKER_UNAVAILABLE),
    ],
)  # fmt: skip
def test_a_refused_login(code, text, outcome):
    assert login_refusal(code, text, "test", "bob").outcome is outcome


def test_a_virtual_hosts_name_is_not_taken_for_the_brokers_words():
    vhost = "x' refused for user 'bob': connection limit (1) is reached"
    text = f"NOT_ALLOWED - vhost {vhost} not found"
    assert login_refusal(530, text, vhost, "bob").outcome is Outcome.VIRTUAL_HOST_NOT_FOUND
    vhost = "y not found"
    text = f"NOT_ALLOWED - access to vhost '{vhost}' refused for user 'bob'"
    assert login_refusal(530, text, vhost, "bob").outcome is Outcome.FORBIDDEN


def test_a_refusal_whose_reason_is_cut_off_is_taken_for_the_likelier_one():
    text = "NOT_ALLOWED - access to vhost '" + "v" * 221 + "..."
    assert login_refusal(530, text, "v" * 255, "bob").outcome is Outcome.FORBIDDEN


@pytest.mark.parametrize(
    ("code", "text", "outcome", "shared"),
    [
        (404, "NOT_FOUND - no exchange 'x' in vhost '/'", O.EXCHANGE_NOT_FOUND, True),
        (403, "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused for user 'bob'",
         O.FORBIDDEN, True),
        (403, "ACCESS_REFUSED - cannot publish to internal exchange 'x' in vhost '/'",
         O.FORBIDDEN, True),
        (403, "ACCESS_REFUSED - access to topic 'k' in exchange 'x' in vhost '/' refused for "
              "user 'bob'", O.FORBIDDEN, False),
        (406, "PRECONDITION_FAILED - user_id property set to 'a' but authenticated user was 'b'",
         O.FORBIDDEN, False),
        (406, "PRECONDITION_FAILED - message size 9 is larger than configured max size 8",
         O.TOO_LARGE, False),
        (406, "PRECONDITION_FAILED - invalid expiration", O.BAD_REQUEST, False),
        (541, "INTERNAL_ERROR", O.UNCONFIRMED, False),
    ],
)  # fmt: skip
def test_a_channel_closed_over_one_message(code, text, outcome, shared):
    refusal = channel_refusal(code, text)
    assert (refusal.outcome, refusal.shared) == (outcome, shared)


def in_flight(*messages):
    publishes = []
    for routing_key, body in messages:
        message = Message("x", routing_key, b"\0\0", body)
        publishes.append(Publish("test", message, 0.0, lambda *_: None, Tally()))
    return publishes


def outcomes(code, text, *messages):
    lost = in_flight(*messages)
    verdicts = attribute(code, text, lost)
    assert [verdict.publish for verdict in verdicts] == lost
    return [verdict.outcome for verdict in verdicts]


TOPIC = "ACCESS_REFUSED - access to topic '{}' in exchange 'x' in vhost '/' refused for user 'bob'"
SIZE = "PRECONDITION_FAILED - message size {} is larger than configured max size 3"


def test_a_topic_refusal_names_its_culprit():
    got = outcomes(403, TOPIC.format("b"), ("a", b""), ("b", b""), ("c", b""), ("c", b""))
    assert got == [O.UNCONFIRMED, O.FORBIDDEN, None, None]


def test_of_two_possible_culprits_neither_is_certain_nor_what_stands_between():
    got = outcomes(403, TOPIC.format("b"), ("b", b""), ("a", b""), ("b", b""), ("c", b""))
    assert got == [O.UNCONFIRMED, O.UNCONFIRMED, O.UNCONFIRMED, None]


def test_a_topic_that_was_cut_still_names_its_culprit():
    topic = "t" * 250
    text = TOPIC.format(topic)[:252] + "..."
    assert outcomes(403, text, ("a", b""), (topic, b""), ("c", b"")) == [
        O.UNCONFIRMED,
        O.FORBIDDEN,
        None,
    ]


def test_a_message_above_the_brokers_maximum_is_told_by_its_size():
    got = outcomes(406, SIZE.format(4), ("a", b"123"), ("a", b"1234"), ("a", b"1"))
    assert got == [O.UNCONFIRMED, O.TOO_LARGE, None]


@pytest.mark.parametrize(
    "text",
    [
        "NOT_FOUND - no exchange 'x' in vhost '/'",
        "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused for user 'bob'",
    ],
)
def test_what_strikes_every_message_leaves_all_in_flight_unknown(text):
    assert outcomes(404, text, ("a", b""), ("b", b"")) == [O.UNCONFIRMED, O.UNCONFIRMED]
