import contextlib
import uuid

import pika
import pytest
from gateway import GatewayProcess
from queues import Queue, parameters_of

import broker as broker_script
import debian


def pytest_sessionstart(session):
    """A component that is missing fails the run, by its name: nothing real is skipped."""
    absent = debian.missing(debian.FOR_TESTS)
    if absent:
        pytest.exit(f"missing: {' '.join(absent)}; make test installs them", returncode=3)


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """One private RabbitMQ for all tests that do no harm to it."""
    with broker_script.Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="session")
def harmed_broker(tmp_path_factory):
    with broker_script.Broker(tmp_path_factory.mktemp("own")) as running:
        yield running


@pytest.fixture
def own(harmed_broker):
    """One to do harm to, which runs and whose queues are empty, whatever a test did before."""
    harmed_broker.start()
    for virtual_host in broker_script.VIRTUAL_HOSTS:
        with pika.BlockingConnection(parameters_of(harmed_broker, virtual_host)) as connection:
            connection.channel().queue_purge("test")
    return harmed_broker


@pytest.fixture
def amqp(broker):
    """A channel to a virtual host, by name."""
    with contextlib.ExitStack() as stack:

        def connect(virtual_host="test"):
            connection = pika.BlockingConnection(parameters_of(broker, virtual_host))
            stack.callback(connection.close)
            return connection.channel()

        yield connect


@pytest.fixture
def queue(amqp):
    """An empty durable queue, bound to everything of a topic exchange of the same name."""
    channel = amqp()
    name = f"q-{uuid.uuid4().hex[:12]}"
    channel.exchange_declare(name, "topic", durable=True)
    channel.queue_declare(name, durable=True)
    channel.queue_bind(name, name, "#")
    yield Queue(channel, name)
    channel.queue_delete(name)
    channel.exchange_delete(name)


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
        status = gateway.stop()
        print(gateway.text)  # noqa: T201 - shown when the test fails
        assert status == 0
        assert "Traceback" not in gateway.text


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, broker):
    """One gateway with default settings for a whole module."""
    running = GatewayProcess(tmp_path_factory.mktemp("gateway"), broker).start()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.text
