import contextlib

import pytest
from frameworks import PYTHON
from gateway import running
from queues import Queue, channel_to

import broker as broker_script
import debian


def pytest_sessionstart(session):
    """A component that is missing fails the run, by its name: nothing real is skipped."""
    absent = debian.missing(debian.FOR_RECIPES)
    if not PYTHON.exists():
        absent.append("the environment of the Python frameworks")
    if absent:
        pytest.exit(f"missing: {' '.join(absent)}; make test-recipes installs them", returncode=3)


def pytest_collection_modifyitems(items):
    """Begin with the recipe that takes longest, while the other processor runs the rest."""
    items.sort(key=lambda item: item.path.name != "test_shovel.py")


def pytest_terminal_summary(terminalreporter):
    """Print what a test counted, which pytest-xdist would keep to itself."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            if verdict := dict(report.user_properties).get("verdict"):
                terminalreporter.write_line(verdict)


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """One private RabbitMQ for all recipes that do no harm to it."""
    with broker_script.Broker(tmp_path_factory.mktemp("broker")) as started:
        yield started


@pytest.fixture(scope="session")
def gateway(tmp_path_factory, broker):
    """One gateway with default settings for all recipes that need no others."""
    with running(tmp_path_factory.mktemp("gateway"), broker) as started:
        yield started


@pytest.fixture
def amqp(broker):
    """Returns a channel to a virtual host, by name."""
    with contextlib.ExitStack() as stack:
        yield lambda virtual_host="/": stack.enter_context(channel_to(broker, virtual_host))


@pytest.fixture
def arrived(amqp):
    """The queue "test" of the virtual host /, empty, which takes all of the exchange "test"."""
    queue = Queue(amqp())
    queue.channel.queue_purge("test")
    return queue
