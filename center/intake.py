"""What comes in by the ROUTER of a center's bus, message by message.

A batch of ZeroMQ may have millions of parts, and one of 64 may take seconds to decode. Whoever
reaches a port without keys can send both; so the clock is looked at after each part, and what is
left waits for the next turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from libevrpc.clock import monotonic_s

__all__ = ["BATCHES_PER_TURN_MAX", "BATCH_MAX", "Intake", "Part", "Route"]

BATCH_MAX = 64
"""Messages of one batch; one of more is junk."""
BATCHES_PER_TURN_MAX = 64
"""Batches begun in one turn."""


class Route(NamedTuple):
    """Where a batch came from: the host, and whose key it came with ("": none)."""

    host: str
    owner: str


class Part(NamedTuple):
    """One message, not decoded."""

    route: Route
    data: bytes


class Intake:
    """Batches, taken apart. One thread.

    Args:
        next_route: begins the next batch; None: there is none.
        next_part: returns the batch's next part, and whether more follow.
        on_junk: told why a whole batch is thrown away.
    """

    def __init__(
        self,
        next_route: Callable[[], Route | None],
        next_part: Callable[[], tuple[bytes, bool]],
        on_junk: Callable[[str], object],
    ) -> None:
        self._next_route = next_route
        self._next_part = next_part
        self._on_junk = on_junk
        self._route = Route("", "")
        self._parts: deque[bytes] = deque()
        self._count = 0
        self._more = False

    @property
    def pending(self) -> bool:
        """Whether something was left over by the last turn."""
        return self._more or bool(self._parts)

    def take(self, turn_s: float) -> Iterator[Part]:
        """Yield what has come, for no longer than `turn_s` but one step at least."""
        until_s = monotonic_s() + turn_s
        begun = 0
        while True:
            if self._more:
                self._read()
            elif self._parts:
                yield Part(self._route, self._parts.popleft())
            elif begun < BATCHES_PER_TURN_MAX and self._begin():
                begun += 1
            else:
                return
            if monotonic_s() >= until_s:
                return

    def drop(self) -> None:
        """Take no more of the batch that the last message was of."""
        self._parts.clear()

    def _begin(self) -> bool:
        """Take up the next batch; False: there is none."""
        route = self._next_route()
        if route is None:
            return False
        self._route, self._count = route, 0
        self._more = True  # a route never stands alone
        return True

    def _read(self) -> None:
        """Read one part. Parts are given out when their batch is whole, and short enough."""
        part, self._more = self._next_part()
        self._count += 1
        if self._count <= BATCH_MAX:
            self._parts.append(part)
            return
        self._parts.clear()
        if not self._more:
            self._on_junk(f"batch of {self._count} messages")
