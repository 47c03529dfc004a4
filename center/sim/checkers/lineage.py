"""I3: committed maps form one line; each descends from every earlier one."""

from __future__ import annotations

from center.core.ballot import NO_STAMP, Stamp
from center.core.record import MapRecord
from center.sim.checkers.base import Checker, Violation
from center.sim.checkers.history import History

__all__ = ["Lineage"]


class Lineage(Checker):
    """Walks from each committed map to the one before it."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._top: Stamp = NO_STAMP
        self._line: set[Stamp] = set()

    def committed(self, center: int, record: MapRecord, now_s: float) -> None:
        """Find the last committed map among the ancestors, or this one among its."""
        stamp = record.stamp
        if stamp in self._line:
            return
        if stamp < self._top:
            raise Violation("I3", f"{stamp} is committed beside the line that led to {self._top}")
        walked = [stamp]
        parent = record.parent
        while parent > self._top:
            walked.append(parent)
            known = self._history.maps.get(parent)
            if known is None:
                raise Violation("I3", f"{stamp} descends from {parent}, which nobody made")
            parent = known.parent
        if parent != self._top:
            raise Violation("I3", f"{stamp} descends from {parent}, not from {self._top}")
        self._line.update(walked)
        self._top = stamp
