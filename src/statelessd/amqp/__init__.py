"""The publishing side of AMQP 0-9-1 without I/O.

Bytes and method calls go in, events and bytes come out; no socket, no clock,
no event loop. The driver is ``broker.connection``; the order of its calls is
written down in ``amqp.protocol``.
"""
