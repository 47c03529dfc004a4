"""kazoo's log, as users get it."""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["QuietLog"]

log = logging.getLogger(__name__)


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
