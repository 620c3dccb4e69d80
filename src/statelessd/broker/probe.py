"""Asks the broker whether it is there, while no login has a connection.

With an account it logs in, opens the virtual host and closes in order. Without one it sends
the protocol header and reads Connection.Start. RabbitMQ then logs a warning, "client
unexpectedly closed TCP connection", but it takes Connection.Close before a login for an error.
A bare TCP connection would prove nothing, because a proxy accepts it without a broker behind.
"""

import asyncio
import contextlib
import logging

from ..amqp import events
from ..amqp.protocol import Login, Protocol
from ..failures import Failures
from .dialer import Dialer
from .race import NotConnectedError
from .refusals import login_refusal
from .shared import Shared
from .unreachable import why

logger = logging.getLogger(__name__)

AGAIN = 1.0  # seconds between questions to a broker that is away


class Probe:
    """Asks for one backend, and reports to its reachability."""

    def __init__(self, shared: Shared, dialer: Dialer) -> None:
        account = shared.settings.probe
        self._settings, self._loop = shared.settings, shared.loop
        self._reachability = shared.reachability
        self._dialer = dialer
        self._login = Login(
            account.username, account.password, account.virtual_host, shared.client_properties
        )
        self._failures = Failures(logger)
        self._task: asyncio.Task[None] | None = None
        self._asked_at = 0.0  # loop time

    @property
    def is_under_way(self) -> bool:
        """Return whether the broker has been asked and has not answered yet."""
        return self._task is not None and not self._task.done()

    @property
    def waits_for(self) -> float:
        """Return the seconds since the broker was asked; 0 if no answer is awaited."""
        return self._loop.time() - self._asked_at if self.is_under_way else 0.0

    def start(self) -> None:
        """Begin to ask the broker, if what is known is too old."""
        interval, reachability = self._settings.probe.interval, self._reachability
        if not interval or self.is_under_way or reachability.is_connected:
            return
        if reachability.age >= (min(AGAIN, interval) if reachability.is_away else interval):
            self._asked_at = self._loop.time()
            self._task = self._loop.create_task(self._ask())

    async def look(self, patience: float) -> None:
        """Ask the broker, and wait ``patience`` seconds for the answer."""
        self.start()
        if self._task is not None and not self._reachability.is_connected:
            await asyncio.wait({self._task}, timeout=patience)

    async def close(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _ask(self) -> None:
        """Ask one node after the other, until one answers."""
        reachability, dialer = self._reachability, self._dialer
        try:
            while True:
                amqp = Protocol(self._login)
                silent = False
                try:
                    reason = logged = await self._visit(amqp)
                    silent = not amqp.greeted
                except NotConnectedError as error:
                    reason, logged = str(error), error.logged
                if amqp.greeted:
                    dialer.opened()
                dialer.left(silent=silent)
                if not dialer.has_another:
                    break
        except Exception as error:
            self._failures.log("the probe of the broker", error)
            return
        finally:
            dialer.left()
        if not reason:
            reachability.answered(probe=True)
        elif amqp.greeted:
            reachability.refused(reason)
        else:
            reachability.failed(reason, logged)

    async def _visit(self, amqp: Protocol) -> str:
        """Return what is wrong with the next node, or "". Raise NotConnectedError."""
        settings, loop = self._settings, self._loop
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport = await self._dialer.connect(lambda: protocol, settings.connect_timeout)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            async with asyncio.timeout(self._dialer.patience(settings.login_timeout)):
                return await self._converse(amqp, reader, writer)
        except asyncio.CancelledError:
            transport.abort()  # TLS says goodbye, and would wait for the broker to say it too
            raise
        except TimeoutError:
            transport.abort()
            return "the broker did not complete the login in time"
        except OSError as error:
            return why(error)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _converse(
        self, amqp: Protocol, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> str:
        """Return what is wrong with the broker or the login, or "". Raise OSError."""
        login = self._login
        while not amqp.greeted or login.username:  # what comes next would be the login
            writer.writelines(amqp.data_to_send())
            data = await reader.read(65536)
            if not data:
                return "the broker closed the socket"
            for event in amqp.receive_data(data):
                match event:
                    case events.Opened():
                        amqp.close()
                    case events.Closed(opened=True):
                        return ""
                    case events.Closed(code, text):
                        writer.writelines(amqp.data_to_send())  # our Close-Ok
                        refusal = login_refusal(code, text, login.virtual_host)
                        return refusal.detail.rstrip(".")
                    case events.Failed(error):
                        return f"the broker broke the protocol: {error}"
        return ""
