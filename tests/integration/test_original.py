"""Everything in the original's description works: its curl line, its PHP, its configuration."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from queues import Queue

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def examples(amqp):
    """The example queues of / and of test, which are empty."""
    queues = {name: Queue(amqp(name)) for name in ("/", "test")}
    for queue in queues.values():
        queue.channel.queue_purge("test")
    return queues


def run(*command, **environment):
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", **environment},
    )  # fmt: skip


def test_the_curl_line(gateway, examples):
    url = f"http://guest:guest@localhost:{gateway.port}/test/test/foo"
    done = run("curl", "--verbose", "-d", "body=hi", "-d", "content-type=text/plain", url)
    assert "< HTTP/1.1 204 No Content" in done.stderr
    properties, body, routing_key = examples["test"].get()
    assert (routing_key, properties.content_type, body) == ("foo", "text/plain", b"hi")


def test_the_php_script_unchanged_but_for_the_port(gateway, examples, tmp_path):
    script = (EXAMPLES / "original.php").read_text()
    assert "http://localhost:8000/" in script
    copy = tmp_path / "original.php"
    copy.write_text(script.replace("localhost:8000", f"localhost:{gateway.port}"))
    done = run("php", str(copy))
    assert done.stdout == "Success\n\n", done.stdout + done.stderr
    properties, body, routing_key = examples["/"].get()
    assert routing_key == "foo.bar.baz"
    assert body == b"This is a message body published through statelessd"
    assert properties.app_id == "PHP Example"
    assert properties.content_type == "text/plain"
    assert properties.type == "Example message"
    assert properties.user_id == "guest"
    assert properties.timestamp > 1_700_000_000


def test_the_configuration_takes_effect_as_it_is_printed(start_gateway, tmp_path):
    """Five ports, the routes, the logging: only ports and the broker's are the test's own."""
    original = yaml.safe_load((EXAMPLES / "original.yaml").read_text())
    assert original["HTTPServer"].pop("ports") == [8000, 8001, 8002, 8003, 8004]
    rabbitmq = original["Application"].pop("rabbitmq")
    assert rabbitmq == {"host": "localhost", "port": 5672}
    gateway = start_gateway(original, ports=5)
    for port in gateway.ports:
        assert gateway.publish("/test/test/foo", port=port).status_code == 204
        stats = gateway.stats(port)
        assert stats["port"] == port
        assert stats["connections"]["test:guest"]["publishes"] == 1
        assert gateway.get("/", port).status_code == 200
    # The routes of the file take no empty segments.
    assert gateway.publish("/test//q").status_code == 404
    # Its log format, and what it says of what is not there.
    assert re.search(
        r"^INFO +\d{4}-\d\d-\d\d .* statelessd\.broker\.session", gateway.text, re.MULTILINE
    )
    if not Path("/dev/log").exists():
        assert "the log handler 'syslog' is not used" in gateway.text
    assert "/usr/share/statelessd/templates is not a directory" in gateway.text


CONNECTION = {"connections": {"opened": int, "closed": int},
              "channels": {"opened": int, "closed": int},
              "connected": bool, "publishes": int, "queue_size": int}  # fmt: skip
STATS = {
    "page_faults": {"major": int, "minor": int}, "cpu_time": {"user": float, "system": float},
    "memory_usage": int, "timestamp": int, "context_switches": int, "swap_outs": int,
    "page_size": int, "connections": {"test:guest": CONNECTION},
    "requests": {"response.204": int, "response.200": int, "processing_time": float,
                 "method.POST": int, "method.GET": int},
    "port": int, "block": {"input": int, "output": int}, "signals_received": int, "host": str,
}  # fmt: skip


def has_shape(got, expected, path="stats"):
    if not isinstance(expected, dict):
        assert type(got) is expected, path
        return
    assert set(expected) <= set(got), path
    for key, value in expected.items():
        has_shape(got[key], value, f"{path}.{key}")


def test_the_stats_document_has_the_originals_keys_and_types(gateway):
    gateway.publish()
    has_shape(gateway.stats(), STATS)
    assert set(gateway.stats()) - set(STATS) == {"broker", "form"}  # what is new
    assert gateway.get("/stats").headers["content-type"] == "application/json; charset=UTF-8"


def test_templates_of_ones_own(start_gateway, tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "dashboard.html").write_text("mine: {{ stats.port }}")
    (tmp_path / "static" / "css").mkdir(parents=True)
    (tmp_path / "static" / "css" / "own.css").write_text("own")
    paths = {"base": str(tmp_path), "templates": "templates", "static": "static"}
    gateway = start_gateway({"Application": {"paths": paths}})
    assert gateway.get("/").text == f"mine: {gateway.port}"
    assert gateway.get("/static/css/own.css").text == "own"
    assert gateway.get("/static/statelessd.css").ok  # the packaged one


def test_curl_uploads_a_large_body_with_expect(gateway, examples, tmp_path):
    """curl asks first, for bodies over a megabyte, and waits for 100 Continue."""
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(range(256)) * 12_000)
    done = run(
        "curl", "--verbose", "--silent", "--user", "guest:guest",
        "-H", "Content-Type: application/octet-stream", "--data-binary", f"@{upload}",
        f"{gateway.url}/test/test/upload",
    )  # fmt: skip
    assert "> Expect: 100-continue" in done.stderr
    assert "< HTTP/1.1 100 Continue" in done.stderr
    assert "< HTTP/1.1 204 No Content" in done.stderr
    assert examples["test"].bodies() == [upload.read_bytes()]
