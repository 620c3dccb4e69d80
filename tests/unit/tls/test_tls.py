"""The certificate that TLS listeners show, and how it is taken up anew."""

import contextlib
import itertools
import logging
import os
import ssl

import msgspec
import pytest
from certificates import Authority
from cryptography.hazmat.primitives import serialization
from waiting import open_files

from statelessd.config.http_server import Tls
from statelessd.tls.files import LOOK, TlsError
from statelessd.tls.server import Certificate, check


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def settings(authority):
    return msgspec.convert(authority.settings, Tls)


def serial(certificate):
    """Of what new handshakes are shown, by a handshake in memory."""
    return shaken(certificate)[0]


def shaken(certificate):
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    client = context.wrap_bio(to_client, to_server)
    server = certificate.context.wrap_bio(to_server, to_client, server_side=True)
    for end in (client, server, client, server):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return ssl.DER_cert_to_PEM_cert(client.getpeercert(True)).split(), client


seconds = itertools.count(1000)


def looks(certificate, times=3):
    for _ in range(times):
        certificate.refresh(next(seconds) * LOOK)


def test_only_http_1_1_is_offered(settings):
    assert shaken(Certificate(settings))[1].selected_alpn_protocol() == "http/1.1"


def test_a_key_in_the_certificates_file(authority):
    authority.certificate.write_text(authority.certificate.read_text() + authority.key.read_text())
    Certificate(Tls(certificate=str(authority.certificate)))


def test_files_are_looked_at_once_a_second_and_taken_when_they_no_longer_change(
    authority, settings, caplog
):
    certificate = Certificate(settings)
    before = serial(certificate)
    new = authority.issue()
    for i in range(10):
        certificate.refresh(1000 + i * 0.09)
    authority.certificate.write_text("half-written")
    certificate.refresh(1001)
    authority.certificate.write_text(new)
    certificate.refresh(1002)
    assert serial(certificate) == before
    assert not caplog.records
    certificate.refresh(1003)
    assert serial(certificate) == new.split()


@pytest.mark.parametrize("file", ["certificate", "key"])
@pytest.mark.parametrize("how", ["garbage", "gone", "another's"])
def test_a_broken_one_is_told_once_and_the_old_one_stays(
    authority, settings, caplog, tmp_path, file, how
):
    certificate = Certificate(settings)
    before = serial(certificate)
    path = getattr(authority, file)
    if how == "garbage":
        path.write_text("garbage")
    elif how == "gone":
        path.unlink()
    else:
        getattr(Authority(tmp_path / "other"), file).replace(path)
    looks(certificate, 6)
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "the certificate stays in use" in caplog.text
    assert serial(certificate) == before
    new = authority.issue()
    looks(certificate)
    assert serial(certificate) == new.split()


@contextlib.contextmanager
def out_of_sight(directory):
    """As for a backend that is no longer root, of files in a directory of root's."""
    directory.chmod(0)
    before = os.geteuid()
    os.seteuid(before or 65534)
    try:
        yield
    finally:
        os.seteuid(before)
        directory.chmod(0o700)


def test_files_that_the_backends_user_cannot_see_have_not_changed(tmp_path, caplog):
    directory = tmp_path / "private"
    authority = Authority(directory)
    certificate = Certificate(msgspec.convert(authority.settings, Tls))
    with out_of_sight(directory):
        with pytest.raises(PermissionError):
            authority.key.stat()
        looks(certificate, 6)
    assert not caplog.records
    new = authority.issue()
    looks(certificate)
    assert serial(certificate) == new.split()


def test_without_a_descriptor_changed_files_are_tried_again(authority, settings, caplog):
    certificate = Certificate(settings)
    new = authority.issue()
    with open_files(3):
        looks(certificate, 6)
    [record] = caplog.records
    assert "Too many open files; the certificate stays in use" in record.getMessage()
    looks(certificate)
    assert serial(certificate) == new.split()


def take_anothers_key(authority):
    Authority(authority.key.parent / "other").key.replace(authority.key)


def encrypt_the_key(authority):
    key = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"secret")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    authority.key.write_bytes(key.private_bytes(*form))


@pytest.mark.parametrize(
    ("spoil", "file", "reason"),
    [
        (lambda a: a.certificate.unlink(), "certificate", "cannot be read: No such file"),
        (lambda a: a.key.unlink(), "key", "cannot be read: No such file"),
        (lambda a: a.certificate.write_text("x"), "certificate", "has no certificate in PEM"),
        (lambda a: a.key.write_text("x"), "key", "has no private key that can be used"),
        (take_anothers_key, "key", "does not belong to the certificate"),
        (encrypt_the_key, "key", "has a passphrase"),
    ],
)
def test_a_check_names_the_setting_and_the_file(authority, settings, spoil, file, reason):
    spoil(authority)
    with pytest.raises(TlsError, match=reason) as error:
        check(settings)
    assert error.value.setting == f"HTTPServer.tls.{file}"
    assert str(getattr(authority, file)) in error.value.reason
    assert "PRIVATE" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "reason"), [("key", "is required"), ("certificate", "has no private key")]
)
def test_a_certificate_needs_its_key(authority, file, reason):
    with pytest.raises(TlsError, match=rf"HTTPServer\.tls\.certificate: .*{reason}"):
        check(Tls(**{file: authority.settings[file]}))
