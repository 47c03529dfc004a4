"""What a center serves, as immutable snapshots: read by every loop without a lock."""

from __future__ import annotations

from dataclasses import dataclass, field

from center.core.ballot import NO_STAMP, Stamp, State
from center.core.record import MapRecord
from libevrpc.core.clustermap import ClusterMap
from libevrpc.core.places import places_of

__all__ = ["Front"]

SERVICES_TOLD_MAX = 64
"""Names told to who asked for a service that nobody offers."""
PARTS_MAX = 4096
"""Encoded parts kept per snapshot; further services are encoded afresh each time."""


@dataclass(frozen=True, slots=True)
class Front:
    """One moment of a center. Immutable but for caches; any thread.

    Attributes:
        addresses: client address by center id, as configured.
        state: of the node.
        leader: whom it follows, None for nobody.
        map: the committed map; None before the first.
        record: the same, as stored.
    """

    addresses: dict[int, str]
    state: State = State.LOOKING
    leader: int | None = None
    map: ClusterMap | None = None
    record: MapRecord | None = None
    _parts: dict[str, bytes] = field(default_factory=dict)
    _named: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def led(self) -> bool:
        """True while the center leads or follows."""
        return self.state in (State.LEADING, State.FOLLOWING)

    @property
    def stamp(self) -> Stamp:
        """Stamp of the map; (0, 0) without one."""
        return NO_STAMP if self.record is None else self.record.stamp

    @property
    def centers(self) -> list[str]:
        """Client addresses of all configured centers."""
        return list(self.addresses.values())

    def places(self, address: str) -> list[str]:
        """Return where the server at `address` reports to: owner and successors."""
        live = self.map.centers if self.map is not None else ()
        return [self.addresses[each] for each in places_of(address, live) if each in self.addresses]

    def names(self, address: str) -> bool:
        """Tell whether the map has the server at `address`."""
        if self.map is None:
            return False
        named = self._named.get("servers")
        if named is None:
            named = self._named["servers"] = frozenset(each.address for each in self.map.servers)
        return address in named

    def services(self) -> list[str]:
        """Return the first names of what the map's servers offer."""
        tables = self.map.tables if self.map is not None else ()
        names = sorted({name for table in tables for name in table.services})
        return names[:SERVICES_TOLD_MAX]

    def part(self, service: str) -> bytes:
        """Return the encoded part of `service`; "" is the whole map; empty without a map."""
        if self.map is None or self.record is None:
            return b""
        if not service:
            return self.record.payload
        part = self._parts.get(service)
        if part is None:
            cut = self.map.part(service)
            part = self.record.payload if cut == self.map else cut.encode()
            if cut.tables and len(self._parts) < PARTS_MAX:  # keep no name that strangers made up
                self._parts[service] = part
        return part
