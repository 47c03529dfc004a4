"""What has happened to maps so far: the facts that several checkers judge by."""

from __future__ import annotations

from functools import lru_cache

from center.core.ballot import NO_STAMP, Stamp
from center.core.record import MapRecord, Record
from center.sim.checkers.base import Checker, Violation
from libevrpc.core.clustermap import ClusterMap

__all__ = ["History", "map_of"]

DECODED_MAX = 64


@lru_cache(maxsize=DECODED_MAX)
def map_of(payload: bytes) -> ClusterMap:
    """Return the decoded map."""
    return ClusterMap.decode(payload)


class History(Checker):
    """Every map ever made, where it was durable, and which ones are committed.

    Stands first among the checkers, so that the others see the event in it already, except
    that `committed` is entered by `enter_commit` after they have seen it.

    Attributes:
        maps: by stamp.
        holders: the centers that ever had the map of a stamp on their disks.
        commits: the committed maps by stamp.
        newest: the committed map of the largest stamp.
    """

    def __init__(self) -> None:
        self.maps: dict[Stamp, MapRecord] = {}
        self.holders: dict[Stamp, set[int]] = {}
        self.commits: dict[Stamp, MapRecord] = {}
        self.newest: MapRecord | None = None

    def is_new(self, record: MapRecord) -> bool:
        """Enter a map; return whether it was unknown.

        Raises:
            Violation: its stamp names another content already.
        """
        known = self.maps.get(record.stamp)
        if known is None:
            self.maps[record.stamp] = record
            return True
        if known is not record and known != record:
            raise Violation("I3", f"two maps have the stamp {record.stamp}")
        return False

    def wrote(self, center: int, record: Record) -> None:
        """Note a durable copy."""
        if record.map is not None:
            self.holders.setdefault(record.map.stamp, set()).add(center)

    def enter_commit(self, record: MapRecord) -> None:
        """Note that a map is committed, once the checkers have agreed."""
        self.commits.setdefault(record.stamp, record)
        if self.newest is None or record.stamp > self.newest.stamp:
            self.newest = record

    def parent_of(self, record: MapRecord) -> ClusterMap | None:
        """Return the map that `record` was made from; None for the first one."""
        if record.parent == NO_STAMP or record.parent not in self.maps:
            return None
        return map_of(self.maps[record.parent].payload)
