"""What comes in by the ROUTER of a center's bus, message by message.

A batch of ZeroMQ may have millions of parts, and one of 64 may take seconds to decode. Whoever
reaches a port without keys can send both; so the clock is looked at after each part, and what is
left waits for the next turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import zmq

from libevrpc.clock import monotonic_s

__all__ = ["BATCHES_PER_TURN_MAX", "BATCH_MAX", "Intake", "Part", "host_of"]

BATCH_MAX = 64
"""Messages of one batch; one of more is junk."""
BATCHES_PER_TURN_MAX = 64
"""Batches begun in one turn."""


class Part(NamedTuple):
    """One undecoded message: the host it came from, whose key it came with ("": none), itself."""

    host: str
    owner: str
    data: bytes


class Intake:
    """Batches, taken apart. One thread, which is the socket's.

    Args:
        router: the socket.
        on_junk: told why a whole batch is thrown away.
    """

    def __init__(self, router: zmq.Socket[bytes], on_junk: Callable[[str], object]) -> None:
        self._router = router
        self._on_junk = on_junk
        self._host = self._owner = ""
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
                yield Part(self._host, self._owner, self._parts.popleft())
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
        try:
            route = self._router.recv(zmq.DONTWAIT, copy=False)
        except zmq.Again:
            return False
        self._host, self._owner = host_of(route), _told(route, "User-Id")
        self._count = 0
        self._more = True  # a ROUTER's route never stands alone
        return True

    def _read(self) -> None:
        """Read one part. Parts are given out when their batch is whole, and short enough."""
        part = self._router.recv(zmq.DONTWAIT)
        self._more = bool(self._router.getsockopt(zmq.RCVMORE))
        self._count += 1
        if self._count <= BATCH_MAX:
            self._parts.append(part)
            return
        self._parts.clear()
        if not self._more:
            self._on_junk(f"batch of {self._count} messages")


def host_of(frame: zmq.Frame) -> str:
    """Return the address of the host that a frame came from; empty if ZeroMQ cannot tell."""
    return _told(frame, "Peer-Address").removeprefix("::ffff:")


def _told(frame: zmq.Frame, about: str) -> str:
    """Return what ZeroMQ tells of the connection that a frame came on; empty for nothing."""
    try:
        return str(frame.get(about))
    except zmq.ZMQError:
        return ""
