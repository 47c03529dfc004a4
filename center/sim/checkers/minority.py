"""I7: who cannot reach a quorum changes nothing."""

from __future__ import annotations

from collections.abc import Set

from center.core.ballot import NO_STAMP, Stamp
from center.core.quorum import majority
from center.core.record import MapRecord, Voters
from center.sim.checkers.base import Checker, Violation
from center.sim.checkers.history import History

__all__ = ["Minority"]

NEVER_S = float("-inf")


class _Line:
    """What passes between a center and one other, and what has passed.

    `contact_s` is the last moment at which the center can have sent something that the other
    has answered: it got through then, and since then something of the other has. The two need
    never have had one moment in common.
    """

    __slots__ = ("_answered_s", "_hears", "_sends", "_sent_s")

    def __init__(self) -> None:
        self._sends = self._hears = False
        self.forget()

    def forget(self) -> None:
        """What an earlier process sent counts for nothing."""
        self._sent_s = self._answered_s = NEVER_S

    def turn(self, now_s: float, *, sends: bool, hears: bool) -> None:
        """From now on it carries this."""
        if self._sends:
            self._sent_s = now_s
        if self._hears:
            self._answered_s = self._sent_s
        self._sends, self._hears = sends, hears

    def contact_s(self, now_s: float) -> float:
        """Return the last moment whose question can have been answered by now."""
        if not self._hears:
            return self._answered_s
        return now_s if self._sends else self._sent_s


class Minority(Checker):
    """A center without a quorum neither claims, nor becomes leader, nor commits.

    What it may do rests on answers of a quorum, itself included: on those of n / 2 others,
    rounded down. Not of all of them at one moment: a leader that is cut off from one follower
    just before another one comes back has its lease, though at no instant did it reach both.
    So each of the others counts by its own last contact, the last moment at which a question
    sent to it can have been answered by now (`_Line`), and what the center can have is the
    n / 2-th newest of these contacts. No delay of a message makes one newer, so there is no
    span of grace in what follows from it:

    * A lease counts from the sending of what was answered: a claim needs that contact within
      the lease, measured by the quickest clock.
    * A promise answers a question for the same epoch by the same process: a leader needs the
      contact no earlier than it first asked for its epoch.
    * A copy answers a map: a commit needs the contact no earlier than the map was made.
    """

    def __init__(self, history: History, *, lease_s: float) -> None:
        """Watch; no lease is longer than `lease_s`."""
        self._history = history
        self._lease_s = lease_s
        self._lines: dict[int, dict[int, _Line]] = {}
        self._needed: dict[int, int] = {}
        self._weak: set[int] = set()
        self._asked_s: dict[int, dict[int, float]] = {}
        self._made_s: dict[Stamp, float] = {NO_STAMP: NEVER_S}

    def started(self, center: int, served: Stamp) -> None:
        """Begin anew with a process."""
        self._asked_s.pop(center, None)
        for line in self._lines.get(center, {}).values():
            line.forget()

    def reached(
        self, center: int, voters: Voters, sends: Set[int], hears: Set[int], now_s: float
    ) -> None:
        """Note what every line of a center carries from now on."""
        lines = self._lines.setdefault(center, {})
        for other in sends | hears | lines.keys():
            line = lines.get(other)
            if line is None:
                line = lines[other] = _Line()
            line.turn(now_s, sends=other in sends, hears=other in hears)
        self._needed[center] = majority(len(voters.ids)) - 1
        if len(sends & hears) < self._needed[center]:
            self._weak.add(center)
        else:
            self._weak.discard(center)

    def asked(self, center: int, epoch: int, to: int, local_s: float, now_s: float) -> None:
        """Remember when first."""
        self._asked_s.setdefault(center, {}).setdefault(epoch, now_s)

    def made(self, center: int, record: MapRecord, now_s: float) -> None:
        """Remember when."""
        self._made_s[record.stamp] = now_s

    def _contact_s(self, center: int, now_s: float) -> float:
        """Return the newest moment whose questions a quorum can have answered by now."""
        if center not in self._weak:
            return now_s
        lines = self._lines[center].values()
        contacts = sorted((line.contact_s(now_s) for line in lines), reverse=True)
        needed = self._needed[center]
        return contacts[needed - 1] if needed <= len(contacts) else NEVER_S

    def led(self, center: int, incarnation: int, epoch: int, voters: Voters, now_s: float) -> None:
        """Refuse a leader whose question a quorum cannot have answered."""
        asked_s = self._asked_s.get(center, {}).get(epoch, NEVER_S)
        if self._contact_s(center, now_s) < asked_s:
            raise Violation("I7", f"center {center} leads in epoch {epoch} from a minority")

    def claimed(self, center: int, epoch: int, local_s: float, now_s: float) -> None:
        """Refuse a claim that outlives the contact by more than the lease."""
        if now_s - self._contact_s(center, now_s) > self._lease_s:
            raise Violation("I7", f"center {center} claims epoch {epoch} from a minority")

    def committed(self, center: int, record: MapRecord, now_s: float) -> None:
        """Refuse a map that a minority is the first to serve."""
        if record.stamp in self._history.commits:
            return
        if self._contact_s(center, now_s) < self._made_s.get(record.stamp, NEVER_S):
            raise Violation("I7", f"center {center} commits {record.stamp} in a minority")
