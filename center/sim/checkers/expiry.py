"""I7 for servers: who reports stays, and only a leader in contact judges silence."""

from __future__ import annotations

from center.sim.checkers.base import Checker, Draft, Violation
from center.sim.checkers.witness import NEVER_S, Witness

__all__ = ["Expiry"]


class Expiry(Checker):
    """Whoever left no proof of its end leaves the map by silence alone.

    Judged when a map is planned: by then its leader has decided, and what reaches it before
    the map is published changes the next one. Each leader judges by what it heard itself, and
    by what its predecessor's last ping told: what a predecessor heard after that is lost.
    """

    def __init__(self, witness: Witness, expire_s: float) -> None:
        """Watch; no server is silent long that was heard within `expire_s`."""
        self._witness = witness
        self._expire_s = expire_s
        self._claimed_s: dict[tuple[int, int], float] = {}
        self._drafted_s: dict[tuple[int, int], float] = {}

    def claimed(self, center: int, epoch: int, local_s: float, now_s: float) -> None:
        """Note when a leader last had its lease."""
        self._claimed_s[center, epoch] = now_s

    def drafted(self, center: int, draft: Draft, now_s: float) -> None:
        """Look at the servers that this map leaves out."""
        epoch, stamp = draft.map.epoch, draft.map.stamp
        reign = (center, epoch)
        if draft.claims:
            self._claimed_s[reign] = now_s
        claimed_s = self._claimed_s.get(reign)
        # Who is in the map before this one was still known when that one was planned.
        known_s = self._drafted_s.get(reign, NEVER_S)
        self._drafted_s[reign] = now_s
        self._check_heard(center, draft, now_s)
        for address in draft.dropped:
            if self._witness.gone(address, epoch):
                continue
            heard = self._witness.heard(address)
            due_s = heard.at_s + self._expire_s if heard.epoch == epoch else NEVER_S
            if claimed_s is None or claimed_s < max(known_s, due_s):
                text = f"center {center} expires {address} in {stamp} without a lease"
                raise Violation("I7", text)

    def _check_heard(self, center: int, draft: Draft, now_s: float) -> None:
        """Find everybody in the map who has reported to its leader."""
        named = {entry.address for entry in draft.map.servers}
        for address, heard in self._witness.reports():
            silent_s = now_s - heard.at_s
            if address in named or heard.epoch != draft.map.epoch or silent_s >= self._expire_s:
                continue
            if not self._witness.gone(address, heard.epoch):
                text = f"{address} is not in {draft.map.stamp}, heard {silent_s:.2f} s before"
                raise Violation("I7", text)
