"""What an adapter brings: two small blocking objects, each owned by one thread of the engine.

The engine (`announcer.py`, `watcher.py`) brings the rest: the thread, back-off, announcing again,
coalescing, what is remembered, the log.

An adapter's methods may block, but only as long as its own time-outs (a few seconds). They raise
`RegistryError` where the registry did not do what was asked (the session is kept and the step is
tried again), `SessionLost` where the session and all that was put in it is gone (it is closed and
a new one made). After a failed `open` the session is closed and made anew too.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Protocol

from libevrpc.core.endpoints import Endpoint
from libevrpc.errors import EvrpcError
from libevrpc.registry.base import Announcement

__all__ = ["AnnounceSession", "Nap", "RegistryError", "SessionLost", "WatchSession"]


class RegistryError(EvrpcError):
    """The registry did not do what was asked; the text is one line that says why."""


class SessionLost(RegistryError):  # noqa: N818 - a state of affairs, as adapters know it
    """The session is gone with all that was put in it; a new one is needed."""


class Nap:
    """A wait that any thread can end. A wake that comes before the wait ends it at once."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def wait(self, seconds: float) -> bool:
        """Wait; True: woken. One thread."""
        woken = self._event.wait(max(0.0, seconds))
        self._event.clear()
        return woken

    def wake(self) -> None:
        """End the wait, the next one if there is none. Any thread."""
        self._event.set()


class AnnounceSession(Protocol):
    """What one server says at a registry. One thread, but for `wake`."""

    def open(self) -> None:
        """Connect, and get what keeps the announcement alive; a wake may end it. Once."""
        ...

    def put(self, announcement: Announcement) -> None:
        """Make the registry say exactly this of us. Any number of times.

        Adds what is new, changes what differs, takes back what is not there any more. What a
        process before us left under the same address is ours now.
        """
        ...

    def beat(self, wait_s: float) -> None:
        """Keep alive what was put: speak to the registry if it is time, or wait.

        Blocks for at most `wait_s` or the time to the next sign of life, until `wake` if that
        comes first (also when it came before).
        """
        ...

    def standing_by(self) -> str:
        """Return whose place we wait for, in words; empty: all that was put is there."""
        ...

    def remove(self) -> None:
        """Take back what was put, so that nobody finds us any more. Any number of times."""
        ...

    def close(self) -> None:
        """Hang up; what was put is left to expire. Once, also after a failed `open`."""
        ...

    def wake(self) -> None:
        """End the present `beat`, else the next one. Any thread, at any time."""
        ...


class WatchSession(Protocol):
    """Who offers a service, as a registry sees it. One thread, but for `wake` and `doubt`."""

    def open(self) -> None:
        """Connect; a wake may end it, as a failure. Once."""
        ...

    def fetch(self) -> tuple[Endpoint, ...]:
        """Return who offers the service now; an empty answer is the registry's own word.

        What cannot be read (a record of somebody else, half a record) is left out and named in
        the log, once.
        """
        ...

    def others(self) -> Collection[str]:
        """Return which services the registry knows beside ours, as far as it can tell."""
        ...

    def doubt(self) -> str:
        """Return why the present step does not end, in words; empty: not known. Any thread."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Wait for a change since the last `fetch` began; True: there may be one.

        Blocks for at most `timeout_s`, until `wake` if that comes first (False, also when it
        came before).
        """
        ...

    def close(self) -> None:
        """Hang up. Once, also after a failed `open`."""
        ...

    def wake(self) -> None:
        """End the present `wait`, else the next one. Any thread, at any time."""
        ...
