"""The disk thread: writes what must be durable, so that a slow disk stops no heartbeat."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from center.core.events import Persist, Persisted, PersistFailed
from center.store import Store

__all__ = ["Disk"]

log = logging.getLogger(__name__)

_JOIN_S = 5.0


class Disk:
    """Writes records one after the other; the node never has more than one under way.

    Args:
        store: written on the disk thread alone from `start` on.
        on_done: told the outcome of each write, on the disk thread.
    """

    def __init__(
        self, store: Store, on_done: Callable[[Persisted | PersistFailed], object]
    ) -> None:
        self._store = store
        self._on_done = on_done
        self._writes: queue.SimpleQueue[Persist | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="center-disk", daemon=True)

    def start(self) -> None:
        """Start the thread. Once."""
        self._thread.start()

    def write(self, persist: Persist) -> None:
        """Write a record soon. Any thread; never blocks."""
        self._writes.put(persist)

    def stop(self) -> None:
        """Write what waits and end. Any thread, after `start`."""
        self._writes.put(None)
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while (persist := self._writes.get()) is not None:
            outcome: Persisted | PersistFailed = Persisted(persist.token)
            try:
                self._store.write(persist.record)
            except OSError as exc:
                why = exc.strerror or str(exc)
                log.error("cannot write the durable state: %s", why)
                outcome = PersistFailed(persist.token, why)
            self._on_done(outcome)
