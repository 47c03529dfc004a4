"""I13: nothing is said of a promise, a map or a commit that its speaker's disk does not hold."""

from __future__ import annotations

from center.core.ballot import NO_STAMP, Ballot, Stamp, State
from center.core.messages import (
    Acceptance,
    Announcement,
    Body,
    Confirmation,
    Join,
    Ping,
    Pong,
    Proposal,
    Put,
    Relay,
    Stored,
)
from center.core.record import Record, Voters
from center.sim.checkers.base import Checker, Violation

__all__ = ["Words"]

ESTABLISHED = (State.FOLLOWING, State.LEADING)


def _given(center: int, body: Body) -> tuple[int, Stamp]:
    """Return the epoch and the map that a message gives as its sender's own, for good.

    Not what only warns others of an epoch, before that is durable: it binds nobody.
    """
    match body:
        case Pong(epoch=epoch, stamp=stamp) | Ping(epoch=epoch, committed=stamp):
            return (epoch, stamp)
        case Proposal(ballot=ballot, state=state, epoch=epoch, committed=served):
            own = (ballot.epoch, ballot.version) if ballot.id == center else NO_STAMP
            return (epoch if state in ESTABLISHED else 0, max(own, served))
        case Announcement(epoch=epoch, state=state):
            return (epoch if state in ESTABLISHED else 0, NO_STAMP)
        case Confirmation(epoch=epoch, established=established, stamp=stamp):
            return (epoch, NO_STAMP) if established else (0, stamp)
        case Acceptance(epoch=epoch, stamp=stamp) | Stored(epoch=epoch, stamp=stamp):
            return (epoch, stamp)
        case Put(epoch=epoch):
            return (epoch, NO_STAMP)  # the copy of whoever made it may be the last one
        case Join(stamp=stamp):
            return (0, stamp)
        case Relay(map=record):
            return (0, record.stamp)
        case _:
            return (0, NO_STAMP)


class Words(Checker):
    """Compares every message, at the moment when it is sent, with the disk of its sender.

    A vote is for the map that it names, an acceptance for its epoch and the list under which
    it was given, a copy counts for a commit, a ping tells of one: each must outlive the
    process that says so. What follows from one that does not may take many crashes to show.
    Whoever votes for another center passes on a ballot which that one has cast, or names no map.
    """

    def __init__(self) -> None:
        self._disks: dict[int, Record] = {}
        self._cast: set[Ballot] = set()

    def wrote(self, center: int, record: Record) -> None:
        """Note what is on a disk."""
        self._disks[center] = record

    def wiped(self, center: int) -> None:
        """Forget what was on a disk."""
        self._disks.pop(center, None)

    def said(self, center: int, voters: Voters, body: Body) -> None:
        """Find what is given on the disk of the giver."""
        epoch, stamp = _given(center, body)
        disk = self._disks.get(center, Record())
        kind = type(body).__name__
        if disk.accepted_epoch < epoch:
            text = f"center {center} says {kind} in epoch {epoch}, its disk {disk.accepted_epoch}"
            raise Violation("I13", text)
        if disk.stamp < stamp:
            text = f"center {center} says {kind} of {stamp}, its disk has {disk.stamp}"
            raise Violation("I13", text)
        if isinstance(body, Proposal):
            self._count(center, body.ballot)
        if epoch and (disk.list_digest, disk.list_generation) != (voters.digest, voters.generation):
            text = f"center {center} says {kind} by a list that is not on its disk"
            raise Violation("I13", text)

    def _count(self, center: int, ballot: Ballot) -> None:
        if ballot.id == center:
            self._cast.add(ballot)
        elif ballot not in self._cast and (ballot.epoch, ballot.version) != NO_STAMP:
            text = f"center {center} votes by {ballot}, which center {ballot.id} never cast"
            raise Violation("I13", text)
