"""Ballots: what one center holds against another when they choose a leader."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["LEAP_MAX", "NO_STAMP", "RECORD_MAX", "Ballot", "Stamp", "State"]

Stamp = tuple[int, int]
"""(epoch, version) of a map; compared as a pair."""

LEAP_MAX = 1 << 40
"""No epoch or version is believed that is this far beyond the own ones, and no round that is so far
beyond the own one: no cluster elects or publishes so often, and who promised the largest number
there is could never promise again. Rounds are kept nowhere, so they vouch for no epoch."""

RECORD_MAX = 1 << 62
"""No record is believed with an epoch or version beyond this: twice as much, and its center could
promise nothing more that others can read."""

NO_STAMP: Stamp = (0, 0)
"""The stamp of "no map yet"; every published map has epoch >= 1 and version >= 1."""


class State(IntEnum):
    """What a center is doing; the numbers travel on the wire."""

    LOOKING = 0
    OBSERVING = 1
    FOLLOWING = 2
    LEADING = 3


@dataclass(frozen=True, slots=True, order=True)
class Ballot:
    """One vote: the candidate, by the rule that orders candidates. Greater is better.

    The accepted epoch is deliberately absent: a center that promised much and stores little
    must not win for it.

    Attributes:
        epoch: epoch of the candidate's newest map.
        version: version of that map.
        uptime_ms: the candidate's age, frozen at the start of its round; a duration, so
            clocks of different hosts never meet.
        id: the candidate; larger wins where all else is equal.
    """

    epoch: int
    version: int
    uptime_ms: int
    id: int
