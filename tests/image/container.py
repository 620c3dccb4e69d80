"""The built images as containers without any right, beside a real RabbitMQ: ``make test-image``.

Making the images takes some minutes, so this is not a part of ``make test``. pytest
finds it by its name only.
"""

import itertools
import json
import os
import re
import resource
import secrets

import pytest
import requests
import yaml
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
        for archive in (image.ARCHIVE, image.PLAIN_ARCHIVE):
            podman("load", f"--input={archive}")
        yield podman


class Container:
    def __init__(self, podman, name, *options):
        self._podman = podman
        self.name = f"gateway-{next(numbers)}"
        self._log = image.RUN_DIR / "test" / f"{self.name}.log"
        log = ("--log-driver=k8s-file", f"--log-opt=path={self._log}")
        podman("run", "--detach", "--name", self.name, *log, *WITHOUT_RIGHTS, *options, name)

    @property
    def text(self):
        return self._log.read_text()

    def signal(self, name):
        self._podman("kill", f"--signal={name}", self.name)

    def wait(self):
        """Wait for its end, and return its exit status."""
        wait_until(lambda: self._inspect("State.Running") == "false", 8, what="it to end")
        return int(self._inspect("State.ExitCode"))

    def is_healthy(self):
        """Run the image's own health check now, and return whether it is content."""
        try:
            self._podman("healthcheck", "run", self.name)
        except image.ImageError:
            return False
        return True

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


@pytest.fixture(params=[image.IMAGE, image.PLAIN_IMAGE])
def start(podman, request):
    started = []

    def start(*options):
        started.append(Container(podman, request.param, *options))
        return started[-1]

    yield start
    for container in started:
        print(container.text)  # noqa: T201 - shown when the test fails
        podman("rm", "--force", "--time=0", container.name)


@pytest.fixture(scope="module")
def management():
    """The port of the broker's management API."""
    return free_port()


@pytest.fixture(scope="module")
def broker(tmp_path_factory, management):
    conf = f"management.tcp.port = {management}\nmanagement.tcp.ip = 127.0.0.1"
    plugins = ("rabbitmq_management",)
    directory = tmp_path_factory.mktemp("broker")
    with broker_script.Broker(directory, plugins=plugins, extra_conf=conf) as running:
        yield running


@pytest.fixture
def configuration(tmp_path):
    """A directory that any user may read."""
    directory = tmp_path / "configuration"
    directory.mkdir()
    directory.chmod(0o755)
    return directory


def publish(port, path, body, auth=("guest", "guest")):
    """Return the status of a publish; 0 when nobody answers."""
    url, form = f"http://127.0.0.1:{port}{path}", {"body": body}
    try:
        return requests.post(url, form, auth=auth, timeout=30).status_code
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
    assert container.is_healthy()
    assert json.loads(container.get(8000, "/readyz"))["status"] == "ready"
    assert json.loads(container.get(8000, "/stats"))["form"] == "compiled"
    assert "on all interfaces, port 8000" in container.text
    container.signal("TERM")
    assert container.wait() == 0


def test_it_runs_with_the_configuration_of_the_config_map(start, configuration, pytestconfig):
    manifest = pytestconfig.rootpath / "deploy" / "kubernetes" / "configmap.yaml"
    text = yaml.safe_load(manifest.read_text())["data"]["statelessd.yml"]
    (configuration / "statelessd.yml").write_text(text)
    container = start("--network=none", f"--volume={configuration}:/etc/statelessd:ro")
    wait_until(lambda: container.get(8000, "/healthz"), what="it to answer")
    wait_until(lambda: container.get(8001, "/healthz"), what="the pages' port to answer")
    assert container.is_healthy()
    assert json.loads(container.get(8000, "/readyz"))["status"] == "ready"
    assert "backend=" in container.get(8001, "/metrics?scope=all")
    with pytest.raises(image.ImageError, match="HTTP Error 404"):
        container.get(8000, "/metrics")
    container.signal("TERM")
    assert container.wait() == 0


def given(service, **values):
    """Return podman's options for the environment of a service of compose.yaml."""
    environment = service["environment"] | values
    filled = {
        name: re.sub(r"\$\{(\w+):.*?\}", lambda found: values[found[1]], str(value))
        for name, value in environment.items()
    }
    return [f"--env={name}={value}" for name, value in filled.items()]


def test_compose_declares_and_publishes(start, broker, management, pytestconfig):
    services = yaml.safe_load((pytestconfig.rootpath / "compose.yaml").read_text())["services"]
    account = {"RABBITMQ_USER": "demo", "RABBITMQ_PASSWORD": secrets.token_hex(16)}
    # As the image of RabbitMQ does on its first start.
    broker.ctl("delete_queue", "--vhost", "test", "test")
    broker.ctl("delete_user", "demo", check=False)
    broker.ctl("add_user", *account.values())
    broker.ctl("set_user_tags", "demo", "administrator")
    broker.ctl("set_permissions", "-p", "test", "demo", ".*", ".*", ".*")

    api = f"http://127.0.0.1:{management}"
    declare = start(
        "--network=host",
        f"--volume={pytestconfig.rootpath / 'deploy' / 'compose'}:/deploy:ro",
        f"--entrypoint={json.dumps(services['declare']['entrypoint'])}",
        *given(services["declare"], MANAGEMENT_URL=api, **account),
    )
    assert declare.wait() == 0
    assert "queue test" in declare.text

    port = free_port()
    where = {
        "STATELESSD_APPLICATION_RABBITMQ_HOST": broker.host,
        "STATELESSD_APPLICATION_RABBITMQ_PORT": broker.amqp_port,
        "STATELESSD_HTTPSERVER_ADDRESS": "127.0.0.1",
        "STATELESSD_HTTPSERVER_PORTS": port,
    }
    container = start("--network=host", *given(services["gateway"], **where, **account))
    auth = tuple(account.values())
    wait_until(lambda: publish(port, "/test/test/foo", "hi", auth) == 204)
    wanted = {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}
    got = requests.post(f"{api}/api/queues/test/test/get", json=wanted, auth=auth, timeout=30)
    assert [each["payload"] for each in got.json()] == ["hi"]
    assert json.loads(container.get(port, "/readyz"))["broker"]["state"] == "connected"
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
