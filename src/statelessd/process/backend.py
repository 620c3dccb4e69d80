"""One backend: an event loop, the HTTP server on its sockets, the publisher, an orderly stop."""

import asyncio
import hashlib
import logging
import math
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import uvloop

from ..broker.publisher import Publisher
from ..config.hosts import hosts_of
from ..config.secrets import without_secrets
from ..config.settings import Config, Listener
from ..config.webhook_files import WebhookFiles, read_files
from ..failures import Failures
from ..gateway.client_handler import share
from ..gateway.gateway import Gateway
from ..gateway.webhook import WebhookEndpoints
from ..http1.asgi import Bridge
from ..http1.places import Open
from ..http1.server import Server
from ..message import Outcome
from ..pages.app import Application, build_router
from ..pages.monitoring import Monitoring
from ..pages.snapshot import snapshot
from ..telemetry.scoreboard import Scoreboard
from ..tls.client import Trust
from ..tls.server import Certificate
from . import limits, logs
from . import sockets as listeners
from .allocator import keep_freed_memory
from .reexec import RETIRE

if TYPE_CHECKING:
    from ..gateway.tracing import Tracer

logger = logging.getLogger(__name__)

SWEEP = 0.25  # seconds between checks of the clients' time-outs
JUST_AFTER = 0.002  # seconds; event loops round their timers by less
LAST_REQUESTS = 1.0  # seconds in which each open connection may still ask once
CONNECTING = 0.05  # seconds for connections that are being made when the listeners close
# Turns of the loop after that. If it stood still, its timers come before it accepts what is queued.
TURNS = 3
HANDSHAKE = 2.0  # seconds for the TLS handshakes of those
LAST_WORD = 0.5  # seconds before the end at which messages are given up, to leave time to answer
# Seconds to export the last spans: at least, even if the drain took all its time, and at most,
# because a collector may be away.
LAST_SPANS, MOST_OF_SPANS = 1.0, 3.0
HANG_UP = 0.1  # seconds before the end at which connections without a request are closed


@dataclass(frozen=True)
class Inheritance:
    """What the parent makes for its backends, because they may have fewer rights.

    ``certificate`` is for TLS on TCP ports, and ``trust`` for TLS to the broker.
    ``webhook_files`` has the secrets of the endpoints; None: they are still to be read.
    ``loaded_at`` is when the settings were read, in seconds of Unix time.
    """

    certificate: Certificate | None = None
    trust: Trust | None = None
    scoreboard: Scoreboard | None = None
    webhook_files: tuple[WebhookFiles, ...] | None = None
    loaded_at: float = 0.0


