"""I7 for servers: who reports stays, and only a leader in contact judges silence."""

from __future__ import annotations

from center.core.record import MapRecord
from center.sim.checkers.base import Checker, Violation
from center.sim.checkers.history import History, map_of

__all__ = ["Expiry"]


class Expiry(Checker):
    """Whoever left no proof of its end leaves the map by silence alone.

    Each leader judges by what it heard itself, and by what its predecessor's last ping told:
    what a predecessor heard after that is lost.
    """

    def __init__(self, history: History, expire_s: float) -> None:
        """Watch; no server is silent long that was heard within `expire_s`."""
        self._history = history
        self._expire_s = expire_s
        self._heard: dict[str, tuple[float, int]] = {}
        self._gone: set[str] = set()

    def reported(self, address: str, epoch: int, now_s: float) -> None:
        """Note that a leader heard of the server."""
        self._heard[address] = (now_s, epoch)

    def departed(self, address: str, goodbye: bool) -> None:
        """Proof of its end excuses whatever becomes of the server."""
        self._gone.add(address)

    def made(self, center: int, record: MapRecord, claims: bool, now_s: float) -> None:
        """Look at the servers that this map leaves out."""
        parent = self._history.parent_of(record)
        if parent is None:
            return
        kept = {entry.address for entry in map_of(record.payload).servers}
        for entry in parent.servers:
            address = entry.address
            if address in kept or address in self._gone:
                continue
            if not claims:
                text = f"center {center} expires {address} in {record.stamp} without a lease"
                raise Violation("I7", text)
            heard_s, epoch = self._heard.get(address, (-self._expire_s, 0))
            silent_s = now_s - heard_s
            if epoch == record.epoch and silent_s < self._expire_s:
                text = f"{address} is out of {record.stamp}, heard {silent_s:.2f} s before"
                raise Violation("I7", text)
