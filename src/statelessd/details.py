"""The sentences that say what happened, who may read them, and the document that has them."""

import enum
from typing import Annotated, Self

import msgspec
from msgspec import Meta


class Public(str):
    """A detail that others than the client may read, as among the recent errors.

    It quotes nothing that a client sent: no property, header, routing key or part of a
    body. The code that makes a detail marks it. Text that is made of it is a plain ``str``,
    as with ``markupsafe``, so nothing becomes public by accident.
    """

    __slots__ = ()


class Mistake(enum.Enum):
    """What is wrong with a request, for others than its client: it quotes nothing of it."""

    HTTP = "The request is not valid HTTP/1.1."
    PATH = "The path cannot be read."
    FORM = "The form cannot be read."
    TEXT = "A field or header is not UTF-8."
    JSON = "The JSON cannot be read."
    ITEM = "An item of the batch is not valid."
    CLOUD_EVENT = "The CloudEvent is not valid."
    PROPERTY = "A property or a message header is not valid."
    BROKER = "The broker refused the properties of the message."


class Quoting(str):
    """A detail for the client alone, because it may quote the request.

    Others read the ``mistake`` instead.
    """

    __slots__ = ("mistake",)
    mistake: Mistake

    def __new__(cls, text: str, mistake: Mistake) -> Self:
        """Return the text with its mistake."""
        made = super().__new__(cls, text)
        made.mistake = mistake
        return made


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document (RFC 9457) with the members ``outcome``, ``retryable``, ``request_id``."""

    type: Annotated[str, Meta(description="A link to the meaning and the remedy.")]
    title: Annotated[str, Meta(description="The same for every problem of this type.")]
    status: Annotated[int, Meta(description="The HTTP status.")]
    detail: Annotated[str, Meta(description="What happened this time.")]
    outcome: Annotated[
        str,
        Meta(
            description="not-published: no copy of the message exists. unknown: no copy exists, "
            "or one.",
            extra_json_schema={"enum": ["not-published", "unknown"]},
        ),
    ]
    retryable: Annotated[bool, Meta(description="Whether the same request may succeed later.")]
    request_id: Annotated[str, Meta(description="The same as in X-Request-ID.")] = ""
