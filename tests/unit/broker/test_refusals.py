"""What the words of each broker mean for a login or a message."""

import pytest

from statelessd.amqp import encode
from statelessd.broker.pending import Publish, Tally
from statelessd.broker.refusals import attribute, channel_refusal, login_refusal, returned
from statelessd.message import Message, Outcome, Public

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
        (530, "NOT_ALLOWED - access to vhost 'test' refused for user 'bob' by backend "
              "rabbit_auth_backend_http: no", O.FORBIDDEN),
        (530, "NOT_ALLOWED - access to vhost 'test' refused for user 'bob', backend "
              "rabbit_auth_backend_http returned an error: {failed_connect,[{to_address,"
              "{\"10.0.0.7\",8000}},{inet,[inet],econnre...", O.BROKER_UNAVAILABLE),
        # LavinMQ
        (403, "ACCESS_REFUSED - ", O.UNAUTHORIZED),
        (530, "NOT_ALLOWED - vhost not found", O.VIRTUAL_HOST_NOT_FOUND),
        (530, "NOT_ALLOWED - 'bob' doesn't have access to 'test'", O.FORBIDDEN),
        (530, "NOT_ALLOWED - access to vhost 'test' refused: connection limit (1) is reached",
         O.BROKER_UNAVAILABLE),
        # amqproxy: each of those with the code 403, and its own.
        (403, "NOT_ALLOWED - vhost test not found", O.VIRTUAL_HOST_NOT_FOUND),
        (403, "NOT_ALLOWED - vhost not found", O.VIRTUAL_HOST_NOT_FOUND),
        (403, "NOT_ALLOWED - access to vhost 'test' refused for user 'bob'", O.FORBIDDEN),
        (403, "NOT_ALLOWED - Connection refused for user 'bob': user connection limit (1) "
              "is reached", O.BROKER_UNAVAILABLE),
        (403, "CONNECTION_FORCED - broker forced connection closure", O.BROKER_UNAVAILABLE),
        (403, "INTERNAL_ERROR - vhost 'test' is down", O.BROKER_UNAVAILABLE),
        (403, "ACCESS_REFUSED", O.UNAUTHORIZED),
        (503, "UPSTREAM_ERROR - Error connecting to '10.0.0.7:5672': Connection refused",
         O.BROKER_UNAVAILABLE),
    ],
)  # fmt: skip
def test_a_refused_login(code, text, outcome):
    refusal = login_refusal(code, text, "test")
    assert refusal.outcome is outcome
    assert refusal.shared is (outcome is not O.BROKER_UNAVAILABLE)
    assert "10.0.0.7" not in refusal.detail
    assert isinstance(refusal.detail, Public)


REFUSED_VHOST = "NOT_ALLOWED - access to vhost '{}' refused for user '{}'"
LIMIT = "x' refused for user 'bob': connection limit (1) is reached"


@pytest.mark.parametrize(
    ("vhost", "text", "outcome"),
    [
        ("test", REFUSED_VHOST.format("test", "o'brien"), O.FORBIDDEN),
        ("test", REFUSED_VHOST.format("test", "the broker's to know"), O.FORBIDDEN),
        ("test", REFUSED_VHOST.format("test", "o'brien") + ", backend x returned an error: y",
         O.BROKER_UNAVAILABLE),
        (LIMIT, f"NOT_ALLOWED - vhost {LIMIT} not found", O.VIRTUAL_HOST_NOT_FOUND),
        ("y not found", REFUSED_VHOST.format("y not found", "bob"), O.FORBIDDEN),
        ("v" * 255, "NOT_ALLOWED - access to vhost '" + "v" * 221 + "...", O.FORBIDDEN),  # cut
    ],
)  # fmt: skip
def test_names_are_not_taken_for_the_brokers_words(vhost, text, outcome):
    assert login_refusal(530, text, vhost, token=True).outcome is outcome


def message(routing_key="k", body=b"", *, headers=None, virtual_host="/", exchange="x"):
    header = encode.properties({} if headers is None else {"headers": headers})
    made = Message(exchange, routing_key, header, body)
    return Publish(virtual_host, made, 0.0, lambda *_: None, Tally())


ERROR = (
    ", backend rabbit_auth_backend_http returned an error: "
    '{failed_connect,[{to_address,{"10.0.0.7",8000}},{inet,[inet],econnrefused}]}'
)


