"""I2: no commit without a quorum of durable copies."""

from __future__ import annotations

from center.core.quorum import majority
from center.core.record import MapRecord
from center.sim.checkers.base import Checker, Violation
from center.sim.checkers.history import History

__all__ = ["Copies"]


class Copies(Checker):
    """A map is served only where it is durable, and only if a quorum has it on its disks."""

    def __init__(self, history: History, centers: int) -> None:
        self._history = history
        self._quorum = majority(centers)

    def committed(self, center: int, record: MapRecord, now_s: float) -> None:
        """Count the copies."""
        holders = self._history.holders.get(record.stamp, set())
        if len(holders) < self._quorum:
            text = f"center {center} serves {record.stamp}, durable at {sorted(holders)} only"
            raise Violation("I2", text)
        if center not in holders:
            text = f"center {center} serves {record.stamp}, which it never had on its disk"
            raise Violation("I2", text)
