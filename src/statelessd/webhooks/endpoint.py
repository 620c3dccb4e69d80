"""One webhook endpoint: verifies deliveries, and makes messages or responses of them."""

from collections.abc import Generator, Sequence

from ..config.header_names import LONGEST, OF_TRACE, TOKEN, wrong_with_names
from ..config.webhooks import TOLERANCE, Verify, Webhook
from ..message import Outcome, Public, RequestError, bad_request
from . import generic, handshakes, signatures, twilio
from .delivery import Delivery, Draft, Reply
from .signatures import GitLab, NoScheme, Scheme, Signed, StandardWebhooks, Token
from .source import Source
from .templates import Template, as_text

__all__ = ["Delivery", "Draft", "Endpoint", "Reply"]

# The settings of verify that only some schemes use.
_OF_HMAC = ("algorithm", "encoding", "prefix", "signed", "timestamp_header", "id_header")
_WITH_TIMESTAMP = ("gitlab", "stripe", "slack", "standard-webhooks")


class Endpoint:
    """A webhook endpoint.

    The order of calls:

    1. ``methods`` says which methods the endpoint takes.
    2. ``receive`` makes a Draft or a Reply of a whole delivery.
    3. ``answer_to_success`` is the response when the Draft was published.
    """

    def __init__(self, webhook: Webhook) -> None:
        """Raise ValueError if settings do not fit together.

        Its sentence begins with the name of a setting, such as ``verify.header``.
        """
        self._webhook = webhook
        self._routing_key = Template(webhook.routing_key, "routing_key", "routing key")
        self._message_id = Template(webhook.message_id, "message_id", "message_id")
        self._headers = [
            (name, name.lower().encode())
            for name in webhook.headers
            if name.lower() not in OF_TRACE
        ]
        _check_headers(webhook)
        _check_use(webhook)
        self._scheme = _scheme(webhook)
        self._check_no_secret_is_published()
        verify = webhook.verify
        if verify.secrets or verify.secrets_file is None:
            self.check_secrets([secret.encode() for secret in verify.secrets])

    @property
    def methods(self) -> tuple[str, ...]:
        """Return the methods that the endpoint takes, for the header Allow."""
        get = ("GET",) if self._webhook.verify_token is not None else ()
        options = ("OPTIONS",) if self._webhook.allowed_origins else ()
        return (*get, *options, "POST")

    def check_secrets(self, secrets: Sequence[bytes]) -> None:
        """Raise ValueError, as ``__init__``, if the scheme cannot use the secrets of a file.

        ``receive`` lets nothing pass because of such a secret, and does not fail either.
        """
        if not secrets and not isinstance(self._scheme, NoScheme):
            raise ValueError(
                f"verify.secrets or verify.secrets_file is needed by the scheme "
                f"{self._webhook.verify.scheme}."
            )
        try:
            self._scheme.check(secrets)
        except ValueError as error:
            raise ValueError(f"verify.secrets {error}") from None

    def receive(
        self, delivery: Delivery, secrets: Sequence[bytes]
    ) -> Generator[None, None, Draft | Reply]:
        """Return what to publish, or a response that publishes nothing, in steps.

        ``secrets`` are those of now, from the settings or the file. A step takes some
        milliseconds at most, whatever the delivery is. The memory is at most that of the body
        again, and some MB for JSON. Raise RequestError for a method that is not taken, for a
        signature that is missing, wrong or stale, and for a delivery without what the
        templates need.
        """
        source = Source(delivery)
        if delivery.method not in self.methods:
            raise RequestError(
                Outcome.METHOD_NOT_ALLOWED, Public("The endpoint does not take this method.")
            )
        if delivery.method == "GET":
            return handshakes.meta(source, self._webhook.verify_token or "")
        if delivery.method == "OPTIONS":
            return handshakes.cloud_events(source, self._webhook.allowed_origins, self.methods)
        yield from self._scheme.verify(source, secrets)
        return self._handshake(delivery) or (yield from self._draft(source))

    def answer_to_success(self, delivery: Delivery) -> Reply:
        """Return the response to a delivery that was published."""
        status = self._webhook.status
        if self._webhook.verify.scheme == "twilio":
            # Twilio reports an error for a 204, and takes a body for instructions: here, none.
            return Reply(
                200 if status == 204 else status, (handshakes.XML,), handshakes.EMPTY_TWIML
            )
        return Reply(status)

    def _handshake(self, delivery: Delivery) -> Reply | None:
        """Return the response to a verified delivery that is a handshake, or None."""
        scheme = self._webhook.verify.scheme
        if scheme == "slack":
            return handshakes.slack(delivery)
        if scheme in ("none", "token"):  # Event Grid signs nothing
            return handshakes.event_grid(delivery)
        return None

    def _draft(self, source: Source) -> Generator[None, None, Draft]:
        """Return the message of a verified delivery."""
        routing_key = yield from self._routing_key.render(source)
        message_id = yield from self._message_id.render(source)
        headers = {
            name: as_text(source.header(key), f"header {name}")
            for name, key in self._headers
            if key in source.delivery.headers
        }
        return Draft(
            routing_key,
            message_id or None,
            headers,
            _short(source, "content-type"),
            _short(source, "content-encoding"),
            int(source.delivery.now),
        )

    def _check_no_secret_is_published(self) -> None:
        """Raise ValueError if a message would carry the token that proves who the sender is."""
        verify = self._webhook.verify
        secret = {"gitlab": "x-gitlab-token", "token": (verify.header or "").lower()}
        token = secret.get(verify.scheme)
        templates = {"routing_key": self._routing_key, "message_id": self._message_id}
        for setting, template in templates.items():
            if token in template.headers():
                raise ValueError(f"{setting} has {{header.{token}}}, which is the sender's secret.")
        if token in [name.lower() for name in self._webhook.headers]:
            raise ValueError(f"headers has {token}, which is the sender's secret.")


