"""I8: never an empty map over a full one."""

from __future__ import annotations

from center.sim.checkers.base import Checker, Draft, Violation
from center.sim.checkers.witness import Witness
from libevrpc.core.clustermap import ClusterMap

__all__ = ["Emptiness"]


class Emptiness(Checker):
    """The last server leaves by a goodbye only.

    Judged when the map is planned: a goodbye that comes later is no excuse. A map may leave out
    several who went one after the other while the map before it was being planned, and those
    before the last may have gone in other ways: their end is not judged here. Nor need the last
    have been in a map: it may have come meanwhile.
    """

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._usable: set[str] = set()
        self._reported: dict[int, set[str]] = {}

    def reported(self, address: str, session: str, epoch: int, now_s: float) -> None:
        """Note who may have come since the last map was planned."""
        self._reported.setdefault(epoch, set()).add(address)

    def drafted(self, center: int, draft: Draft, now_s: float) -> None:
        """Compare an empty map with the one it is made from."""
        epoch, stamp, dropped = draft.map.epoch, draft.map.stamp, draft.dropped
        known = self._reported.pop(epoch, set()).union(dropped)
        if draft.map.servers or not dropped:
            return
        if not any(self._witness.left(address, epoch) for address in known):
            raise Violation("I8", f"{stamp} is empty, but none of {sorted(known)} said goodbye")

    def restored(self, client: str, held: ClusterMap | None) -> None:
        """Begin anew with a client."""
        self._usable.discard(client)

    def held(self, client: str, held: ClusterMap | None, usable: ClusterMap | None) -> None:
        """A client that ever had servers has some."""
        if usable is not None and usable.servers:
            self._usable.add(client)
        elif client in self._usable:
            raise Violation("I8", f"{client} has lost all its servers")
