"""I8 for many servers: those that fall silent together are suspects first, and stay in the map."""

from __future__ import annotations

from center.sim.checkers.base import Checker, Draft, Violation
from center.sim.checkers.witness import Witness

__all__ = ["Silence"]

TOGETHER_S = 0.5
"""Silences that begin within this span are one event: a network, not so many servers."""
MANY_MIN = 3
MANY = 0.5
"""So many servers, and more than this share of all, are a mass by any account."""


class Silence(Checker):
    """No map leaves out most of the servers for a silence that they share.

    Judged when a map is planned, like every silence. A scenario is shorter than the longest
    time that suspects are kept.
    """

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    def drafted(self, center: int, draft: Draft, now_s: float) -> None:
        """Look at the servers that this map leaves out."""
        epoch, stamp = draft.map.epoch, draft.map.stamp
        lost = [address for address in draft.dropped if not self._witness.gone(address, epoch)]
        if len(lost) < MANY_MIN or len(lost) <= MANY * len(draft.previous.servers):
            return
        heard = [self._witness.heard(address) for address in lost]
        if any(each.epoch != epoch for each in heard):
            return  # what an earlier leader heard, this one may not know
        times_s = [each.at_s for each in heard]
        if max(times_s) - min(times_s) <= TOGETHER_S:
            raise Violation("I8", f"{stamp} drops {sorted(lost)}, silent together")
