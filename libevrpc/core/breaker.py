"""Circuit breaker of one endpoint: when to set it aside, when to try it again.

CLOSED -> OPEN after a transport failure, several failures in a row or a high error rate;
OPEN -> probing when the isolation is over; a good probe closes, a bad one doubles the
isolation (100 ms up to 30 s).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Breaker", "BreakerPolicy"]

NEVER_S = float("inf")


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, and for how long. Immutable, any thread.

    Attributes:
        failures_max: failures in a row that open it.
        error_rate_max: 0..1; a higher smoothed error rate opens it.
        rate_calls_min: calls since it closed before the error rate counts.
        rate_weight: 0..1, weight of the newest call in the smoothed error rate.
        isolation_min_s, isolation_max_s: first and longest isolation.
        memory_s: a breaker that opens again within this time after it closed goes on
            doubling instead of starting at the first isolation.
        probe_patience_s: a probe without an answer for this long is given up for another.
    """

    failures_max: int = 5
    error_rate_max: float = 0.5
    rate_calls_min: int = 20
    rate_weight: float = 0.05
    isolation_min_s: float = 0.1
    isolation_max_s: float = 30.0
    memory_s: float = 30.0
    probe_patience_s: float = 1.0


class Breaker:
    """The breaker of one endpoint. One thread, or under one lock.

    Attributes:
        closed: True while calls may go to the endpoint.
        probing: True while open and a probe is on its way.
        probe_due_s: when the next probe may start; infinity while closed.
    """

    __slots__ = (
        "_calls",
        "_closed_at_s",
        "_error_rate",
        "_failures",
        "_isolation_s",
        "_policy",
        "closed",
        "probe_due_s",
        "probing",
    )

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._isolation_s = 0.0
        self._closed_at_s = -NEVER_S
        self._close()

    def _close(self) -> None:
        self.closed = True
        self.probing = False
        self.probe_due_s = NEVER_S
        self._calls = 0
        self._failures = 0
        self._error_rate = 0.0

    def result(self, ok: bool, now_s: float, may_open: bool = True) -> bool:
        """Note how a call ended; True if the breaker opened or closed by it.

        While open, only the answer to a probe counts: late answers of calls that began
        earlier say nothing new.

        Args:
            ok: False for a failure that is the endpoint's fault.
            now_s: the present.
            may_open: False keeps a closed breaker closed (too many others are open).
        """
        if self.closed:
            self._calls += 1
            if ok:
                self._failures = 0
                if self._error_rate:
                    self._error_rate *= 1.0 - self._policy.rate_weight
                return False
            self._failures += 1
            self._error_rate += self._policy.rate_weight * (1.0 - self._error_rate)
            return may_open and self._is_failing() and self.trip(now_s)
        if not self.probing:
            return False
        if ok:
            self._closed_at_s = now_s
            self._close()
            return True
        self._isolate(now_s)
        return False

    def _is_failing(self) -> bool:
        if self._failures >= self._policy.failures_max:
            return True
        enough = self._calls >= self._policy.rate_calls_min
        return enough and self._error_rate > self._policy.error_rate_max

    def trip(self, now_s: float) -> bool:
        """Open at once (the transport failed); True unless it was open already.

        All calls of a broken connection may report it: the first one counts.
        """
        if not self.closed:
            if self.probing:
                self._isolate(now_s)
            return False
        self.closed = False
        if now_s - self._closed_at_s > self._policy.memory_s:
            self._isolation_s = 0.0
        self._isolate(now_s)
        return True

    def _isolate(self, now_s: float) -> None:
        policy = self._policy
        doubled_s = max(policy.isolation_min_s, 2.0 * self._isolation_s)
        self._isolation_s = min(policy.isolation_max_s, doubled_s)
        self.probing = False
        self.probe_due_s = now_s + self._isolation_s

    def start_probe(self, now_s: float) -> None:
        """Note that one call or dial is on its way to find out; the breaker is open."""
        self.probing = True
        self.probe_due_s = now_s + max(self._isolation_s, self._policy.probe_patience_s)
