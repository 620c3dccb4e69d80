"""What an endpoint drafts, what it answers itself, and which settings fit together."""

import json

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
    refusal,
)

from statelessd.message import Outcome
from statelessd.webhooks.delivery import Draft, Reply

JSON = "application/json"


def test_a_draft_has_what_the_request_said():
    hook = endpoint(
        routing_key="a.{json.b}", message_id="{header.x-id}", headers=("X-GitHub-Event", "x-none")
    )
    headers = {
        "content-type": "application/json; charset=utf-8",
        "content-encoding": "identity",
        "x-github-event": " pull request é ",
        "x-id": "7",
        "authorization": "Basic eDp5",
    }
    assert receive(hook, delivery(b'{"b": "c"}', headers)) == Draft(
        routing_key="a.c",
        message_id="7",
        headers={"X-GitHub-Event": "pull request é"},
        content_type="application/json; charset=utf-8",
        content_encoding="identity",
        timestamp=int(NOW),
    )


def test_a_draft_has_nothing_that_the_request_did_not_say():
    assert receive(endpoint(), delivery()) == Draft("", None, {}, None, None, int(NOW))


@pytest.mark.parametrize("name", ["Content-Type", "Content-Encoding", "X-Event"])
def test_a_header_that_is_not_utf8_is_refused(name):
    error = refusal(endpoint(headers=("X-Event",)), delivery(headers={name: b"\xff"}))
    assert error.outcome is Outcome.BAD_REQUEST
    assert name.lower() in error.detail.lower()


@pytest.mark.parametrize("name", ["content-type", "content-encoding"])
def test_a_property_has_at_most_255_bytes(name):
    assert receive(endpoint(), delivery(headers={name: "x" * 255}))
    error = refusal(endpoint(), delivery(headers={name: "x" * 256}))
    assert error.outcome is Outcome.BAD_REQUEST


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS", "get", ""])
def test_other_methods_are_not_allowed(method):
    hook = endpoint()
    assert hook.methods == ("POST",)
    assert refusal(hook, delivery(method=method)).outcome is Outcome.METHOD_NOT_ALLOWED


def test_the_response_to_success_has_the_configured_status():
    assert endpoint().answer_to_success(delivery()) == Reply(204)
    assert endpoint(status=200).answer_to_success(delivery()) == Reply(200)


@pytest.mark.parametrize(("status", "answered"), [(204, 200), (200, 200), (202, 202)])
def test_twilio_gets_empty_instructions(status, answered):
    hook = endpoint("twilio", public_url="https://e.org/", status=status)
    reply = hook.answer_to_success(delivery())
    assert reply.status == answered
    assert dict(reply.fields)[b"content-type"].startswith(b"text/xml")
    assert reply.body.endswith(b"<Response/>")


def slack(body, secret="s"):
    signature = hexdigest(secret, b"v0:%d:%b" % (int(NOW), body))
    headers = {
        "Content-Type": JSON,
        "X-Slack-Request-Timestamp": str(int(NOW)),
        "X-Slack-Signature": f"v0={signature}",
    }
    return delivery(body, headers)


def test_slacks_challenge_is_answered_if_it_is_signed():
    body = (
        b'{"token": "Jhj5dZrVaK7ZwHHjRyZWjbDl", "type": "url_verification",'
        b'"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}'
    )
    reply = receive(endpoint("slack"), slack(body), "s")
    assert reply.status == 200
    assert reply.body == b"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
    assert dict(reply.fields)[b"content-type"].startswith(b"text/plain")
    assert_invalid(endpoint("slack"), slack(body, "other"), "s")


@pytest.mark.parametrize(
    "body",
    [
        b'{"type": "event_callback", "challenge": "x", "text": "url_verification"}',
        b'{"type": "url_verification"}',
        b'{"type": "url_verification", "challenge": 7}',
        b"url_verification",
        b'{"type": "url_verification", "challenge": "x", "y": "' + b" " * 10**5 + b'"}',
    ],
)
def test_other_events_of_slack_are_published(body):
    assert isinstance(receive(endpoint("slack"), slack(body), "s"), Draft)


def test_only_slack_is_answered_its_challenge():
    body = b'{"type": "url_verification", "challenge": "x"}'
    assert isinstance(receive(endpoint(), delivery(body)), Draft)


# learn.microsoft.com, "Endpoint validation with Event Grid event schema".
GRID = json.dumps(
    [
        {
            "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
            "topic": "/subscriptions/xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            "subject": "",
            "data": {
                "validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6",
                "validationUrl": "https://rp-eastus2.eventgrid.azure.net:553/eventsubscriptions/",
            },
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": "2022-10-28T04:23:35.1981776Z",
            "metadataVersion": "1",
            "dataVersion": "1",
        }
    ]
).encode()


