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
    """How the endpoint finds out that its sender knows a secret."""

    scheme: Annotated[
        Scheme, setting("The sender's way to sign: a service's name, or hmac, token or none.")
    ]
    secrets: Annotated[
        tuple[str, ...],
        setting("Secrets, any of which may sign: for a rotation the old and the new one."),
    ] = ()
    secrets_file: Annotated[
        str | None,
        setting("File with such secrets, one a line. A changed file is used without a restart."),
    ] = None
    tolerance: Annotated[
        Annotated[float, Meta(gt=0, le=86400)] | None,
        setting(
            "Seconds by which a signed timestamp may differ from this machine's clock, "
            f"{TOLERANCE:g} by default. A replay within them is accepted."
        ),
    ] = None
    header: Annotated[
        str | None, setting("Header that holds the signature (hmac) or the token (token).")
    ] = None
    algorithm: Annotated[
        Literal["sha1", "sha256", "sha512"], setting("The hash function of hmac.")
    ] = "sha256"
    encoding: Annotated[
        Literal["hex", "base64"], setting("How hmac writes the signature in its header.")
    ] = "hex"
    prefix: Annotated[str, setting("What stands before hmac's signature in its header.")] = ""
    signed: Annotated[
        str,
        setting("What hmac signs: a template of {body}, {timestamp}, {id} and {url}."),
    ] = "{body}"
    timestamp_header: Annotated[
        str | None, setting("Header with hmac's timestamp, in seconds of Unix time.")
    ] = None
    id_header: Annotated[str | None, setting("Header with the id that hmac signs.")] = None

    def __repr__(self) -> str:
        return f"<Verify by {self.scheme}>"


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint. The path may be secret, so only ``name`` is ever shown."""

    name: Annotated[
        str,
        setting(
            "The endpoint's name in metrics, logs and pages.",
            pattern="^[A-Za-z0-9._-]{1,63}\\Z",
            title='a name of up to 63 letters, digits, ".", "_" and "-"',
        ),
    ]
    path: Annotated[
        str,
        setting(
            "The whole path of its URL, as the sender writes it. It is never shown.",
            pattern='^/[!"$->@-~]{1,254}\\Z',
            title="a path such as /hooks/github: as it is in the URL, of up to 255 characters, "
            "without ? and what follows",
        ),
    ]
    virtual_host: Annotated[str, setting("Virtual host to publish to.", max_length=255)] = "/"
    exchange: Annotated[str, setting("Exchange to publish to.", max_length=255)] = ""
    routing_key: Annotated[
        str, setting("Routing key: a template of headers, query, form and JSON.")
    ] = ""
    username: Annotated[
        str,
        setting("The broker's user that publishes for the endpoint.", min_length=1, max_length=255),
    ]
    password: Annotated[str, setting("That user's password.", max_length=512)] = ""
    password_file: Annotated[
        str | None,
        setting("File with the password. A changed file is used without a restart."),
    ] = None
    verify: Verify
    headers: Annotated[
        tuple[str, ...],
        setting("Request headers that become message headers, in this spelling."),
    ] = ()
    message_id: Annotated[str, setting("The message_id: a template; empty: none.")] = ""
    mandatory: Annotated[bool, setting("Whether it is an error when no queue takes it.")] = True
    timeout: Annotated[
        float, setting("Seconds for the publish, as Application.publish.timeout.", gt=0, le=3600)
    ] = 2.5
    max_body_bytes: Annotated[int, setting("The largest body, in bytes.", ge=1, le=1024 * MIB)] = (
        25 * MIB
    )
    max_in_flight: Annotated[
        int,
        setting("Requests of this endpoint that may be under way in each backend.", ge=1),
    ] = 200
    status: Annotated[
        int, setting("Status of the answer to a published request.", ge=200, le=299)
    ] = 204
    public_url: Annotated[
        str | None, setting("The URL that the sender knows, which Twilio signs.")
    ] = None
    verify_token: Annotated[
        str | None, setting("What Meta sends as hub.verify_token when it subscribes.")
    ] = None
    allowed_origins: Annotated[
        tuple[str, ...],
        setting("Senders of CloudEvents that an OPTIONS request lets in; * for any."),
    ] = ()

    def __repr__(self) -> str:
        return f"<Webhook {self.name!r}>"