@pytest.mark.parametrize(
    ("code", "text", "outcome", "shared"),
    [
        (404, "NOT_FOUND - no exchange 'x' in vhost '/'", O.EXCHANGE_NOT_FOUND, True),
        (403, "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused for user 'bob'",
         O.FORBIDDEN, True),
        (403, "ACCESS_REFUSED - write access to exchange 'x' in vhost '/' refused for user 'bob'",
         O.FORBIDDEN, True),
        (403, "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused for user 'bob'" + ERROR,
         O.BROKER_UNAVAILABLE, True),
        (403, "ACCESS_REFUSED - write access to exchange 'x' in vhost '/' refused for user 'bob'"
         + ERROR, O.BROKER_UNAVAILABLE, True),
        (403, "ACCESS_REFUSED - cannot publish to internal exchange 'x' in vhost '/'",
         O.FORBIDDEN, True),
        (403, "ACCESS_REFUSED - access to topic 'k' in exchange 'x' in vhost '/' refused for "
              "user 'bob'", O.FORBIDDEN, False),
        (403, "ACCESS_REFUSED - write access to topic 'k' in exchange 'x' in vhost '/' refused for "
              "user 'bob'", O.FORBIDDEN, False),
        (403, "ACCESS_REFUSED - write access to topic 'k' in exchange 'x' in vhost '/' refused for "
              "user 'bob'" + ERROR, O.BROKER_UNAVAILABLE, False),
        (406, "PRECONDITION_FAILED - user_id property set to 'a' but authenticated user was 'b'",
         O.FORBIDDEN, False),
        (406, "PRECONDITION_FAILED - message size 0 is larger than configured max size 8",
         O.TOO_LARGE, False),
        (311, "CONTENT_TOO_LARGE - x", O.TOO_LARGE, False),
        (406, "PRECONDITION_FAILED - invalid expiration", O.BAD_REQUEST, False),
        (541, "INTERNAL_ERROR", O.UNCONFIRMED, False),
        # LavinMQ
        (404, "NOT_FOUND - No exchange 'x' in vhost '/'", O.EXCHANGE_NOT_FOUND, True),
        (403, "ACCESS_REFUSED - User 'bob' not allowed to publish to exchange 'x'",
         O.FORBIDDEN, True),
        (403, "ACCESS_REFUSED - User not allowed to publish to exchange 'x'", O.FORBIDDEN, True),
        (403, "ACCESS_REFUSED - Exchange 'x' in vhost '/' is internal", O.FORBIDDEN, True),
        (406, "PRECONDITION_FAILED - Message's user_id property 'a' doesn't match actual user 'b'",
         O.FORBIDDEN, False),
        (406, "PRECONDITION_FAILED - message size 0 larger than max size 8", O.TOO_LARGE, False),
        (406, "PRECONDITION_FAILED - Server low on disk space", O.BROKER_BLOCKED, True),
    ],
)  # fmt: skip
def test_a_channel_closed_over_one_message(code, text, outcome, shared):
    refusal = channel_refusal(code, text, message())
    assert (refusal.outcome, refusal.shared) == (outcome, shared)
    assert "10.0.0.7" not in refusal.detail


EXCHANGE = "ACCESS_REFUSED - write access to exchange '{}' in vhost '/' refused for user 'bob'"


def test_an_exchanges_name_is_not_taken_for_the_brokers_words():
    name = "x' in vhost '/' refused for user 'bob', backend y returned an error: z"
    refusal = channel_refusal(403, EXCHANGE.format(name), message(exchange=name))
    assert refusal.outcome is O.FORBIDDEN


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (403, "ACCESS_REFUSED - access to topic 'k' in exchange 'x' in vhost '/' refused for u"),
        (403, "ACCESS_REFUSED - access to topic 'another' in exchange 'x' in vhost '/' refused"),
        (403, "ACCESS_REFUSED - words of a broker to come, about k"),
        (403, EXCHANGE.format("another")),
        (406, "PRECONDITION_FAILED - user_id property set to 'a' but authenticated user was 'b'"),
        (406, "PRECONDITION_FAILED - invalid expiration 'soon'"),
        (541, "INTERNAL_ERROR - k"),
    ],
)
def test_words_that_can_quote_a_message_are_not_public(code, text):
    assert not isinstance(channel_refusal(code, text, message()).detail, Public)
    for _, _, detail in attribute(code, text, [message(), message("b")]):
        assert not isinstance(detail, Public)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (404, "NOT_FOUND - no exchange 'x' in vhost '/'"),
        (403, EXCHANGE.format("x")),
        (403, EXCHANGE.format("x").replace("write ", "")),
        (403, EXCHANGE.format("x") + ", backend x returned an error: y"),
        (406, "PRECONDITION_FAILED - message size 0 is larger than configured max size 8"),
    ],
)
def test_words_about_an_exchange_or_a_size_are_public(code, text):
    assert isinstance(channel_refusal(code, text, message()).detail, Public)


