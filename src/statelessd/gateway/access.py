"""The access log: one line for every so many requests, each with what finds it again."""

import logging
from collections.abc import Mapping

logger = logging.getLogger("statelessd.access")

_NONE: Mapping[str, int] = {}


class AccessLog:
    """Counts requests, and logs one of ``every`` so many."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._left = every

    def due(self) -> bool:
        """Whether this request is one to log."""
        self._left -= 1
        if self._left:
            return False
        self._left = self._every
        return True

    def log(
        self,
        request_id: bytes,
        method: str,
        path: str,
        status: int,
        outcome: str,
        seconds: float,
        *,
        virtual_host: str = "",
        exchange: str = "",
        user: str = "",
        counts: Mapping[str, int] = _NONE,
    ) -> None:
        """One request. ``path`` is empty where ``virtual_host`` and ``exchange`` tell it.

        ``counts``: how a batch's messages went.
        """
        fields: dict[str, object] = {
            "request_id": request_id.decode(),
            "method": method,
            "path": path,
            "virtual_host": virtual_host,
            "exchange": exchange,
            "user": user,
            "status": status,
            "outcome": outcome,
            **counts,
            "seconds": round(seconds, 6),
        }
        fields = {name: value for name, value in fields.items() if value != ""}
        text = " ".join(f"{name}={_shown(value)}" for name, value in fields.items())
        logger.info("%s", text, extra=fields)


def _shown(value: object) -> str:
    """Names may hold spaces and line ends; a line of the log must stay one."""
    text = str(value)
    return text if text.isprintable() and " " not in text and '"' not in text else ascii(text)
