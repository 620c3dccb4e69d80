"""The errors of the protocol core.

AMQPError
├── EncodeError            AMQP cannot carry a value; nothing was changed
├── ProtocolError          the peer broke the protocol; the connection is unusable
│   ├── FrameError         the peer's bytes are not frames
│   └── LoginTooLargeError our login does not fit the frame that carries it
└── StateError             this state does not allow the call; nothing was changed
"""


class AMQPError(Exception):
    """Any error of the protocol core."""


class EncodeError(AMQPError, ValueError):
    """A value that AMQP cannot carry. The text names the value's place, never a secret."""


class ProtocolError(AMQPError):
    """The broker sent what AMQP 0-9-1 does not allow here."""


class FrameError(ProtocolError):
    """The broker sent bytes that are not AMQP frames (section 4.2.3)."""


class LoginTooLargeError(ProtocolError):
    """User name and password exceed the first frame a broker must accept (section 4.2.3)."""


class StateError(AMQPError):
    """A call that the state of the connection or channel does not allow."""
