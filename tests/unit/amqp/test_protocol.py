import brokerside as broker
import pytest
from pamqp import commands, frame

from statelessd.amqp import encode, events
from statelessd.amqp.errors import LoginTooLargeError, ProtocolError, StateError
from statelessd.amqp.events import Settlement
from statelessd.amqp.protocol import (
    HEARTBEAT_FRAME,
    PROTOCOL_HEADER,
    ConnectionState,
    Login,
    Protocol,
)

EMPTY = encode.properties({})


def login(**changes):
    return Login("guest", "secret", "test", {"product": "statelessd"}, **changes)


def sent(protocol):
    """What goes out, as (channel, method or content) decoded by pamqp."""
    data = b"".join(protocol.data_to_send())
    values = []
    while data:
        consumed, channel, value = frame.unmarshal(data)
        values.append((channel, value))
        data = data[consumed:]
    return values


def failure(protocol, data):
    """The error that ends the connection."""
    [*_, event] = protocol.receive_data(data)
    assert isinstance(event, events.Failed)
    assert isinstance(event.error, ProtocolError)
    return event.error


def names(protocol):
    return [value.name for _, value in sent(protocol)]


def opened(**changes):
    protocol = Protocol(login(**changes))
    protocol.receive_data(broker.start() + broker.tune() + broker.open_ok())
    protocol.data_to_send()
    return protocol


def with_channel(**changes):
    protocol = opened(**changes)
    assert protocol.open_channel() == 1
    protocol.receive_data(broker.channel_open_ok(1) + broker.select_ok(1))
    protocol.data_to_send()
    return protocol


def publish(protocol, entry, body=b"hi", mandatory=False, channel=1, routing_key="k"):
    protocol.publish(channel, entry, "e", routing_key, EMPTY, body, mandatory)


class TestLogin:
    def test_it_begins_with_the_protocol_header(self):
        assert Protocol(login()).data_to_send() == [PROTOCOL_HEADER]

    def test_the_credentials_the_virtual_host_and_the_limits_are_sent(self):
        protocol = Protocol(login(heartbeat=30, frame_max=131072, channel_max=64))
        protocol.data_to_send()
        assert protocol.receive_data(broker.start()) == []
        [(_, start_ok)] = sent(protocol)
        assert start_ok.mechanism == "PLAIN"
        assert start_ok.response == "\0guest\0secret"
        assert start_ok.client_properties["product"] == "statelessd"
        capabilities = start_ok.client_properties["capabilities"]
        assert capabilities["authentication_failure_close"] is True
        assert capabilities["connection.blocked"] is True
        protocol.receive_data(broker.tune(channel_max=2047, frame_max=4096, heartbeat=60))
        (_, tune_ok), (_, open_) = sent(protocol)
        assert (tune_ok.channel_max, tune_ok.frame_max, tune_ok.heartbeat) == (64, 4096, 30)
        assert open_.virtual_host == "test"
        assert protocol.receive_data(broker.open_ok()) == [events.Opened()]
        assert (protocol.channel_max, protocol.frame_max, protocol.heartbeat) == (64, 4096, 30)
        assert protocol.peer.product == "scripted"

    @pytest.mark.parametrize(("ours", "theirs", "agreed"), [(30, 0, 30), (0, 60, 60), (0, 0, 0)])
    def test_zero_means_no_limit(self, ours, theirs, agreed):
        protocol = Protocol(login(heartbeat=ours))
        protocol.receive_data(broker.start() + broker.tune(heartbeat=theirs))
        assert protocol.heartbeat == agreed

    def test_a_refused_login_tells_code_and_text(self):
        protocol = Protocol(login())
        [event] = protocol.receive_data(broker.start() + broker.close(403, "ACCESS_REFUSED - x"))
        assert event == events.Closed(403, "ACCESS_REFUSED - x", False)
        assert names(protocol) == ["ProtocolHeader", "Connection.StartOk", "Connection.CloseOk"]

    @pytest.mark.parametrize(
        ("product", "version", "limit"),
        [
            ("RabbitMQ", "3.10.8", 4096),
            ("RabbitMQ", "4.0.9", 4096),
            ("RabbitMQ", "4.1.0-rc.1", 8192),
            ("RabbitMQ", "10.0.0", 8192),
            ("LavinMQ", "2.9.1", 4096),
        ],
    )
    def test_credentials_that_do_not_fit_the_brokers_first_frame_are_not_sent(
        self, product, version, limit
    ):
        for size, fits in [(limit - 300, True), (limit, False)]:
            protocol = Protocol(Login("guest", "s" * size, "test", {}))
            protocol.data_to_send()
            greeting = broker.start(product=product, version=version)
            if fits:
                assert protocol.receive_data(greeting) == []
                [(_, start_ok)] = sent(protocol)
                assert start_ok.response == "\0guest\0" + "s" * size
            else:
                error = failure(protocol, greeting)
                assert isinstance(error, LoginTooLargeError)
                assert str(limit) in str(error)
                assert protocol.data_to_send() == []

    @pytest.mark.parametrize(("product", "version"), [("Other", "1.0"), ("RabbitMQ", "x")])
    def test_where_the_version_does_not_tell_a_large_login_is_tried(self, product, version):
        protocol = Protocol(Login("guest", "s" * 9000, "test", {"product": "statelessd"}))
        protocol.data_to_send()
        assert protocol.receive_data(broker.start(product=product, version=version)) == []
        [(_, start_ok)] = sent(protocol)
        assert set(start_ok.client_properties) == {"capabilities"}
        assert protocol.oversized_login > 9000
        protocol.receive_data(broker.tune() + broker.open_ok())
        assert protocol.oversized_login == 0

    @pytest.mark.parametrize(("version", "agreed"), [("4.0.5", 4096), ("4.1.0", 8192)])
    def test_a_broker_that_takes_no_smaller_frames_gets_its_least(self, version, agreed):
        protocol = Protocol(login(frame_max=4096))
        protocol.receive_data(broker.start(product="RabbitMQ", version=version) + broker.tune())
        assert protocol.frame_max == agreed
        _, _, (_, tune_ok), _ = sent(protocol)
        assert tune_ok.frame_max == agreed

    def test_a_broker_without_plain_is_refused(self):
        assert "PLAIN" in str(failure(Protocol(login()), broker.start("EXTERNAL")))

    def test_frames_below_the_minimum_are_refused(self):
        error = failure(Protocol(login()), broker.start() + broker.tune(frame_max=1000))
        assert "1000 bytes" in str(error)

    def test_the_password_is_in_no_repr(self):
        protocol = Protocol(login())
        inside = [getattr(protocol, name) for name in dir(protocol)]
        assert "secret" not in repr(login()) + repr(protocol) + repr(inside)


