"""Make room for open files: each client and each broker connection is one."""

import logging
import resource

from ..broker.login_gate import AGAIN
from ..config.settings import Config

logger = logging.getLogger(__name__)

SPARE = 100  # for listeners, logs, the event loop, and clients above the limit


def make_room(config: Config) -> None:
    """Raise this process's limit of open files to what the configured connections need."""
    rabbitmq = config.application.rabbitmq
    needed = config.http_server.max_connections + rabbitmq.max_connections + SPARE
    needed += (1 + AGAIN) * rabbitmq.max_logins
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _suffices(soft, needed):
        return
    try:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (needed, hard if _suffices(hard, needed) else needed)
        )
    except (ValueError, OSError):  # only root may raise the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        logger.warning(
            "only %d files may be open, and the configured connections need %d: "
            "raise the limit (ulimit -n, LimitNOFILE) or lower HTTPServer.max_connections",
            hard,
            needed,
        )


def _suffices(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed
