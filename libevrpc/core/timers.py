"""Timers of one loop: a heap of deadlines, driven by whoever owns it.

Pure: the owner asks for the next deadline, sleeps as it likes, and takes what is due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

__all__ = ["Timer", "TimerHeap"]

_COMPACT_AT = 64
"""Cancelled timers are swept out once there are this many and they are the majority."""


class Timer:
    """One armed timer; hold it only to cancel it."""

    __slots__ = ("callback", "deadline_s", "order", "waiting")

    def __init__(self, deadline_s: float, order: int, callback: Callable[[], object]) -> None:
        self.deadline_s = deadline_s
        self.order = order
        self.callback: Callable[[], object] | None = callback
        self.waiting = True  # it is in the heap

    def __lt__(self, other: Timer) -> bool:
        if self.deadline_s == other.deadline_s:
            return self.order < other.order
        return self.deadline_s < other.deadline_s

    @property
    def armed(self) -> bool:
        """True until the timer fires or is cancelled."""
        return self.callback is not None


class TimerHeap:
    """A heap of timers. Owner's thread only; arm and cancel are O(log n) and O(1).

    Memory is bounded by twice the number of armed timers (plus a small constant):
    cancelled ones are swept out when they become the majority.
    """

    __slots__ = ("_cancelled", "_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._order = 0
        self._cancelled = 0

    def __len__(self) -> int:
        """Return the number of armed timers."""
        return len(self._heap) - self._cancelled

    def arm(self, deadline_s: float, callback: Callable[[], object]) -> Timer:
        """Fire `callback` once `deadline_s` is reached; equal deadlines keep their order."""
        self._order += 1
        timer = Timer(deadline_s, self._order, callback)
        heappush(self._heap, timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Forget a timer of this heap; one that fired or was cancelled already is left alone."""
        if timer.callback is None:
            return
        timer.callback = None
        if not timer.waiting:
            return
        self._cancelled += 1
        if self._cancelled >= _COMPACT_AT and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry.callback is not None]
            heapify(self._heap)
            self._cancelled = 0

    def next_deadline_s(self) -> float | None:
        """Return the earliest deadline, None when nothing is armed."""
        heap = self._heap
        while heap and heap[0].callback is None:
            heappop(heap)
            self._cancelled -= 1
        return heap[0].deadline_s if heap else None

    def pop_due(self, now_s: float) -> Iterator[Callable[[], object]]:
        """Take the timers whose deadline is at or before `now_s`; yields callbacks, earliest first.

        Run each callback before taking the next: it may cancel one that is due as well. A
        timer armed by one of them waits for the next call, however early its deadline: a
        timer that re-arms itself cannot starve the loop.
        """
        due: list[Timer] = []
        heap = self._heap
        while heap and heap[0].deadline_s <= now_s:
            timer = heappop(heap)
            timer.waiting = False
            if timer.callback is None:
                self._cancelled -= 1
            else:
                due.append(timer)
        for timer in due:
            callback = timer.callback
            if callback is not None:
                timer.callback = None
                yield callback
