import contextlib
import shutil
import uuid
from pathlib import Path

import control
import pytest
from chromium import Chromium
from gateway import GatewayProcess, running
from queues import Queue, channel_to

import broker as broker_script
import debian
import statelessd


def pytest_sessionstart(session):
    """A component that is missing fails the run, by its name: nothing real is skipped."""
    absent = debian.missing(debian.FOR_TESTS)
    if absent:
        pytest.exit(f"missing: {' '.join(absent)}; make test installs them", returncode=3)


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """One private RabbitMQ for all tests of a process: its start takes 8 s of CPU time."""
    plugins = ("rabbitmq_jms_topic_exchange",)  # of test_poison.py
    with broker_script.Broker(tmp_path_factory.mktemp("broker"), plugins=plugins) as started:
        yield started


@pytest.fixture(scope="session")
def heal(broker):
    """Makes the broker well again, whatever a test did to it."""

    def heal():
        broker.start()
        control.limit_memory(broker)
        control.limit_disk(broker)

    return heal


@pytest.fixture
def own(broker, heal):
    """The broker with empty queues, for a test to do harm to.

    A gateway of the whole module loses its connections by that: such a test is the module's last.
    """
    for virtual_host in broker_script.VIRTUAL_HOSTS:
        with channel_to(broker, virtual_host) as channel:
            channel.queue_purge("test")
    yield broker
    heal()


@pytest.fixture
def amqp(broker):
    """Returns a channel to a virtual host, by name."""
    with contextlib.ExitStack() as stack:
        yield lambda virtual_host="test": stack.enter_context(channel_to(broker, virtual_host))


@pytest.fixture
def make_queue(amqp):
    """Makes durable queues, of a kind and with names of their own."""
    channel = amqp()
    made = []

    def make(kind="classic", **arguments):
        queue = Queue(channel, f"q-{uuid.uuid4().hex[:12]}")
        arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
        arguments["x-queue-type"] = kind
        channel.queue_declare(queue.name, durable=True, arguments=arguments)
        made.append(queue)
        return queue

    yield make
    for queue in made:
        channel.queue_delete(queue.name)


@pytest.fixture
def queue(make_queue):
    """An empty durable queue, bound to everything of a topic exchange of the same name."""
    made = make_queue()
    made.channel.exchange_declare(made.name, "topic", durable=True)
    made.channel.queue_bind(made.name, made.name, "#")
    yield made
    made.channel.exchange_delete(made.name)


@pytest.fixture
def start_gateway(tmp_path, broker):
    """Starts gateways, and stops them at the end; each has to stop in order."""
    started = []

    def start(settings=None, *, against=None, **kwargs):
        gateway = GatewayProcess(tmp_path, against or broker, settings, **kwargs)
        started.append(gateway)
        return gateway.start()

    yield start
    for gateway in started:
        gateway.ends_in_order()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, broker):
    """One gateway with default settings for a whole module."""
    with running(tmp_path_factory.mktemp("gateway"), broker) as started:
        yield started


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A copy of the package, which gateways run and the test may upgrade."""
    copy = tmp_path / "installed" / "statelessd"
    shutil.copytree(Path(statelessd.__file__).parent, copy)
    monkeypatch.setenv("PYTHONPATH", str(copy.parent))
    return copy
