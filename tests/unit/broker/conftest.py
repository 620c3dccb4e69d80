"""What the tests of the broker layer share: a scripted broker, clients, and certificates."""

import asyncio
import inspect

import pytest
import uvloop
from certificates import Authority
from fakebroker import FakeBroker
from scenario import Clients, play

from statelessd.broker import session

NAMES = ("localhost", "127.0.0.1")


@pytest.fixture
def broker():
    """A broker that runs during an async test."""
    return FakeBroker()


@pytest.fixture
def other():
    """A second broker, or node."""
    return FakeBroker()


@pytest.fixture
def settings():
    """The defaults of every client."""
    return {}


@pytest.fixture
def client(broker, settings):
    """Makes clients."""
    return Clients(broker, settings)


@pytest.fixture
def publish(client):
    """A client with the default settings; made in the test's loop."""


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def both_loops(request):
    """For code whose result depends on the event loop: their TLS is not the same."""
    return request.param


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run an async test together with its broker."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    play(pyfuncitem.obj, pyfuncitem.funcargs, pyfuncitem.funcargs.get("both_loops"))
    return True


@pytest.fixture
def no_second_attempt(monkeypatch):
    """Whoever pauses before the next node does not get there in time."""
    monkeypatch.setattr(session, "FIRST_PAUSE", 60)
    monkeypatch.setattr(session, "LONGEST_PAUSE", 60)


@pytest.fixture
def authority(tmp_path):
    """Whom the gateway trusts."""
    return Authority(tmp_path, NAMES)


@pytest.fixture
def stranger(tmp_path):
    """Another one, for the same names."""
    return Authority(tmp_path / "stranger", NAMES)
