"""The section Webhooks: what is wrong with it is told at once, and its secrets are not shown."""

import logging
import os
import re
import signal

import pytest
from wrong_settings import errors

from statelessd import cli
from statelessd.config.loader import load
from statelessd.config.report import print_config
from statelessd.config.webhook_files import FileError, WebhookFiles
from statelessd.config.webhooks import Verify, Webhook

ONE = """\
Webhooks:
  - name: github
    path: /hooks/hidden
    username: webhooks
    password: hush-password
    verify: {scheme: github, secrets: [hush-one, hush-two]}
"""
MORE = """\
    verify_token: hush-token
    public_url: https://example.com/hooks/hidden
"""


def check(path, capsys, *options):
    status = cli.main(["-c", str(path), *(options or ["--check-config"])])
    out, err = capsys.readouterr()
    return status, out + err


def test_an_endpoint_has_its_settings_and_defaults(write):
    [webhook] = load(write(ONE), {}).config.webhooks
    assert (webhook.name, webhook.path, webhook.username) == ("github", "/hooks/hidden", "webhooks")
    assert webhook.verify.secrets == ("hush-one", "hush-two")
    assert (webhook.virtual_host, webhook.mandatory, webhook.max_in_flight) == ("/", True, 200)


def test_secrets_and_paths_are_not_printed(write, capsys):
    path = write(ONE + MORE)
    loaded = load(path, {})
    for text in (print_config(loaded), repr(loaded), repr(loaded.config.webhooks)):
        assert "hush" not in text
        assert "hidden" not in text
    assert "name: github" in print_config(loaded)
    status, shown = check(path, capsys)  # neither verify_token nor public_url is for github
    assert status == 2
    assert "hush" not in shown
    assert "hidden" not in shown


def test_everything_that_is_wrong_is_told_at_once(write):
    path = write(
        """
Webhooks:
  - name: "git hub"
    path: hooks/hidden
    usrname: webhooks
    password: 12345678
    max_in_flight: 0
    headers: X-One
    verify: {scheme: gitub, secrets: [hush, 5], tolerance: hush}
  - {name: one, path: /hooks/hidden, username: u, password: x, password_file: /nowhere,
     verify: {scheme: github, secrets_file: /nowhere}}
  - {name: one, path: /hooks/hidden, username: u, verify: {scheme: none}}
  - {name: two, path: /b, username: u, verify: github}
  - 5
"""
    )
    got = errors(path, {"STATELESSD_WEBHOOKS_0_NAME": "x"})
    text = "\n".join(got)
    for expected in (
        "environment: STATELESSD_WEBHOOKS_0_NAME: webhook endpoints can be set in the file only",
        f"{path}: Webhooks[0].name: must be a name of up to 63",
        f"{path}: Webhooks[0].path: must be a path such as /hooks/github",
        f"{path}: Webhooks[0].usrname: unknown setting (did you mean username?)",
        f"{path}: Webhooks[0].username: is required",
        f"{path}: Webhooks[0].password: must be text of at most 512 characters, not a number: put",
        f"{path}: Webhooks[0].max_in_flight: must be a whole number of at least 1",
        f"{path}: Webhooks[0].headers: must be a list, not text: put it in brackets",
        f'{path}: Webhooks[0].verify.scheme: must be "github" or "gitlab"',
        f"{path}: Webhooks[0].verify.secrets[1]: must be text, not a number: put it in quotes",
        f"{path}: Webhooks[0].verify.tolerance: must be a number above 0 and at most 86400, not",
        f"{path}: Webhooks[1].password_file: cannot be set beside Webhooks[1].password",
        f"{path}: Webhooks[1].verify.secrets_file: /nowhere cannot be read: No such file",
        f"{path}: Webhooks[2].name: is also the name of Webhooks[1]",
        f"{path}: Webhooks[2].path: is also the path of Webhooks[1]",
        f"{path}: Webhooks[3].verify: must be a mapping, not text",
        f"{path}: Webhooks[3].verify.scheme: is required",
        f"{path}: Webhooks[4]: must be a mapping, not a number",
    ):
        assert expected in text
    assert len(got) == 18
    for secret in ("hush", "hidden", "12345678"):
        assert secret not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Webhooks: {name: x}", "Webhooks: must be a list, not a mapping"),
        ("Webhooks: 5", "Webhooks: must be a list, not a number"),
        ("Webhoks: []\nDaemon: {user: x}", "Webhoks: unknown section (did you mean Webhooks?)"),
        (ONE.replace("/hooks/hidden", "/hooks/ü"), "Webhooks[0].path: must be a path"),
        (ONE.replace("/hooks/hidden", "/hooks/a?b"), "Webhooks[0].path: must be a path"),
        (ONE.replace("/hooks/hidden", '"/hooks/a b"'), "Webhooks[0].path: must be a path"),
        (ONE.replace("/hooks/hidden", "/"), "Webhooks[0].path: must be a path"),
        (ONE + "    max_in_flight: 1.5", "Webhooks[0].max_in_flight: must be a whole number"),
        (ONE + "    status: 302", "Webhooks[0].status: must be a whole number from 200 to 299"),
    ],
)
def test_a_wrong_value(write, text, expected):
    [error] = errors(write(text))
    assert expected in error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONE + '    routing_key: "{heder.x}"', "Webhooks[0].routing_key: has {heder.x}"),
        (ONE.replace("scheme: github", "scheme: hmac"), "Webhooks[0].verify.header: is needed"),
        (ONE.replace(", secrets: [hush-one, hush-two]", ""), "Webhooks[0].verify.secrets: or"),
        (ONE.replace("scheme: github", "scheme: none"), "Webhooks[0].verify.secrets: has secrets"),
    ],
)
def test_what_the_endpoint_itself_refuses_names_the_setting(write, capsys, text, expected):
    status, shown = check(write(text), capsys)
    assert status == 2
    assert expected in shown
    assert "hush" not in shown


