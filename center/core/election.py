"""FastLeaderElection: who should lead. It counts; it sends nothing and promises nothing.

An election alone is not safe (two winners in different rounds, even in one, do happen): the
winner leads only after the epoch handshake of `leadership`.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from center.core.ballot import Ballot, State
from center.core.events import Chance
from center.core.messages import Proposal
from center.core.quorum import Outcome, majority, tally
from center.core.timing import Timing

__all__ = ["Election", "Turn"]

RETRY_JITTER = 0.2
"""Retries spread over [1, 1 + this] of their span, so that ballots do not meet in step."""


class Turn(Enum):
    """What a proposal asks of its receiver."""

    NOTHING = "nothing"
    ANSWER = "answer"
    SPREAD = "spread"


class Election:
    """The rounds of one center, and the votes of the present one.

    `round` only grows, over all elections of this process: a stale message of an earlier
    round can elect nobody.
    """

    def __init__(self, me: int, voters: tuple[int, ...], timing: Timing, chance: Chance) -> None:
        """Make an election that has not begun."""
        self._me = me
        self._voters = voters
        self._timing = timing
        self._chance = chance
        self.round = 0
        self.own = self.ballot = Ballot(0, 0, 0, me)
        self._votes: dict[int, Ballot] = {}
        self._outside: dict[int, Proposal] = {}
        self._finalize_s: float | None = None
        self._span_s = timing.retry_min_s
        self.retry_s = 0.0

    def begin(self, own: Ballot, now_s: float) -> None:
        """Enter the next round with a vote for oneself."""
        self.round += 1
        self.own = own
        self._outside.clear()
        self._reset(own)
        self._span_s = self._timing.retry_min_s
        self._arm(now_s)

    def _reset(self, ballot: Ballot) -> None:
        self._votes.clear()
        self._vote(ballot)

    def _vote(self, ballot: Ballot) -> None:
        self.ballot = ballot
        self._votes[self._me] = ballot
        self._finalize_s = None

    def _arm(self, now_s: float) -> None:
        self.retry_s = now_s + self._span_s * (1 + RETRY_JITTER * self._chance.random())

    def retry_due(self, now_s: float) -> bool:
        """Return whether to send the ballot again; if so, arm the next, longer span."""
        if now_s < self.retry_s:
            return False
        self._span_s = min(2 * self._span_s, self._timing.retry_max_s)
        self._arm(now_s)
        return True

    def stretch(self, lag_s: float) -> None:
        """Move every time-out later by the node's own lag."""
        self.retry_s += lag_s
        if self._finalize_s is not None:
            self._finalize_s += lag_s

    def take(self, sender: int, proposal: Proposal, down: Collection[int]) -> Turn:
        """Count one proposal of a voter while LOOKING.

        Args:
            sender: whose vote it is.
            proposal: a ballot for one of the voters; others count for nothing.
            down: centers whose process is gone; nobody is talked into voting for those.
        """
        if proposal.ballot.id not in self._voters:
            return Turn.NOTHING
        if proposal.state in (State.FOLLOWING, State.LEADING):
            self._outside[sender] = proposal
            if proposal.round == self.round:
                self._votes[sender] = proposal.ballot
            return Turn.NOTHING
        self._outside.pop(sender, None)
        answer = Turn.ANSWER if proposal.state is State.LOOKING else Turn.NOTHING
        if proposal.round < self.round:
            return answer
        offered = proposal.ballot
        better = offered > self.ballot and offered.id not in down
        if proposal.round > self.round:
            self.round = proposal.round
            better = offered > self.own and offered.id not in down
            self._reset(offered if better else self.own)
            self._votes[sender] = offered
            return Turn.SPREAD
        self._votes[sender] = offered
        if better:
            self._vote(offered)
            return Turn.SPREAD
        return answer if offered < self.ballot else Turn.NOTHING

    def established(self) -> tuple[int, int] | None:
        """Return (leader, epoch) if a quorum follows a leader who says so itself.

        Only (leader, epoch) is compared: rounds and stamps differ between members that
        joined at different times. It never names this center.
        """
        for leader, claim in self._outside.items():
            if claim.state is not State.LEADING:
                continue
            named = (leader, claim.epoch)
            following = sum(
                (vote.ballot.id, vote.epoch) == named for vote in self._outside.values()
            )
            if following >= majority(len(self._voters)):
                return named
        return None

    def decided(self, now_s: float, down: Collection[int]) -> bool:
        """Return whether `ballot` has won for good.

        A won count waits `finalize_s` for a better ballot, unless every voter that is not
        `down` has this very one.
        """
        agreed = sum(vote == self.ballot for vote in self._votes.values())
        if tally(agreed, 0, len(self._voters)) is not Outcome.WON:
            self._finalize_s = None
            return False
        if all(
            self._votes.get(voter) == self.ballot for voter in self._voters if voter not in down
        ):
            return True
        if self._finalize_s is None:
            self._finalize_s = now_s + self._timing.finalize_s
        return now_s >= self._finalize_s

    def deadline_s(self) -> float:
        """Return when something is due without any message."""
        return self.retry_s if self._finalize_s is None else min(self.retry_s, self._finalize_s)
