"""The senders' own libraries and ours agree on what is signed.

ShopifyAPI checks the signatures of redirects only. Shopify's documentation says how to check a
webhook's, and that is done here as it says.
"""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from deliveries import (
    NOW,
    STANDARD_SECRET,
    assert_invalid,
    changed,
    delivery,
    endpoint,
    hexdigest,
    receive,
)
from gidgethub.sansio import validate_event
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook
from stripe import WebhookSignature
from twilio.request_validator import RequestValidator

from statelessd.webhooks.delivery import Draft

BODY = '{"text": "Grüße"}'.encode()
FORM = "application/x-www-form-urlencoded"
URL = "https://example.com/hook"


def stripe_headers(body, secret):
    timestamp = int(NOW)
    signature = hexdigest(secret, b"%d.%b" % (timestamp, body))
    header = f"t={timestamp},v1={'0' * 64},v1={signature},v0={'1' * 64}"
    assert WebhookSignature.verify_header(body.decode(), header, secret)
    return {"Stripe-Signature": header}


def standard_headers(body, secret):
    signature = Webhook(secret).sign("msg_1", datetime.fromtimestamp(int(NOW), UTC), body.decode())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(NOW)),
        "webhook-signature": f"v1a,AAAA v1,AAAA {signature}",
    }


def svix_headers(body, secret):
    # Its import takes a second, which every worker of pytest would spend when it collects tests.
    from svix.webhooks import Webhook as SvixWebhook  # noqa: PLC0415

    signature = SvixWebhook(secret).sign(
        "msg_1", datetime.fromtimestamp(int(NOW), UTC), body.decode()
    )
    return {"svix-id": "msg_1", "svix-timestamp": str(int(NOW)), "svix-signature": signature}


def slack_headers(body, secret):
    timestamp = str(int(NOW))
    signature = SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=body)
    return {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature}


def github_headers(body, secret):
    signature = "sha256=" + hexdigest(secret, body)
    validate_event(body, signature=signature, secret=secret)
    return {"X-Hub-Signature-256": signature}


def shopify_headers(body, secret):
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return {"X-Shopify-Hmac-Sha256": base64.b64encode(digest).decode()}


SENDERS = pytest.mark.parametrize(
    ("scheme", "sign", "secret"),
    [
        ("stripe", stripe_headers, "whsec_test"),
        ("standard-webhooks", standard_headers, STANDARD_SECRET),
        ("standard-webhooks", svix_headers, STANDARD_SECRET),
        ("gitlab", standard_headers, STANDARD_SECRET),
        ("slack", slack_headers, "s"),
        ("github", github_headers, "s"),
        ("meta", github_headers, "s"),
        ("shopify", shopify_headers, "s"),
    ],
)


@SENDERS
def test_what_the_sdk_signs_is_accepted(scheme, sign, secret):
    hook = endpoint(scheme)
    headers = sign(BODY, secret)
    assert isinstance(receive(hook, delivery(BODY, headers), secret), Draft)
    assert isinstance(receive(hook, delivery(BODY, headers), STANDARD_SECRET[:-4], secret), Draft)
    assert_invalid(hook, delivery(changed(BODY, 9), headers), secret)
    assert_invalid(hook, delivery(BODY), secret)
    assert_invalid(hook, delivery(BODY, headers), STANDARD_SECRET[:-4])


@pytest.mark.parametrize("public_url", [URL, f"{URL}?own=1", "https://example.com:443/hook"])
@pytest.mark.parametrize("query", ["", "?a=1&b=%20x"])
@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", {}),
        (b"Body=a+b%26&To=%2B1&Empty=", {"Body": "a b&", "To": "+1", "Empty": ""}),
        (b"Body=%C3%A9&z=1&A=2&a=3", {"Body": "é", "z": "1", "A": "2", "a": "3"}),
    ],
)
def test_what_twilio_signs_is_accepted(public_url, query, body, fields):
    hook = endpoint("twilio", public_url=public_url)
    url = public_url.partition("?")[0] + query if query else public_url
    signature = RequestValidator("s").compute_signature(url, fields)
    headers = {"Content-Type": FORM, "X-Twilio-Signature": signature}
    target = b"/hook" + query.encode()
    assert isinstance(receive(hook, delivery(body, headers, target=target), "s"), Draft)
    assert_invalid(hook, delivery(body + b"&x=1", headers, target=target), "s")
    target += b"&c=1" if query else b"?c=1"
    assert_invalid(hook, delivery(body, headers, target=target), "s")


@pytest.mark.parametrize("algorithm", ["HMAC_SHA1", "HMAC_SHA256"])
def test_twilio_names_the_algorithm_of_a_shared_key(algorithm):
    signature = RequestValidator("s").compute_signature(URL, {"a": "1"}, algorithm)
    headers = {
        "Content-Type": FORM,
        "X-Twilio-Signature": signature,
        "X-Twilio-Webhooks-Signature-Settings": f"key=webhooks_sharedkey_1,algorithm={algorithm}",
    }
    hook = endpoint("twilio", public_url=URL)
    assert isinstance(receive(hook, delivery(b"a=1", headers), "s"), Draft)
    headers["X-Twilio-Webhooks-Signature-Settings"] = "algorithm=HMAC_MD5"
    assert_invalid(hook, delivery(b"a=1", headers), "s")


def test_several_values_of_a_twilio_field_are_sorted():
    class Fields(dict):
        def getlist(self, name):
            return self[name]

    signature = RequestValidator("s").compute_signature(URL, Fields(a=["2", "1", "2"], b=["x"]))
    headers = {"Content-Type": FORM, "X-Twilio-Signature": signature}
    hook = endpoint("twilio", public_url=URL)
    assert isinstance(receive(hook, delivery(b"a=2&b=x&a=1&a=2", headers), "s"), Draft)
