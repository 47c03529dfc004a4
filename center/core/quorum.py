"""Quorum arithmetic over the configured list, never over the reachable part of it."""

from __future__ import annotations

from enum import Enum

__all__ = ["Outcome", "majority", "tally"]


class Outcome(Enum):
    """How a count stands."""

    WON = "won"
    LOST = "lost"
    PENDING = "pending"


def majority(voters: int) -> int:
    """Return how many of `voters` (>= 1) make a quorum: floor(n / 2) + 1."""
    return voters // 2 + 1


def tally(yes: int, no: int, voters: int) -> Outcome:
    """Judge a count of `yes` and `no` among `voters`.

    WON and LOST are final: no answer still out can change them.
    """
    if yes >= majority(voters):
        return Outcome.WON
    if voters - no < majority(voters):
        return Outcome.LOST
    return Outcome.PENDING
