"""When a client pings a silent connection, and when it takes the server for dead. Pure."""

from __future__ import annotations

from enum import Enum

__all__ = ["Keepalive", "KeepaliveStep"]

PINGS_PER_TIMEOUT = 3
"""A peer that loses two pings in a row is still alive."""


class KeepaliveStep(Enum):
    """What is to be done now."""

    WAIT = "wait"
    PING = "ping"
    DEAD = "dead"


class Keepalive:
    """Pings a third of the time-out apart; a peer silent for all of it is dead.

    Args:
        timeout_s: how long the peer may be silent, as its hello told.
        now_s: the hello's arrival.

    Attributes:
        last_read_s: when a byte last arrived; the reader writes it.
    """

    __slots__ = ("_interval_s", "_ping_at_s", "_timeout_s", "last_read_s")

    def __init__(self, timeout_s: float, now_s: float) -> None:
        self._timeout_s = timeout_s
        self._interval_s = timeout_s / PINGS_PER_TIMEOUT
        self._ping_at_s = now_s + self._interval_s
        self.last_read_s = now_s

    def step(self, now_s: float) -> KeepaliveStep:
        """Return what is due at `now_s`; PING and WAIT until the next `due_s`.

        Our own lateness is not held against the peer: a loop that slept past its ping
        pings first and gives the answer two thirds of the time-out.
        """
        if now_s < self._ping_at_s:
            return KeepaliveStep.WAIT
        late_s = now_s - self._ping_at_s
        if late_s > self._interval_s:
            self.last_read_s = max(self.last_read_s, now_s - self._interval_s)
        if now_s - self.last_read_s >= self._timeout_s:
            return KeepaliveStep.DEAD
        self._ping_at_s = now_s + self._interval_s
        return KeepaliveStep.PING

    def due_s(self) -> float:
        """Return when `step` has something to say next."""
        return self._ping_at_s
