"""One endpoint as its balancer sees it: counters, latency, breaker."""

from __future__ import annotations

from math import exp

from libevrpc.core.breaker import NEVER_S, Breaker, BreakerPolicy
from libevrpc.core.endpoints import Endpoint

__all__ = ["EndpointState"]

LATENCY_TAU_S = 2.0
"""Time constant with which a latency peak is forgotten."""


class EndpointState:
    """One endpoint as its balancer sees it. Under the client's lock.

    Attributes:
        endpoint: as the registry last told it.
        address: its key.
        weight: the endpoint's weight; 0 means "only if nobody else is left".
        limit: most calls in flight there; 0: any number.
        in_flight: this client's calls that have started and not finished.
        calls, failures: since the endpoint was first seen.
        breaker: closed while calls may go there.
    """

    __slots__ = (
        "_latency_s",
        "_measured_s",
        "address",
        "breaker",
        "calls",
        "endpoint",
        "failures",
        "in_flight",
        "limit",
        "weight",
    )

    def __init__(self, endpoint: Endpoint, policy: BreakerPolicy) -> None:
        self.endpoint = endpoint
        self.address = endpoint.address
        self.weight = endpoint.weight
        self.limit = endpoint.limit
        self.in_flight = 0
        self.calls = 0
        self.failures = 0
        self.breaker = Breaker(policy)
        self._latency_s = 0.0
        self._measured_s = -NEVER_S

    def take(self, endpoint: Endpoint) -> None:
        """Take what the registry says now; the counters go on."""
        self.endpoint = endpoint
        self.weight = endpoint.weight
        self.limit = endpoint.limit

    @property
    def full(self) -> bool:
        """True if it may get no call more for now."""
        return 0 < self.limit <= self.in_flight

    def latency_s(self, now_s: float, mean_s: float) -> float:
        """Return the peak-sensitive average latency.

        It relaxes to the mean over all endpoints while nothing is measured, so that an
        endpoint that was slow once is tried again, and a new one counts as average.
        """
        return mean_s + (self._latency_s - mean_s) * exp((self._measured_s - now_s) / LATENCY_TAU_S)

    def measured(self, latency_s: float, now_s: float) -> None:
        """Note one latency: a higher one counts at once, a lower one by and by."""
        if latency_s >= self._latency_s:
            self._latency_s = latency_s
        else:
            keep = exp((self._measured_s - now_s) / LATENCY_TAU_S)
            self._latency_s = latency_s + (self._latency_s - latency_s) * keep
        self._measured_s = now_s