def test_a_close_over_another_method_is_no_judgement_on_a_message():
    text = "NOT_FOUND - no exchange 'x' in vhost '/'"
    confirm_select = (85, 10)
    assert channel_refusal(404, text, message(), confirm_select).outcome is O.UNCONFIRMED
    lost = [message("a"), message("b")]
    verdicts = attribute(403, TOPIC.format("a"), lost, confirm_select)
    assert [outcome for _, outcome, _ in verdicts] == [O.UNCONFIRMED, O.UNCONFIRMED]


def outcomes(code, text, *messages):
    lost = [each if isinstance(each, Publish) else message(*each) for each in messages]
    verdicts = attribute(code, text, lost)
    assert [publish for publish, _, _ in verdicts] == lost
    assert not any("10.0.0.7" in detail for _, _, detail in verdicts)
    return [outcome for _, outcome, _ in verdicts]


REFUSED = "topic '{}' in exchange 'x' in vhost '/' refused for user 'bob'"
TOPIC = "ACCESS_REFUSED - access to " + REFUSED
WRITE_TOPIC = "ACCESS_REFUSED - write access to " + REFUSED
SIZE = "PRECONDITION_FAILED - message size {} is larger than configured max size 3"


@pytest.mark.parametrize(
    ("topic", "outcome"),
    [
        (TOPIC, O.FORBIDDEN),  # up to 3.11
        (WRITE_TOPIC, O.FORBIDDEN),
        (WRITE_TOPIC + ERROR.replace("{", "{{").replace("}", "}}"), O.BROKER_UNAVAILABLE),
    ],
)
def test_a_topic_refusal_names_its_culprit(topic, outcome):
    got = outcomes(403, topic.format("b"), ("a", b""), ("b", b""), ("c", b""), ("c", b""))
    assert got == [O.UNCONFIRMED, outcome, None, None]


@pytest.mark.parametrize("name", ["CC", "BCC"])
def test_since_3_12_the_topic_may_be_one_of_a_messages_copies(name):
    copied = message("a", headers={name: ["c", "b"]})
    got = outcomes(403, WRITE_TOPIC.format("b"), ("a", b""), copied, ("c", b""))
    assert got == [O.UNCONFIRMED, O.FORBIDDEN, None]
    got = outcomes(403, TOPIC.format("b"), copied, ("b", b""), ("c", b""))
    assert got == [O.UNCONFIRMED, O.FORBIDDEN, None]


def test_of_two_possible_culprits_neither_is_certain_nor_what_stands_between():
    got = outcomes(403, TOPIC.format("b"), ("b", b""), ("a", b""), ("b", b""), ("c", b""))
    assert got == [O.UNCONFIRMED, O.UNCONFIRMED, O.UNCONFIRMED, None]


def test_a_topic_that_was_cut_still_names_its_culprit():
    topic = "t" * 250
    got = outcomes(403, TOPIC.format(topic)[:252] + "...", ("a", b""), (topic, b""), ("c", b""))
    assert got == [O.UNCONFIRMED, O.FORBIDDEN, None]


def test_a_message_above_the_brokers_maximum_is_told_by_its_size():
    got = outcomes(406, SIZE.format(4), ("a", b"123"), ("a", b"1234"), ("a", b"1"))
    assert got == [O.UNCONFIRMED, O.TOO_LARGE, None]


@pytest.mark.parametrize(
    "text",
    [
        "NOT_FOUND - no exchange 'x' in vhost '/'",
        "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused for user 'bob'",
        "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused for user 'bob'" + ERROR,
    ],
)
def test_what_strikes_every_message_leaves_all_in_flight_unknown(text):
    assert outcomes(404, text, ("a", b""), ("b", b"")) == [O.UNCONFIRMED, O.UNCONFIRMED]


@pytest.mark.parametrize(
    ("publish", "outcome"),
    [
        (message(), O.NO_ROUTE),
        (message("amq.rabbitmq.reply-to"), O.NO_ROUTE),  # the name of no caller
        (message("amq.rabbitmq.reply-to.g2dkABFyZX"), O.UNCONFIRMED),
        (message("amq.direct.reply-to.abc"), O.UNCONFIRMED),
        (message("k", headers={"CC": ["k2", "amq.rabbitmq.reply-to.g2dk"]}), O.UNCONFIRMED),
        (message("k", headers={"BCC": ["amq.rabbitmq.reply-to.g2dk"]}), O.UNCONFIRMED),
        (message("k", headers={"x-delay": 5}), O.UNCONFIRMED),
        (message("k", headers={"a": "x-delay", "b": {"x-delay": 5}}), O.NO_ROUTE),
    ],
)
def test_a_return_means_that_nobody_has_it_but_where_the_broker_does_not_count_who_has(
    publish, outcome
):
    assert returned(publish.message)[0] is outcome
