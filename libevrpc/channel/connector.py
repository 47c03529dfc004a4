"""Connections to one endpoint, one for each call, opened on the loop.

An address without a name is connected to on the loop itself, without a thread. A name is dialled
on a thread of its own, as anywhere; the address that answered is kept for a moment, so that a
burst of calls takes one look-up and one thread.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections import deque
from collections.abc import Callable

from libevrpc.channel.call import CallFailure
from libevrpc.channel.dial import (
    Address,
    DialTimes,
    cannot_connect,
    dial_in_background,
    met_itself,
    numeric_address,
)
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.timers import Timer
from libevrpc.loop.eventloop import EventLoop
from libevrpc.loop.poller import WRITE
from libevrpc.loop.transport import tune_socket

__all__ = ["Connector", "Outcome"]

_NAME_KEPT_S = 5.0
"""How long the address that a name led to is used again without asking."""
_AGAIN_S = 0.005
"""How soon a unix socket whose queue is full is tried again."""

Outcome = socket.socket | CallFailure
"""A connected, tuned socket; or why there is none, and then nothing was sent."""


class Connector:
    """Opens sockets to `endpoint`. Loop thread only.

    Whoever asks has a limit of his own on how many are asked for at once.
    """

    def __init__(self, endpoint: Endpoint, times: DialTimes, loop: EventLoop) -> None:
        self._endpoint = endpoint
        self._times = times
        self._loop = loop
        self._numeric = numeric_address(endpoint)
        self._kept: Address | None = None
        self._kept_until_s = 0.0
        self._waiting: deque[Callable[[Outcome], object]] = deque()
        self._dialling = False
        self._attempts: dict[_Attempt, None] = {}
        self.trouble = 0
        """The system's number of what keeps it from connecting; any thread reads it."""

    def connect(self, on_done: Callable[[Outcome], object]) -> None:
        """Open a socket and give it to `on_done`, in this turn or a later one."""
        address = self._numeric
        if address is None and self._loop.now_s < self._kept_until_s:
            address = self._kept
        if address is None:
            self._waiting.append(on_done)
            self._dial()
            return
        attempt = _Attempt(self, address, on_done)
        self._attempts[attempt] = None
        attempt.begin()

    def close(self) -> None:
        """Give up what is on its way; nobody is told."""
        self._waiting.clear()
        for attempt in list(self._attempts):
            attempt.give_up()
        self._attempts.clear()

    def left(self, attempt: _Attempt) -> None:
        """Forget an attempt that has ended."""
        self._attempts.pop(attempt, None)

    def refused(self, number: int, on_done: Callable[[Outcome], object]) -> None:
        """Take the end of an attempt on a known address that failed with `number`."""
        if self._numeric is not None:
            on_done(cannot_connect(self._endpoint, number))
            return
        self.trouble = number
        self._kept_until_s = 0.0  # a name may have moved
        self._waiting.append(on_done)
        self._dial()

    @property
    def loop(self) -> EventLoop:
        """The loop that all of it runs on."""
        return self._loop

    @property
    def connect_s(self) -> float:
        """How long an address may take to accept."""
        return self._times.connect_s

    def _dial(self) -> None:
        """Dial in the background, for the first of those who wait; the others follow him."""
        if self._dialling:
            return
        self._dialling = True
        loop = self._loop

        def done(outcome: Outcome) -> None:
            if not loop.post(lambda: self._dialled(outcome)) and isinstance(outcome, socket.socket):
                outcome.close()

        dial_in_background(self._endpoint, self._times, done)

    def _dialled(self, outcome: Outcome) -> None:
        self._dialling = False
        waiting, self._waiting = self._waiting, deque()
        if isinstance(outcome, CallFailure):
            for on_done in waiting:
                on_done(outcome)
            return
        if not waiting:  # closed meanwhile
            outcome.close()
            return
        self.trouble = 0
        with contextlib.suppress(OSError):  # it has been reset already
            self._kept = outcome.family, outcome.getpeername()
            self._kept_until_s = self._loop.now_s + _NAME_KEPT_S
        waiting.popleft()(outcome)
        for on_done in waiting:
            self.connect(on_done)


class _Attempt:
    """One socket on its way to one address; watched by the loop."""

    __slots__ = ("_address", "_connector", "_on_done", "_sock", "_timer", "_until_s")

    def __init__(
        self, connector: Connector, address: Address, on_done: Callable[[Outcome], object]
    ) -> None:
        self._connector = connector
        self._address = address
        self._on_done = on_done
        self._timer: Timer | None = None
        self._until_s = 0.0
        self._sock: socket.socket | None = None

    def begin(self) -> None:
        """Connect; the outcome may come at once."""
        try:
            self._sock = socket.socket(self._address[0], socket.SOCK_STREAM)
        except OSError as exc:
            self._end(exc.errno or errno.EMFILE)
            return
        tune_socket(self._sock)
        self._until_s = self._connector.loop.now_s + self._connector.connect_s
        self._connect()

    def _connect(self) -> None:
        assert self._sock is not None
        loop = self._connector.loop
        number = self._sock.connect_ex(self._address[1])
        if number == errno.EAGAIN and loop.now_s < self._until_s:
            # the queue of a unix socket is full, and nothing tells when it is not
            self._connector.trouble = number
            self._timer = loop.call_at(loop.now_s + _AGAIN_S, self._connect)
        elif number == errno.EINPROGRESS:
            loop.watch(self._sock.fileno(), WRITE, self)
            self._timer = loop.call_at(self._until_s, self._too_late)
        else:
            self._end(number)

    def give_up(self) -> None:
        """Close the socket that is on its way."""
        assert self._sock is not None
        self._unwatch()
        self._sock.close()

    def on_readable(self) -> None:
        """Leave it to `on_writable`: an error shows as both."""

    def on_writable(self) -> None:
        """See whether it is connected. Called by the loop."""
        assert self._sock is not None
        self._unwatch()
        self._end(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _too_late(self) -> None:
        self._unwatch()
        self._end(errno.ETIMEDOUT)

    def _unwatch(self) -> None:
        assert self._sock is not None
        self._connector.loop.unwatch(self._sock.fileno())
        if self._timer is not None:
            self._connector.loop.cancel(self._timer)

    def _end(self, number: int) -> None:
        self._connector.left(self)
        if self._sock is not None and not number and met_itself(self._sock):
            number = errno.ECONNREFUSED
        if self._sock is not None and not number:
            self._connector.trouble = 0
            self._on_done(self._sock)
            return
        if self._sock is not None:
            self._sock.close()
        self._connector.refused(number, self._on_done)
