"""A counter that any thread may raise without a lock."""

from __future__ import annotations

from threading import get_ident

__all__ = ["Tally"]


class Tally:
    """Counts per thread and adds up when asked: no increment is lost. Any thread.

    Memory is one entry per thread that ever counted; server threads are few and stay.
    """

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self) -> None:
        """Count one."""
        thread = get_ident()
        self._counts[thread] = self._counts.get(thread, 0) + 1

    def total(self) -> int:
        """Return the sum at some moment of the call."""
        return sum(list(self._counts.values()))
