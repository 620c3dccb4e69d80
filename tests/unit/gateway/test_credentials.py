"""Basic credentials, and what a bearer token says of itself, read and never trusted."""

import base64
import json

import pytest
from edge import FORM, edge_test, post
from hypothesis import given
from hypothesis import strategies as st
from outcomes import JSON

from statelessd.gateway.credentials import OPAQUE, parse_authorization
from statelessd.message import Credentials, Outcome, RequestError


class TestAuthorization:
    @pytest.mark.parametrize(
        ("value", "user", "password"),
        [
            (b"Basic Z3Vlc3Q6Z3Vlc3Q=", "guest", "guest"),
            (b"bAsIc Z3Vlc3Q6Z3Vlc3Q=", "guest", "guest"),
            (b"Basic " + base64.b64encode(b"a:b:c"), "a", "b:c"),
            (b"Basic " + base64.b64encode(b"a:"), "a", ""),
            (b"Basic " + base64.b64encode("ü:pä€".encode()), "ü", "pä€"),
        ],
    )
    def test_basic(self, value, user, password):
        credentials = parse_authorization(value)
        assert (credentials.username, credentials.password) == (user, password)
        assert credentials == Credentials(user, password)

    @pytest.mark.parametrize(
        "value",
        [
            None,
            b"",
            b"Basic",
            b"Basic ",
            b"Bearer",
            b"Bearer a secret",
            b"Digest abc",
            b"Basic !!!",
            b"Basic Z3Vlc3Q",
            b"Basic " + base64.b64encode(b"no-colon-secret"),
            b"Basic " + base64.b64encode(b":password-secret"),
            b"Basic " + base64.b64encode(b"\xff:secret"),
            b"Basic " + base64.b64encode(b"a\0b:secret"),
            b"Basic " + base64.b64encode(b"a:secret\0"),
        ],
    )
    def test_anything_else_is_unauthorized_and_quotes_nothing(self, value):
        with pytest.raises(RequestError) as error:
            parse_authorization(value)
        assert error.value.outcome is Outcome.UNAUTHORIZED
        assert "secret" not in error.value.detail
        assert error.value.__context__ is None

    @pytest.mark.parametrize(
        "login", [b"\xff:secret", b"a:secret\xe4", b"\xe4:secret", "a:secretü".encode("utf-16")]
    )
    @edge_test()
    async def test_whoever_sends_latin_1_is_told_to_send_utf_8(self, edge, login):
        headers = b"Authorization: Basic %b\r\n" % base64.b64encode(login)
        for path, media_type in ((b"/v/e/k", FORM), (b"/v/e", JSON)):
            answer = await edge.ask(post(path=path, headers=headers + media_type))
            assert (answer.status, answer.problem) == (401, "unauthorized")
            # Header values are in lower case here.
            assert answer.headers["www-authenticate"] == 'basic realm="statelessd", charset="utf-8"'
            assert "not UTF-8" in json.loads(answer.body)["detail"]
            assert b"secret" not in answer.body

    def test_different_passwords_are_different_credentials(self):
        assert Credentials("a", "bc") not in (Credentials("a", "c"), Credentials("ab", "c"))
        assert "secret" not in repr(Credentials("a", "secret"))


def credentials(token):
    return parse_authorization(b"Bearer " + token)


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(**claims):
    return b".".join((encoded(b'{"alg":"none"}'), encoded(json.dumps(claims).encode()), b"sig"))


def test_a_token_is_the_password_and_names_its_user():
    text = token(sub="alice", client_id="shop", exp=1_800_000_000)
    found = credentials(text)
    assert (found.username, found.password) == ("", text.decode())
    assert (found.name, found.expires_at, found.is_token) == ("alice", 1_800_000_000.0, True)
    assert text.decode() not in repr(found)
    assert found != Credentials("alice", text.decode())


@pytest.mark.parametrize(
    ("claims", "name", "expires_at"),
    [
        ({"client_id": "shop", "exp": 1.5}, "shop", 1.5),
        ({"sub": 7}, OPAQUE, None),
        ({"sub": "", "client_id": "shop"}, "shop", None),
        ({"exp": "soon"}, OPAQUE, None),
        ({"exp": 10**400}, OPAQUE, None),
        ({"exp": -(10**400)}, OPAQUE, None),
        ({"sub": "x" * 300}, "x" * 255, None),
    ],
)
def test_odd_claims_do_no_harm(claims, name, expires_at):
    found = credentials(token(**claims))
    assert (found.name, found.expires_at) == (name, expires_at)


@pytest.mark.parametrize(
    "text", [b"opaque", b"a.b", b"a.!.c".replace(b"!", encoded(b"[1]")), b"a.////.c", b"a.b.c.d"]
)
def test_what_is_no_json_web_token_is_opaque(text):
    assert (credentials(text).name, credentials(text).expires_at) == (OPAQUE, None)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_token_or_a_401(data):
    for text in (data, b"a." + encoded(data) + b".c"):
        outcome = Outcome.UNAUTHORIZED
        try:
            assert credentials(text).password == text.strip().decode()
        except RequestError as error:
            outcome = error.outcome
        assert outcome is Outcome.UNAUTHORIZED


@edge_test()
async def test_a_token_publishes(edge):
    answer = await edge.ask(post(headers=b"Authorization: bearer  " + token() + b"\r\n" + FORM))
    assert answer.status == 204
