"""I1: one established leader per epoch."""

from __future__ import annotations

from center.core.record import Voters
from center.sim.checkers.base import Checker, Violation

__all__ = ["Leaders"]


class Leaders(Checker):
    """An epoch belongs to one process, which begins to lead in it once."""

    def __init__(self) -> None:
        self._led: dict[int, tuple[int, int]] = {}

    def led(self, center: int, incarnation: int, epoch: int, voters: Voters, now_s: float) -> None:
        """Compare with whoever led in this epoch before."""
        before = self._led.get(epoch)
        if before is not None:
            again = "again" if before == (center, incarnation) else "as another process"
            text = f"center {center} leads in epoch {epoch} {again}, after center {before[0]}"
            raise Violation("I1", text)
        self._led[epoch] = (center, incarnation)
