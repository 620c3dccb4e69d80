"""Back-pressure in both directions of a client connection."""

import asyncio


class FlowControl:
    """Pauses reading, and knows when the client does not read what was written.

    Reading is paused while any of these holds:

    - the client does not read (``write_paused``);
    - bytes wait for their turn (``hold_back``);
    - the handler has no room for more of the body (``pause_reading``).
    """

    __slots__ = (
        "_is_full", "_transport", "_waits", "_writable", "read_paused", "write_paused",
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._writable: asyncio.Event | None = None  # made when somebody waits
        self._is_full = False  # the handler has no room
        self._waits = False  # bytes wait for their turn
        self.read_paused = False
        self.write_paused = False

    def pause_reading(self) -> None:
        """Read no more of the body, so that the client's kernel has to wait."""
        self._is_full = True
        self._apply()

    def resume_reading(self) -> None:
        """Read on, because the handler has room again."""
        self._is_full = False
        self._apply()

    def hold_back(self, waits: bool) -> None:
        """Note whether bytes wait for their turn, behind which nothing is read."""
        self._waits = waits
        self._apply()

    def pause_writing(self) -> None:
        """Note that the transport's buffer is full, and read nothing more from the client."""
        self.write_paused = True
        self._apply()

    def resume_writing(self) -> None:
        """Note that the client has read on or is gone, and wake those who wait in ``drain``."""
        self.write_paused = False
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    def _apply(self) -> None:
        paused = self.write_paused or self._is_full or self._waits
        if paused is self.read_paused or self._transport.is_closing():
            return
        self.read_paused = paused
        if paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    async def drain(self) -> None:
        """Wait while the transport's buffer is full."""
        while self.write_paused:
            if self._writable is None:
                self._writable = asyncio.Event()
            await self._writable.wait()
