"""Which descriptors are ready: epoll where there is one, `selectors` elsewhere.

epoll is used directly because it costs about half of `selectors` a turn; the interface
is the part that both can serve.
"""

from __future__ import annotations

import math
import select
import selectors
from collections.abc import Sequence
from typing import Protocol

__all__ = ["READ", "WRITE", "EpollPoller", "Poller", "SelectorPoller", "new_poller"]

READ = 1
WRITE = 2

_EVENTS_MAX = 1024
"""Ready descriptors taken in one turn; the others are still ready in the next."""


class Poller(Protocol):
    """A set of descriptors with the readiness wanted of each. One thread only."""

    def register(self, fd: int, wanted: int) -> None:
        """Watch `fd` for READ, WRITE or both."""

    def modify(self, fd: int, wanted: int) -> None:
        """Change what `fd` is watched for; 0 keeps it registered for errors alone."""

    def unregister(self, fd: int) -> None:
        """Stop watching `fd`. Before it is closed."""

    def poll(self, timeout_s: float | None) -> Sequence[tuple[int, int]]:
        """Wait for readiness, at most `timeout_s` (None: for ever).

        Returns (fd, READ | WRITE) pairs; an error or hang-up shows as both.
        """

    def close(self) -> None:
        """Release the poller's own descriptor."""


class EpollPoller:
    """Linux's epoll, level-triggered."""

    __slots__ = ("_epoll",)

    def __init__(self) -> None:
        self._epoll = select.epoll()

    def register(self, fd: int, wanted: int) -> None:
        """See `Poller.register`."""
        self._epoll.register(fd, _EPOLL_MASK[wanted])

    def modify(self, fd: int, wanted: int) -> None:
        """See `Poller.modify`."""
        self._epoll.modify(fd, _EPOLL_MASK[wanted])

    def unregister(self, fd: int) -> None:
        """See `Poller.unregister`."""
        self._epoll.unregister(fd)

    def poll(self, timeout_s: float | None) -> Sequence[tuple[int, int]]:
        """See `Poller.poll`."""
        # epoll counts milliseconds: round up, or a timer due in 0.4 ms would spin
        timeout = -1.0 if timeout_s is None else math.ceil(timeout_s * 1e3) * 1e-3
        return [
            (fd, _READY[mask & _EPOLL_ALL] if mask & _EPOLL_ALL == mask else READ | WRITE)
            for fd, mask in self._epoll.poll(timeout, _EVENTS_MAX)
        ]

    def close(self) -> None:
        """See `Poller.close`."""
        self._epoll.close()


class SelectorPoller:
    """The standard library's best selector, for systems without epoll."""

    __slots__ = ("_selector", "_wanted")

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wanted: dict[int, int] = {}

    def register(self, fd: int, wanted: int) -> None:
        """See `Poller.register`."""
        self._wanted[fd] = 0
        self.modify(fd, wanted)

    def modify(self, fd: int, wanted: int) -> None:
        """See `Poller.modify`."""
        before = self._wanted[fd]
        self._wanted[fd] = wanted
        if wanted == before:
            return
        if not before:
            self._selector.register(fd, wanted)
        elif not wanted:
            self._selector.unregister(fd)  # selectors know no empty interest
        else:
            self._selector.modify(fd, wanted)

    def unregister(self, fd: int) -> None:
        """See `Poller.unregister`."""
        if self._wanted.pop(fd):
            self._selector.unregister(fd)

    def poll(self, timeout_s: float | None) -> Sequence[tuple[int, int]]:
        """See `Poller.poll`."""
        return [(key.fd, mask) for key, mask in self._selector.select(timeout_s)]

    def close(self) -> None:
        """See `Poller.close`."""
        self._selector.close()


def new_poller() -> Poller:
    """Return the best poller of this system. Any thread."""
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()


if hasattr(select, "epoll"):
    _EPOLL_ALL = select.EPOLLIN | select.EPOLLOUT
    _EPOLL_MASK = (0, select.EPOLLIN, select.EPOLLOUT, _EPOLL_ALL)
    _READY = {0: 0, select.EPOLLIN: READ, select.EPOLLOUT: WRITE, _EPOLL_ALL: READ | WRITE}
