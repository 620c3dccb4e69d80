"""Lines that show what a set-up does, and for how long."""

import shutil
import sys
import time
from types import TracebackType
from typing import Self


class Step:
    """One step: its line says what is done, and at the end in how many seconds.

    A terminal also shows the detail of the moment, behind the text.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._began = 0.0
        self.result = ""

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        print(f"{self._text} …", end="", flush=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.show("")
        seconds = f"{time.monotonic() - self._began:.1f} s"
        print("" if kind else " " + ", ".join(filter(None, (seconds, self.result))), flush=True)

    def show(self, detail: str) -> None:
        """Show this detail behind the text, unless the output goes to a file."""
        if sys.stdout.isatty():
            line = f"{self._text} … {detail}".rstrip()
            columns = shutil.get_terminal_size().columns
            print(f"\r\x1b[K{line[: columns - 1]}", end="", flush=True)


def megabytes(size: float) -> str:
    """Return a size in bytes as megabytes in words, such as ``9.1 MB``."""
    return f"{size / 1e6:.1f} MB" if size < 1e7 else f"{size / 1e6:.0f} MB"
