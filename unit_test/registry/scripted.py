"""Sessions of a registry that does what a test says: no sockets, every step told."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from libevrpc.core.endpoints import Endpoint
from libevrpc.registry.base import Announcement
from libevrpc.registry.session import Nap

WAIT_S = 10.0
Told = queue.SimpleQueue[tuple[str, Any]]
"""Steps as the engine takes them: (name, argument)."""


def next_told(told: Told, kind: str) -> Any:
    """Return the next step of that kind, whatever comes before it."""
    while True:
        found, what = told.get(timeout=WAIT_S)
        if found == kind:
            return what


class ScriptedRegistry:
    """What all sessions of a test share: the script, and what was told.

    Attributes:
        told: steps, in order.
        fails: step -> what it raises, until it is taken out.
        fails_at: step and which one of its kind, from 1 -> what it raises.
        servers: what `fetch` returns.
        place: whose place the server waits for.
        others: services beside the one that is looked for.
        doubt: why a step does not end.
        holds: steps that block until `go` is set, whatever wakes them.
    """

    def __init__(self) -> None:
        self.told: Told = queue.SimpleQueue()
        self.fails: dict[str, BaseException] = {}
        self.fails_at: dict[tuple[str, int], BaseException] = {}
        self._taken: Counter[str] = Counter()
        self.servers: tuple[Endpoint, ...] = ()
        self.holds: set[str] = set()
        self.go = threading.Event()
        self.place = ""
        self.others: tuple[str, ...] = ()
        self.doubt = ""
        self.sessions: list[ScriptedSession] = []

    def announce_session(self) -> ScriptedSession:
        """Make a session, or fail to."""
        self.step("make", None)
        made = ScriptedSession(self)
        self.sessions.append(made)
        return made

    watch_session = announce_session

    def step(self, name: str, argument: object) -> None:
        """Note a step and do what the script says of it, as it stood before the step was told."""
        self._taken[name] += 1
        failure = self.fails.get(name) or self.fails_at.get((name, self._taken[name]))
        held = name in self.holds
        self.told.put((name, argument))
        if held:
            self.go.wait()
        if failure is not None:
            raise failure

    def change(self, *servers: Endpoint) -> None:
        """Change the list, and tell who watches."""
        self.servers = servers
        for session in self.sessions:
            session.changed()


class ScriptedSession:
    """Both kinds of session. See `AnnounceSession` and `WatchSession`."""

    def __init__(self, registry: ScriptedRegistry) -> None:
        self._registry = registry
        self._nap = Nap()
        self._dirty = threading.Event()
        self.wakes = 0
        self.step: Callable[[str, object], None] = registry.step

    def open(self) -> None:
        self.step("open", None)

    def put(self, announcement: Announcement) -> None:
        self.step("put", announcement)

    def beat(self, wait_s: float) -> None:
        self.step("beat", wait_s)
        self._nap.wait(wait_s)

    def standing_by(self) -> str:
        return self._registry.place

    def remove(self) -> None:
        self.step("remove", None)

    def fetch(self) -> tuple[Endpoint, ...]:
        self._dirty.clear()
        self.step("fetch", None)
        return self._registry.servers

    def others(self) -> tuple[str, ...]:
        self.step("others", None)
        return self._registry.others

    def doubt(self) -> str:
        return self._registry.doubt

    def wait(self, timeout_s: float) -> bool:
        self.step("wait", timeout_s)
        if not self._dirty.is_set():
            self._nap.wait(timeout_s)
        return self._dirty.is_set()

    def changed(self) -> None:
        self._dirty.set()
        self._nap.wake()

    def close(self) -> None:
        self.step("close", None)

    def wake(self) -> None:
        self.wakes += 1
        self._nap.wake()
