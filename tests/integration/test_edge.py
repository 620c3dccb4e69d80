"""Bare on the network: slow clients by the thousand, and clients that are told while they send."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
import requests
from waiting import wait_until

CROWD = 1000
LATE = 10  # seconds that a slow client is given: the whole crowd is to come within them
UPLOAD = 50_000_000  # bytes

# slowhttptest has no option for credentials, but takes any value for a cookie.
CREDENTIALS = "a=b\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q="


def connections(gateway):
    """How many clients the gateway's port has, as the kernel sees it."""
    text = Path("/proc/net/tcp").read_text()
    return len(re.findall(rf": 0100007F:{gateway.port:04X} \w+:\w+ 01 ", text))


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        pytest.param(["-H", "-i", "1"], "response.408", id="slow-headers"),
        pytest.param(
            ["-B", "-i", f"{LATE + 1}", "-j", CREDENTIALS], "response.408", id="stalled-bodies"
        ),
        pytest.param(["-B", "-i", f"{LATE + 1}"], "response.401", id="bodies-of-strangers"),
        pytest.param(
            ["-X", "-w", "8", "-y", "16", "-z", "8", "-l", "24"], "response.200", id="slow-readers"
        ),
    ],
)
def test_a_good_client_beside_a_thousand_slow_ones(start_gateway, mode, told):
    settings = {"HTTPServer": {"header_timeout": LATE, "body_timeout": LATE, "idle_timeout": LATE}}
    gateway = start_gateway(settings)
    target = "/stats" if "-X" in mode else "/test/test/k"
    # It ends when none is left of those that it opened: only the slow readers stay for long.
    command = ["slowhttptest", "-l", "60", *mode, "-c", str(CROWD), "-r", str(CROWD)]
    slow = subprocess.Popen(
        [*command, "-p", "30", "-u", f"{gateway.url}{target}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    crowd, longest = 0, 0.0
    with requests.Session() as session:
        while slow.poll() is None:
            begun = time.monotonic()
            answer = gateway.publish("/test/test/good", data={"body": "good"}, session=session)
            assert answer.status_code == 204
            longest = max(longest, time.monotonic() - begun)
            crowd = max(crowd, connections(gateway))
    assert gateway.stats()["requests"][told] >= CROWD * 0.9
    if told != "response.401":  # those are gone as soon as they came
        assert crowd > CROWD * 0.9
    assert longest < LATE
    wait_until(lambda: connections(gateway) == 0, what="the slow ones to be gone")


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


@pytest.mark.parametrize("client", ["curl", "array", "form", "stream", "requests"])
def test_a_413_is_read_by_those_who_are_still_sending(gateway, tmp_path, client):
    url = f"{gateway.url}/test/test/upload"
    if client == "requests":
        answer = gateway.publish("/test/test/upload", data=b"x" * UPLOAD).text
    elif client == "curl":
        upload = tmp_path / "upload"
        upload.write_bytes(b"x" * UPLOAD)
        options = ["-H", "Expect:", "--data-binary", f"@{upload}"]
        answer = output("curl", "--silent", "--user", "guest:guest", *options, url)
    else:
        script = tmp_path / "upload.php"
        script.write_text(PHP)
        answer = output("php", "-d", "memory_limit=-1", script, client, str(UPLOAD), URL=url)
    assert json.loads(answer)["type"] == "/docs#too-large"


def output(*command, **environment):
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout
