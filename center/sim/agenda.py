"""Virtual time, and what is to happen when."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from center.sim.checkers.base import Violation

__all__ = ["Agenda"]

JOBS_MAX = 400_000
"""Most jobs of one scenario: whoever needs more talks in circles."""


class Agenda:
    """Jobs by virtual time; those of one instant run in the order they were entered.

    Attributes:
        now_s: the virtual time.
        halted: set by a job to end the present `run` after it.
    """

    __slots__ = ("_count", "_heap", "halted", "now_s")

    def __init__(self) -> None:
        self.now_s = 0.0
        self.halted = False
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, at_s: float, job: Callable[..., object], *given: Any) -> None:
        """Enter a job for `at_s`, or for now if that is past."""
        self._count += 1
        heapq.heappush(self._heap, (max(at_s, self.now_s), self._count, job, given))

    def after(self, span_s: float, job: Callable[..., object], *given: Any) -> None:
        """Enter a job for `span_s` from now."""
        self._count += 1
        heapq.heappush(self._heap, (self.now_s + span_s, self._count, job, given))

    def run(self, until_s: float) -> bool:
        """Let time pass until `until_s`, or until a job halts it; return whether one did.

        Raises:
            Violation: too many jobs.
        """
        heap = self._heap
        self.halted = False
        while heap and heap[0][0] <= until_s:
            self.now_s, _, job, given = heapq.heappop(heap)
            job(*given)
            if self.halted:
                return True
        if self._count > JOBS_MAX:
            raise Violation("L0", f"over {JOBS_MAX} jobs: the cluster talks in circles")
        self.now_s = until_s
        return False
