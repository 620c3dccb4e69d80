"""Back-pressure in both directions of a client connection."""

import asyncio


class FlowControl:
    """Pauses reading, and knows when the client does not read what was written."""

    __slots__ = ("_transport", "_writable", "read_paused", "write_paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._writable: asyncio.Event | None = None  # made when somebody waits
        self.read_paused = False
        self.write_paused = False

    def pause_reading(self) -> None:
        """Read nothing more, so that the client's kernel has to wait."""
        if not self.read_paused:
            self.read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, unless the client does not read either."""
        if self.read_paused and not self.write_paused:
            self.read_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Note that the transport's buffer is full, and read nothing more from the client."""
        self.write_paused = True
        self.pause_reading()

    def resume_writing(self) -> None:
        """Note that the client has read on or is gone, and wake those who wait in ``drain``."""
        self.write_paused = False
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    async def drain(self) -> None:
        """Wait while the transport's buffer is full."""
        while self.write_paused:
            if self._writable is None:
                self._writable = asyncio.Event()
            await self._writable.wait()
