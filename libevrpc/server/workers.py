"""The worker pool: threads that run handlers, fed by every loop.

Waking a sleeping thread costs more than most handlers, so threads are woken sparingly:

* a batch of calls wakes one worker, and none while one is on its way to the queue or is
  running a handler known to be fast, since it will be back at once;
* a worker that takes a call known to be slow first wakes another if more calls wait;
* what still waits when a loop looks again (`kick`, a millisecond later) wakes one more.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic

from libevrpc.server.calls import ServerCall
from libevrpc.server.execute import execute

__all__ = ["WorkerPool"]

log = logging.getLogger(__name__)


class WorkerPool:
    """Threads that run calls in the order they came. All methods: any thread.

    Args:
        size: most threads; they are started when needed and then stay.
        queue_max: most calls that may wait; one more is handed back.
    """

    __slots__ = (
        "_busy",
        "_busy_s",
        "_idle",
        "_jobs",
        "_kicked_at",
        "_lock",
        "_queue_max",
        "_quick",
        "_searching",
        "_size",
        "_stopping",
        "_taken",
        "_threads",
    )

    def __init__(self, size: int, queue_max: int) -> None:
        self._size = size
        self._queue_max = queue_max
        self._lock = threading.Lock()
        self._jobs: deque[ServerCall] = deque()
        self._idle: list[threading.Lock] = []
        self._threads: list[threading.Thread] = []
        self._searching = False  # a woken worker has not reached the queue yet
        self._quick = 0  # workers that run a fast handler and will be back at once
        self._busy = 0  # workers between their first call and their next rest
        self._busy_s = 0.0  # their rests' instants minus their first calls'
        self._taken = 0
        self._kicked_at = -1
        self._stopping = False

    @property
    def backlog(self) -> int:
        """Calls that wait for a worker."""
        return len(self._jobs)

    @property
    def threads(self) -> int:
        """Threads started so far."""
        return len(self._threads)

    @property
    def busy_s(self) -> float:
        """Seconds that workers have spent on calls, all together, up to now."""
        with self._lock:
            return self._busy_s + self._busy * monotonic()

    def submit(self, calls: Sequence[ServerCall]) -> Sequence[ServerCall]:
        """Queue `calls`; returns those the queue had no room for (all, once stopped)."""
        with self._lock:
            if self._stopping:
                return calls
            room = self._queue_max - len(self._jobs)
            if room >= len(calls):
                self._jobs.extend(calls)
                refused: Sequence[ServerCall] = ()
            else:
                self._jobs.extend(calls[: max(0, room)])
                refused = calls[max(0, room) :]
            gate = None if self._quick else self._next_gate()
        if gate is not None:
            gate.release()
        return refused

    def kick(self) -> None:
        """Wake one more worker if no call was taken since the last kick and some wait."""
        gate = None
        with self._lock:
            if self._jobs and self._taken == self._kicked_at:
                self._searching = False  # whoever was woken is stuck behind somebody
                gate = self._next_gate()
            self._kicked_at = self._taken
        if gate is not None:
            gate.release()

    def stop(self, timeout_s: float | None = None) -> None:
        """Let the threads finish what is queued, then end. Any number of times.

        Returns after `timeout_s` at the latest: a handler that does not return keeps its
        thread, which ends with the process.
        """
        with self._lock:
            self._stopping = True
            idle, self._idle = self._idle, []
            threads = list(self._threads)
        for gate in idle:
            gate.release()
        until_s = None if timeout_s is None else monotonic() + timeout_s
        for thread in threads:
            if thread is threading.current_thread():
                continue  # a handler stops its own server
            thread.join(None if until_s is None else max(0.0, until_s - monotonic()))

    def abandon(self) -> None:
        """Leave what is queued to the parent. In a forked child, where none of the threads is,
        but perhaps the one that forked.
        """
        self._lock = threading.Lock()  # its holder may be in the parent
        self._jobs.clear()
        self._stopping = True

    def _next_gate(self) -> threading.Lock | None:
        """Choose whom to wake, None for nobody. Under the lock."""
        if self._searching or not self._jobs:
            return None
        if self._idle:
            self._searching = True
            return self._idle.pop()
        if len(self._threads) < self._size:
            self._start_thread()
        return None

    def _start_thread(self) -> None:
        gate = threading.Lock()
        number = len(self._threads)
        thread = threading.Thread(
            target=self._work, args=(gate,), name=f"libevrpc-work-{number}", daemon=True
        )
        self._searching = True
        try:
            thread.start()
        except RuntimeError as exc:  # the system has no more; the next kick tries again
            self._searching = False
            log.error("worker %d cannot be started: %s", number, exc)
            return
        self._threads.append(thread)

    def _work(self, gate: threading.Lock) -> None:
        gate.acquire()
        fresh = True  # this thread was started or woken, and has not looked yet
        quick = busy = False
        while True:
            call: ServerCall | None = None
            wake: threading.Lock | None = None
            with self._lock:
                if fresh:
                    self._searching = fresh = False
                if quick:
                    self._quick -= 1
                    quick = False
                if self._jobs:
                    if not busy:
                        busy = True
                        self._busy += 1
                        self._busy_s -= monotonic()
                    call = self._jobs.popleft()
                    self._taken += 1
                    call.session.started_order = call.order  # under the lock: only ever grows
                    if call.entry.fast:
                        quick = True
                        self._quick += 1
                    else:
                        wake = self._next_gate()
                else:
                    if busy:
                        busy = False
                        self._busy -= 1
                        self._busy_s += monotonic()
                    if self._stopping:
                        return
                    self._idle.append(gate)
            if wake is not None:
                wake.release()
            if call is None:
                gate.acquire()
                fresh = True
            else:
                execute(call)
