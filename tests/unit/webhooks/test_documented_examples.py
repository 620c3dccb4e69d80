"""Each sender's published example is accepted, and refused with one byte of it changed."""

import msgspec
import pytest
from deliveries import assert_invalid, changed, delivery, endpoint, receive, refusal

from statelessd.message import Outcome
from statelessd.webhooks.delivery import Draft

FORM = "application/x-www-form-urlencoded"
# docs.github.com, "Validating webhook deliveries", section "Testing the webhook payload
# validation".
GITHUB = (
    endpoint("github"),
    delivery(
        b"Hello, World!",
        {
            "X-Hub-Signature-256": "sha256="
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        },
    ),
    "It's a Secret to Everybody",
)
# api.slack.com, "Verifying requests from Slack", section "Validating a request".
SLACK = (
    endpoint("slack"),
    delivery(
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
        b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
        b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
        b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        {
            "Content-Type": FORM,
            "X-Slack-Request-Timestamp": "1531420618",
            "X-Slack-Signature": "v0="
            "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        },
        now=1531420618 + 60,
    ),
    "8f742231b10e8888abcd99yyyzzz85a5",
)
# twilio.com/docs, "Security", section "Validating signatures from Twilio".
TWILIO = (
    endpoint("twilio", public_url="https://mycompany.com/myapp.php?foo=1&bar=2"),
    delivery(
        b"Digits=1234&To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309"
        b"&CallSid=CA1234567890ABCDE",
        {"Content-Type": FORM, "X-Twilio-Signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8="},
        target=b"/myapp.php?foo=1&bar=2",
    ),
    "12345",
)
# The tests of twilio-node and twilio-python; the documentation describes it without numbers.
TWILIO_JSON = (
    endpoint("twilio", public_url="https://mycompany.com/myapp.php"),
    delivery(
        b'{"property": "value", "boolean": true}',
        {"Content-Type": "application/json", "X-Twilio-Signature": "a9nBmqA0ju/hNViExpshrM61xv4="},
        target=b"/myapp.php?foo=1&bar=2"
        b"&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620",
    ),
    "12345",
)
# The documentation of Svix, "Verifying webhooks manually"; Standard Webhooks' libraries have it.
STANDARD = (
    endpoint("standard-webhooks"),
    delivery(
        b'{"test": 2432232314}',
        {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        now=1614265330 - 30,
    ),
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
)
# The specification of Standard Webhooks has a signature of v1a beside it, but not its secret.

EXAMPLES = pytest.mark.parametrize(
    ("hook", "request_", "secret"),
    [
        pytest.param(*GITHUB, id="github"),
        pytest.param(*SLACK, id="slack"),
        pytest.param(*TWILIO, id="twilio"),
        pytest.param(*TWILIO_JSON, id="twilio-json"),
        pytest.param(*STANDARD, id="standard-webhooks"),
    ],
)


@EXAMPLES
def test_the_example_is_accepted(hook, request_, secret):
    assert isinstance(receive(hook, request_, secret), Draft)


@EXAMPLES
def test_a_second_secret_is_as_good(hook, request_, secret):
    assert isinstance(
        receive(hook, request_, "whsec_b3RoZXIgc2VjcmV0IG9mIGJlZm9yZQ==", secret), Draft
    )


@EXAMPLES
def test_another_secret_is_refused(hook, request_, secret):
    assert_invalid(hook, request_, "whsec_b3RoZXIgc2VjcmV0IG9mIGJlZm9yZQ==")
    assert_invalid(hook, request_)


@EXAMPLES
def test_one_changed_byte_is_refused(hook, request_, secret):
    for at in range(len(request_.body)):
        body = changed(request_.body, at)
        error = refusal(hook, msgspec.structs.replace(request_, body=body), secret)
        assert error.outcome is Outcome.SIGNATURE_INVALID


@EXAMPLES
def test_each_header_is_needed(hook, request_, secret):
    for name in request_.headers:
        if name != b"content-type":
            rest = {each: value for each, value in request_.headers.items() if each != name}
            assert_invalid(hook, msgspec.structs.replace(request_, headers=rest), secret)


@pytest.mark.parametrize(
    ("hook", "request_", "secret"), [SLACK, STANDARD], ids=["slack", "standard"]
)
@pytest.mark.parametrize("after", [-301, 301, 10**9])
def test_a_stale_timestamp_is_said_to_be_stale(hook, request_, secret, after):
    header = next(value for name, value in request_.headers.items() if b"timestamp" in name)
    late = msgspec.structs.replace(request_, now=int(header) + after)
    error = refusal(hook, late, secret)
    assert error.outcome is Outcome.SIGNATURE_INVALID
    assert "stale" in error.detail
    assert "300 seconds" in error.detail
