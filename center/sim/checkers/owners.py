"""I9: every slot has an owner, and a living one if any server lives."""

from __future__ import annotations

import sys
from array import array

from center.core.record import MapRecord
from center.sim.checkers.base import Checker, Violation
from center.sim.checkers.history import map_of
from libevrpc.core.clustermap import ClusterMap, ServiceTable

__all__ = ["Owners", "owners_of"]


def owners_of(table: ServiceTable) -> tuple[int, ...]:
    """Return the owner of each slot: an index into the table's members."""
    owners = array("H", table.owners)
    if sys.byteorder == "big":
        owners.byteswap()
    return tuple(owners)


class Owners(Checker):
    """Tables are whole in every map, and over living servers once all has settled."""

    def made(self, center: int, record: MapRecord, now_s: float) -> None:
        """Check that each offered service has a table whose slots all have owners."""
        made = map_of(record.payload)
        if not made.tables:
            return
        offered = {service for entry in made.servers for service in entry.services}
        missing = offered - {service for table in made.tables for service in table.services}
        if missing:
            raise Violation("I9", f"{record.stamp} has no table for {sorted(missing)}")
        for table in made.tables:
            owners = owners_of(table)
            if not owners or len(owners) & (len(owners) - 1):
                raise Violation("I9", f"{record.stamp}: table of {len(owners)} slots")
            if max(owners) >= len(table.members) or max(table.members) >= len(made.servers):
                raise Violation("I9", f"{record.stamp}: slots of {table.services} belong to nobody")

    def settled(self, living: frozenset[str], newest: MapRecord) -> None:
        """Check that the map names exactly the living, and that they own every slot."""
        settled = map_of(newest.payload)
        named = {entry.address for entry in settled.servers}
        if living and named != living:
            raise Violation("I9", f"settled on {sorted(named)} while {sorted(living)} live")
        for table in settled.tables if living else ():
            dead = _addresses(settled, table) - living
            if dead:
                raise Violation("I9", f"{newest.stamp}: dead servers own slots: {sorted(dead)}")


def _addresses(holder: ClusterMap, table: ServiceTable) -> set[str]:
    return {holder.servers[table.members[owner]].address for owner in set(owners_of(table))}
