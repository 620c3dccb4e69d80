"""Everything in the original's description works: its curl line, its PHP, its configuration."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import requests
import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def drained(amqp):
    """What arrives in the example queues of / and of test, from now on."""
    channels = {name: amqp(name) for name in ("/", "test")}
    for channel in channels.values():
        channel.queue_purge("test")

    def get(virtual_host):
        method, properties, body = channels[virtual_host].basic_get("test", auto_ack=True)
        return None if method is None else (method, properties, body)

    return get


def run(*command, **environment):
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", **environment},
    )  # fmt: skip


def test_the_curl_line(gateway, drained):
    url = f"http://guest:guest@localhost:{gateway.port}/test/test/foo"
    done = run("curl", "--verbose", "-d", "body=hi", "-d", "content-type=text/plain", url)
    assert "< HTTP/1.1 204 No Content" in done.stderr
    method, properties, body = drained("test")
    assert (method.routing_key, properties.content_type, body) == ("foo", "text/plain", b"hi")


def test_the_php_script_unchanged_but_for_the_port(gateway, drained, tmp_path):
    script = (EXAMPLES / "original.php").read_text()
    assert "http://localhost:8000/" in script
    copy = tmp_path / "original.php"
    copy.write_text(script.replace("localhost:8000", f"localhost:{gateway.port}"))
    done = run("php", str(copy))
    assert done.stdout == "Success\n\n", done.stdout + done.stderr
    method, properties, body = drained("/")
    assert method.routing_key == "foo.bar.baz"
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
        url = gateway.url_of(port)
        answer = requests.post(
            f"{url}/test/test/foo", data={"body": "x"}, auth=("guest", "guest"), timeout=10
        )
        assert answer.status_code == 204, answer.text
        stats = requests.get(f"{url}/stats", timeout=5).json()
        assert stats["port"] == port
        assert stats["connections"]["test:guest"]["publishes"] == 1
        assert requests.get(url, timeout=5).status_code == 200
    # The routes of the file take no empty segments.
    answer = requests.post(f"{gateway.url}/test//q", auth=("guest", "guest"), timeout=5)
    assert answer.status_code == 404
    # Its log format, and what it says of what is not there.
    assert re.search(
        r"^INFO +\d{4}-\d\d-\d\d .* statelessd\.broker\.session", gateway.text, re.MULTILINE
    )
    if not Path("/dev/log").exists():
        assert "the log handler 'syslog' is left out" in gateway.text
    assert "/usr/share/statelessd/templates is no directory" in gateway.text


def test_the_stats_document_has_the_originals_keys_and_types(gateway):
    gateway.publish("/test/test/k", data={"body": "x"})
    seed = {
        "page_faults": {"major": 0, "minor": 26193},
        "cpu_time": {"user": 10448.162637, "system": 784.450745},
        "memory_usage": 0,
        "timestamp": 1364403057,
        "context_switches": 7278258,
        "swap_outs": 0,
        "page_size": 4096,
        "connections": {
            "test:guest": {
                "connections": {"opened": 1, "closed": 0},
                "channels": {"opened": 1, "closed": 0},
                "connected": True,
                "publishes": 2157007,
                "queue_size": 0,
            }
        },
        "requests": {
            "response.204": 6482360,
            "response.200": 2547,
            "processing_time": 7926.826567411423,
            "method.POST": 6483535,
            "method.GET": 2548,
        },
        "port": 8011,
        "block": {"input": 0, "output": 0},
        "signals_received": 0,
        "host": "localhost",
    }

    def same_shape(got, expected, path="stats"):
        assert type(got) is type(expected), path
        if isinstance(expected, dict):
            assert set(expected) <= set(got), path
            for key, value in expected.items():
                same_shape(got[key], value, f"{path}.{key}")

    stats = gateway.stats()
    same_shape(stats, seed)
    assert set(stats) - set(seed) == {"broker"}  # what is new
    answer = requests.get(f"{gateway.url}/stats", timeout=5)
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"


def test_other_routes_and_prefixes(start_gateway):
    routes = [
        ["/publish/([^/]+)/([^/]+)/([^/]+)", "statelessd.Publisher"],
        ["/monitoring/numbers", "statelessd.Stats"],
    ]
    gateway = start_gateway({"Routes": [*routes, ["/stats", "statelessd.Stats"]]})
    publish = gateway.publish("/publish/%2f/test/a%2Fb", data={"body": "x"})
    assert publish.status_code == 204
    assert gateway.publish("/%2f/test/a", data={"body": "x"}).status_code == 404
    page = requests.get(f"{gateway.url}/monitoring/numbers", timeout=5)
    assert page.json()["connections"]["/:guest"]["publishes"] == 1


def test_templates_of_ones_own(start_gateway, tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "dashboard.html").write_text("mine: {{ stats.port }}")
    (tmp_path / "static" / "css").mkdir(parents=True)
    (tmp_path / "static" / "css" / "own.css").write_text("own")
    paths = {"base": str(tmp_path), "templates": "templates", "static": "static"}
    gateway = start_gateway({"Application": {"paths": paths}})
    assert requests.get(gateway.url, timeout=5).text == f"mine: {gateway.port}"
    assert requests.get(f"{gateway.url}/static/css/own.css", timeout=5).text == "own"
    assert requests.get(f"{gateway.url}/static/statelessd.css", timeout=5).ok  # the packaged one


def test_curl_uploads_a_large_body_with_expect(gateway, drained, tmp_path):
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
    assert drained("test")[2] == upload.read_bytes()


def test_curl_reads_a_413_although_it_was_about_to_upload(gateway, tmp_path):
    upload = tmp_path / "upload"
    upload.write_bytes(b"x" * (10 * 1024 * 1024 + 1))
    for expect in ("Expect: 100-continue", "Expect:"):
        done = run(
            "curl", "--silent", "--show-error", "--user", "guest:guest", "-H", expect,
            "--data-binary", f"@{upload}", f"{gateway.url}/test/test/upload",
        )  # fmt: skip
        assert json.loads(done.stdout)["type"] == "/docs#too-large", done.stderr
