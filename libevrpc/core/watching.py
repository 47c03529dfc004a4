"""What a client's watcher of a registry does next, and which list it believes.

A pure machine: its owner carries out the step that `next_step` names and says how it went. One
thread. Three rules stand behind it:

* A burst of changes costs few questions: the first change is asked about at once, those after it
  together, a window later.
* A registry that cannot be asked takes nobody out of a list that was good.
* A registry that has just come back may have forgotten servers that are alive and will announce
  themselves again. So for `settle_s` after trouble new servers are believed and missing ones are
  kept. A list that is only remembered may be old: any server that the registry names replaces it,
  and an empty answer does so when it has lasted that long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from libevrpc.core.backoff import Backoff, BackoffPolicy, Randomness
from libevrpc.core.endpoints import Endpoint, EndpointSet

__all__ = ["ENDPOINTS_MAX", "PlannedWatch", "WatchPolicy", "WatchStep", "Watching"]

WATCH_BACKOFF = BackoffPolicy(first_s=0.1, max_s=3.0)
"""How long a failed step waits for its next try."""
ENDPOINTS_MAX = 10_000
"""Most servers of one list; of a longer one the first in the order of their addresses are used."""


class WatchStep(Enum):
    """What to do next."""

    OPEN = auto()
    """Make a session."""
    FETCH = auto()
    """Ask for the list."""
    LISTEN = auto()
    """Wait for a change."""
    WAIT = auto()
    """Do nothing for a while."""


@dataclass(frozen=True, slots=True)
class PlannedWatch:
    """A step and, for LISTEN and WAIT, how long it takes at most, seconds."""

    step: WatchStep
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """When to ask. Immutable, any thread.

    Attributes:
        refresh_s: asked again after this though no change was heard, less up to a tenth.
        window_s: least time between two questions.
        settle_s: how long after trouble nobody is dropped; 0: not at all.
        backoff: of failed steps.
    """

    refresh_s: float = 30.0
    window_s: float = 0.1
    settle_s: float = 3.0
    backoff: BackoffPolicy = WATCH_BACKOFF


class Watching:
    """The watcher's state: what is open, what is due when, which list was told.

    Args:
        rng: jitter.
        policy: when to ask.
        remembered: servers known from an earlier process.
    """

    def __init__(
        self, rng: Randomness, policy: WatchPolicy, remembered: Sequence[Endpoint] = ()
    ) -> None:
        self._rng = rng
        self._policy = policy
        self._backoff = Backoff(policy.backoff, rng)
        self._open = False
        self._changed = True
        self._due_s = 0.0
        self._refresh_s = 0.0
        self._steady_s: float | None = None
        """Since when every question was answered; None: the last one was not."""
        self._lost_sight = False
        """There has been trouble since the list was told in full trust."""
        self.told: EndpointSet | None = None
        """What the client knows."""
        if remembered:
            self.told = EndpointSet(tuple(remembered), remembered=True)
        self.trouble = ""
        """Why the last step failed; empty: it did not."""
        self.overfull = 0
        """Servers of the last list beyond ENDPOINTS_MAX."""

    @property
    def heard(self) -> bool:
        """True if the registry itself has named the list that is told."""
        return self.told is not None and not self.told.remembered

    def next_step(self, now_s: float) -> PlannedWatch:
        """Return what to do now."""
        if not self._open or self.trouble:
            if now_s < self._due_s:
                return PlannedWatch(WatchStep.WAIT, self._due_s - now_s)
            return PlannedWatch(WatchStep.FETCH if self._open else WatchStep.OPEN)
        if not self._changed and now_s < self._refresh_s:
            return PlannedWatch(WatchStep.LISTEN, self._refresh_s - now_s)
        if now_s < self._due_s:
            return PlannedWatch(WatchStep.WAIT, self._due_s - now_s)
        return PlannedWatch(WatchStep.FETCH)

    def opened(self) -> None:
        """Note that there is a session."""
        self._open = True
        self._changed = True

    def changed(self) -> None:
        """Note that the list may be another one."""
        self._changed = True

    def asking(self, now_s: float) -> None:
        """Note that the list is asked for: changes from now on are new ones."""
        self._changed = False
        self._due_s = now_s + self._policy.window_s

    def failed(self, why: str, lost: bool, now_s: float) -> bool:
        """Note that a step failed; return True where trouble begins.

        Args:
            why: one line, not empty.
            lost: the session is gone.
            now_s: the present.
        """
        begins = not self.trouble
        self.trouble = why
        self._due_s = now_s + self._backoff.failed()
        self._steady_s = None
        self._lost_sight = True
        self._changed = True
        if lost:
            self._open = False
        return begins

    def fetched(self, endpoints: Sequence[Endpoint], now_s: float) -> EndpointSet | None:
        """Take the registry's list; return what to tell the client, None: nothing new."""
        self.trouble = ""
        self._backoff.succeeded()
        if self._steady_s is None:
            self._steady_s = now_s
        self._refresh_s = now_s + self._policy.refresh_s * (1.0 - 0.1 * self._rng.random())
        found = self._ordered(endpoints)
        settled_s = self._steady_s + self._policy.settle_s
        told = self.told
        if told is not None and now_s < settled_s:
            if told.remembered and not found:
                self._refresh_s = min(self._refresh_s, settled_s)
                return None
            if self._lost_sight and not told.remembered:
                missing = {each.address: each for each in told.endpoints}
                found = self._ordered((*found, *missing.values()))
                self._refresh_s = min(self._refresh_s, settled_s)
        else:
            self._lost_sight = False
        news = EndpointSet(found)
        if news == told:
            return None
        self.told = news
        return news

    def _ordered(self, endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
        """Return each address once, the first one wins, in an order that all clients share."""
        known: dict[str, Endpoint] = {}
        for each in endpoints:
            known.setdefault(each.address, each)
        ordered = sorted(known.values(), key=lambda each: each.address)
        self.overfull = max(0, len(ordered) - ENDPOINTS_MAX)
        return tuple(ordered[:ENDPOINTS_MAX])