def test_event_grids_validation_is_answered():
    headers = {"aeg-event-type": "SubscriptionValidation", "Content-Type": JSON}
    reply = receive(endpoint(), delivery(GRID, headers))
    assert reply.status == 200
    assert dict(reply.fields)[b"content-type"] == b"application/json"
    assert json.loads(reply.body) == {"validationResponse": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}
    hook = endpoint("token", verify={"header": "X-Token"})
    assert receive(hook, delivery(GRID, {**headers, "X-Token": "s"}), "s") == reply
    assert_invalid(hook, delivery(GRID, headers), "s")


def test_event_grids_other_events_are_published():
    assert isinstance(
        receive(endpoint(), delivery(GRID, {"aeg-event-type": "Notification"})), Draft
    )
    assert isinstance(receive(endpoint(), delivery(GRID)), Draft)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'[{"data": {}}]', b"[" * 5000, GRID * 500])
def test_a_validation_that_cannot_be_read_is_refused(body):
    headers = {"aeg-event-type": "SubscriptionValidation"}
    assert refusal(endpoint(), delivery(body, headers)).outcome is Outcome.BAD_REQUEST


META = b"/hook?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=meatyhamhock"


def test_metas_challenge_is_answered():
    hook = endpoint("meta", verify_token="meatyhamhock")
    assert hook.methods == ("GET", "POST")
    reply = receive(hook, delivery(method="GET", target=META), "s")
    assert (reply.status, reply.body) == (200, b"1158201444")
    assert dict(reply.fields)[b"content-type"].startswith(b"text/plain")


@pytest.mark.parametrize("target", [META[:-1], META + b"x", b"/hook", META.replace(b"subs", b"x")])
def test_metas_challenge_needs_the_token(target):
    assert_invalid(
        endpoint("meta", verify_token="meatyhamhock"), delivery(method="GET", target=target)
    )


def test_without_a_verify_token_meta_gets_no_challenge():
    error = refusal(endpoint("meta"), delivery(method="GET", target=META))
    assert error.outcome is Outcome.METHOD_NOT_ALLOWED


@pytest.mark.parametrize(
    ("allowed", "origin", "granted"),
    [
        (("eventemitter.example.com",), "eventemitter.example.com", b"eventemitter.example.com"),
        (("a.org", "EventGrid.azure.net"), "eventgrid.azure.net", b"eventgrid.azure.net"),
        (("*",), "eventemitter.example.com", b"*"),
        (("a.org",), "b.org", None),
        (("a.org",), b"\xff", None),
        (("a.org",), "", None),
        (("*",), "", None),
        (("",), "", None),
    ],
)
def test_senders_of_cloud_events_are_granted_their_origin(allowed, origin, granted):
    hook = endpoint(allowed_origins=allowed)
    assert hook.methods == ("OPTIONS", "POST")
    headers = {"WebHook-Request-Origin": origin, "WebHook-Request-Rate": "120"}
    fields = dict(receive(hook, delivery(headers=headers, method="OPTIONS")).fields)
    assert fields[b"allow"] == b"OPTIONS, POST"
    assert fields.get(b"webhook-allowed-origin") == granted
    assert fields.get(b"webhook-allowed-rate") == (b"*" if granted else None)


