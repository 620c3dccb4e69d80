"""What can go wrong in the protocol core.

AMQPError
├── EncodeError            a value has no place in AMQP; nothing was changed
├── ProtocolError          the peer broke the protocol; the connection is unusable
│   ├── FrameError         ... already in its framing
│   └── LoginTooLargeError the login does not fit the frame that carries it (ours to blame)
└── StateError             the driver called what this state does not allow; nothing was changed
"""


class AMQPError(Exception):
    """Root of the tree."""


class EncodeError(AMQPError, ValueError):
    """A value that AMQP cannot carry. The text names the value's place, never a secret."""


class ProtocolError(AMQPError):
    """The broker sent what AMQP 0-9-1 does not allow here."""


class FrameError(ProtocolError):
    """The bytes are no AMQP frames (section 4.2.3)."""


class LoginTooLargeError(ProtocolError):
    """User name and password exceed the first frame a broker must accept (section 4.2.3)."""


class StateError(AMQPError):
    """A call that the state of the connection or channel does not allow."""