class Backend:
    """Serves one listener until ``stop``, and calls ``serves`` when it begins."""

    def __init__(
        self,
        config: Config,
        sockets: list[socket.socket],
        listener: Listener,
        loop: asyncio.AbstractEventLoop,
        inheritance: Inheritance = Inheritance(),
        serves: Callable[[], None] = lambda: None,
    ) -> None:
        application = config.application
        # A client that may open a Unix socket is on this machine.
        certificate = None if isinstance(listener, str) else inheritance.certificate
        self._listeners = sockets
        self._certificate = certificate
        self._trust = inheritance.trust
        self._loop = loop
        self._config = config
        self._files = limits.open_files()
        made = limits.room(config, self._files)
        self.publisher = Publisher(
            msgspec.structs.replace(
                application.rabbitmq, max_connections=made.to_broker, max_logins=made.logins
            ),
            application.publish,
            trust=inheritance.trust,
            loop=loop,
            backend=f"{socket.gethostname()}:{listener}",
            counted_exchanges=application.metrics.exchanges,
        )
        self._tracer = _tracer(config, loop)
        files = inheritance.webhook_files
        webhooks = WebhookEndpoints.of(
            config.webhooks, read_files(config.webhooks) if files is None else files
        )
        self.gateway = _gateway(
            config, listener, sockets, self.publisher, loop, self._tracer, webhooks
        )
        self.monitoring = Monitoring(
            self.gateway,
            inheritance.scoreboard or Scoreboard.make(),
            config_hash=_digest(config),
            config_loaded_at=inheritance.loaded_at,
        )
        self._drain_timeout = config.http_server.drain_timeout
        self._drained_by = 0.0  # loop time
        pages = Bridge(Application(self.monitoring, application.paths))
        self._shared = share(self.gateway, pages)
        self._shared.places.fit(made.clients, made.spare)
        self._server = Server(self._shared, pages.tasks)
        self._serves = serves
        self._stop = asyncio.Event()
        self._has_successor = False
        self._listener = listener
        self._failures = Failures(logger)
        self._brief = False  # our logins are too many for the scoreboard

    @property
    def connections(self) -> set[Open]:
        """Return the open client connections."""
        return self._shared.connections

    async def serve(self) -> None:
        """Run until stopped. Return when every request has been answered or the time is up."""
        sweeper = self._loop.create_task(self._sweep())
        self._loop.add_signal_handler(signal.SIGTERM, self.stop)
        self._loop.add_signal_handler(RETIRE, self.retire)
        logger.info("listening on %s", listeners.name_of(self.gateway.port))
        certificate = self._certificate
        await self._server.start(
            self._listeners, None if certificate is None else certificate.context
        )
        self._report(int(time.time()))  # or it would be missed for the moment
        self._serves()
        await self._stop.wait()
        await self._drain()
        await self._server.finish(self._drained_by)
        sweeper.cancel()
        await self.publisher.close()  # this answers the messages that are under way
        if self._tracer is not None:
            left = self._drained_by - self._loop.time()
            await self._tracer.close(min(max(left, LAST_SPANS), MOST_OF_SPANS))
        self._report(int(time.time()))
        self.gateway.failures.write_left_out(at_once=True)
        logs.write_left_out(at_once=True)
        unanswered = sum(c.has_pending for c in self.connections)
        if unanswered:
            logger.warning("stopped: %d requests were not answered", unanswered)
        else:
            logger.info("stopped: all requests were answered")

    def stop(self) -> None:
        """Begin an orderly stop; a second call ends it at once."""
        if self._stop.is_set():
            self._server.hurry()
            return
        logger.info(
            "stopping: answering the requests in flight, for at most %g s", self._drain_timeout
        )
        self.gateway.draining = self._shared.draining = True
        self._drained_by = self._loop.time() + self._drain_timeout
        self._stop.set()

    def retire(self) -> None:
        """Stop in order and without haste, because a successor serves the same sockets."""
        if not self._stop.is_set():
            self._has_successor = True
            self.stop()

    async def _drain(self) -> None:
        # Every response from here on has "Connection: close". Otherwise a client could send
        # its next request on a connection that is about to be closed.
        half = self._loop.time() + self._drain_timeout / 2
        if self._has_successor:
            await self._server.close_listeners()
            await self._server.wait_for(lambda: not self.connections, half)
        else:
            await self._let_ask(lambda: not self.connections)
            listeners.hold_off(self._listeners)
            await asyncio.sleep(CONNECTING)
            for _ in range(TURNS):
                await asyncio.sleep(0)
            await self._server.close_listeners()
            is_done = lambda: not self._shared.places.has_handshakes  # noqa: E731
            await self._server.wait_for(is_done, half, HANDSHAKE)
            await self._let_ask(lambda: all(c.has_asked for c in self.connections))
        self._server.drain()
        # A batch needs some time to report its items.
        self._loop.call_at(self._drained_by - LAST_WORD, self.publisher.stop)
        self._loop.call_at(self._drained_by - HANG_UP, self._hang_up)

    def _hang_up(self) -> None:
        for connection in list(self.connections):
            if not connection.has_pending:
                connection.close()

    async def _let_ask(self, condition: Callable[[], bool]) -> None:
        """Give clients the time to ask once more, unless the condition holds before."""
        await self._server.wait_for(condition, self._drained_by, LAST_REQUESTS)

    async def _sweep(self) -> None:
        # Whatever fails in one sweep, the next one tries again.
        guard, monitoring = self._failures.guard, self.monitoring
        while True:
            pause = _until_next_sweep(time.time())
            due = time.perf_counter_ns() + int(pause * 1e9)
            await asyncio.sleep(pause)
            monitoring.process.lagged(max(0, time.perf_counter_ns() - due))
            guard("probing the broker", monitoring.probe_if_watched)
            second = monitoring.second_over()
            if second is not None:
                guard("checking the limit of open files", self._fit)
                self._report(second)
                guard("logging the number of omitted lines", self.gateway.failures.write_left_out)
                guard("logging the number of omitted lines", logs.write_left_out)
            guard("checking the clients' time-outs", self._shared.check_timeouts)
            webhooks = self.gateway.router.webhooks
            guard("checking the files of webhooks", partial(webhooks.refresh, self._loop.time()))
            for each in (self._certificate, self._trust):
                if each is not None:
                    guard("checking the TLS files", partial(each.refresh, self._loop.time()))

    def _fit(self) -> None:
        """Take as many clients as files may be open, which prlimit(1) can change."""
        files, before = limits.open_files(), self._files
        if files == before:
            return
        self._files = files
        made = limits.room(self._config, files)
        logger.warning(
            "the limit of open files is now %d (before: %d): this backend takes at most %d clients "
            "and %d connections to the broker",
            files,
            before,
            made.clients,
            made.to_broker,
        )
        self.publisher.max_connections = made.to_broker
        self._shared.places.fit(made.clients, made.spare)

    def _report(self, second: int) -> None:
        """Write our figures to the scoreboard, and their growth to the history."""
        self._failures.guard("writing figures to the scoreboard", partial(self._share, second))

    def _share(self, second: int) -> None:
        monitoring, scoreboard = self.monitoring, self.monitoring.scoreboard
        if scoreboard is None:
            return
        reading = monitoring.read()
        if not scoreboard.write(self._listener, snapshot(monitoring, reading)):
            if not self._brief:
                logger.warning(
                    "too many logins for the scoreboard: ?scope=all omits this backend's logins"
                )
            self._brief = True
            scoreboard.write(self._listener, snapshot(monitoring, reading, brief=True))
        scoreboard.record(self._listener, second, monitoring.sample(second, reading))


