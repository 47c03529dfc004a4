"""A clock that moves only when a test says so."""

from __future__ import annotations

import pytest


class FakeClock:
    """Stand in for `libevrpc.clock`: call it, or read `now_s`; it never moves by itself."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """Return the instant, as `monotonic_s` and `boottime_s` do."""
        return self.now_s

    def advance(self, span_s: float) -> float:
        """Move on by `span_s` (never back) and return the new instant."""
        assert span_s >= 0.0, f"time does not go back: {span_s}"
        self.now_s += span_s
        return self.now_s

    def advance_to(self, instant_s: float) -> float:
        """Move on to `instant_s`, which is not in the past."""
        return self.advance(instant_s - self.now_s)


@pytest.fixture
def clock() -> FakeClock:
    """Give a fake clock that stands at 1000 s."""
    return FakeClock()
