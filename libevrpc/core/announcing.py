"""What a server's announcer does next at a registry that keeps sessions or leases.

A pure machine: its owner carries out the step that `next_step` names and says how it went. One
thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from libevrpc.core.backoff import Backoff, BackoffPolicy, Randomness

__all__ = ["ANNOUNCE_BACKOFF", "AnnounceStep", "Announcing", "Turn"]

ANNOUNCE_BACKOFF = BackoffPolicy(first_s=0.1, max_s=3.0)
"""How long a failed step waits for its next try."""


class AnnounceStep(Enum):
    """What to do next."""

    OPEN = auto()
    """Make a session."""
    PUT = auto()
    """Have the registry say what is to be announced."""
    BEAT = auto()
    """Keep what it says alive."""
    REMOVE = auto()
    """Take it back."""
    WAIT = auto()
    """Do nothing: a step has failed, its next try is not due."""
    END = auto()
    """Nothing is left to do."""


class Turn(Enum):
    """What a step's outcome changed, for a person."""

    NONE = auto()
    FAILING = auto()
    """Trouble begins."""
    WELL = auto()
    """Announced; after trouble or for the first time."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A step and, for WAIT, how long it takes at most, seconds."""

    step: AnnounceStep
    wait_s: float = 0.0


class Announcing:
    """The announcer's state: is a session open, what may the registry say, what is due when.

    A session that fails is kept and the step tried again after a back-off; one that is lost is
    made anew. The back-off starts over when a beat has gone well, and what failed after a put is
    well again only then: a session that can be filled, but not kept, must neither be made ten
    times a second nor be told of each time.

    Args:
        rng: jitter.
        policy: back-off of failed steps.
    """

    def __init__(self, rng: Randomness, policy: BackoffPolicy = ANNOUNCE_BACKOFF) -> None:
        self._backoff = Backoff(policy, rng)
        self._open = False
        self._put = False
        self._due_s = 0.0
        self._leave_by_s: float | None = None
        self._well = False
        self._failing = False
        self._shaky = False
        self.told = False
        """The registry may say something of us: a put was tried in the session that is open."""

    @property
    def well(self) -> bool:
        """True while what was put last is there, as far as is known."""
        return self._well

    def leave(self, by_s: float) -> None:
        """Take back what was announced, until `by_s` at the latest; nothing else from now on."""
        if self._leave_by_s is None:
            self._leave_by_s = by_s
            self._due_s = 0.0  # whatever failed before: this is worth a try at once

    def next_step(self, now_s: float, current: bool) -> Planned:
        """Return what to do now.

        Args:
            now_s: the present.
            current: what was put last is what is to be announced.
        """
        if self._leave_by_s is not None:
            return self._leaving_step(now_s, self._leave_by_s)
        if now_s < self._due_s:
            return Planned(AnnounceStep.WAIT, self._due_s - now_s)
        if not self._open:
            return Planned(AnnounceStep.OPEN)
        if not self._put or not current:
            return Planned(AnnounceStep.PUT)
        return Planned(AnnounceStep.BEAT)

    def _leaving_step(self, now_s: float, by_s: float) -> Planned:
        if not self.told or now_s >= by_s:
            return Planned(AnnounceStep.END)
        if now_s < self._due_s:
            return Planned(AnnounceStep.WAIT, min(self._due_s, by_s) - now_s)
        return Planned(AnnounceStep.REMOVE)

    def done(self, step: AnnounceStep) -> Turn:
        """Note that a step went well."""
        if step is AnnounceStep.OPEN:
            self._open = True
            return Turn.NONE
        if step is AnnounceStep.REMOVE:
            self.told = False
            return Turn.NONE
        self._put = True
        if step is AnnounceStep.BEAT:
            self._backoff.succeeded()
            self._shaky = False
        if self._shaky:
            return Turn.NONE
        turn = Turn.NONE if self._well else Turn.WELL
        self._well, self._failing = True, False
        return turn

    def trying(self, step: AnnounceStep) -> None:
        """Note that a step begins: a put that fails may have gone through all the same."""
        if step is AnnounceStep.PUT:
            self.told = True

    def failed(self, lost: bool, now_s: float) -> Turn:
        """Note that a step failed.

        Args:
            lost: the session is gone, and what was put in it.
            now_s: the present.
        """
        self._due_s = now_s + self._backoff.failed()
        self._shaky = self._shaky or self._put
        if lost:
            self._open = self._put = self.told = False
        turn = Turn.NONE if self._failing else Turn.FAILING
        self._well, self._failing = False, True
        return turn
