"""kazoo's words, as users get them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["QuietLog", "reason_of"]

log = logging.getLogger(__name__)

_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "NoAuthError": "no permission by the node's ACL; see auth_file=",
        "AuthFailedError": "ZooKeeper refused our credentials",
        "NotReadOnlyCallError": "this server is read-only: its ensemble has lost its quorum",
        "ConnectionClosedError": "the connection to ZooKeeper broke",
        "ConnectionLoss": "the connection to ZooKeeper broke",
        "SessionExpiredError": "the session of ZooKeeper has expired",
        "NoChildrenForEphemeralsError": "the node above is ephemeral and cannot have children",
    }
)
"""Name of an exception of kazoo's -> what it means."""


def reason_of(exc: Exception) -> str:
    """Return what a refusal of kazoo's means, for a person."""
    name = type(exc).__name__
    return _REASONS.get(name) or f"ZooKeeper says {name.removesuffix('Error')}"


class QuietLog(logging.LoggerAdapter[logging.Logger]):
    """kazoo's log, in ours: at DEBUG, without tracebacks.

    What kazoo itself says at DEBUG and below is dropped: it has requests in it, and so passwords.
    """

    def __init__(self) -> None:
        super().__init__(log, {})
        self.last = ""
        """What kazoo complained of last."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """See `logging.Logger.log`."""
        if level >= logging.INFO:
            if level >= logging.WARNING:
                self.last = str(msg) % args if args else str(msg)
            self.logger.debug(str(msg), *args)

    def warn(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """See `logging.Logger.warning`: kazoo spells it both ways."""
        self.log(logging.WARNING, msg, *args)
