"""Settings of webhook endpoints: who sends, how a request proves it, and what is published."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .http_server import MIB, setting

Scheme = Literal[
    "github", "gitlab", "stripe", "shopify", "slack", "twilio", "meta", "standard-webhooks",
    "hmac", "token", "none",
]  # fmt: skip

TOLERANCE = 300.0  # seconds


class Verify(msgspec.Struct, frozen=True, kw_only=True):
    """How the endpoint checks that the sender knows a secret."""

    scheme: Annotated[
        Scheme, setting("How the sender signs: the name of a service, or hmac, token or none.")
    ]
    secrets: Annotated[
        tuple[str, ...],
        setting(
            "Secrets of the endpoint. A signature with any of them is valid. For a "
            "rotation, list the old and the new one."
        ),
    ] = ()
    secrets_file: Annotated[
        str | None,
        setting("File with secrets, one a line. A changed file is used without a restart."),
    ] = None
    tolerance: Annotated[
        Annotated[float, Meta(gt=0, le=86400)] | None,
        setting(
            "Seconds by which a signed timestamp may differ from this machine's clock, "
            f"{TOLERANCE:g} by default. A replay within them is accepted."
        ),
    ] = None
    header: Annotated[
        str | None, setting("Header with the signature (hmac) or with the token (token).")
    ] = None
    algorithm: Annotated[Literal["sha1", "sha256", "sha512"], setting("Hash function of hmac.")] = (
        "sha256"
    )
    encoding: Annotated[
        Literal["hex", "base64"], setting("Encoding of the hmac signature in its header.")
    ] = "hex"
    prefix: Annotated[str, setting("Text before the hmac signature in its header.")] = ""
    signed: Annotated[
        str,
        setting("Text that hmac signs. It is a template of {body}, {timestamp}, {id} and {url}."),
    ] = "{body}"
    timestamp_header: Annotated[
        str | None, setting("Header with the timestamp that hmac signs, in seconds of Unix time.")
    ] = None
    id_header: Annotated[str | None, setting("Header with the id that hmac signs.")] = None

    def __repr__(self) -> str:
        return f"<Verify by {self.scheme}>"


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint. The path may be secret, so only ``name`` is ever shown."""

    name: Annotated[
        str,
        setting(
            "Name of the endpoint in metrics, logs and pages.",
            pattern="^[A-Za-z0-9._-]{1,63}\\Z",
            title='a name of up to 63 letters, digits, ".", "_" and "-"',
        ),
    ]
    path: Annotated[
        str,
        setting(
            "Whole path of the endpoint's URL, as the sender writes it. It is never shown.",
            pattern='^/[!"$->@-~]{1,254}\\Z',
            title="a path such as /hooks/github: as it is in the URL, of up to 255 characters, "
            "without ? and what follows",
        ),
    ]
    virtual_host: Annotated[str, setting("Virtual host to publish to.", max_length=255)] = "/"
    exchange: Annotated[
        str,
        setting("Exchange to publish to. An empty text is the default exchange.", max_length=255),
    ] = ""
    routing_key: Annotated[
        str, setting("Routing key. It is a template with values of headers, query, form and JSON.")
    ] = ""
    username: Annotated[
        str,
        setting("RabbitMQ user that publishes for the endpoint.", min_length=1, max_length=255),
    ]
    password: Annotated[str, setting("Password of this user.", max_length=512)] = ""
    password_file: Annotated[
        str | None,
        setting("File with the password. A changed file is used without a restart."),
    ] = None
    verify: Verify
    headers: Annotated[
        tuple[str, ...],
        setting("Request headers that become message headers, in this spelling."),
    ] = ()
    message_id: Annotated[
        str, setting("The message_id. It is a template. An empty text means none.")
    ] = ""
    mandatory: Annotated[bool, setting("Answer 404 if no queue takes the message.")] = True
    timeout: Annotated[
        float,
        setting(
            "Deadline of the publish in seconds, as Application.publish.timeout.", gt=0, le=3600
        ),
    ] = 2.5
    max_body_bytes: Annotated[int, setting("Largest body in bytes.", ge=1, le=1024 * MIB)] = (
        25 * MIB
    )
    max_in_flight: Annotated[
        int,
        setting(
            "Largest number of requests of this endpoint that each backend has in progress.", ge=1
        ),
    ] = 200
    status: Annotated[
        int, setting("Status of the answer to a published request.", ge=200, le=299)
    ] = 204
    public_url: Annotated[
        str | None, setting("URL of the endpoint as the sender knows it. Twilio signs it.")
    ] = None
    verify_token: Annotated[
        str | None, setting("Text that Meta sends as hub.verify_token when it subscribes.")
    ] = None
    allowed_origins: Annotated[
        tuple[str, ...],
        setting("Senders of CloudEvents that may register with an OPTIONS request. * allows any."),
    ] = ()

    def __repr__(self) -> str:
        return f"<Webhook {self.name!r}>"
