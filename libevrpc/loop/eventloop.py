"""One thread, one poller, one wake-up pipe, one timer heap.

Other threads have one door: `post`. Everything else asserts that it runs on the loop's
own thread.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from libevrpc.core.timers import Timer, TimerHeap
from libevrpc.loop.poller import READ, WRITE, Poller, new_poller
from libevrpc.loop.wakeup import WakeupPipe

__all__ = ["EventLoop", "Watched", "on_any_loop"]

log = logging.getLogger(__name__)

_JOBS_PER_TURN_MAX = 10_000
"""Posted jobs run in one turn; the rest wait for the next, after the sockets had theirs."""


_LAST_ROUNDS_MAX = 100
"""Rounds of posted jobs that a stopping loop still runs, each posted by the one before."""

_loop_threads: set[int] = set()
# the loops stay in the parent, and threads of the child may get their numbers
os.register_at_fork(after_in_child=_loop_threads.clear)


def on_any_loop() -> bool:
    """Tell whether the caller is the thread of some loop, and so must not block. Any thread."""
    return threading.get_ident() in _loop_threads


class Watched(Protocol):
    """What a descriptor registered with a loop belongs to. Its methods run on the loop."""

    def on_readable(self) -> None:
        """Read without blocking; errors and hang-ups show here too."""

    def on_writable(self) -> None:
        """Write without blocking."""


class EventLoop:
    """A thread that waits for descriptors, timers and posted jobs, and runs them in turn.

    `start` starts the thread, `stop` ends it; both may be called from any other thread.
    A job or callback that raises is logged and costs nothing else.
    """

    __slots__ = (
        "_closed",
        "_idle_hooks",
        "_inbox_lock",
        "_jobs",
        "_poller",
        "_sleeping",
        "_stopping",
        "_thread",
        "_timers",
        "_turn_hooks",
        "_wakeup",
        "_watched",
        "name",
        "now_s",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.now_s = time.monotonic()
        """The loop's clock, read once a turn (monotonic seconds). Loop thread only."""
        self._poller: Poller = new_poller()
        self._wakeup = WakeupPipe()
        self._poller.register(self._wakeup.fileno(), READ)
        self._watched: dict[int, Watched] = {}
        self._timers = TimerHeap()
        self._inbox_lock = threading.Lock()
        self._jobs: deque[Callable[[], object]] = deque()
        self._sleeping = False
        self._closed = False
        self._stopping = False
        self._turn_hooks: list[Callable[[], None]] = []
        self._idle_hooks: list[Callable[[], float | None]] = []
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # -- any thread ---------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread. Once."""
        self._thread.start()

    def post(self, job: Callable[[], object]) -> bool:
        """Queue `job` for the loop thread; False once the loop is closed. Any thread.

        A job that was accepted always runs, also when the loop is stopped meanwhile. The
        queue is bounded by what posts: connections, calls and timers all have limits.
        """
        with self._inbox_lock:  # closing takes it too: a closed, reused fd is never rung
            if self._closed:
                return False
            self._jobs.append(job)
            if self._sleeping:
                self._sleeping = False
                self._wakeup.ring()
        return True

    def on_loop(self) -> bool:
        """Tell whether the caller is this loop's thread. Any thread."""
        return threading.get_ident() == self._thread.ident

    def stop(self, timeout_s: float | None = None) -> bool:
        """Run what is queued, close the loop, join its thread. Any other thread; repeatable.

        Returns False when the thread was still running after `timeout_s`. Descriptors still
        registered are forgotten, not closed: their owners close them before.
        """
        if self._thread.ident is None:
            if not self._closed:
                self._close_inbox()
                self._poller.close()
            return True
        self.post(self._begin_stop)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stop_soon(self) -> None:
        """End after this turn; nobody joins. Any thread, also the loop's own."""
        self.post(self._begin_stop)

    def abandon(self) -> None:
        """Close the descriptors, forget the rest: in a forked child, which has not this thread."""
        self._inbox_lock = threading.Lock()  # its holder may be in the parent
        self._jobs.clear()
        self._watched.clear()
        if not self._closed:
            self._closed = True
            self._wakeup.close()
        self._poller.close()

    # -- loop thread --------------------------------------------------------------------

    def call_at(self, deadline_s: float, callback: Callable[[], object]) -> Timer:
        """Run `callback` when the loop's clock reaches `deadline_s`. Loop thread only."""
        self.assert_on_loop()
        return self._timers.arm(deadline_s, callback)

    def cancel(self, timer: Timer) -> None:
        """Forget a timer of this loop. Loop thread only."""
        self._timers.cancel(timer)

    def watch(self, fd: int, wanted: int, owner: Watched) -> None:
        """Register `fd`; `owner` is told when it is ready. Loop thread only."""
        self.assert_on_loop()
        self._poller.register(fd, wanted)
        self._watched[fd] = owner

    def rewatch(self, fd: int, wanted: int) -> None:
        """Change what `fd` is watched for. Loop thread only."""
        self._poller.modify(fd, wanted)

    def unwatch(self, fd: int) -> None:
        """Forget `fd`, before it is closed. Loop thread only."""
        self.assert_on_loop()
        if self._watched.pop(fd, None) is not None:
            self._poller.unregister(fd)

    def add_turn_hook(self, hook: Callable[[], None]) -> None:
        """Run `hook` after every turn's descriptors and jobs. Before `start` only."""
        self._turn_hooks.append(hook)

    def add_idle_hook(self, hook: Callable[[], float | None]) -> None:
        """Ask `hook`, before each sleep, for the longest the loop may sleep (s, None: any).

        Before `start` only.
        """
        self._idle_hooks.append(hook)

    def assert_on_loop(self) -> None:
        """Fail when called from another thread: a bug of ours, never of the user."""
        assert threading.get_ident() == self._thread.ident, f"not on loop {self.name}"

    # -- the thread ---------------------------------------------------------------------

    def _run(self) -> None:
        thread = threading.get_ident()
        _loop_threads.add(thread)
        while not self._stopping:
            self._turn()
        for _ in range(_LAST_ROUNDS_MAX):  # jobs that end connections post further ones
            if not self._jobs:
                break
            self._run_jobs(len(self._jobs))
        self._close_inbox()
        self._run_jobs(len(self._jobs))  # what was accepted meanwhile; nothing more can be
        self._poller.close()
        _loop_threads.discard(thread)

    def _turn(self) -> None:
        timeout_s = self._sleep_bound_s()
        with self._inbox_lock:
            if self._jobs:
                timeout_s = 0.0
            else:
                self._sleeping = True
        ready = self._poller.poll(timeout_s)
        self._sleeping = False  # without the lock: a late ring costs one empty turn
        self.now_s = time.monotonic()
        watched = self._watched
        for fd, mask in ready:
            owner = watched.get(fd)
            if owner is None:  # unwatched by an earlier one of this batch, or the pipe
                if fd == self._wakeup.fileno():
                    self._wakeup.drain()
                continue
            try:
                if mask & READ:
                    owner.on_readable()
                if mask & WRITE and watched.get(fd) is owner:
                    owner.on_writable()
            except BaseException:  # sys.exit() in a callback must not end everybody's loop
                log.exception("loop callback failed loop=%s owner=%r", self.name, owner)
        if self._jobs:
            self._run_jobs(min(len(self._jobs), _JOBS_PER_TURN_MAX))
        for callback in self._timers.pop_due(self.now_s):
            self._guarded(callback)
        for hook in self._turn_hooks:
            try:
                hook()
            except BaseException:
                log.exception("loop hook failed loop=%s hook=%r", self.name, hook)

    def _sleep_bound_s(self) -> float | None:
        bound_s: float | None = None
        deadline_s = self._timers.next_deadline_s()
        if deadline_s is not None:
            bound_s = max(0.0, deadline_s - time.monotonic())
        for hook in self._idle_hooks:
            wanted_s = hook()
            if wanted_s is not None and (bound_s is None or wanted_s < bound_s):
                bound_s = wanted_s
        return bound_s

    def _run_jobs(self, count: int) -> None:
        for _ in range(count):
            self._guarded(self._jobs.popleft())

    def _guarded(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException:
            log.exception("loop callback failed loop=%s callback=%r", self.name, callback)

    def _begin_stop(self) -> None:
        self._stopping = True

    def _close_inbox(self) -> None:
        with self._inbox_lock:
            self._closed = True
            self._sleeping = False
            self._wakeup.close()
