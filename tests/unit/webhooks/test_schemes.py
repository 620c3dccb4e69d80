"""What each scheme takes besides the senders' examples, and what it refuses."""

import base64
import time

import pytest
from deliveries import (
    NOW,
    STANDARD_SECRET,
    assert_invalid,
    b64digest,
    changed,
    delivery,
    endpoint,
    hexdigest,
    receive,
    refusal,
)

from statelessd.message import Outcome, Public
from statelessd.webhooks.delivery import Draft

BODY = b'{"a": 1}'
T = str(int(NOW))
KEY = base64.b64decode(STANDARD_SECRET.removeprefix("whsec_"))
FORM = "application/x-www-form-urlencoded"


def standard(secret=KEY, timestamp=T, message_id="m", prefix="webhook-", body=BODY):
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        f"{prefix}id": message_id,
        f"{prefix}timestamp": timestamp,
        f"{prefix}signature": f"v1,{b64digest(secret, signed)}",
    }


def stripe(timestamp=T, secret="s", version="v1"):
    signature = hexdigest(secret, f"{timestamp}.".encode() + BODY)
    return {"Stripe-Signature": f"t={timestamp},{version}={signature}"}


def slack(timestamp=T):
    signature = hexdigest("s", f"v0:{timestamp}:".encode() + BODY)
    return {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": f"v0={signature}"}


def hub(secret="s"):
    return {"X-Hub-Signature-256": f"sha256={hexdigest(secret, BODY)}"}


def twilio(url="https://e.org/hook", secret="s"):
    return {"X-Twilio-Signature": b64digest(secret, url.encode(), "sha1")}


TIMED = {"algorithm": "sha512", "signed": "{timestamp}~{body}", "timestamp_header": "X-Time"}


def timed(timestamp=T):
    signature = hexdigest("s", f"{timestamp}~".encode() + BODY, "sha512")
    return {"X-Time": timestamp, "X-Mac": signature}


CASES = {
    "github": (endpoint("github"), hub(), "s"),
    "meta": (endpoint("meta"), hub(), "s"),
    "gitlab": (endpoint("gitlab"), {"X-Gitlab-Token": "s"}, "s"),
    "gitlab signed": (endpoint("gitlab"), standard(), STANDARD_SECRET),
    "stripe": (endpoint("stripe"), stripe(), "s"),
    "shopify": (endpoint("shopify"), {"X-Shopify-Hmac-SHA256": b64digest("s", BODY)}, "s"),
    "slack": (endpoint("slack"), slack(), "s"),
    "standard": (endpoint("standard-webhooks"), standard(), STANDARD_SECRET),
    "svix": (endpoint("standard-webhooks"), standard(prefix="svix-"), STANDARD_SECRET),
    "hmac": (
        endpoint("hmac", verify={"header": "X-Mac", "prefix": "mac "}),
        {"X-Mac": f"mac {hexdigest('s', BODY)}"},
        "s",
    ),
    "hmac with all parts": (
        endpoint(
            "hmac",
            public_url="https://e.org/",
            verify={
                "header": "X-Mac",
                "algorithm": "sha1",
                "encoding": "base64",
                "signed": "{{{id}}} {timestamp} {url} {body}!",
                "timestamp_header": "X-Time",
                "id_header": "X-Id",
            },
        ),
        {
            "X-Time": T,
            "X-Id": "7",
            "X-Mac": b64digest("s", f"{{7}} {T} https://e.org/ ".encode() + BODY + b"!", "sha1"),
        },
        "s",
    ),
    "hmac with a timestamp": (endpoint("hmac", verify={"header": "X-Mac", **TIMED}), timed(), "s"),
    "token": (endpoint("token", verify={"header": "X-Token"}), {"X-Token": "s"}, "s"),
}
EACH = pytest.mark.parametrize(("hook", "headers", "secret"), CASES.values(), ids=CASES)
WITHOUT_BODY = {"gitlab", "token"}


@EACH
def test_the_right_signature_is_accepted(hook, headers, secret):
    assert isinstance(receive(hook, delivery(BODY, headers), secret), Draft)


@EACH
def test_any_secret_may_have_signed(hook, headers, secret):
    for secrets in ((secret, "other"), ("other", secret), ("", "whsec_!", secret)):
        assert isinstance(receive(hook, delivery(BODY, headers), *secrets), Draft)


@EACH
def test_a_missing_header_is_refused(hook, headers, secret):
    for name in headers:
        rest = {each: value for each, value in headers.items() if each != name}
        assert_invalid(hook, delivery(BODY, rest), secret)


@EACH
def test_secrets_that_everybody_knows_let_nobody_in(hook, headers, secret):
    for secrets in ((), ("",), ("whsec_",)):
        for each in (headers, dict.fromkeys(headers, "")):
            assert_invalid(hook, delivery(BODY, each), *secrets)


@EACH
def test_a_value_with_white_space_around_it_is_accepted(hook, headers, secret):
    spaced = {name: f" {value}\t" for name, value in headers.items()}
    assert isinstance(receive(hook, delivery(BODY, spaced), secret), Draft)


@pytest.mark.parametrize("name", [each for each in CASES if each not in WITHOUT_BODY])
def test_a_changed_byte_is_refused(name):
    hook, headers, secret = CASES[name]
    for at in range(len(BODY)):
        assert_invalid(hook, delivery(changed(BODY, at), headers), secret)


def test_the_detail_of_a_wrong_signature_may_be_shown():
    error = refusal(endpoint("github"), delivery(BODY, hub("other")), "s")
    assert isinstance(error.detail, Public)


@pytest.mark.parametrize("make", [stripe, slack, standard, timed], ids=lambda each: each.__name__)
def test_a_stale_timestamp_is_told_only_to_who_has_the_secret(make):
    hook, _, secret = {
        stripe: CASES["stripe"],
        slack: CASES["slack"],
        standard: CASES["standard"],
        timed: CASES["hmac with a timestamp"],
    }[make]
    for timestamp in (0, int(NOW) - 302, int(NOW) + 302, 10**15 - 1):
        headers = make(timestamp=str(timestamp))
        error = refusal(hook, delivery(BODY, headers), secret)
        assert error.outcome is Outcome.SIGNATURE_INVALID
        assert "stale" in error.detail
        assert_invalid(hook, delivery(BODY, headers), "other")
    for seconds in (-299, 299):
        headers = make(timestamp=str(int(NOW) + seconds))
        assert isinstance(receive(hook, delivery(BODY, headers), secret), Draft)


@pytest.mark.parametrize("make", [stripe, slack, standard, timed], ids=lambda each: each.__name__)
@pytest.mark.parametrize(
    "timestamp", ["", "-1", "1e9", "nan", "9" * 5000, "\uff11", f"+{T}", f"{T}.0"]
)
def test_an_absurd_timestamp_is_refused_though_it_is_signed(make, timestamp):
    hook, _, secret = {
        stripe: CASES["stripe"],
        slack: CASES["slack"],
        standard: CASES["standard"],
        timed: CASES["hmac with a timestamp"],
    }[make]
    assert_invalid(hook, delivery(BODY, make(timestamp=timestamp)), secret)


def test_the_tolerance_is_a_setting():
    hook = endpoint("slack", verify={"tolerance": 5})
    request = delivery(BODY, slack(str(int(NOW) - 7)))
    assert "more than 5 seconds" in refusal(hook, request, "s").detail


def test_stripe_never_accepts_v0():
    assert_invalid(endpoint("stripe"), delivery(BODY, stripe(version="v0")), "s")


def test_hexadecimal_digits_may_be_in_upper_case():
    headers = {"X-Hub-Signature-256": f"sha256={hexdigest('s', BODY).upper()}"}
    assert isinstance(receive(endpoint("github"), delivery(BODY, headers), "s"), Draft)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "value", [b"\xff\xfe", b"x" * 1_000_000, b"v1," * 100_000, b"\x00", b"=,=;"]
)
def test_strange_headers_are_refused(name, value):
    hook, headers, secret = CASES[name]
    for each in headers:
        assert_invalid(hook, delivery(BODY, {**headers, each: value}), secret)