class TestLoginThroughProxy:
    """amqproxy says Open-Ok, and logs in to the broker when the first channel is opened."""

    LOGIN = broker.start(product="AMQProxy", version="3.1.3") + broker.tune() + broker.open_ok()

    def proving(self):
        protocol = Protocol(login())
        assert protocol.receive_data(self.LOGIN) == []
        assert names(protocol)[-1] == "Channel.Open"
        return protocol

    def test_a_channel_proves_it_and_is_closed_again(self):
        protocol = self.proving()
        assert protocol.receive_data(broker.channel_open_ok(1)) == []
        assert names(protocol) == ["Channel.Close"]
        [event] = protocol.receive_data(broker.channel_close_ok(1))
        assert isinstance(event, events.Opened)
        assert protocol.open_channel() == 1

    def test_a_close_instead_is_the_logins_refusal(self):
        protocol = self.proving()
        [event] = protocol.receive_data(broker.close(403, "ACCESS_REFUSED - x"))
        assert event == events.Closed(403, "ACCESS_REFUSED - x", False)
        assert names(protocol) == ["Connection.CloseOk"]

    def test_so_is_a_close_of_the_channel(self):
        protocol = self.proving()
        [event] = protocol.receive_data(broker.channel_close(1, 500, "UPSTREAM_ERROR", (0, 0)))
        assert event == events.Closed(500, "UPSTREAM_ERROR", False)
        assert names(protocol) == ["Channel.CloseOk"]

    def test_nothing_can_be_opened_before(self):
        with pytest.raises(StateError):
            self.proving().open_channel()

    def test_a_close_later_is_not_the_logins_refusal(self):
        protocol = self.proving()
        protocol.receive_data(broker.channel_open_ok(1) + broker.channel_close_ok(1))
        [event] = protocol.receive_data(broker.close(403, "ACCESS_REFUSED - x"))
        assert event == events.Closed(403, "ACCESS_REFUSED - x", True)