def test_secrets_of_a_file_are_checked_as_those_of_the_settings_are(write, tmp_path, capsys):
    (tmp_path / "secrets").write_text("whsec_§§§hush\n")
    text = ONE.replace("secrets: [hush-one, hush-two]", "secrets_file: secrets")
    status, shown = check(write(text.replace("github,", "standard-webhooks,")), capsys)
    assert status == 2
    assert "Webhooks[0].verify.secrets: has a secret that is not whsec_" in shown
    assert "hush" not in shown


def test_the_examples_of_the_documents_are_valid(pytestconfig, write, tmp_path, capsys):
    text = (pytestconfig.rootpath / "docs/how-to/webhooks.md").read_text()
    for name in set(re.findall(r"/run/credentials/([a-z]+)", text)):
        (tmp_path / name).write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 10
    for example in examples:
        # The examples leave out the listener, and all interfaces are worth a warning.
        path = write(
            "HTTPServer: {address: 127.0.0.1}\n"
            + example.replace("/run/credentials/", f"{tmp_path}/")
        )
        assert check(path, capsys) == (0, "The configuration is valid.\n")


@pytest.mark.parametrize(
    ("path", "warning"),
    [
        ("/stats", "hides a page of the gateway"),
        ("/%2F/hooks", "hides the path at which batches go to the virtual host /"),
        ("/%2f/hooks/key", "hides the path at which messages go to the virtual host /"),
        ("/hooks/github", ""),
        ("/hooks/one/two", ""),
        ("/github", ""),
    ],
)
def test_a_path_that_hides_another_is_a_warning(write, capsys, path, warning):
    status, shown = check(write(ONE.replace("/hooks/hidden", path)), capsys)
    assert status == 0
    assert ("Webhooks[0].path: hides" in shown) is bool(warning)
    assert warning in shown


def test_doubtful_settings_are_warnings(write):
    text = ONE.replace("    password: hush-password\n", "").replace(
        "{scheme: github, secrets: [hush-one, hush-two]}", "{scheme: none}"
    )
    warnings = "\n".join(
        load(write(text + "HTTPServer: {max_unverified_bytes: 65536}\n"), {}).warnings
    )
    assert "Webhooks[0] has neither password nor password_file" in warnings
    assert "Webhooks[0].verify.scheme is none" in warnings
    assert "Webhooks[0].max_body_bytes is more than HTTPServer.max_unverified_bytes" in warnings


