"""I8 for many servers: those that fall silent together are suspects first, and stay in the map."""

from __future__ import annotations

from center.core.record import MapRecord
from center.sim.checkers.base import Checker, Violation
from center.sim.checkers.history import History, map_of

__all__ = ["Silence"]

TOGETHER_S = 0.5
"""Silences that begin within this span are one event: a network, not so many servers."""
MANY_MIN = 3
MANY = 0.5
"""So many servers, and more than this share of all, are a mass by any account."""


class Silence(Checker):
    """No map leaves out most of the servers for a silence that they share.

    A scenario is shorter than the longest time that suspects are kept.
    """

    def __init__(self, history: History) -> None:
        self._history = history
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
        kept = {entry.address for entry in map_of(record.payload).servers} | self._gone
        lost = [entry.address for entry in parent.servers if entry.address not in kept]
        if len(lost) < MANY_MIN or len(lost) <= MANY * len(parent.servers):
            return
        heard = [self._heard.get(address, (0.0, 0)) for address in lost]
        times_s = [at_s for at_s, _ in heard]
        if any(epoch != record.epoch for _, epoch in heard):
            return  # what an earlier leader heard, this one may not know
        if max(times_s) - min(times_s) <= TOGETHER_S:
            raise Violation("I8", f"{record.stamp} drops {sorted(lost)}, silent together")
