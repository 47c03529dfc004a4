"""Sockets for questions that have one deadline, however many addresses and pieces there are."""

from __future__ import annotations

import socket
from typing import Any

from libevrpc.channel.dial import DialTimes, dial
from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import Endpoint

__all__ = ["PunctualSocket", "dial_by"]


class PunctualSocket(socket.socket):
    """A blocking socket whose files read until `by_s` and no longer. One thread.

    A time-out of the standard library's holds for one read: who sends a byte before each ends
    would be listened to for ever. `recv` is left as it is, for whoever sets time-outs himself.
    """

    by_s = 0.0
    """The deadline, as `monotonic_s` tells it."""

    def expect_by(self, by_s: float) -> None:
        """Set the deadline of all that is sent and received from now on.

        Raises:
            TimeoutError: it is over.
        """
        self.by_s = by_s
        self._renew()

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """See `socket.recv_into`, which files made of the socket call."""
        self._renew()
        return super().recv_into(buffer, nbytes, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """See `socket.sendall`."""
        self._renew()
        super().sendall(data, flags)

    def _renew(self) -> None:
        left_s = self.by_s - monotonic_s()
        if left_s <= 0.0:
            raise TimeoutError
        self.settimeout(left_s)


def dial_by(endpoint: Endpoint, by_s: float, connect_s: float | None = None) -> PunctualSocket:
    """Connect by `by_s`, or within `connect_s` if that is sooner. Blocks.

    All addresses of a name share the time, and the look-up has a part in it: the system's
    resolver knows no time-out, and is left to itself when it is late (`libevrpc.channel.dial`).

    Raises:
        OSError: there is no connection; TimeoutError if that is for want of time.
    """
    left_s = by_s - monotonic_s()
    if connect_s is not None:
        left_s = min(connect_s, left_s)
    if left_s <= 0.0:
        raise TimeoutError
    found = dial(endpoint, DialTimes(left_s, left_s, left_s))
    if not isinstance(found, socket.socket):
        raise OSError(found.errno, found.text.removeprefix(f"{endpoint.address}: "))
    made = PunctualSocket(fileno=found.detach())
    try:
        made.expect_by(by_s)
    except TimeoutError:
        made.close()
        raise
    return made
