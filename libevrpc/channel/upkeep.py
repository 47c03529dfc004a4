"""What the background loop does for a connection beside reading: deadlines and heartbeats."""

from __future__ import annotations

import time
from collections.abc import Callable

from libevrpc.channel.call import ClientCall
from libevrpc.core.keepalive import Keepalive, KeepaliveStep
from libevrpc.core.timers import Timer
from libevrpc.loop.eventloop import EventLoop

__all__ = ["FutureDeadlines", "Upkeep"]

PARK_AFTER_S = 0.05
"""A connection without new calls for this long is read by the loop."""
_NEVER_S = float("inf")


class FutureDeadlines:
    """One timer for all futures of a connection: at the earliest of their deadlines.

    Args:
        loop: the background loop.
        futures: those pending, by correlation id; the connection's own dict.
        expire: fails a future whose deadline has come, unless it is done. Loop thread.
    """

    __slots__ = ("_at_s", "_expire", "_futures", "_loop", "_timer")

    def __init__(
        self,
        loop: EventLoop,
        futures: dict[int, ClientCall],
        expire: Callable[[ClientCall], object],
    ) -> None:
        self._loop = loop
        self._futures = futures
        self._expire = expire
        self._at_s = _NEVER_S
        self._timer: Timer | None = None

    def watch(self, call: ClientCall) -> None:
        """See to the deadline of a future that is in the dict already. Any thread."""
        if call.deadline_s < self._at_s:
            self._loop.post(self._arm)

    def _arm(self) -> None:
        if self._timer is not None:
            self._loop.cancel(self._timer)
        # first "never", then look: a future that starts meanwhile asks for a timer itself
        self._at_s = _NEVER_S
        earliest_s = min(
            (call.deadline_s for call in list(self._futures.values())), default=_NEVER_S
        )
        if earliest_s < _NEVER_S:
            self._at_s = earliest_s
            self._timer = self._loop.call_at(earliest_s, self._sweep)

    def _sweep(self) -> None:
        now_s = time.monotonic()
        for call in list(self._futures.values()):
            if call.deadline_s <= now_s:
                self._expire(call)
        self._arm()


class Upkeep:
    """Parks a connection that nobody uses, pings its peer, and notices when that is dead.

    Loop thread only, but for `heard`, which the reader of the moment calls.

    Args:
        loop: the background loop.
        park: has the loop read if nobody has called since the last time; True if it reads.
        ping: sends a heartbeat.
        dead: ends the connection, whose peer is silent.
    """

    __slots__ = ("_dead", "_ended", "_keepalive", "_loop", "_park", "_ping", "_timer")

    def __init__(
        self,
        loop: EventLoop,
        *,
        park: Callable[[], bool],
        ping: Callable[[], object],
        dead: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._park = park
        self._ping = ping
        self._dead = dead
        self._keepalive: Keepalive | None = None
        self._timer: Timer | None = None
        self._ended = False

    @property
    def greeted(self) -> bool:
        """True once the peer has said hello: it understands our private conversation."""
        return self._keepalive is not None

    def heard(self, now_s: float) -> None:
        """Note that bytes have arrived. The reader's thread."""
        keepalive = self._keepalive
        if keepalive is not None:
            keepalive.last_read_s = now_s

    def greet(self, timeout_s: float, now_s: float) -> None:
        """Ping from now on: the peer drops us after `timeout_s` of silence. The reader's thread."""
        if self._keepalive is None:
            self._keepalive = Keepalive(timeout_s, now_s)
            self._loop.post(self.look_soon)

    def look_soon(self) -> None:
        """Look after the connection shortly; it has just been used."""
        self._arm(self._loop.now_s + PARK_AFTER_S)

    def end(self) -> None:
        """Do nothing any more. Any number of times."""
        self._ended = True
        if self._timer is not None:
            self._loop.cancel(self._timer)

    def _arm(self, at_s: float) -> None:
        if self._timer is not None:
            self._loop.cancel(self._timer)
        if not self._ended:
            self._timer = self._loop.call_at(at_s, self._look)

    def _look(self) -> None:
        parked = self._park()
        keepalive = self._keepalive
        if keepalive is not None:
            match keepalive.step(self._loop.now_s):
                case KeepaliveStep.PING:
                    self._ping()
                case KeepaliveStep.DEAD:
                    self._dead()
                    return
                case KeepaliveStep.WAIT:
                    pass
        if not parked:
            self.look_soon()
        elif keepalive is not None:
            self._arm(keepalive.due_s())
