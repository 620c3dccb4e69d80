"""What the broker's closing words, of ``broker.replies``, mean for a login or a message."""

from collections.abc import Sequence
from typing import NamedTuple

from ..amqp import decode
from ..message import Message, Mistake, Outcome, Public, Quoting
from . import replies
from .close_reason import CloseReason
from .pending import Publish
from .replies import Names, Reason

# Class and method (section 1.8.3.7). LavinMQ names none when a content header is the reason.
OVER_A_MESSAGE = ((60, 40), (0, 0))
BACK_END_FAILED = Public(
    "The broker could not check permissions: its authorisation back end failed."
)
MAYBE_KEPT = Public(
    "The broker returned the message, but may have delivered or kept it: the return does not "
    "count direct reply-to and delayed-message exchanges."
)
NO_QUEUE = Public(
    "No queue took the mandatory message: none is bound for it, or the queue's node is down."
)
PROXY_LOST_BROKER = "The proxy in front of the broker has no connection to it."
# The queue of an RPC caller, at RabbitMQ and LavinMQ: the message is delivered, and returned too.
DIRECT_REPLY_TO = ("amq.rabbitmq.reply-to.", "amq.direct.reply-to.")


class Refusal(NamedTuple):
    """``shared``: everybody else who waits for the same thing would be told the same."""

    outcome: Outcome
    detail: str
    shared: bool


class Remembered(NamedTuple):
    """The refusal of a login, at a loop time."""

    outcome: Outcome
    detail: str
    at: float

    def again(self, now: float) -> tuple[Outcome, str]:
        """Return the answer to later messages while the refusal is remembered."""
        outcome, detail = self.outcome, self.detail
        if outcome is Outcome.UNAUTHORIZED:
            outcome = Outcome.TOO_MANY_FAILURES
        age = now - self.at
        again = f"{detail} That was {age:.1f} s ago. The broker was not asked again."
        return outcome, type(detail)(again)  # as public as it was


# The outcome, whether the refusal is shared, and whether its text is public: it names no more
# than an exchange, a virtual host, a user or a size.
_OF_MESSAGES: dict[Reason | None, tuple[Outcome, bool, bool]] = {
    Reason.NO_EXCHANGE: (Outcome.EXCHANGE_NOT_FOUND, True, True),
    Reason.EXCHANGE_REFUSED: (Outcome.FORBIDDEN, True, True),
    Reason.REFUSED: (Outcome.FORBIDDEN, True, False),
    Reason.TOPIC_REFUSED: (Outcome.FORBIDDEN, False, False),
    Reason.FOREIGN_USER_ID: (Outcome.FORBIDDEN, False, False),
    Reason.TOO_LARGE: (Outcome.TOO_LARGE, False, True),
    Reason.LOW_ON_DISK: (Outcome.BROKER_BLOCKED, True, True),
    Reason.PRECONDITION: (Outcome.BAD_REQUEST, False, False),
}


def login_refusal(code: int, text: str, virtual_host: str, *, token: bool = False) -> Refusal:
    """Return what it means that the broker closed the connection before it was open."""
    said = replies.shown(text)  # public, because before a message it can only name the login
    words = Public(f"The broker says: {said}")
    match replies.login_reason(code, text, Names(virtual_host)):
        case Reason.LOGIN_REFUSED:
            what = "token" if token else "user name or password"
            return Refusal(Outcome.UNAUTHORIZED, Public(f"The broker refused the {what}."), True)
        case Reason.NO_VIRTUAL_HOST:
            return Refusal(Outcome.VIRTUAL_HOST_NOT_FOUND, words, True)
        case Reason.VIRTUAL_HOST_REFUSED:
            return Refusal(Outcome.FORBIDDEN, words, True)
        case Reason.BACK_END_FAILED:
            return Refusal(Outcome.BROKER_UNAVAILABLE, BACK_END_FAILED, False)
        case Reason.PROXY_LOST_BROKER:
            return Refusal(Outcome.BROKER_UNAVAILABLE, Public(PROXY_LOST_BROKER), False)
    # Connection limits (530 with other words), a virtual host that is down (541), a
    # node that shuts down (320), and whatever else it may be: another try may succeed.
    detail = Public(f"The broker refused a connection: {code} {said}")
    return Refusal(Outcome.BROKER_UNAVAILABLE, detail, False)


def is_silence_behind_proxy(code: int, text: str) -> bool:
    """Return whether the broker behind amqproxy just hung up, as it does on a login too large."""
    reason = text.removeprefix("UPSTREAM_ERROR - ")
    return replies.closing_reason(code, text) is Reason.PROXY_LOST_BROKER and (
        reason.startswith(("End of file", "Error reading"))
    )


def closing(code: int, text: str) -> tuple[str, CloseReason]:
    """Return why a connection was closed, without an address that a client need not know."""
    if replies.closing_reason(code, text) is Reason.PROXY_LOST_BROKER:
        return PROXY_LOST_BROKER, CloseReason.NETWORK
    if code:
        return f"the broker closed it: {code} {text}", CloseReason.BROKER
    return "closed in order", CloseReason.NETWORK


def channel_refusal(
    code: int, text: str, publish: Publish, method: tuple[int, int] = (60, 40)
) -> Refusal:
    """Return what it means that the broker closed a channel over exactly this message."""
    said = replies.shown(text)
    shared = not replies.is_topic(code, text)
    judged = method in OVER_A_MESSAGE
    reason = replies.message_reason(code, text, _names(publish)) if judged else None
    if reason is Reason.BACK_END_FAILED:
        return Refusal(Outcome.BROKER_UNAVAILABLE, BACK_END_FAILED, shared)
    if reason not in _OF_MESSAGES:  # not a judgement on the message, so nothing is known of it
        return Refusal(Outcome.UNCONFIRMED, f"The broker closed the channel: {code} {said}", False)
    outcome, may_be_shared, public = _OF_MESSAGES[reason]
    detail = f"The broker says: {said}"
    if outcome is Outcome.BAD_REQUEST:
        detail = Quoting(detail, Mistake.BROKER)
    return Refusal(outcome, Public(detail) if public else detail, may_be_shared and shared)


def attribute(
    code: int, text: str, lost: Sequence[Publish], method: tuple[int, int] = (60, 40)
) -> list[tuple[Publish, Outcome | None, str]]:
    """Return what became of each message that was in flight when the broker closed a channel.

    A message without an outcome was discarded, to be sent again.
    The broker works through them in order, so those behind the culprit were discarded. Where
    the text fits several messages, the culprit may be the last of them.
    """
    suspects = []
    if method in OVER_A_MESSAGE:
        suspects = [i for i, p in enumerate(lost) if replies.names_message(code, text, _names(p))]
    unknown = (
        f"The broker closed the channel ({replies.shown(text)}), "
        "perhaps after it had taken the message."
    )
    verdicts: list[tuple[Publish, Outcome | None, str]] = []
    for i, publish in enumerate(lost):
        if suspects and i > suspects[-1]:
            verdicts.append((publish, None, ""))
        elif suspects == [i]:
            refusal = channel_refusal(code, text, publish, method)
            verdicts.append((publish, refusal.outcome, refusal.detail))
        else:
            verdicts.append((publish, Outcome.UNCONFIRMED, unknown))
    return verdicts


def returned(message: Message) -> tuple[Outcome, str]:
    """Return what a return says of its message: that no queue took it, but for two kinds."""
    delayed = b"x-delay" in message.header and b"x-delay" in decode.parts(message.header)
    if delayed or any(key.startswith(DIRECT_REPLY_TO) for key in _keys(message)):
        return Outcome.UNCONFIRMED, MAYBE_KEPT
    return Outcome.NO_ROUTE, NO_QUEUE


def _names(publish: Publish) -> Names:
    message = publish.message
    return Names(publish.virtual_host, message.exchange, _keys(message), publish.body_size)


def _keys(message: Message) -> tuple[str, ...]:
    """Return the routing key, and those of the headers CC and BCC."""
    if b"CC" not in message.header:
        return (message.routing_key,)
    found = decode.parts(message.header)
    copies = [key for name in (b"CC", b"BCC") for key in decode.strings(found.get(name, b""))]
    return (message.routing_key, *copies)
