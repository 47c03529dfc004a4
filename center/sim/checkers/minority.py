"""I7: who cannot reach a quorum changes nothing."""

from __future__ import annotations

from center.core.record import MapRecord, Voters
from center.sim.checkers.base import Checker, Violation
from center.sim.checkers.history import History

__all__ = ["Minority"]


class Minority(Checker):
    """A center cut off from a quorum neither claims, nor becomes leader, nor commits.

    `grace_s` is how long answers that were under way at the cut may still have effects;
    promises given before it may make a leader without a lease for another `handshake_s`.
    """

    def __init__(
        self,
        history: History,
        *,
        lease_s: float,
        handshake_s: float,
        grace_s: float,
    ) -> None:
        self._history = history
        self._lease_s = lease_s
        self._handshake_s = handshake_s
        self._grace_s = grace_s
        self._weak_s: dict[int, float] = {}

    def reached(self, center: int, quorate: bool, now_s: float) -> None:
        """Note since when a running center is in a minority."""
        if quorate:
            self._weak_s.pop(center, None)
        else:
            self._weak_s.setdefault(center, now_s)

    def _weak_for_s(self, center: int, now_s: float) -> float:
        return now_s - self._weak_s.get(center, now_s)

    def led(self, center: int, incarnation: int, epoch: int, voters: Voters, now_s: float) -> None:
        """Refuse a leader that has had no quorum for long."""
        if self._weak_for_s(center, now_s) > self._grace_s + self._handshake_s:
            raise Violation("I7", f"center {center} leads in epoch {epoch} from a minority")

    def claimed(self, center: int, epoch: int, local_s: float, now_s: float) -> None:
        """Refuse a claim that outlives the contact by more than the lease."""
        if self._weak_for_s(center, now_s) > self._lease_s:
            raise Violation("I7", f"center {center} claims epoch {epoch} from a minority")

    def committed(self, center: int, record: MapRecord, now_s: float) -> None:
        """Refuse a map that a minority was the first to serve."""
        known = record.stamp in self._history.commits
        if not known and self._weak_for_s(center, now_s) > self._grace_s:
            raise Violation("I7", f"center {center} commits {record.stamp} in a minority")
