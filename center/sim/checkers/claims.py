"""I6: no claim to lead outside the lease; never two claimants."""

from __future__ import annotations

from collections import defaultdict

from center.core.ballot import Stamp
from center.core.quorum import majority
from center.core.record import Voters
from center.sim.checkers.base import Checker, Violation

__all__ = ["Claims"]

INFINITE_S = float("inf")
GAP_S = 0.25
"""Leaders ping more often than that: two disputes further apart are two."""


class Claims(Checker):
    """Computes every lease anew, from what was sent and what came back."""

    def __init__(self, lease_s: float, *, overlap_s: float) -> None:
        """Watch; two claimants may overlap by `overlap_s` (0 unless the faults allow it)."""
        self._quorums: dict[tuple[int, int], int] = {}
        self._lease_s = lease_s
        self._overlap_s = overlap_s
        self._sent_s: defaultdict[int, dict[tuple[int, int], float]] = defaultdict(dict)
        self._asked_s: defaultdict[int, dict[tuple[int, int], float]] = defaultdict(dict)
        self._contact_s: defaultdict[tuple[int, int], dict[int, float]] = defaultdict(dict)
        self._began_s = self._last_s = -INFINITE_S

    def led(self, center: int, incarnation: int, epoch: int, voters: Voters, now_s: float) -> None:
        """Note how many make a quorum for this leader."""
        self._quorums[center, epoch] = majority(len(voters.ids))

    def started(self, center: int, served: Stamp) -> None:
        """What an earlier process sent counts for nothing."""
        self._sent_s.pop(center, None)
        self._asked_s.pop(center, None)

    def pinged(self, center: int, epoch: int, sequence: int, local_s: float) -> None:
        """Remember when."""
        self._sent_s[center][epoch, sequence] = local_s

    def asked(self, center: int, epoch: int, to: int, local_s: float, now_s: float) -> None:
        """Remember when first."""
        self._asked_s[center].setdefault((epoch, to), local_s)

    def ponged(self, center: int, sender: int, epoch: int, sequence: int) -> None:
        """Count the contact from the sending."""
        self._contact(center, sender, epoch, self._sent_s[center].get((epoch, sequence)))

    def promised(self, center: int, sender: int, epoch: int) -> None:
        """Count the contact from the question."""
        self._contact(center, sender, epoch, self._asked_s[center].get((epoch, sender)))

    def _contact(self, center: int, sender: int, epoch: int, sent_s: float | None) -> None:
        if sent_s is not None:
            contacts = self._contact_s[center, epoch]
            contacts[sender] = max(sent_s, contacts.get(sender, sent_s))

    def claimed(self, center: int, epoch: int, local_s: float, now_s: float) -> None:
        """Find a quorum of contacts within the lease."""
        contacts = self._contact_s[center, epoch].values()
        fresh = sum(local_s - sent_s < self._lease_s for sent_s in contacts)
        if fresh + 1 < self._quorums[center, epoch]:
            text = f"center {center} claims epoch {epoch} in contact with {fresh} others"
            raise Violation("I6", text)

    def disputed(self, claimants: tuple[int, ...], now_s: float) -> None:
        """Measure how long several claim: one instant is too long without an excuse."""
        if now_s - self._last_s > GAP_S:
            self._began_s = now_s
        self._last_s = now_s
        if now_s - self._began_s >= self._overlap_s:
            raise Violation("I6", f"centers {claimants} claim to lead at once")
