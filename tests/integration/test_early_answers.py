"""Clients that send before they read get the answer to a request that is refused early."""

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
from certificates import Authority
from clients import LOGIN, PATH
from proxies import nginx
from waiting import wait_until

UPLOAD = 30_000_000  # bytes, where 10 MiB are allowed
SECONDS = 5
STRANGER = {"Content-Length": str(SECONDS * 1_000_000)}

PHP = """<?php
$body = str_repeat("x", (int) $argv[2]);
if ($argv[1] === "stream") {
    $context = stream_context_create(["http" => [
        "method" => "POST", "ignore_errors" => true, "content" => "body=$body",
        "header" => "Authorization: Basic " . base64_encode("guest:guest"),
    ]]);
    echo @file_get_contents(getenv("URL"), false, $context);
} else {
    $curl = curl_init(getenv("URL"));
    curl_setopt_array($curl, [
        CURLOPT_USERPWD => "guest:guest", CURLOPT_RETURNTRANSFER => true,
        CURLOPT_POSTFIELDS => $argv[1] === "array" ? ["body" => $body] : "body=$body",
        CURLOPT_HTTPHEADER => ["Expect:"],
    ]);
    echo curl_exec($curl);
}
"""
PERL = """
use HTTP::Tiny;
my $client = HTTP::Tiny->new(default_headers => {Authorization => $ENV{LOGIN}});
print $client->post($ENV{URL}, {content => "x" x $ARGV[0]})->{content};
"""
CURL = ["curl", "--silent", "--user", "guest:guest", "--header", "Expect:"]
WGET = ["wget", "--quiet", "--output-document=-", "--content-on-error", "--auth-no-challenge"]
BUFFERED = """
    location /buffered/ {
        proxy_pass http://statelessd/;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
    }
"""


def output(*command, status=0, **environment):
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def told(make, body, headers, path=PATH):
    """Return what http.client is told, which sends everything before it reads."""
    with contextlib.closing(make()) as connection:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["type"]


def steadily(seconds):
    """Yield a megabyte each second."""
    begun = time.monotonic()
    for number in range(seconds * 10):
        yield b"x" * 100_000
        time.sleep(max(0.0, begun + number / 10 - time.monotonic()))


class TestAnUploadThatIsTooLarge:
    @pytest.mark.parametrize(
        "client",
        ["curl", "chunked", "wget", "perl", "array", "form", "stream", "requests", "http.client"],
    )
    def test_its_413_is_read(self, gateway, tmp_path, client):
        url, upload, script = f"{gateway.url}{PATH}", tmp_path / "upload", tmp_path / "upload.php"
        upload.write_bytes(b"x" * UPLOAD)
        if client == "requests":
            answer = gateway.publish(data=b"x" * UPLOAD).text
        elif client == "http.client":
            make = lambda: http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)  # noqa: E731
            assert told(make, upload.read_bytes(), LOGIN) == (413, "/docs#too-large")
            return
        elif client in ("curl", "chunked"):
            chunked = ["--header", "Transfer-Encoding: chunked"] if client == "chunked" else []
            answer = output(*CURL, *chunked, "--data-binary", f"@{upload}", url)
        elif client == "wget":
            login = ["--user=guest", "--password=guest"]
            answer = output(*WGET, *login, f"--post-file={upload}", url, status=8)
        elif client == "perl":
            login = LOGIN["Authorization"]
            answer = output("perl", "-e", PERL, str(UPLOAD), URL=url, LOGIN=login)
        else:
            script.write_text(PHP)
            answer = output("php", "-d", "memory_limit=-1", script, client, str(UPLOAD), URL=url)
        assert json.loads(answer)["type"] == "/docs#too-large"


@pytest.mark.parametrize("prefix", ["", "/buffered"])
def test_both_pass_nginx(gateway, tmp_path, prefix):
    with nginx(tmp_path, f"127.0.0.1:{gateway.port}", location=BUFFERED) as port:
        make = lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=60)  # noqa: E731
        for _ in range(5):
            answer = told(make, b"x" * UPLOAD, LOGIN, prefix + PATH)
            assert answer == (413, "/docs#too-large")
        answer = told(make, steadily(SECONDS), STRANGER, prefix + PATH)
        assert answer == (401, "/docs#unauthorized")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


class TestOverTls:
    @pytest.fixture
    def make(self, start_gateway, authority):
        settings = {"HTTPServer": {"tls": authority.settings}}
        port = start_gateway(settings, ca=authority.ca).port
        trust = ssl.create_default_context(cafile=str(authority.ca))
        return lambda: http.client.HTTPSConnection("localhost", port, context=trust, timeout=60)

    @pytest.mark.parametrize("length", [UPLOAD, None])
    def test_a_413_is_read(self, make, length):
        headers = LOGIN if length is None else LOGIN | {"Content-Length": str(length)}
        pieces = itertools.repeat(b"x" * 100_000, UPLOAD // 100_000)
        assert told(make, pieces, headers) == (413, "/docs#too-large")

    def test_a_401_is_read_at_the_end_of_a_slow_upload(self, make):
        assert told(make, steadily(SECONDS), STRANGER) == (401, "/docs#unauthorized")


def test_a_401_is_read_at_the_end_of_a_slow_upload(gateway):
    make = lambda: http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)  # noqa: E731
    assert told(make, steadily(SECONDS), STRANGER) == (401, "/docs#unauthorized")


def test_a_stop_ends_an_upload_that_goes_on_for_ever(start_gateway):
    settings = {"drain_timeout": 2, "linger_timeout": 3600}
    gateway = start_gateway({"HTTPServer": settings})
    ended = threading.Event()

    def upload():
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as client:
            client.sendall(b"POST %b HTTP/1.1\r\nHost: x\r\n" % PATH.encode())
            client.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
            with contextlib.suppress(OSError):
                while not ended.is_set():
                    client.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                    time.sleep(0.01)

    client = threading.Thread(target=upload)
    client.start()
    try:
        wait_until(gateway.connections, what="the upload")
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0
    finally:
        ended.set()
        client.join()
