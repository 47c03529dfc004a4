"""Publication: one map at a time, committed at a quorum of durable copies."""

from __future__ import annotations

from center.core.ballot import NO_STAMP, Stamp
from center.core.messages import Put
from center.core.quorum import Outcome, tally
from center.core.record import MapRecord

__all__ = ["Publication"]


class Publication:
    """What one leader has made, who holds it, and what of it is committed.

    The next map waits until the last one is committed, so a stamp names one content.
    """

    def __init__(self, me: int, epoch: int, voters: int, adopted: MapRecord | None) -> None:
        """Begin with the newest map of the quorum that promised itself to `epoch`."""
        self._me = me
        self._epoch = epoch
        self._voters = voters
        self.newest = adopted
        self.cluster_id = ""
        self.committed: Stamp = NO_STAMP
        self._holders: set[int] = set()
        self._put_s: dict[int, float] = {}

    @property
    def busy(self) -> bool:
        """Whether a map of this leader is out and not yet committed."""
        return self.own and self.stamp != self.committed

    @property
    def own(self) -> bool:
        """Whether the newest map is of this leader's making."""
        return self.newest is not None and self.newest.epoch == self._epoch

    @property
    def stamp(self) -> Stamp:
        """Stamp of the newest map, committed or not."""
        return NO_STAMP if self.newest is None else self.newest.stamp

    @property
    def next_version(self) -> int:
        """The version of the map to be made next: versions count on over epochs."""
        return self.stamp[1] + 1

    def publish(self, payload: bytes) -> MapRecord:
        """Make the next map of `payload`. Not while `busy`."""
        self.newest = MapRecord(self._epoch, self.next_version, self.stamp, payload)
        self._holders.clear()
        self._put_s.clear()
        return self.newest

    def stored(self, sender: int, stamp: Stamp) -> MapRecord | None:
        """Count a durable copy; return the map if this one committed it.

        The leader's own copy is among them: it serves the map, so it must not forget it.
        """
        if not self.busy or stamp != self.stamp:
            return None
        self._holders.add(sender)
        won = tally(len(self._holders), 0, self._voters) is Outcome.WON
        if not won or self._me not in self._holders:
            return None
        self.committed = stamp
        return self.newest

    def put_for(self, peer: int, held: Stamp, now_s: float, again_s: float) -> Put | None:
        """Return what to send to `peer` who holds `held`; None: nothing, or sent just now."""
        if not self.own or self.newest is None or held >= self.stamp:
            return None
        last_s = self._put_s.get(peer)
        if last_s is not None and now_s - last_s < again_s:
            return None
        self._put_s[peer] = now_s
        return Put(self._epoch, self.cluster_id, self.newest)
