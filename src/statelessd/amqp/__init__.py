"""The publishing side of AMQP 0-9-1 without I/O.

Bytes and method calls go in; events and bytes come out. There is no socket, no clock
and no event loop. The driver is ``broker.connection``. ``amqp.protocol`` describes the
order of its calls.
"""
