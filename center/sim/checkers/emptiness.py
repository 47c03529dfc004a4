"""I8: never an empty map over a full one."""

from __future__ import annotations

from center.core.record import MapRecord
from center.sim.checkers.base import Checker, Violation
from center.sim.checkers.history import History, map_of
from libevrpc.core.clustermap import ClusterMap

__all__ = ["Emptiness"]


class Emptiness(Checker):
    """The servers of a map leave all together only if each of them said goodbye."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._left: set[str] = set()
        self._usable: set[str] = set()

    def departed(self, address: str, goodbye: bool) -> None:
        """Note a goodbye."""
        if goodbye:
            self._left.add(address)

    def committed(self, center: int, record: MapRecord, now_s: float) -> None:
        """Compare an empty map with the one it was made from."""
        if map_of(record.payload).servers:
            return
        parent = self._history.parent_of(record)
        lost = sorted(
            entry.address
            for entry in (parent.servers if parent is not None else ())
            if entry.address not in self._left
        )
        if lost:
            raise Violation("I8", f"{record.stamp} is empty, but {lost} never said goodbye")

    def restored(self, client: str, held: ClusterMap | None) -> None:
        """Begin anew with a client."""
        self._usable.discard(client)

    def held(self, client: str, held: ClusterMap | None, usable: ClusterMap | None) -> None:
        """A client that ever had servers has some."""
        if usable is not None and usable.servers:
            self._usable.add(client)
        elif client in self._usable:
            raise Violation("I8", f"{client} has lost all its servers")
