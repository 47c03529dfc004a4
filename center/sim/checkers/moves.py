"""I10: no more slots move than must, and the budget of a round."""

from __future__ import annotations

from center.core.assignment import USUAL_POLICY
from center.core.record import MapRecord
from center.sim.checkers.base import Checker, Violation
from center.sim.checkers.history import History, map_of
from center.sim.checkers.owners import owners_of
from libevrpc.core.clustermap import ClusterMap

__all__ = ["Moves"]


def _owners_by_address(owned: ClusterMap, service: str) -> list[str]:
    table = owned.table_of(service)
    if table is None:
        return []
    addresses = [owned.servers[member].address for member in table.members]
    return [addresses[owner] for owner in owners_of(table)]


class Moves(Checker):
    """Slots of servers that are still there move within `moved_share_max` a map."""

    def __init__(self, history: History) -> None:
        self._history = history

    def made(self, center: int, record: MapRecord, now_s: float) -> None:
        """Compare each service's owners with those of the map before."""
        made = map_of(record.payload)
        parent = self._history.parent_of(record)
        if not made.tables or parent is None:
            return
        for service in (service for table in made.tables for service in table.services):
            before = _owners_by_address(parent, service)
            after = _owners_by_address(made, service)
            if not before or len(before) != len(after):
                continue
            table = made.table_of(service)
            assert table is not None
            there = {made.servers[member].address for member in table.members}
            moved = sum(old != new and old in there for old, new in zip(before, after, strict=True))
            if moved > int(len(after) * USUAL_POLICY.moved_share_max):
                text = f"{record.stamp}: {moved} of {len(after)} slots of {service} left the living"
                raise Violation("I10", text)
