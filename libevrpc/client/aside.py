"""Threads for work that would hold up the background loop: inflating replies to futures."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["run_aside"]

_THREADS_MAX = 1
"""More jobs at once wait for each other, in a queue that calls in flight bound; more threads would
only take the interpreter from whoever answers quickly."""


class _Aside:
    """Threads that are started when there is work, and end with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: deque[Callable[[], object]] = deque()
        self._threads = 0

    def run(self, job: Callable[[], object]) -> None:
        with self._lock:
            self._jobs.append(job)
            if self._threads >= _THREADS_MAX:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._work, name="libevrpc-inflate", daemon=True).start()
        except RuntimeError:  # the system has no more threads: then here and now
            self._work()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._threads -= 1
                    return
                job = self._jobs.popleft()
            job()


_aside = _Aside()


def run_aside(job: Callable[[], object]) -> None:
    """Run `job`, which must not raise, on another thread, soon. Any thread."""
    _aside.run(job)


def _in_child() -> None:
    global _aside
    _aside = _Aside()  # the parent's threads are not here


os.register_at_fork(after_in_child=_in_child)
