"""Who reads a connection that any number of caller threads share: the reader baton.

The socket has one reader at a time, the holder of the *reader baton*.

* A caller that finds the baton free takes it and reads until its own reply is there; on
  the way it delivers the replies of others. It then passes the baton on.
* A caller that finds it taken is a *follower*: it sleeps until its reply is delivered or
  until the baton is handed to it.
* While futures are pending, or nobody has called for a while, the background loop holds
  the baton: it delivers replies to futures and hears of the server's going away.

Every hand-over is decided by who succeeds in taking an entry out of a dict, which is
atomic: a call is delivered, failed or given up exactly once. The baton is held across reads
only, never across a callback of a user.
"""

from __future__ import annotations

import select
import threading
import time
from abc import ABC, abstractmethod

from libevrpc.channel.call import CallFailure, CallStage, ClientCall
from libevrpc.errors import Errno
from libevrpc.loop.eventloop import EventLoop
from libevrpc.loop.transport import Transport

__all__ = ["ReaderBaton"]

_STALE_AFTER_S = 0.001
"""A connection that was read this recently is not probed before a request is sent."""


class ReaderBaton(ABC):
    """The part of a connection that decides whose thread reads; it starts with nobody's.

    Attributes:
        down: why the connection ended; None while it lives.
    """

    def __init__(self, loop: EventLoop) -> None:
        self.down: CallFailure | None = None
        self._loop = loop
        self._last_read_s = 0.0
        self._transport: Transport | None = None
        self._pending: dict[int, ClientCall] = {}
        self._followers: dict[ClientCall, None] = {}
        self._futures: dict[int, ClientCall] = {}
        self._baton = threading.Lock()
        self._baton.acquire()  # nobody reads before there is a socket
        self._reader: ClientCall | None = None
        self._retired = False
        self._poll = select.poll()

    def run(self, call: ClientCall, frame: bytes) -> None:
        """Send `frame` and wait until `call` is done; its deadline is kept. Any thread."""
        try:
            self._run(call, frame)
        except BaseException:  # Ctrl-C, or whatever else a signal handler raises
            self._interrupted(call)
            raise

    def _run(self, call: ClientCall, frame: bytes) -> None:
        leads = self._baton.acquire(False)
        if leads:
            self._reader = call
            if time.monotonic() - self._last_read_s > _STALE_AFTER_S:
                self._look_for_news()
        else:
            call.gate = threading.Lock()
            call.gate.acquire()
            self._followers[call] = None
        if not self._launch(call, frame):
            if leads or (not self._leave_followers(call) and call.promoted):
                self._pass_baton()
        elif leads:
            self._lead(call)
        elif self._baton.acquire(False):  # it was freed before our entry could be seen
            if self._leave_followers(call):
                self._lead(call)
            else:  # delivered meanwhile; nobody hands a baton over that we hold
                self._pass_baton()
        else:
            self._follow(call)

    def _lead(self, call: ClientCall) -> None:
        """Read until `call` is done or out of time, then pass the baton on."""
        transport = self._transport
        assert transport is not None
        self._reader = call
        call.promoted = False
        while not call.done:
            wait_s = call.deadline_s - time.monotonic()
            if wait_s <= 0.0:
                self._expire(call)
                break
            call.stage = CallStage.LEADS
            ready = self._poll.poll(int(wait_s * 1000.0) + 1)
            call.stage = CallStage.BUSY
            if ready:
                self._read_once(transport)
        self._pass_baton()
        call.stage = CallStage.LEFT

    def _follow(self, call: ClientCall) -> None:
        """Sleep until done, promoted or out of time."""
        gate = call.gate
        assert gate is not None
        call.stage = CallStage.FOLLOWS
        in_time = gate.acquire(timeout=max(0.0, call.deadline_s - time.monotonic()))
        call.stage = CallStage.BUSY
        if not in_time and self._leave_followers(call):
            self._expire(call)
        elif call.promoted:
            self._lead(call)
        call.stage = CallStage.LEFT

    def _interrupted(self, call: ClientCall) -> None:
        """Leave no trace of a caller that an exception took away, wherever it was.

        One that slept has left nothing half done. Elsewhere nobody can tell what is: bytes
        half taken, a baton half handed over. Then the connection ends, so that nobody hangs.
        """
        self._pending.pop(call.correlation_id, None)
        if call.stage is CallStage.LEFT:
            return
        if call.stage is CallStage.BUSY:
            self._go_down(CallFailure(Errno.FAILED_SOCKET, "a caller was interrupted", sent=True))
            # whether it was a follower yet, or still is, nobody can tell: who hands the baton to
            # one that was torn away passes it on himself; twice is fine on a dead connection
            call.stage = CallStage.TORN
            self._followers.pop(call, None)
            if self._reader is call or call.promoted:
                self._pass_baton()
        elif self._reader is call or (
            call.gate is not None and not self._leave_followers(call) and call.promoted
        ):
            self._pass_baton()

    def _leave_followers(self, call: ClientCall) -> bool:
        """Take oneself out; False: somebody else did, and by now it is known why."""
        if self._followers.pop(call, self) is None:
            return True
        self._await_reason(call)
        return False

    @staticmethod
    def _await_reason(call: ClientCall) -> None:
        """Wait a moment until who took `call` out has said why: done, or promoted.

        The gate alone would not do: he may be interrupted before he opens it, and then the
        connection ends with all its calls.
        """
        gate = call.gate
        assert gate is not None
        while not (call.done or call.promoted):
            gate.acquire(timeout=0.001)

    def _pass_baton(self) -> None:
        """Give the baton to who needs it next: a follower, the loop, or nobody."""
        while True:
            if self.down is not None:
                self._retired = True
                self._loop.post(self._reap)
                return
            try:
                follower, _ = self._followers.popitem()
            except KeyError:
                pass
            else:
                self._reader = None
                follower.promoted = True
                assert follower.gate is not None
                follower.gate.release()
                if follower.stage is CallStage.TORN:
                    continue
                return
            reader, self._reader = self._reader, None
            if self._futures and self._loop.post(self._adopt):
                return
            self._baton.release()
            if not (self._followers or self._futures or self.down is not None):
                return
            if not self._baton.acquire(False):
                return
            self._reader = reader

    # -- the connection's ---------------------------------------------------------------

    @abstractmethod
    def _launch(self, call: ClientCall, frame: bytes) -> bool:
        """Register and send; False: the call failed, and says why."""

    @abstractmethod
    def _look_for_news(self) -> None:
        """Hear of an end or a going-away that arrived since the last call."""

    @abstractmethod
    def _read_once(self, transport: Transport) -> None:
        """Take what has arrived. Baton holder."""

    @abstractmethod
    def _expire(self, call: ClientCall) -> None:
        """Fail a call whose deadline has come."""

    @abstractmethod
    def _go_down(self, failure: CallFailure) -> None:
        """End the connection and all its calls."""

    @abstractmethod
    def _adopt(self) -> None:
        """Read for everybody; the baton was left to the loop. Loop thread."""

    @abstractmethod
    def _reap(self) -> None:
        """Close the descriptor once it is shut and the baton is out of use. Loop thread."""
