"""Exponential back-off with jitter, and the randomness that pure code is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Backoff", "BackoffPolicy", "Randomness"]

DOUBLINGS_MAX = 64
"""Above this many doublings the delay is its maximum in any case."""


class Randomness(Protocol):
    """What the core needs of a `random.Random`; tests and the simulator pass a seeded one."""

    def random(self) -> float:
        """Return a number in 0 <= x < 1."""
        ...


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """How long to wait before try after try. Immutable, any thread.

    Attributes:
        first_s: delay after the first failure, before jitter; > 0.
        max_s: largest delay; >= first_s.
        jitter: 0..1, share of the delay that is random: the delay lies in
            ``(1 - jitter) * d .. d``.
    """

    first_s: float = 0.1
    max_s: float = 2.0
    jitter: float = 0.5

    def delay_s(self, failures: int, rng: Randomness) -> float:
        """Return the delay after `failures` >= 1 failures in a row."""
        doublings = min(failures - 1, DOUBLINGS_MAX)
        whole_s = min(self.max_s, self.first_s * 2.0**doublings)
        return float(whole_s * (1.0 - self.jitter * rng.random()))


class Backoff:
    """Counts failures in a row and says how long to wait. One thread, or under one lock."""

    __slots__ = ("_policy", "_rng", "failures")

    def __init__(self, policy: BackoffPolicy, rng: Randomness) -> None:
        self._policy = policy
        self._rng = rng
        self.failures = 0

    def failed(self) -> float:
        """Note one more failure; return the delay in seconds before the next try."""
        self.failures += 1
        return self._policy.delay_s(self.failures, self._rng)

    def succeeded(self) -> None:
        """Start over from the first delay."""
        self.failures = 0