def test_files_are_relative_to_the_working_directory(write, tmp_path):
    (tmp_path / "secrets").write_text("one\n\n  two \r\n")
    (tmp_path / "password").write_text("with spaces \n")
    text = ONE.replace("secrets: [hush-one, hush-two]", "secrets_file: secrets")
    loaded = load(write(text.replace("password: hush-password", "password_file: password")), {})
    [webhook] = loaded.config.webhooks
    assert webhook.verify.secrets_file == str(tmp_path / "secrets")
    assert webhook.password_file == str(tmp_path / "password")
    found = WebhookFiles(webhook, "Webhooks[0]").found
    assert found.secrets == ("one", "two")
    assert found.password == "with spaces "


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "has no password"),
        (b"\n", "has no password"),
        (b"hush\nhush\n", "has more than one line"),
        (b"hush" * 129, "has a password of more than 512 characters"),
        (b"\xffhush", "is not text in UTF-8"),
        (b"hush\0", "is not text in UTF-8"),
        (b"hush" * 20_000, "is larger than 65536 bytes"),
    ],
)
def test_a_password_file_that_cannot_be_used(tmp_path, content, what):
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(FileError) as error:
        WebhookFiles(webhook(password_file=str(file)), "Webhooks[0]")
    assert str(error.value) == f"Webhooks[0].password_file: {file} {what}"


def webhook(secrets_file=None, **settings):
    verify = Verify(scheme="github", secrets=("first",), secrets_file=secrets_file)
    return Webhook(name="x", path="/x", username="u", verify=verify, **settings)


def test_changed_files_are_read_at_most_once_a_second(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    file = tmp_path / "secrets"
    file.write_text("hush-second\n")
    files = WebhookFiles(webhook(str(file)), "Webhooks[0]")
    assert files.found.secrets == ("first", "hush-second")
    assert not files.refresh(100.0)
    file.write_text("hush-of-another-length\n")
    assert not files.refresh(100.9)
    assert files.refresh(101.0)
    assert files.found.secrets == ("first", "hush-of-another-length")
    assert "Webhooks[0]: using the changed files" in caplog.text
    file.unlink()
    assert not files.refresh(102.0)
    file.write_text("")
    assert not files.refresh(103.0)
    assert files.found.secrets == ("first", "hush-of-another-length")
    warnings = [each for each in caplog.records if each.levelname == "WARNING"]
    assert len(warnings) == 1
    file.write_text("hush-again\n")
    assert files.refresh(200.0)
    assert "hush" not in caplog.text


def test_a_broken_file_does_not_keep_the_other_one_from_being_used(tmp_path, caplog):
    secrets, password = tmp_path / "secrets", tmp_path / "password"
    secrets.write_text("hush-one\n")
    password.write_text("hush-old\n")
    verify = Verify(scheme="github", secrets_file=str(secrets))
    webhook = Webhook(name="a", path="/a", username="u", password_file=str(password), verify=verify)
    files = WebhookFiles(webhook, "Webhooks[0]")
    secrets.write_text("")
    password.write_text("hush-new-one\n")
    assert files.refresh(1.0)
    assert files.found == (("hush-one",), "hush-new-one")
    assert "has no secret; its old content stays in use" in caplog.text
    secrets.write_text("hush-two\n")
    assert files.refresh(2.0)
    assert files.found == (("hush-two",), "hush-new-one")


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path, caplog):
    file = tmp_path / "secrets"
    file.write_text("hush-one\n")
    verify = Verify(scheme="github", secrets_file=str(file))
    files = WebhookFiles(Webhook(name="a", path="/a", username="u", verify=verify), "Webhooks[0]")
    file.unlink()
    os.mkfifo(file)
    signal.alarm(20)  # which ends the test if the pipe is opened to wait for its writer
    try:
        assert not files.refresh(1.0)
    finally:
        signal.alarm(0)
    assert files.found.secrets == ("hush-one",)
    assert "is not a regular file; its old content stays in use" in caplog.text


def test_a_file_whose_place_nobody_may_look_at_is_unchanged(tmp_path, monkeypatch):
    file = tmp_path / "secrets"
    file.write_text("second\n")
    files = WebhookFiles(webhook(str(file)), "Webhooks[0]")

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    assert not files.refresh(100.0)
    assert files.found.secrets == ("first", "second")
