"""I12: a newer list fences off an older one."""

from __future__ import annotations

from center.core.record import Voters
from center.sim.checkers.base import Checker, Violation

__all__ = ["Fence"]


class Fence(Checker):
    """Epochs and lists grow together: no process leads a later epoch with an earlier list.

    A quorum of the new list has promised an epoch, on disks that go with no older list any
    more; too few of the old list are left to promise a larger one. Lists are told apart by
    their generations: the same centers may be listed again, and are another list then.
    """

    def __init__(self) -> None:
        self._led: dict[int, Voters] = {}

    def led(self, center: int, incarnation: int, epoch: int, voters: Voters, now_s: float) -> None:
        """Compare the leader's list with those of every other epoch."""
        for other, known in self._led.items():
            younger = voters.generation - known.generation
            if (epoch - other) * younger < 0:
                text = (
                    f"epoch {epoch} has list {voters.generation} {voters.ids},"
                    f" epoch {other} has list {known.generation} {known.ids}"
                )
                raise Violation("I12", text)
        self._led[epoch] = voters