def _gateway(
    config: Config,
    listener: Listener,
    sockets: list[socket.socket],
    publisher: Publisher,
    loop: asyncio.AbstractEventLoop,
    tracer: "Tracer | None",
    webhooks: WebhookEndpoints,
) -> Gateway:
    application = config.application
    gateway = Gateway(
        config.http_server,
        application.publish,
        port=listener,
        publisher=publisher,
        router=build_router(config.routes, application.paths, webhooks),
        loop=loop,
        strict_origins=application.xsrf_cookies,
        access_log=application.access_log,
        on_loopback=all(listeners.is_on_loopback(each) for each in sockets),
        tracer=tracer,
    )
    refused_for = max(1, math.ceil(application.rabbitmq.refused_for))
    gateway.retry_after[Outcome.TOO_MANY_FAILURES] = refused_for
    return gateway


def _tracer(config: Config, loop: asyncio.AbstractEventLoop) -> "Tracer | None":
    """Return what makes spans, if the settings want any."""
    application = config.application
    if not application.tracing.enabled:
        return None
    # OpenTelemetry is not installed everywhere.
    from ..gateway.tracing import Tracer  # noqa: PLC0415

    return Tracer(application.tracing, hosts_of(application.rabbitmq), loop)


def _until_next_sweep(now: float) -> float:
    """Return the seconds to the next sweep.

    One sweep is right after each full second, so that it finds the figures of that second.
    """
    pause = SWEEP - (now - JUST_AFTER) % SWEEP
    return pause if pause > SWEEP / 2 else pause + SWEEP  # a timer may be a little early


def _digest(config: Config) -> str:
    """Return a digest of all settings without passwords, to compare backends by."""
    return hashlib.sha256(msgspec.json.encode(without_secrets(config))).hexdigest()[:12]


def run(
    inheritance: Inheritance,
    config: Config,
    sockets: list[socket.socket],
    listener: Listener,
    serves: Callable[[], None],
) -> int:
    """Serve ``listener`` on sockets that are bound already, and return the exit status.

    ``serves`` is called when it begins.
    """

    keep_freed_memory()
    logs.bound_lines()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await Backend(config, sockets, listener, loop, inheritance, serves).serve()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    return 0
