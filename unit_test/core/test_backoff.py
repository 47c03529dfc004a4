"""Back-off: doubles, is capped, is jittered, starts over."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from libevrpc.core.backoff import Backoff, BackoffPolicy


class Fixed:
    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


def test_delays_double_to_the_maximum_and_start_over() -> None:
    backoff = Backoff(BackoffPolicy(0.1, 2.0), Fixed(0.0))
    assert [backoff.failed() for _ in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    backoff.succeeded()
    assert backoff.failed() == 0.1


@given(st.integers(1, 10**9), st.integers())
def test_delay_stays_within_its_jitter(failures: int, seed: int) -> None:
    policy = BackoffPolicy(0.1, 2.0, 0.5)
    whole = policy.delay_s(failures, Fixed(0.0))
    assert 0.5 * whole <= policy.delay_s(failures, random.Random(seed)) <= whole <= 2.0
