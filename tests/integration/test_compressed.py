"""Compressed requests of real clients, each with a compressor that is not ours."""

import json
import os
import re
import subprocess
import zlib
from pathlib import Path

import brotli
import pytest
from codings import WAYS

MIB = 1024 * 1024
PHP = """<?php
$text = 'gr' . chr(252) . 'n' . str_repeat('x', 5000);
$form = http_build_query(['body' => $text, 'priority' => 3]);
foreach (['gzip' => gzencode($form), 'deflate' => gzcompress($form), 'Deflate' => gzdeflate($form)]
         as $coding => $body) {
    $context = stream_context_create(['http' => [
        'method' => 'POST', 'content' => $body, 'ignore_errors' => true,
        'header' => "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\\r\\nContent-Encoding: $coding\\r\\n"
            . "Content-Type: application/x-www-form-urlencoded\\r\\n",
    ]]);
    echo file_get_contents(getenv('URL'), false, $context), $http_response_header[0], "\\n";
}
"""
NODE = """
const {brotliCompressSync} = require("node:zlib");
fetch(process.env.URL, {
  method: "POST", body: brotliCompressSync("body=" + "x".repeat(5000)),
  headers: {"Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q=", "Content-Encoding": "br",
            "Content-Type": "application/x-www-form-urlencoded"},
}).then(async answer => console.log(answer.status, await answer.text()));
"""
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def run(*command, url, **kwargs):
    environment = {**os.environ, "URL": url}
    return subprocess.run(
        command, env=environment, capture_output=True, check=True, timeout=300, **kwargs
    ).stdout


def test_php_with_gzencode_gzcompress_and_gzdeflate(gateway, queue):
    said = run("php", "-r", PHP.removeprefix("<?php"), url=f"{gateway.url}/test/{queue.name}/k")
    assert said.decode().splitlines() == ["HTTP/1.1 204 No Content"] * 3
    for _ in range(3):
        properties, body, _ = queue.get()
        assert body == b"gr\xfcn" + b"x" * 5000
        assert (properties.priority, properties.content_encoding) == (3, None)


def test_node_with_brotli(gateway, queue):
    said = run("node", "-e", NODE, url=f"{gateway.url}/test/{queue.name}/k")
    assert said.split() == [b"204"]
    assert queue.bodies() == [b"x" * 5000]


def test_gzip_and_curl_with_a_stream(gateway, queue):
    """As in docs/reference/http.md. The messages are many times what the gateway may grow by."""
    [backend] = gateway.backends()
    count = 20_000
    said = run(
        "sh", "-c",
        f"""yes '{{"routing_key": "k", "body": "{"x" * 2000}"}}' | head -n {count} | gzip |
        curl -sS -u guest:guest -H 'Content-Type: application/x-ndjson' \
        -H 'Content-Encoding: gzip' -X POST -T - "$URL" """,
        url=f"{gateway.url}/test/{queue.name}",
    )  # fmt: skip
    assert json.loads(said)["published"] == count
    assert len(queue) == count
    status = Path(f"/proc/{backend}/status").read_text()
    assert int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024 < 150 * MIB


@pytest.mark.parametrize("way", WAYS)
def test_each_coding_arrives_bit_for_bit(gateway, queue, way):
    name, compress = WAYS[way]
    body = os.urandom(20_000).replace(b"%", b"").replace(b"&", b"").replace(b"+", b"")
    headers = {**FORM, "Content-Encoding": name}
    answer = gateway.publish(
        f"/test/{queue.name}/k", data=compress(b"body=" + body), headers=headers
    )
    assert answer.status_code == 204, answer.text
    assert queue.bodies() == [body]


def test_a_raw_body_stays_compressed(gateway, queue):
    body = zlib.compress(b"text")
    headers = {"Content-Type": "text/plain", "Content-Encoding": "deflate"}
    assert gateway.publish(f"/test/{queue.name}/k", data=body, headers=headers).status_code == 204
    properties, found, _ = queue.get()
    assert (found, properties.content_encoding) == (body, "deflate")


def test_an_unknown_coding_is_a_415(gateway, queue):
    headers = {**FORM, "Content-Encoding": "compress"}
    answer = gateway.publish(f"/test/{queue.name}/k", data=b"x", headers=headers)
    assert answer.status_code == 415
    assert answer.headers["Accept-Encoding"] == "gzip, deflate, zstd, br"
    assert answer.json()["type"] == "/docs#bad-request"
    assert queue.bodies() == []


def test_a_stream_that_is_cut_short_says_what_was_taken(gateway, queue):
    text = b'{"routing_key": "k", "body": "%b"}\n'
    data = brotli.compress(b"".join(text % os.urandom(500).hex().encode() for _ in range(2000)))
    headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "br"}
    answer = gateway.publish(f"/test/{queue.name}", data=data[:-10], headers=headers)
    document = answer.json()
    assert "cut short" in document["error"]["detail"]
    assert 0 < document["published"] < 2000
    assert len(queue) == document["published"]
