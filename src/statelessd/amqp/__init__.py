"""The publishing side of AMQP 0-9-1 without I/O; ``amqp.protocol`` describes how to drive it."""
