"""The connection timer manager's rule book: when a server gives a connection up.

Pure: one `ConnectionTimers` per connection, told of traffic by plain attribute writes
(nothing is re-armed on the hot path), asked now and then whether it has had its time.
"""

from __future__ import annotations

from dataclasses import dataclass

from libevrpc.core.hello import IDLE

__all__ = ["FAREWELL_S", "ConnectionTimers", "TimerLimits"]

FAREWELL_S = 2.0
"""How long a peer may take to read why its connection ends, and to hang up."""
_CHECKS_PER_LIMIT = 4
_CHECK_DEFAULT_S = 60.0
_NEVER_S = float("inf")


@dataclass(frozen=True, slots=True)
class TimerLimits:
    """How long a server waits for what, in seconds; 0 switches a limit off.

    Attributes:
        handshake_s: from accept to the first whole message.
        half_request_s: from the first to the last byte of one message.
        idle_s: no traffic and no call in flight.
        silence_s: no byte at all from a peer that promised heartbeats, calls or not.
        stalled_write_s: replies wait and the peer takes none of them.
    """

    handshake_s: float
    half_request_s: float
    idle_s: float
    silence_s: float
    stalled_write_s: float

    @property
    def interval_s(self) -> float:
        """How long a connection may go without a check."""
        spans = (
            self.handshake_s,
            self.half_request_s,
            self.idle_s,
            self.silence_s,
            self.stalled_write_s,
        )
        shortest_s = min((span_s for span_s in spans if span_s), default=_CHECK_DEFAULT_S)
        return shortest_s / _CHECKS_PER_LIMIT


class ConnectionTimers:
    """What one connection did last, and until when that is good enough.

    Attributes:
        last_read_s: when a byte last arrived.
        partial_since_s: when the message being received began, None between messages.
        greeted: a whole message has arrived.
        heartbeats: the peer said hello and so pings; its silence is meaningful.
        asked_at_s: when the peer, idle for too long, was asked to hang up; None before.
    """

    __slots__ = (
        "_excused",
        "_limits",
        "_look_at_s",
        "_opened_s",
        "asked_at_s",
        "greeted",
        "heartbeats",
        "last_read_s",
        "partial_since_s",
    )

    def __init__(self, limits: TimerLimits, now_s: float) -> None:
        self._limits = limits
        self._look_at_s = _NEVER_S
        self._excused = False
        self._opened_s = now_s
        self.last_read_s = now_s
        self.partial_since_s: float | None = None
        self.greeted = False
        self.heartbeats = False
        self.asked_at_s: float | None = None

    def due(self, in_flight: int, unsent_since_s: float | None) -> tuple[float, str]:
        """Return the instant at which the connection has had its time, and why.

        Args:
            in_flight: calls the server is working on.
            unsent_since_s: when waiting replies last moved, None when none wait.

        Traffic only ever moves the instant later, so checking again at the returned
        instant is enough. It is infinite when no limit applies.
        """
        limits = self._limits
        due_s, why = _NEVER_S, ""
        if not self.greeted:
            if limits.handshake_s:
                due_s, why = self._opened_s + limits.handshake_s, "no request in time"
        elif not in_flight and unsent_since_s is None and limits.idle_s:
            due_s, why = self._idle_until_s(), IDLE
        if self.partial_since_s is not None and limits.half_request_s:
            at_s = self.partial_since_s + limits.half_request_s
            if at_s < due_s:
                due_s, why = at_s, "half a request"
        if self.heartbeats and limits.silence_s:
            at_s = self.last_read_s + limits.silence_s
            if at_s < due_s:
                due_s, why = at_s, "heartbeats stopped"
        if unsent_since_s is not None and limits.stalled_write_s:
            at_s = unsent_since_s + limits.stalled_write_s
            if at_s < due_s:
                due_s, why = at_s, "peer does not read"
        return due_s, why

    def _idle_until_s(self) -> float:
        """Return when the peer has been idle for too long, or has had its time to hang up.

        One that was asked to and sends something all the same is idle anew.
        """
        asked_at_s = self.asked_at_s
        if asked_at_s is not None and asked_at_s >= self.last_read_s:
            return asked_at_s + FAREWELL_S
        return self.last_read_s + self._limits.idle_s

    def not_listening(self, now_s: float) -> None:
        """Note that we read nothing up to now, so that silence says nothing of the peer.

        What a peer owes that does not take its replies is bounded by `stalled_write_s`. Told
        at every check, this leaves three quarters of each limit when reading goes on.
        """
        self.last_read_s = now_s
        if self.partial_since_s is not None:
            self.partial_since_s = now_s

    def may_judge(self, now_s: float) -> bool:
        """Tell whether what is due counts against the peer. Asked once at every check.

        Who comes much too late to a check has not listened meanwhile, and where the whole
        machine stood still, a peer on it has said nothing. So it is heard first, until the
        next check; not twice in a row, or a loop that is always late would keep the dead.
        """
        late = now_s - self._look_at_s > self._limits.interval_s
        self._excused = late and not self._excused
        return not self._excused

    def check_at_s(self, due_s: float, now_s: float) -> float:
        """Return when to look again, given what `due` said.

        A wait that begins later (half a request, an unsent reply) arms nothing; looking
        four times per shortest limit finds it soon enough.
        """
        soon_s = now_s + self._limits.interval_s
        self._look_at_s = soon_s if self._excused else min(due_s, soon_s)
        return self._look_at_s
