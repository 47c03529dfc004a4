"""The two clocks. The wall clock is not one of them: it jumps, and is never an input."""

from __future__ import annotations

import time

__all__ = ["boottime_s", "monotonic_s"]

_BOOTTIME_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def monotonic_s() -> float:
    """Return seconds that never go back and stand still while the machine sleeps. Any thread.

    For deadlines and latencies inside one process; the zero point means nothing.
    """
    return time.monotonic()


def boottime_s() -> float:
    """Return seconds that never go back and count the machine's sleep too. Any thread.

    For leases: a center that slept past its lease must know. Where the system has no
    such clock (CLOCK_BOOTTIME is Linux's), this is the monotonic one.
    """
    return time.clock_gettime(_BOOTTIME_CLOCK)
