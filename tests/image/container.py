"""The built image as a container without any right, beside a real RabbitMQ: ``make test-image``.

Making the image takes a minute, so this is no part of ``make test``; pytest
finds it by its name only.
"""

import itertools
import json
import os
import resource

import pytest
import requests
from gateway import free_port
from queues import Queue, channel_to
from waiting import wait_until

import broker as broker_script
import image

FILES = min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
WITHOUT_RIGHTS = (
    "--read-only",
    "--read-only-tmpfs=false",  # not even /tmp
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    f"--ulimit=nofile={FILES}:{FILES}",
    "--ulimit=nproc=1024:1024",
)
numbers = itertools.count()


@pytest.fixture(scope="module")
def podman():
    with image.Podman(image.RUN_DIR / "test") as podman:
        podman("load", f"--input={image.ARCHIVE}")
        yield podman


class Container:
    def __init__(self, podman, *options):
        self._podman = podman
        self.name = f"gateway-{next(numbers)}"
        self._log = image.RUN_DIR / "test" / f"{self.name}.log"
        log = ("--log-driver=k8s-file", f"--log-opt=path={self._log}")
        podman("run", "--detach", "--name", self.name, *log, *WITHOUT_RIGHTS, *options, image.IMAGE)

    @property
    def text(self):
        return self._log.read_text()

    def signal(self, name):
        self._podman("kill", f"--signal={name}", self.name)

    def wait(self):
        """Wait for its end, and return its exit status."""
        wait_until(lambda: self._inspect("State.Running") == "false", 8, what="it to end")
        return int(self._inspect("State.ExitCode"))

    def _inspect(self, field):
        return self._podman("container", "inspect", f"--format={{{{.{field}}}}}", self.name)

    def get(self, port, path):
        """Return what it answers to itself."""
        url = f"http://127.0.0.1:{port}{path}"
        code = f"from urllib.request import urlopen; print(urlopen('{url}').read().decode())"
        try:
            return self._podman("exec", self.name, "/opt/statelessd/bin/python", "-c", code)
        except image.ImageError as error:
            if "Connection refused" in str(error):
                return ""
            raise


@pytest.fixture
def start(podman):
    started = []

    def start(*options):
        started.append(Container(podman, *options))
        return started[-1]

    yield start
    for container in started:
        print(container.text)  # noqa: T201 - shown when the test fails
        podman("rm", "--force", "--time=0", container.name)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with broker_script.Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def configuration(tmp_path):
    """A directory that any user may read."""
    directory = tmp_path / "configuration"
    directory.mkdir()
    directory.chmod(0o755)
    return directory


def publish(port, path, body):
    """Return the status of a publish; 0 when nobody answers."""
    url, form = f"http://127.0.0.1:{port}{path}", {"body": body}
    try:
        return requests.post(url, form, auth=("guest", "guest"), timeout=30).status_code
    except requests.ConnectionError:
        return 0


def queued(broker):
    with channel_to(broker) as channel:
        return Queue(channel).get()[1]


def test_it_publishes_reloads_and_stops_in_order(start, broker, configuration):
    port = free_port()
    file = configuration / "statelessd.yml"
    # On this machine's network, and so not on all interfaces.
    settings = {"HTTPServer": {"address": "127.0.0.1", "ports": [port]}}
    file.write_text(json.dumps(settings))  # YAML as well
    container = start(
        "--network=host",
        f"--volume={configuration}:/etc/statelessd:ro",
        f"--env=STATELESSD_APPLICATION_RABBITMQ_HOST={broker.host}",
        f"--env=STATELESSD_APPLICATION_RABBITMQ_PORT={broker.amqp_port}",
    )
    wait_until(lambda: publish(port, "/test/test/foo", "from a container") == 204)
    assert queued(broker) == b"from a container"

    assert publish(port, "/test/amq.direct/nowhere", "x") == 204
    settings["Application"] = {"publish": {"mandatory": True}}
    file.write_text(json.dumps(settings))
    container.signal("HUP")
    wait_until(lambda: publish(port, "/test/amq.direct/nowhere", "x") == 404, what="the reload")
    assert publish(port, "/test/test/foo", "after the reload") == 204
    assert queued(broker) == b"after the reload"

    container.signal("TERM")
    assert container.wait() == 0
    assert "stopped: all requests were answered" in container.text
    assert "WARNING" not in container.text
    assert "ERROR" not in container.text


def test_any_user_may_run_it_and_it_listens_on_all_interfaces(start):
    container = start("--network=none", "--user=1234567890:0")
    wait_until(lambda: container.get(8000, "/healthz"), what="it to answer")
    assert json.loads(container.get(8000, "/readyz"))["status"] == "ready"
    assert "on all interfaces, port 8000" in container.text
    container.signal("TERM")
    assert container.wait() == 0


def test_a_stop_while_it_starts_is_not_lost(start, configuration):
    fifo = configuration / "statelessd.yml"
    os.mkfifo(fifo)
    fifo.chmod(0o644)
    container = start("--network=none", f"--volume={configuration}:/etc/statelessd:ro")
    with fifo.open("w") as file:  # as soon as it reads its configuration, which ends after this
        container.signal("TERM")
        file.write('HTTPServer: {address: ""}\n')
    assert container.wait() == 0
    assert "stopping on SIGTERM" in container.text
