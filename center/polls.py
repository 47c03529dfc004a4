"""Long-polls: questions that wait for a newer map, answered by a thread of their own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from center.core.ballot import Stamp
from center.front import Front
from libevrpc import Deferred
from libevrpc.clock import monotonic_s
from libevrpc.core.timers import Timer, TimerHeap
from libevrpc.gen.center_pb2 import PullResponse

__all__ = ["LongPoll", "LongPolls"]

log = logging.getLogger(__name__)

POLLS_MAX = 20_000
"""Questions that may wait; one more is answered at once with nothing new."""
LEADERLESS_S = 1.0
"""A center without a leader for this long sends those who wait to other centers."""
_JOIN_S = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class LongPoll:
    """A client that holds the map of `stamp` and waits for a newer one until `until_s`."""

    deferred: Deferred
    service: str
    stamp: Stamp
    until_s: float


@dataclass(frozen=True, slots=True)
class _Forget:
    poll: LongPoll


@dataclass(frozen=True, slots=True)
class _Job:
    """Something slow that the node's thread does not want to do itself."""

    run: Callable[[], object]


class _Wake:
    """The snapshot was replaced."""


class _Stop:
    """Answer everything and end."""


_Item = LongPoll | _Forget | _Job | _Wake | _Stop


class LongPolls:
    """Questions that wait. `add`, `forget`, `wake` and `post`: any thread.

    All bookkeeping belongs to the thread `center-polls`; the others only put items into its
    queue, which is as long as there are calls in flight.

    Args:
        front: returns the current snapshot.
    """

    def __init__(self, front: Callable[[], Front]) -> None:
        self._front = front
        self._waiting: dict[LongPoll, Timer] = {}
        self._timers = TimerHeap()
        self._leaderless: Timer | None = None
        self._items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="center-polls", daemon=True)

    # -- any thread ---------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread. Once."""
        self._thread.start()

    def stop(self) -> None:
        """Answer everything and end. Once, after `start`."""
        self._items.put(_Stop())
        self._thread.join(_JOIN_S)

    def wake(self) -> None:
        """Look again: there is another snapshot."""
        self._items.put(_Wake())

    def add(self, poll: LongPoll) -> None:
        """Answer once the map is newer than what the client has, or when its time is over."""
        self._items.put(poll)

    def forget(self, poll: LongPoll) -> None:
        """Nobody waits for this one any more."""
        self._items.put(_Forget(poll))

    def post(self, job: Callable[[], object]) -> None:
        """Run `job` on this thread."""
        self._items.put(_Job(job))

    # -- the thread ---------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            item = self._next()
            if isinstance(item, _Stop):
                break
            try:
                self._take(item)
                for callback in self._timers.pop_due(monotonic_s()):
                    callback()
            except Exception:
                log.exception("long-polls failed at %s", type(item).__name__)
        for poll in list(self._waiting):
            self._answer(poll)

    def _next(self) -> _Item | None:
        due_s = self._timers.next_deadline_s()
        try:
            return self._items.get(
                timeout=None if due_s is None else max(0.0, due_s - monotonic_s())
            )
        except queue.Empty:
            return None

    def _take(self, item: _Item | None) -> None:
        match item:
            case None:
                return
            case LongPoll():
                self._hold(item)
            case _Forget(poll):
                self._drop(poll)
            case _Job(run):
                run()
            case _Wake():
                self._look()
            case _Stop():
                raise AssertionError("handled before")
            case _:
                assert_never(item)

    def _hold(self, poll: LongPoll) -> None:
        """Keep a question; what came between its arrival and now is answered at once."""
        front = self._front()
        if front.stamp > poll.stamp or not front.led or len(self._waiting) >= POLLS_MAX:
            self._answer(poll)
            return
        self._waiting[poll] = self._timers.arm(poll.until_s, lambda: self._answer(poll))

    def _drop(self, poll: LongPoll) -> None:
        timer = self._waiting.pop(poll, None)
        if timer is not None:
            self._timers.cancel(timer)

    def _answer(self, poll: LongPoll) -> None:
        self._drop(poll)
        poll.deferred.reply(response_of(self._front(), poll.service, poll.stamp))

    def _look(self) -> None:
        front = self._front()
        news: dict[str, PullResponse] = {}  # the same for all who ask for one service
        for poll in [each for each in self._waiting if front.stamp > each.stamp]:
            answer = news.get(poll.service)
            if answer is None:
                answer = news[poll.service] = response_of(front, poll.service, poll.stamp)
            self._drop(poll)
            poll.deferred.reply(answer)
        if front.led and self._leaderless is not None:
            self._timers.cancel(self._leaderless)
            self._leaderless = None
        elif not front.led and self._leaderless is None:
            self._leaderless = self._timers.arm(monotonic_s() + LEADERLESS_S, self._give_up)

    def _give_up(self) -> None:
        """No leader has turned up here: others may know more."""
        self._leaderless = None
        for poll in list(self._waiting):
            self._answer(poll)


def response_of(front: Front, service: str, stamp: Stamp) -> PullResponse:
    """Make the answer for who holds `stamp`: the part if there is something newer.

    Without a leader and with nothing newer this center is not the one to ask.
    """
    response = PullResponse(centers=front.centers, stale=not front.led)
    if front.stamp > stamp:
        response.map = front.part(service)
    else:
        response.not_ready = not front.led or front.map is None
    if service and front.map is not None and front.map.table_of(service) is None:
        response.services.extend(front.services())
    return response
