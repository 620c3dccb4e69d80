"""The broker's side of AMQP, said with pamqp: for tests that script a broker."""

from pamqp import commands, frame, header
from pamqp.body import ContentBody


def method(value, channel=0):
    return frame.marshal(value, channel)


def start(mechanisms="PLAIN AMQPLAIN", product="scripted", version="1.0"):
    properties = {"product": product, "version": version, "capabilities": {}}
    return method(commands.Connection.Start(0, 9, properties, mechanisms, "en_US"))


def tune(channel_max=2047, frame_max=131072, heartbeat=60):
    return method(commands.Connection.Tune(channel_max, frame_max, heartbeat))


def open_ok():
    return method(commands.Connection.OpenOk())


def close(code=320, text="CONNECTION_FORCED"):
    return method(commands.Connection.Close(code, text, 0, 0))


def close_ok():
    return method(commands.Connection.CloseOk())


def blocked(reason="low on memory"):
    return method(commands.Connection.Blocked(reason))


def unblocked():
    return method(commands.Connection.Unblocked())


def channel_open_ok(channel):
    return method(commands.Channel.OpenOk(), channel)


def select_ok(channel):
    return method(commands.Confirm.SelectOk(), channel)


def channel_close(
    channel, code=404, text="NOT_FOUND - no exchange 'x' in vhost '/'", over=(60, 40)
):
    return method(commands.Channel.Close(code, text, *over), channel)


def channel_close_ok(channel):
    return method(commands.Channel.CloseOk(), channel)


def ack(channel, tag, multiple=False):
    return method(commands.Basic.Ack(tag, multiple), channel)


def nack(channel, tag, multiple=False):
    return method(commands.Basic.Nack(tag, multiple, False), channel)


def returned(channel, exchange, routing_key, body, properties=None):
    properties = properties or commands.Basic.Properties()
    content = method(commands.Basic.Return(312, "NO_ROUTE", exchange, routing_key), channel)
    content += frame.marshal(header.ContentHeader(0, len(body), properties), channel)
    if body:
        content += frame.marshal(ContentBody(body), channel)
    return content
