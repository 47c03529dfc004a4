"""Leadership: who may lead. The epoch handshake makes a leader, the lease keeps it honest."""

from __future__ import annotations

from center.core.messages import Acceptance
from center.core.quorum import Outcome, majority, tally
from center.core.record import MapRecord
from center.core.timing import Timing

__all__ = ["Candidacy", "Lease"]

PINGS_KEPT_MAX = 64
"""Pings whose send time is remembered; an answer to an older one is worth nothing."""


class Candidacy:
    """One try of a winner to have a quorum promise themselves to `epoch`.

    The quorum includes the candidate itself, durably: else it could promise the same epoch
    again after a restart. The newest map of the quorum is adopted, whoever has it.
    """

    def __init__(self, me: int, voters: int, epoch: int, until_s: float) -> None:
        """Begin to ask for `epoch`; after `until_s` the try has failed."""
        self._me = me
        self._voters = voters
        self.epoch = epoch
        self.until_s = until_s
        self.accepted: set[int] = set()
        self.refused: set[int] = set()
        self.asked_s: dict[int, float] = {}
        self.newest: MapRecord | None = None

    def accept_own(self, own: MapRecord | None) -> None:
        """The own promise is durable, beside the map that is durable with it."""
        self.accepted.add(self._me)
        self._adopt(own)

    def accept(self, sender: int, acceptance: Acceptance) -> None:
        """Count a promise, and take the map that came with it if it is newer."""
        self.refused.discard(sender)
        self.accepted.add(sender)
        self._adopt(acceptance.map)

    def _adopt(self, offered: MapRecord | None) -> None:
        if offered is not None and (self.newest is None or offered.stamp > self.newest.stamp):
            self.newest = offered

    def refuse(self, sender: int) -> None:
        """Count a refusal, unless the same center has promised meanwhile."""
        if sender not in self.accepted:
            self.refused.add(sender)

    def outcome(self) -> Outcome:
        """Judge the handshake; LOST as soon as fewer than a quorum can still promise."""
        outcome = tally(len(self.accepted), len(self.refused), self._voters)
        if outcome is Outcome.WON and self._me not in self.accepted:
            return Outcome.PENDING
        return outcome


class Lease:
    """A leader's claim: it lasts `lease_s` from the *sending* of pings a quorum answered."""

    def __init__(self, me: int, voters: int, timing: Timing, now_s: float) -> None:
        """Begin at `now_s`; give up no earlier than one lease after it."""
        self._me = me
        self._quorum = majority(voters)
        self._timing = timing
        self._began_s = now_s
        self._sequence = 0
        self._sent_s: dict[int, float] = {}
        self._contact_s: dict[int, float] = {}
        self.ping_due_s = now_s

    def sent(self, now_s: float) -> int:
        """Return the number of the ping that goes out now, and arm the next one."""
        self._sequence += 1
        self._sent_s[self._sequence] = now_s
        self._sent_s.pop(self._sequence - PINGS_KEPT_MAX, None)
        self.ping_due_s = now_s + self._timing.heartbeat_s
        return self._sequence

    def contact(self, sender: int, sent_s: float) -> None:
        """Count an answer to something sent to `sender` at `sent_s`."""
        self._contact_s[sender] = max(sent_s, self._contact_s.get(sender, sent_s))

    def answered(self, sender: int, sequence: int) -> None:
        """Count an answer to ping `sequence`; unknown numbers count for nothing."""
        sent_s = self._sent_s.get(sequence)
        if sent_s is not None:
            self.contact(sender, sent_s)

    def until_s(self, now_s: float) -> float:
        """Return until when the leader may claim to lead."""
        contacts = sorted([now_s, *self._contact_s.values()], reverse=True)
        if len(contacts) < self._quorum:
            return self._began_s
        return contacts[self._quorum - 1] + self._timing.lease_s

    def lost(self, now_s: float) -> bool:
        """Return whether the leader must give up. Never stretched by its own lag."""
        return now_s >= max(self.until_s(now_s), self._began_s + self._timing.lease_s)

    def live(self, now_s: float, within_s: float) -> tuple[int, ...]:
        """Return the centers that answered within `within_s`, and oneself, ascending."""
        heard = (peer for peer, at_s in self._contact_s.items() if now_s - at_s < within_s)
        return tuple(sorted((self._me, *heard)))
