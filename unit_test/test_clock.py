"""The clocks never go back; the fake one moves only when told."""

from __future__ import annotations

import pytest

from libevrpc.clock import boottime_s, monotonic_s
from unit_test.fix_clock import FakeClock


@pytest.mark.parametrize("read", [monotonic_s, boottime_s])
def test_a_clock_never_goes_back(read) -> None:
    readings = [read() for _ in range(100)]
    assert readings == sorted(readings)


def test_boot_time_counts_at_least_what_the_monotonic_clock_counts() -> None:
    assert boottime_s() >= monotonic_s() - 1.0


def test_the_fake_clock_moves_only_when_told(clock: FakeClock) -> None:
    assert clock() == clock.now_s == 1000.0
    assert clock.advance(0.5) == clock() == 1000.5
    assert clock.advance_to(1001.0) == 1001.0
    with pytest.raises(AssertionError, match="does not go back"):
        clock.advance_to(1.0)