def _short(source: Source, name: str) -> str | None:
    """Return a request header that becomes a property. Raise RequestError if it does not fit."""
    value = source.header(name.encode())
    if len(value) > LONGEST:
        raise bad_request(Public(f"The header {name} has more than {LONGEST} bytes."))
    return as_text(value, f"header {name}") or None


def _scheme(webhook: Webhook) -> Scheme:
    """Return the scheme that the settings name."""
    tolerance = webhook.verify.tolerance or TOLERANCE
    hub = signatures.prefixed(b"x-hub-signature-256", b"sha256=")
    match webhook.verify.scheme:
        case "github" | "meta":
            return Signed(hub)
        case "gitlab":
            return GitLab(tolerance)
        case "stripe":
            return Signed(signatures.read_stripe, tolerance=tolerance)
        case "shopify":
            return Signed(signatures.prefixed(b"x-shopify-hmac-sha256", b""), encoding="base64")
        case "slack":
            return Signed(signatures.read_slack, tolerance=tolerance)
        case "twilio":
            return twilio.scheme(webhook.public_url or "")
        case "standard-webhooks":
            return StandardWebhooks(tolerance)
        case "hmac":
            return generic.scheme(webhook)
        case "token":
            return Token(webhook.verify.header or "")
        case "none":
            return NoScheme()


def _check_headers(webhook: Webhook) -> None:
    """Raise ValueError if request headers are named that do not exist or must not be published."""
    for _, what in wrong_with_names(webhook.headers):
        raise ValueError(f"headers {what}.")
    for setting in ("header", "timestamp_header", "id_header"):
        value = getattr(webhook.verify, setting)
        if value is not None and not TOKEN.fullmatch(value):
            raise ValueError(f"verify.{setting} is {value!r}, and no header has such a name.")


def _check_use(webhook: Webhook) -> None:
    """Raise ValueError if a setting is missing, or given and not used by the scheme."""
    verify, scheme = webhook.verify, webhook.verify.scheme
    defaults = Verify(scheme=scheme)
    if scheme in ("hmac", "token"):
        if verify.header is None:
            raise ValueError(f"verify.header is needed by the scheme {scheme}.")
    elif verify.header is not None:
        raise ValueError("verify.header is used by the schemes hmac and token only.")
    for setting in _OF_HMAC:
        if scheme != "hmac" and getattr(verify, setting) != getattr(defaults, setting):
            raise ValueError(f"verify.{setting} is used by the scheme hmac only.")
    has_timestamp = scheme in _WITH_TIMESTAMP or "{timestamp}" in verify.signed
    if verify.tolerance is not None and not has_timestamp:
        raise ValueError("verify.tolerance is not used, because no timestamp is signed.")
    if scheme == "twilio" and webhook.public_url is None:
        raise ValueError("public_url is needed by the scheme twilio, which signs it.")
    if scheme not in ("twilio", "hmac") and webhook.public_url is not None:
        raise ValueError("public_url is used by the schemes twilio and hmac only.")
    if webhook.verify_token is not None and scheme != "meta":
        raise ValueError("verify_token is used by the scheme meta only.")
    if webhook.verify_token == "":
        raise ValueError("verify_token is empty, and so everybody knows it.")
    if scheme == "none" and verify.secrets_file is not None:
        raise ValueError("verify.secrets_file is not used by the scheme none.")