class TestPublishing:
    def test_a_message_goes_out_as_method_header_and_body(self):
        protocol = with_channel()
        publish(protocol, "m")
        (n, method), (_, header), (_, body) = sent(protocol)
        assert (n, method.exchange, method.routing_key, method.mandatory) == (1, "e", "k", False)
        assert header.body_size == 2
        assert body.value == b"hi"

    def test_an_ack_settles_it(self):
        protocol = with_channel()
        publish(protocol, "a")
        publish(protocol, "b")
        assert protocol.unsettled(1) == {1: "a", 2: "b"}
        [event] = protocol.receive_data(broker.ack(1, 2, multiple=True))
        assert event == events.Settled(1, [("a", Settlement.ACKED), ("b", Settlement.ACKED)], 3)
        assert not protocol.unsettled(1)

    def test_what_was_settled_before_a_fault_is_settled(self):
        protocol = with_channel()
        for entry in "abc":
            publish(protocol, entry)
        received = protocol.receive_data(broker.ack(1, 1) + broker.ack(1, 2) + broker.ack(1, 99))
        assert [e.settled[0][0] for e in received[:2]] == ["a", "b"]
        assert isinstance(received[2], events.Failed)
        assert protocol.lost() == ["c"]

    def test_a_return_without_bcc_finds_its_message_among_others(self):
        protocol = with_channel()
        for entry in "abc":
            table = {"BCC": ["q"], "x": [1, {"y": 1.5}], "BCCs": "kept", "n": None, "t": True}
            values = {"content_type": "a/b", "headers": table, "message_id": entry}
            header = encode.properties(values)
            protocol.publish(1, entry, "e", "k", header, b"hi", True)
            del table["BCC"]
            assert encode.without_bcc(header) == encode.properties(values)
        stripped = encode.without_bcc(
            encode.properties({"headers": {"BCC": ["q"]}, "message_id": "b"})
        )
        assert stripped == encode.properties({"headers": {}, "message_id": "b"})

    @pytest.mark.parametrize("body", [b"", b"hi", b"x" * 20000])
    def test_a_return_before_its_ack_settles_it_as_returned(self, body):
        protocol = with_channel()
        publish(protocol, "plain", body)
        publish(protocol, "mandatory", body, mandatory=True)
        received = protocol.receive_data(
            broker.returned(1, "e", "k", body) + broker.ack(1, 1) + broker.ack(1, 2)
        )
        assert [e.settled for e in received] == [
            [("plain", Settlement.ACKED)],
            [("mandatory", Settlement.RETURNED)],
        ]

    def test_a_broker_that_closes_the_channel_tells_what_is_lost_in_order(self):
        protocol = with_channel()
        for entry in "abc":
            publish(protocol, entry)
        protocol.data_to_send()
        received = protocol.receive_data(broker.ack(1, 1) + broker.channel_close(1, 404, "NO"))
        assert received[1] == events.ChannelClosed(1, 404, "NO", ["b", "c"], (60, 40))
        assert names(protocol) == ["Channel.CloseOk"]
        with pytest.raises(StateError):
            publish(protocol, "d")
        assert protocol.open_channel() == 1

    def test_channels_have_their_own_tags(self):
        protocol = with_channel()
        assert protocol.open_channel() == 2
        protocol.receive_data(broker.channel_open_ok(2) + broker.select_ok(2))
        publish(protocol, "a", channel=1)
        publish(protocol, "b", channel=2)
        [event] = protocol.receive_data(broker.ack(2, 1))
        assert event == events.Settled(2, [("b", Settlement.ACKED)], 2)

    def test_acks_of_several_channels_may_come_in_any_pieces_with_other_frames(self):
        data = (
            broker.ack(1, 2, multiple=True) + broker.ack(2, 1) + broker.nack(1, 3)
            + HEARTBEAT_FRAME + broker.ack(1, 4) + broker.ack(2, 2)
        )  # fmt: skip
        found = []
        for size in (len(data), 21, 30, 1):
            protocol = with_channel()
            protocol.open_channel()
            protocol.receive_data(broker.channel_open_ok(2) + broker.select_ok(2))
            for tag in range(1, 5):
                publish(protocol, f"1-{tag}")
                publish(protocol, f"2-{tag}", channel=2)
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            got = [event for piece in pieces for event in protocol.receive_data(piece)]
            found.append([(each.channel, each.settled, each.oldest) for each in got])
        assert all(each == found[0] for each in found)
        acked, nacked = Settlement.ACKED, Settlement.NACKED
        assert found[0] == [
            (1, [("1-1", acked), ("1-2", acked)], 3),
            (2, [("2-1", acked)], 2),
            (1, [("1-3", nacked)], 4),
            (1, [("1-4", acked)], 5),
            (2, [("2-2", acked)], 3),
        ]

    def test_a_lost_socket_names_the_unsettled(self):
        protocol = with_channel()
        publish(protocol, "a")
        assert protocol.lost() == ["a"]
        assert protocol.state is ConnectionState.CLOSED

    def test_a_content_header_beyond_the_frame_is_refused_and_changes_nothing(self):
        protocol = with_channel(frame_max=4096)
        header = encode.properties({"headers": {"h": "x" * 4096}})
        with pytest.raises(StateError):
            protocol.publish(1, "a", "e", "k", header, b"", False)
        assert not protocol.unsettled(1)
        assert protocol.data_to_send() == []

    def test_the_largest_content_header_fills_the_frame(self):
        protocol = with_channel(frame_max=4096)
        header = encode.properties({"headers": {"h": ""}})
        header = encode.properties({"headers": {"h": "x" * (protocol.max_header - len(header))}})
        protocol.publish(1, "a", "e", "k", header, b"", False)
        data = b"".join(protocol.data_to_send())
        _, _, method_size = 1, 1, int.from_bytes(data[3:7])
        header_size = int.from_bytes(data[method_size + 8 + 3 : method_size + 8 + 7])
        assert header_size + encode.FRAME_OVERHEAD == 4096


