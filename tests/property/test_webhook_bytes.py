"""Whatever a stranger sends to a webhook endpoint: a draft, a response or a RequestError."""

import pytest
from deliveries import STANDARD_SECRET, delivery, endpoint, receive
from hypothesis import given
from hypothesis import strategies as st

from statelessd.message import Outcome, RequestError
from statelessd.webhooks.delivery import Draft, Reply

SECRETS = ["s", STANDARD_SECRET]
TEMPLATE = "{json.a.0|none}{form.a|}{query.a|}{header.a||word}"
HOOKS = {
    "github": endpoint("github"),
    "gitlab": endpoint("gitlab"),
    "stripe": endpoint("stripe"),
    "shopify": endpoint("shopify"),
    "slack": endpoint("slack"),
    "twilio": endpoint("twilio", public_url="https://e.org/hook"),
    "meta": endpoint("meta", verify_token="v"),
    "standard": endpoint("standard-webhooks"),
    "hmac": endpoint(
        "hmac",
        verify={
            "header": "a",
            "encoding": "base64",
            "signed": "{timestamp}{id}{body}",
            "timestamp_header": "t",
            "id_header": "i",
        },
    ),
    "token": endpoint("token", verify={"header": "a"}),
}
NAMES = [
    "a", "t", "i", "x-hub-signature-256", "x-gitlab-token", "webhook-id", "webhook-timestamp",
    "webhook-signature", "svix-id", "svix-timestamp", "svix-signature", "stripe-signature",
    "x-shopify-hmac-sha256", "x-slack-signature", "x-slack-request-timestamp", "content-type",
    "x-twilio-signature", "x-twilio-webhooks-signature-settings", "aeg-event-type",
]  # fmt: skip
VALUES = st.one_of(
    st.binary(max_size=40),
    st.text("0123456789abcdefABCDEF=,. v\t+/-", max_size=80).map(str.encode),
    st.sampled_from(
        [
            b"sha256=", b"v0=", b"v1,", b"t=1,v1=", b"v1, v1,=", b"1700000000", b"9" * 400,
            b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x",
            b"application/json", b"SubscriptionValidation", b"algorithm=HMAC_SHA256",
        ]
    ),
)  # fmt: skip
HEADERS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.text('{}[]",:a01\\ &=%+', max_size=60).map(str.encode),
    st.just(b'{"type": "url_verification"}'),
)
TARGETS = st.one_of(
    st.just(b"/hook"), st.binary(max_size=20), st.text("/?&=%a+", max_size=20).map(str.encode)
)


@pytest.mark.parametrize("scheme", HOOKS)
@given(headers=HEADERS, body=BODIES, target=TARGETS, method=st.sampled_from(["POST", "GET", "X"]))
def test_bytes_of_strangers_are_refused(scheme, headers, body, target, method):
    request = delivery(body, headers, target=target, method=method)
    with pytest.raises(RequestError) as caught:
        receive(HOOKS[scheme], request, *SECRETS)
    assert caught.value.outcome in (
        Outcome.SIGNATURE_INVALID,
        Outcome.METHOD_NOT_ALLOWED,
        Outcome.BAD_REQUEST,
    )


@given(headers=HEADERS, body=BODIES, target=TARGETS)
def test_bytes_of_anybody_become_a_draft_or_are_refused(headers, body, target):
    hook = endpoint(
        routing_key=TEMPLATE, message_id="{json.0|}", headers=("a", "t"), allowed_origins=("*",)
    )
    for method in ("POST", "OPTIONS"):
        try:
            made = receive(hook, delivery(body, headers, target=target, method=method))
        except RequestError as error:
            assert error.outcome is Outcome.BAD_REQUEST  # noqa: PT017 - either may come
        else:
            assert isinstance(made, Draft | Reply)
