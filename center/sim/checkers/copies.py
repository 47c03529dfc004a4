"""I2: no commit without a quorum of durable copies."""

from __future__ import annotations

from center.core.ballot import NO_STAMP, Stamp
from center.core.quorum import majority
from center.core.record import MapRecord, Record, Voters
from center.sim.checkers.base import Checker, Violation
from center.sim.checkers.history import History

__all__ = ["Copies"]


class Copies(Checker):
    """A map is served only if a quorum has it on its disks, the server itself it or a newer.

    A quorum of the list that the map's maker has: others are none of its voters.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._voters: dict[int, tuple[int, ...]] = {}
        self._durable: dict[int, Stamp] = {}
        self._promised: dict[int, int] = {}

    def led(self, center: int, incarnation: int, epoch: int, voters: Voters, now_s: float) -> None:
        """Note who votes in an epoch."""
        self._voters[epoch] = voters.ids

    def wrote(self, center: int, record: Record) -> None:
        """Note what is on a disk."""
        self._durable[center] = record.stamp
        self._promised[center] = record.accepted_epoch

    def wiped(self, center: int) -> None:
        """Forget what was on a disk."""
        self._durable.pop(center, None)
        self._promised.pop(center, None)

    def committed(self, center: int, record: MapRecord, now_s: float) -> None:
        """Count the copies."""
        voters = self._voters.get(record.epoch, ())
        holders = self._history.holders.get(record.stamp, set()).intersection(voters)
        if len(holders) < majority(len(voters)):
            text = f"center {center} serves {record.stamp}, durable at {sorted(holders)} only"
            raise Violation("I2", text)
        if self._durable.get(center, NO_STAMP) < record.stamp:
            text = f"center {center} serves {record.stamp}, which is not on its disk"
            raise Violation("I2", text)

    def acknowledged(self, center: int, epoch: int) -> None:
        """A copy counts for the leader of an epoch that its holder has not promised beyond."""
        promised = self._promised.get(center, 0)
        if epoch < promised:
            text = f"center {center} has promised epoch {promised} and answers epoch {epoch}"
            raise Violation("I2", text)
