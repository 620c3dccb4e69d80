"""The access log: one line for each n-th request, with what identifies the request."""

import logging
from collections.abc import Mapping

logger = logging.getLogger("statelessd.access")


class AccessLog:
    """Counts requests, and says which of them to log: each ``every``-th one."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._left = every

    def due(self) -> bool:
        """Count one request. Return whether to log it."""
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
        endpoint: str = "",
        counts: Mapping[str, int] = {},
    ) -> None:
        """Log one request, without its empty fields.

        ``endpoint`` is the name of a webhook endpoint, whose path is not logged. ``counts`` has
        the outcomes of a batch.
        """
        fields: dict[str, object] = {
            "request_id": request_id.decode(),
            "method": method,
            "path": path,
            "virtual_host": virtual_host,
            "exchange": exchange,
            "user": user,
            "endpoint": endpoint,
            "status": status,
            "outcome": outcome,
            **counts,
            "seconds": round(seconds, 6),
        }
        fields = {name: value for name, value in fields.items() if value != ""}
        text = " ".join(f"{name}={shown(value)}" for name, value in fields.items())
        logger.info("%s", text, extra=fields)


def shown(value: object) -> str:
    """Return the value as one word, because names may contain spaces and line ends."""
    text = str(value)
    return text if text.isprintable() and " " not in text and '"' not in text else repr(text)
