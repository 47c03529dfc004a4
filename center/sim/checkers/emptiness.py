"""I8: never an empty map over a full one."""

from __future__ import annotations

from center.sim.checkers.base import Checker, Draft, Violation
from center.sim.checkers.witness import Witness
from libevrpc.core.clustermap import ClusterMap

__all__ = ["Emptiness"]


class Emptiness(Checker):
    """The servers of a map leave all together only if each of them said goodbye.

    Judged when the map is planned: a goodbye that comes later is no excuse.
    """

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._usable: set[str] = set()

    def drafted(self, center: int, draft: Draft, now_s: float) -> None:
        """Compare an empty map with the one it is made from."""
        if draft.map.servers:
            return
        epoch, stamp = draft.map.epoch, draft.map.stamp
        lost = [address for address in draft.dropped if not self._witness.left(address, epoch)]
        if lost:
            raise Violation("I8", f"{stamp} is empty, but {sorted(lost)} never said goodbye")

    def restored(self, client: str, held: ClusterMap | None) -> None:
        """Begin anew with a client."""
        self._usable.discard(client)

    def held(self, client: str, held: ClusterMap | None, usable: ClusterMap | None) -> None:
        """A client that ever had servers has some."""
        if usable is not None and usable.servers:
            self._usable.add(client)
        elif client in self._usable:
            raise Violation("I8", f"{client} has lost all its servers")