@pytest.mark.parametrize(
    ("scheme", "verify", "settings", "begins"),
    [
        ("hmac", {}, {}, "verify.header is needed"),
        ("token", {}, {}, "verify.header is needed"),
        ("github", {"header": "X-Mac"}, {}, "verify.header is used by"),
        ("token", {"header": "X Y"}, {}, "verify.header is 'X Y'"),
        ("hmac", {"header": "X", "signed": "{body"}, {}, "verify.signed has"),
        ("hmac", {"header": "X", "signed": "{bodies}"}, {}, "verify.signed has {bodies}"),
        ("hmac", {"header": "X", "signed": "body"}, {}, "verify.signed must have {body}"),
        ("hmac", {"header": "X", "signed": "{body}{body}"}, {}, "verify.signed must have {body}"),
        ("hmac", {"header": "X", "signed": "{id}{body}"}, {}, "verify.id_header is needed"),
        ("hmac", {"header": "X", "signed": "{timestamp}{body}"}, {}, "verify.timestamp_header is"),
        ("hmac", {"header": "X", "signed": "{url}{body}"}, {}, "public_url is needed"),
        ("hmac", {"header": "X", "timestamp_header": "T"}, {}, "verify.timestamp_header has no"),
        ("hmac", {"header": "X", "id_header": "I"}, {}, "verify.id_header has no effect"),
        ("hmac", {"header": "X"}, {"public_url": "https://e.org/"}, "public_url has no effect"),
        ("stripe", {"prefix": "v1="}, {}, "verify.prefix is used by"),
        ("github", {"algorithm": "sha1"}, {}, "verify.algorithm is used by"),
        ("twilio", {}, {}, "public_url is needed"),
        ("twilio", {}, {"public_url": "e.org"}, "public_url is not a URL"),
        ("twilio", {}, {"public_url": "https://e.org/#x"}, "public_url is not a URL"),
        ("github", {}, {"public_url": "https://e.org/"}, "public_url is used by"),
        ("github", {}, {"verify_token": "x"}, "verify_token is used by"),
        ("meta", {}, {"verify_token": ""}, "verify_token is empty"),
        ("github", {"secrets": ()}, {}, "verify.secrets or verify.secrets_file is needed"),
        ("github", {"secrets": ("s", "")}, {}, "verify.secrets has a secret that is empty"),
        ("github", {"secrets": ("s", " ")}, {}, "verify.secrets has a secret that is empty"),
        ("token", {"header": "X", "secrets": (" s",)}, {}, "verify.secrets has a secret that no"),
        ("standard-webhooks", {"secrets": ("s",)}, {}, "verify.secrets has a secret that is not"),
        ("standard-webhooks", {"secrets": ("whsec_?",)}, {}, "verify.secrets has a secret that is"),
        ("standard-webhooks", {"secrets": ("whsec_",)}, {}, "verify.secrets has a secret that is"),
        ("gitlab", {"secrets": ("whsec_?",)}, {}, "verify.secrets has a secret that is not"),
        ("none", {"secrets": ("s",)}, {}, "verify.secrets has secrets"),
        ("none", {"secrets_file": "/f"}, {}, "verify.secrets_file is not used"),
        ("none", {}, {"routing_key": "{json.a}" + "é" * 128}, "routing_key has more than 255"),
        ("none", {}, {"message_id": "x" * 256}, "message_id has more than 255"),
        ("none", {}, {"headers": ("Authorization",)}, "headers 'Authorization' is never"),
        ("none", {}, {"headers": ("cookie",)}, "headers 'cookie' is never"),
        ("none", {}, {"headers": ("Proxy-Authorization",)}, "headers 'Proxy-Authorization' is"),
        ("none", {}, {"headers": ("A B",)}, "headers 'A B' is not"),
        ("none", {}, {"headers": ("X", "x")}, "headers 'x' is listed more than once"),
        ("none", {}, {"headers": ("Set-Cookie",)}, "headers 'Set-Cookie' is never"),
        ("none", {}, {"headers": ("X", "CC")}, "headers 'CC' cannot be"),
        ("none", {}, {"headers": ("x-delay",)}, "headers 'x-delay' cannot be"),
        ("none", {}, {"headers": ("Content-Length",)}, "headers 'Content-Length' is about"),
        ("none", {}, {"routing_key": "{header.set-cookie}"}, "routing_key has"),
        ("github", {"tolerance": 60.0}, {}, "verify.tolerance is not used"),
        ("hmac", {"header": "X", "tolerance": 60.0}, {}, "verify.tolerance is not used"),
        ("gitlab", {}, {"headers": ("X-Gitlab-Token",)}, "headers has x-gitlab-token"),
        ("token", {"header": "X-T"}, {"headers": ("x-t",)}, "headers has x-t"),
        ("token", {"header": "X-T"}, {"routing_key": "{header.x-t}"}, "routing_key has {header.x"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(scheme, verify, settings, begins):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        endpoint(scheme, verify=verify, **settings)
    assert str(caught.value).startswith(begins)


def test_secrets_of_a_file_are_checked_when_they_are_known():
    hook = endpoint("standard-webhooks", verify={"secrets": (), "secrets_file": "/f"})
    hook.check_secrets([STANDARD_SECRET.encode()])
    for secrets in ([], [b"plain"], [STANDARD_SECRET.encode(), b"whsec_=?"]):
        with pytest.raises(ValueError, match=r"^verify\.secrets "):
            hook.check_secrets(secrets)


def test_a_secret_of_standard_webhooks_may_lack_its_prefix():
    endpoint("standard-webhooks").check_secrets([STANDARD_SECRET.removeprefix("whsec_").encode()])
    with pytest.raises(ValueError, match="whsec_"):
        endpoint("standard-webhooks").check_secrets([b"abcdefgh"])


def test_no_secret_and_no_path_shows_in_a_repr():
    hook = endpoint("github", verify={"secrets": ("geheim",)}, path="/geheim")
    shown = repr(hook) + repr(delivery(target=b"/geheim", body=b"geheim"))
    assert "geheim" not in shown
    assert_invalid(hook, delivery(changed(b"geheim")), "geheim")