def test_a_wrong_signature_of_gitlab_is_not_made_good_by_its_token():
    hook = endpoint("gitlab")
    headers = {**standard(secret=b"other"), "X-Gitlab-Token": "s"}
    assert_invalid(hook, delivery(BODY, headers), STANDARD_SECRET, "s")
    # Without a signing token the signature cannot be checked, and the token counts.
    assert isinstance(receive(hook, delivery(BODY, headers), "s"), Draft)


def test_the_signing_token_of_gitlab_is_not_its_secret_token():
    hook = endpoint("gitlab")
    assert_invalid(hook, delivery(BODY, {"X-Gitlab-Token": STANDARD_SECRET}), STANDARD_SECRET)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a", "application/json"),
        (b"a", ""),
        (b"&", FORM),
        (b"&&", FORM),
        (b"x" * 5000 + b"=1", FORM),
        (b"a", "multipart/form-data; boundary=b"),
    ],
)
def test_twilio_has_to_sign_all_of_the_body(body, content_type):
    hook = endpoint("twilio", public_url="https://e.org/hook")
    headers = {**twilio(), "Content-Type": content_type}
    assert isinstance(receive(hook, delivery(b"", headers), "s"), Draft)
    assert_invalid(hook, delivery(body, headers), "s")


def test_twilio_may_hash_a_form_as_well():
    hook = endpoint("twilio", public_url="https://e.org/hook")
    query = b"?bodySHA256=" + b"0" * 64
    headers = {**twilio("https://e.org/hook" + query.decode() + "a1"), "Content-Type": FORM}
    assert_invalid(hook, delivery(b"a=1", headers, target=b"/hook" + query), "s")


def test_a_large_body_is_hashed_in_steps():
    body = bytes(25 * 1024 * 1024)
    hook = endpoint("github")
    headers = {"X-Hub-Signature-256": f"sha256={hexdigest('s', body)}"}
    steps = hook.receive(delivery(body, headers), [b"s", b"t", b"u"])
    longest, number = 0.0, 0
    while True:
        before = time.process_time()
        if next(steps, "done") == "done":
            break
        longest = max(longest, time.process_time() - before)
        number += 1
    assert number > 50
    assert longest < 0.05
