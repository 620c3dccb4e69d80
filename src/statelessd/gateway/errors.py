"""The one error of this room, from ``message``."""

from ..message import RequestError, bad_request

__all__ = ["RequestError", "bad_request"]
