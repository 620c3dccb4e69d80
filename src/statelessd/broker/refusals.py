"""What RabbitMQ's closing words mean: reply code and text -> Outcome.

Texts are those of RabbitMQ 3.10 to 4 (rabbit_reader, rabbit_channel,
rabbit_access_control). They carry the users' own names, which may contain
anything, and are cut at 252 bytes with "..." behind: so they are matched from
the start and by code, never searched.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ..message import Outcome
from .publish import Publish

ACCESS_REFUSED = 403
NOT_FOUND = 404
PRECONDITION_FAILED = 406
CONTENT_TOO_LARGE = 311
CONNECTION_FORCED = 320
NOT_ALLOWED = 530
INTERNAL_ERROR = 541  # RabbitMQ: a channel or the connection crashed


class Refusal(NamedTuple):
    """``shared``: everybody else who waits for the same thing would be told the same."""

    outcome: Outcome
    detail: str
    shared: bool


class Verdict(NamedTuple):
    """What became of one message of a closed channel; no outcome: discarded, to be sent again."""

    publish: Publish
    outcome: Outcome | None
    detail: str


def _explanation(text: str) -> str:
    """Without the code's name: "NOT_FOUND - no exchange 'x' in vhost '/'" -> "no exchange …"."""
    name, dash, rest = text.partition(" - ")
    return rest if dash and name.isupper() else text


def login_refusal(
    code: int, text: str, virtual_host: str, username: str, *, token: bool = False
) -> Refusal:
    """The broker closed the connection before it was open."""
    said = _explanation(text)
    if code == ACCESS_REFUSED:
        # Its text only says where the broker's log is.
        what = "token" if token else "user name or password"
        return Refusal(Outcome.UNAUTHORIZED, f"The broker refused the {what}.", True)
    if code == NOT_ALLOWED:
        if said == f"vhost {virtual_host} not found" or (
            said.startswith("vhost ") and said.endswith("...")
        ):
            return Refusal(Outcome.VIRTUAL_HOST_NOT_FOUND, f"The broker says: {said}", True)
        # Cut short it could be the connection limit as well; that is rarer, and
        # a message is published in neither case.
        if said == f"access to vhost '{virtual_host}' refused for user '{username}'" or (
            said.startswith("access to vhost '") and said.endswith("...")
        ):
            return Refusal(Outcome.FORBIDDEN, f"The broker says: {said}", True)
    # Connection limits (530 with other words), a virtual host that is down (541), a
    # node that shuts down (320), and whatever else it may be: another try may succeed.
    return Refusal(
        Outcome.BROKER_UNAVAILABLE, f"The broker refused a connection: {code} {said}", False
    )


def is_node_shutdown(code: int, text: str) -> bool:
    """The node goes away; an operator who closes one connection uses the same code."""
    return code == CONNECTION_FORCED and _explanation(text).startswith(
        "broker forced connection closure"
    )


def is_channel_limit(code: int, text: str) -> bool:
    """The broker closed a connection because the user had no right to another channel."""
    return code == NOT_ALLOWED and _explanation(text).startswith("number of channels opened ")


def channel_refusal(code: int, text: str) -> Refusal:
    """The broker closed a channel over exactly one message."""
    said = _explanation(text)
    detail = f"The broker says: {said}"
    if code == NOT_FOUND:
        return Refusal(Outcome.EXCHANGE_NOT_FOUND, detail, True)
    if code == ACCESS_REFUSED:
        return Refusal(Outcome.FORBIDDEN, detail, not said.startswith("access to topic "))
    if code == CONTENT_TOO_LARGE or said.startswith("message size "):
        return Refusal(Outcome.TOO_LARGE, detail, False)
    if code == PRECONDITION_FAILED:
        if said.startswith("user_id property set to "):
            return Refusal(Outcome.FORBIDDEN, detail, False)
        return Refusal(Outcome.BAD_REQUEST, detail, False)
    # Not a judgement on the message, so nothing is known of it.
    return Refusal(Outcome.UNCONFIRMED, f"The broker closed the channel: {code} {said}", False)


def attribute(code: int, text: str, lost: Sequence[Publish]) -> list[Verdict]:
    """The broker closed a channel with several messages in flight: what became of each.

    The broker works through them in order, so those behind the culprit were
    discarded and may be sent again; those before it may have been published.
    Where the text fits several messages, the culprit is one of them: nothing
    is certain but that those behind the last of them were discarded.
    """
    refusal = channel_refusal(code, text)
    suspects = [i for i, publish in enumerate(lost) if is_suspect(code, text, publish)]
    first, last = (suspects[0], suspects[-1]) if suspects else (len(lost), len(lost))
    certain = first == last < len(lost)
    unknown = (
        f"The broker closed the channel ({_explanation(text)}), "
        "perhaps after it had taken this message."
    )
    verdicts = []
    for i, publish in enumerate(lost):
        if i > last:
            verdicts.append(Verdict(publish, None, ""))
        elif certain and i == first:
            verdicts.append(Verdict(publish, refusal.outcome, refusal.detail))
        else:
            verdicts.append(Verdict(publish, Outcome.UNCONFIRMED, unknown))
    return verdicts


def is_suspect(code: int, text: str, publish: Publish) -> bool:
    """Return whether the broker's words may be about this message."""
    message = publish.message
    said = _explanation(text)
    if code == ACCESS_REFUSED and said.startswith("access to topic '"):
        topic = f"access to topic '{message.routing_key}' in exchange "
        # A cut text may end within the topic, perhaps within a character of it.
        return said.startswith(topic) or (
            said.endswith("...") and topic.startswith(said[:-3].rstrip("\ufffd"))
        )
    if said.startswith("message size "):
        return said.startswith(f"message size {publish.body_size} ")
    return False
