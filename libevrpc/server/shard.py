"""One loop thread's share of a server: its sessions and its counters."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING

from libevrpc.errors import Errno
from libevrpc.loop.eventloop import EventLoop
from libevrpc.loop.transport import Transport
from libevrpc.server.call_log import LoggedSession
from libevrpc.server.limits import SessionLimits
from libevrpc.server.session import Session
from libevrpc.server.tally import Tally

if TYPE_CHECKING:
    from libevrpc.server.calls import ServerCall
    from libevrpc.server.methods import MethodTable
    from libevrpc.server.workers import WorkerPool

__all__ = ["Shard"]

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.001
"""How soon a loop looks after calls that wait for a worker and replies that are held."""
DRAIN_LOOK_S = 0.005
"""How often a stopping loop looks whether its last call is done: workers do not tell it."""


class Shard:
    """Sessions of one loop. Everything here is the loop thread's, but for `adopt`.

    Attributes:
        methods: the current table; replaced whole by the server.
        stopping: new calls are refused.
        batch: calls of this turn, on their way to the workers.
        admitted, refused, expired, cancelled, timed_out, accepted, closed: counters.
        failures: calls that failed, counted by any thread.
    """

    __slots__ = (
        "_drain_but",
        "_drained",
        "_held",
        "_left",
        "_limits",
        "_pool",
        "_unsent_bytes_max",
        "_unsent_pause_bytes",
        "accepted",
        "admitted",
        "batch",
        "cancelled",
        "closed",
        "expired",
        "failures",
        "loop",
        "methods",
        "refused",
        "sessions",
        "stopping",
        "timed_out",
    )

    def __init__(
        self,
        loop: EventLoop,
        pool: WorkerPool,
        methods: MethodTable,
        limits: SessionLimits,
        *,
        unsent_bytes_max: int,
        unsent_pause_bytes: int,
    ) -> None:
        self.loop = loop
        self.methods = methods
        self.stopping = False
        self.sessions: set[Session] = set()
        self.batch: list[ServerCall] = []
        self.admitted = self.refused = self.expired = self.cancelled = self.timed_out = 0
        self.accepted = self.closed = 0
        self.failures = Tally()
        self._held: set[Session] = set()
        self._drained: threading.Event | None = None
        self._drain_but: ServerCall | None = None
        self._left: threading.Event | None = None
        self._pool = pool
        self._limits = limits
        self._unsent_bytes_max = unsent_bytes_max
        self._unsent_pause_bytes = unsent_pause_bytes
        loop.add_turn_hook(self._end_turn)
        loop.add_idle_hook(self._longest_sleep_s)

    def adopt(self, sock: socket.socket, peer: str) -> bool:
        """Take over an accepted, tuned socket. Any thread; False once the loop is closed."""
        return self.loop.post(lambda: self._begin(sock, peer))

    def _begin(self, sock: socket.socket, peer: str) -> None:
        transport = Transport(
            sock,
            self.loop,
            peer=peer,
            unsent_bytes_max=self._unsent_bytes_max,
            unsent_pause_bytes=self._unsent_pause_bytes,
        )
        kind = LoggedSession if self._limits.log_calls else Session
        session = kind(self, transport, self._limits)
        self.accepted += 1
        self.sessions.add(session)
        session.begin()

    def forget(self, session: Session, reason: str) -> None:
        """Drop a session whose connection has ended."""
        self.sessions.discard(session)
        self._held.discard(session)
        self.closed += 1
        log.debug("connection closed peer=%s reason=%s", session.peer, reason)

    def _end_turn(self) -> None:
        """Give this turn's calls to the workers, and look after what waits."""
        if self._drained is not None:
            self._look_after_stop()
        if self._held:
            self._held = {session for session in self._held if session.flush_held()}
        pool = self._pool
        batch = self.batch
        if not batch:
            if pool.backlog:
                pool.kick()
            return
        self.batch = []
        for call in batch:
            session = call.session
            if not session.watched and session.may_hold:
                session.watched = True
                self._held.add(session)
        for call in pool.submit(batch):
            text = "too many calls wait for a worker"
            call.session.turn_down(call, Errno.LIMIT, text)

    def _longest_sleep_s(self) -> float | None:
        if self.batch:  # a call that was let in behind one the workers had no room for
            return 0.0
        if self._held or self._pool.backlog:
            return LOOK_AGAIN_S
        return DRAIN_LOOK_S if self._drained is not None else None

    # -- stopping -----------------------------------------------------------------------

    def drain(self, but: ServerCall | None = None) -> threading.Event:
        """Refuse new calls, tell peers of ours; set when no call but `but` is left. Any thread."""
        drained = threading.Event()

        def begin() -> None:
            self.stopping = True
            for session in self.sessions:
                session.say_going_away()
            self._drained, self._drain_but = drained, but

        if not self.loop.post(begin):
            drained.set()
        return drained

    def leave(self) -> threading.Event:
        """Close what no peer of ours holds; set when every connection is gone. Any thread.

        A peer of ours hangs up itself once it has its replies: closing first could cut off a
        request that is on its way and would have been refused properly.
        """
        left = threading.Event()

        def begin() -> None:
            for session in list(self.sessions):
                if not session.greeted:
                    session.say_going_away()  # of some wires it could not be told before
                if not session.greeted:
                    session.close("server is stopping")
            self._left = left

        if not self.loop.post(begin):
            left.set()
        return left

    def finish(self, timeout_s: float) -> None:
        """Close every connection and end the loop. Any other thread."""

        def close_all() -> None:
            for session in list(self.sessions):
                session.close("server is stopping")

        self.loop.post(close_all)
        self.loop.stop(timeout_s)

    def abandon(self) -> None:
        """Leave everything to the parent. In a forked child."""
        self.loop.abandon()
        self.batch = []
        self._held.clear()
        for session in self.sessions:
            session.abandon()
        self.sessions.clear()

    def _look_after_stop(self) -> None:
        drained, left = self._drained, self._left
        if drained is not None and not self.batch:
            but = self._drain_but
            if all(each.idle(but) for each in self.sessions):
                drained.set()
        if left is not None and not self.sessions:
            left.set()