class TestStates:
    def test_blocked_and_unblocked(self):
        received = opened().receive_data(broker.blocked("disk") + broker.unblocked())
        assert received == [events.Blocked("disk"), events.Unblocked()]

    def test_an_orderly_end(self):
        protocol = with_channel()
        protocol.close_channel(1)
        assert names(protocol) == ["Channel.Close"]
        assert protocol.receive_data(broker.channel_close_ok(1)) == [events.ChannelEnded(1)]
        protocol.close("bye")
        assert names(protocol) == ["Connection.Close"]
        assert protocol.receive_data(broker.close_ok()) == [events.Closed(0, "", True)]
        assert protocol.state is ConnectionState.CLOSED

    def test_what_is_unsettled_on_a_channel_that_we_close_is_lost_with_the_connection(self):
        protocol = with_channel()
        for entry in "ab":
            publish(protocol, entry)
        protocol.close_channel(1)
        received = protocol.receive_data(broker.ack(1, 1) + broker.channel_close_ok(1))
        assert received[1:] == [events.ChannelEnded(1)]
        protocol.close()
        assert protocol.receive_data(broker.close_ok()) == [events.Closed(0, "", True)]
        assert protocol.lost() == ["b"]

    def test_close_that_crosses_the_brokers_close_of_a_channel(self):
        protocol = with_channel()
        protocol.close_channel(1)
        received = protocol.receive_data(broker.channel_close(1, 406, "X"))
        assert received == [events.ChannelClosed(1, 406, "X", [], (60, 40))]

    def test_a_broker_that_goes_away_says_so(self):
        protocol = with_channel()
        publish(protocol, "a")
        received = protocol.receive_data(broker.close(320, "CONNECTION_FORCED - shutdown"))
        assert received == [events.Closed(320, "CONNECTION_FORCED - shutdown", True)]
        assert protocol.lost() == ["a"]

    def test_channels_run_out(self):
        protocol = opened(channel_max=2)
        protocol.open_channel()
        protocol.open_channel()
        with pytest.raises(StateError, match="all 2 channels"):
            protocol.open_channel()

    @pytest.mark.parametrize(
        "data",
        [
            broker.tune(),  # a second time
            broker.start(),
            broker.ack(5, 1),  # no such channel
            broker.ack(1, 2),  # no such tag
            broker.select_ok(1),
            broker.returned(1, "e", "k", b"x"),  # never sent as mandatory
            broker.close_ok(),
            broker.method(commands.Basic.Deliver("c", 1, False, "e", "k"), 1),
            broker.returned(1, "e", "k", b"x")[len(broker.ack(1, 1)) :],
        ],
    )
    def test_what_the_broker_may_not_say_is_a_protocol_error(self, data):
        protocol = with_channel()
        publish(protocol, "a")
        assert failure(protocol, data)
        assert protocol.state is ConnectionState.CLOSED
        assert protocol.lost() == ["a"]
