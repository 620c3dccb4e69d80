"""Deliveries to webhook endpoints, without a gateway: made, signed and received."""

import base64
import hmac

import pytest

from statelessd.config.webhooks import Verify, Webhook
from statelessd.message import Outcome, RequestError
from statelessd.webhooks.delivery import Delivery
from statelessd.webhooks.endpoint import Endpoint

NOW = 1_700_000_000.75


def delivery(body=b"", headers=(), *, target=b"/hook", method="POST", now=NOW):
    """Return a delivery; header names may have any case."""
    named = {name.lower().encode(): _bytes(value) for name, value in dict(headers).items()}
    return Delivery(method, target, named, body, now)


def endpoint(scheme="none", *, verify=None, **settings):
    """Return an endpoint with these settings, and with the secret ``s`` where one is needed."""
    verify = dict(verify or {})
    if scheme != "none":
        verify.setdefault("secrets", (SECRETS.get(scheme, "s"),))
    settings = {"name": "hook", "path": "/hook", "username": "u", **settings}
    return Endpoint(Webhook(verify=Verify(scheme=scheme, **verify), **settings))


def finish(steps):
    """Run the steps to their end, and return what they return."""
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        return stop.value


def receive(hook, request, *secrets):
    """Return what the endpoint makes of the delivery."""
    return finish(hook.receive(request, [_bytes(secret) for secret in secrets]))


def refusal(hook, request, *secrets):
    """Return the error with which the endpoint refuses the delivery."""
    with pytest.raises(RequestError) as caught:
        receive(hook, request, *secrets)
    return caught.value


def assert_invalid(hook, request, *secrets):
    """Assert that the delivery is refused for its signature, without more of a hint."""
    error = refusal(hook, request, *secrets)
    assert error.outcome is Outcome.SIGNATURE_INVALID
    assert "missing, or none of the endpoint's secrets" in error.detail


def hexdigest(secret, message, algorithm="sha256"):
    return hmac.new(_bytes(secret), message, algorithm).hexdigest()


def b64digest(secret, message, algorithm="sha256"):
    return base64.b64encode(hmac.new(_bytes(secret), message, algorithm).digest()).decode()


def changed(body, at=0):
    """Return the body with one byte changed."""
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


# A key of 24 bytes, from the documentation of Svix.
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRETS = {"standard-webhooks": STANDARD_SECRET}


def _bytes(value):
    return value if isinstance(value, bytes) else value.encode()
