"""The one background loop that all clients of a process share, and what fork does to it."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

from libevrpc.loop.eventloop import EventLoop

__all__ = ["Forkable", "acquire_loop", "release_loop", "watch_forks"]

_JOIN_S = 5.0

_lock = threading.Lock()
_loop: EventLoop | None = None
_users = 0
_watched: weakref.WeakSet[Forkable] = weakref.WeakSet()


class Forkable(Protocol):
    """Somebody whose threads and connections belong to the parent after a fork."""

    def after_fork(self) -> None:
        """Start afresh in the child, touching nothing that the parent still uses."""


def acquire_loop() -> EventLoop:
    """Return the running loop; it is started for the first user. Any thread."""
    global _loop, _users
    with _lock:
        if _loop is None:
            _loop = EventLoop("libevrpc-client")
            _loop.start()
        _users += 1
        return _loop


def release_loop() -> None:
    """Give the loop back; it ends with its last user. Any thread, also the loop's own."""
    global _loop, _users
    with _lock:
        _users -= 1
        if _users:
            return
        loop, _loop = _loop, None
    assert loop is not None
    if loop.on_loop():
        loop.stop_soon()
    else:
        loop.stop(_JOIN_S)


def watch_forks(client: Forkable) -> None:
    """Call `client.after_fork` in every child. Any thread; holds no reference."""
    with _lock:
        _watched.add(client)


def _in_child() -> None:
    """Drop the parent's loop: its thread does not exist here, its locks may be held."""
    global _lock, _loop, _users
    _lock = threading.Lock()
    _loop = None
    _users = 0
    for client in list(_watched):
        client.after_fork()


os.register_at_fork(after_in_child=_in_child)
