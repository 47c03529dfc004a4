"""The dispatch thread: accepts connections and deals them out to the loops.

It never reads payload. A connection is given to the loop with the fewest, through that
loop's inbox, and the loop is woken by its pipe.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Sequence

from libevrpc.core.endpoints import Endpoint
from libevrpc.loop.eventloop import EventLoop
from libevrpc.loop.listener import Listener
from libevrpc.server.shard import Shard

__all__ = ["Dispatcher"]

log = logging.getLogger(__name__)

_WARN_EVERY_S = 10.0


class Dispatcher:
    """One loop thread with the listening sockets.

    Args:
        sockets: bound and listening, with the endpoint of each.
        shards: the loops that serve.
        connections_max: more than this are closed at once.
    """

    __slots__ = (
        "_connections_max",
        "_dealt",
        "_listeners",
        "_loop",
        "_shards",
        "_warned_s",
        "overflowed",
    )

    def __init__(
        self,
        sockets: Sequence[tuple[socket.socket, Endpoint]],
        shards: Sequence[Shard],
        connections_max: int,
    ) -> None:
        self.overflowed = 0
        self._loop = EventLoop("libevrpc-dispatch")
        self._shards = shards
        self._dealt = [0] * len(shards)
        self._connections_max = connections_max
        self._warned_s = float("-inf")
        self._listeners = [
            Listener(sock, endpoint, self._loop, self._deal) for sock, endpoint in sockets
        ]

    def start(self) -> None:
        """Accept from now on. Once."""
        self._loop.start()
        for listener in self._listeners:
            self._loop.post(listener.start)

    def stop(self, timeout_s: float) -> None:
        """Deal out what has connected, stop listening, end the thread. Any other thread."""
        closed = threading.Event()

        def close() -> None:
            for listener in self._listeners:
                listener.close()
            closed.set()

        if self._loop.post(close):
            closed.wait(timeout_s)
        self._loop.stop(timeout_s)

    def abandon(self) -> None:
        """Leave the listening to the parent. In a forked child."""
        self._loop.abandon()
        for listener in self._listeners:
            listener.abandon()

    def _deal(self, sock: socket.socket, peer: str) -> None:
        # dealt minus closed counts those still on their way to their loop too
        loads = [
            dealt - shard.closed for dealt, shard in zip(self._dealt, self._shards, strict=True)
        ]
        if sum(loads) >= self._connections_max:
            self._overflow(sock)
            return
        index = loads.index(min(loads))
        if self._shards[index].adopt(sock, peer):
            self._dealt[index] += 1
        else:
            sock.close()

    def _overflow(self, sock: socket.socket) -> None:
        self.overflowed += 1
        sock.close()
        now_s = self._loop.now_s
        if now_s - self._warned_s >= _WARN_EVERY_S:
            self._warned_s = now_s
            log.error(
                "%d connections are open, the most allowed; %d turned away so far",
                self._connections_max,
                self.overflowed,
            )
