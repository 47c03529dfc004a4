"""The map that a center serves: the newest it knows to be committed and holds durably."""

from __future__ import annotations

from dataclasses import replace

from center.core.ballot import NO_STAMP, Stamp
from center.core.events import Action, MapCommitted
from center.core.record import MapRecord
from libevrpc.core.clustermap import ClusterMap, ServerEntry
from libevrpc.errors import ProtocolError

__all__ = ["Served"]


class Served:
    """Only ever replaced by a newer one."""

    def __init__(self, record: MapRecord | None, now_s: float) -> None:
        """Begin with what was known to be committed before the start."""
        self.record = record
        self._at_s = now_s

    @property
    def stamp(self) -> Stamp:
        """Stamp of the served map, (0, 0) without one."""
        return NO_STAMP if self.record is None else self.record.stamp

    def serve(self, record: MapRecord, now_s: float) -> list[Action]:
        """Serve `record` if it is newer."""
        if record.stamp <= self.stamp:
            return []
        self.record = record
        self._at_s = now_s
        return [MapCommitted(record)]

    def entries(
        self, ages_s: dict[str, float], now_s: float, held: ClusterMap | None = None
    ) -> tuple[ServerEntry, ...]:
        """Return the servers with `ages_s`; those not in it have aged since the map came.

        Without `held`, the map that the owner has read, it is read anew each time: kept, it would
        cost as much memory as the servers do.
        """
        since_s = now_s - self._at_s
        if held is not None and held.stamp == self.stamp:
            known = held.servers
        else:
            known = _entries_of(self.record)
        return tuple(
            replace(entry, age_s=ages_s.get(entry.address, entry.age_s + since_s))
            for entry in known
        )


def _entries_of(record: MapRecord | None) -> tuple[ServerEntry, ...]:
    if record is None:
        return ()
    try:
        return ClusterMap.decode(record.payload).servers
    except ProtocolError:
        return ()
