"""Long-polls: questions that wait for a newer map, answered by a thread of their own."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from center.core.ballot import Stamp
from center.front import Front
from libevrpc import Deferred
from libevrpc.clock import monotonic_s
from libevrpc.gen.center_pb2 import PullResponse

__all__ = ["LongPolls"]

POLLS_MAX = 20_000
"""Questions that may wait; one more is answered at once with nothing new."""
LOOK_S = 0.25
"""How late a question whose time is over is answered, at most."""
_JOIN_S = 5.0


@dataclass(frozen=True, slots=True)
class _Poll:
    deferred: Deferred
    service: str
    stamp: Stamp
    until_s: float


class LongPolls:
    """Questions that wait. `add` and `wake`: any thread.

    Args:
        front: returns the current snapshot.
    """

    def __init__(self, front: Callable[[], Front]) -> None:
        self._front = front
        self._polls: dict[int, _Poll] = {}
        self._ids = itertools.count()
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="center-polls", daemon=True)

    def start(self) -> None:
        """Start the thread. Once."""
        self._thread.start()

    def stop(self) -> None:
        """Answer everything and end. Once, after `start`."""
        self._bell.put(False)
        self._thread.join(_JOIN_S)

    def wake(self) -> None:
        """Look again: there is another snapshot."""
        self._bell.put(True)

    def add(self, deferred: Deferred, service: str, stamp: Stamp, wait_s: float) -> None:
        """Answer once the map is newer than `stamp`, or with nothing after `wait_s`."""
        if len(self._polls) >= POLLS_MAX:
            deferred.reply(response_of(self._front(), service, stamp))
            return
        key = next(self._ids)
        self._polls[key] = _Poll(deferred, service, stamp, monotonic_s() + wait_s)
        if len(self._polls) == 1:
            self._bell.put(True)  # the thread sleeps without a limit while nobody waits
        if self._front().stamp > stamp:  # it came between the question and its entry
            self._answer(key)

    def _answer(self, key: int) -> None:
        poll = self._polls.pop(key, None)
        if poll is not None:
            poll.deferred.reply(response_of(self._front(), poll.service, poll.stamp))

    def _run(self) -> None:
        going = True
        while going:
            try:
                going = self._bell.get(timeout=LOOK_S if self._polls else None)
            except queue.Empty:
                going = True
            now_s = monotonic_s()
            stamp = self._front().stamp
            for key, poll in list(self._polls.items()):
                if not going or stamp > poll.stamp or now_s >= poll.until_s:
                    self._answer(key)


def response_of(front: Front, service: str, stamp: Stamp) -> PullResponse:
    """Make the answer for who holds `stamp`: the part if there is something newer."""
    response = PullResponse(centers=front.centers, stale=not front.led)
    if front.map is None:
        response.not_ready = True
    elif front.stamp > stamp:
        response.map = front.part(service)
    return response
