"""The role of a center: LOOKING, OBSERVING, FOLLOWING or LEADING, and how it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from center.core.ballot import NO_STAMP, Ballot, Stamp, State
from center.core.boot import Boot
from center.core.election import Election
from center.core.events import Action, Chance, Log, LogLevel, Planner, RoleChanged, Send
from center.core.leadership import Candidacy, Lease
from center.core.ledger import Ledger
from center.core.members import Members, ages_of
from center.core.messages import (
    Acceptance,
    Announcement,
    Body,
    Confirmation,
    Fetch,
    Inquiry,
    Join,
    Proposal,
    Silent,
)
from center.core.peers import Peers
from center.core.publication import Publication
from center.core.quorum import Outcome
from center.core.record import MapRecord, Voters
from center.core.reign import Reign
from center.core.served import Served
from center.core.timing import Timing
from libevrpc.core.clustermap import ClusterMap
from libevrpc.errors import ProtocolError

__all__ = ["Role"]

FETCH_S = 0.25
"""A center that cannot follow asks for the committed map this often."""
FIRST_FETCH_S = 0.05
"""It asks first this long after it lost its leader: then it has heard who still follows one."""
PATIENCE_OVER_LEASE = 1.25
"""A follower's patience, at least, as a multiple of its leader's lease: spans are each center's
own, and a leader whose lease is the longer one must have given up before it is replaced."""
HOPE_OVER_RETRY = 1.5
"""How long a candidate may be silent, as a multiple of `retry_max_s`."""
LEASE_MAX_S = 3600.0
"""No longer lease is believed."""
RAISES_MAX = 3
"""How often one candidacy raises its epoch because somebody is bound to a larger one."""


@dataclass(slots=True)
class Followed:
    """What a follower knows of its leader beyond the map."""

    committed: Stamp = NO_STAMP
    silent: tuple[Silent, ...] = ()
    pinged: bool = False


class Role:
    """Whom one center follows, and what it owes him.

    Every transition returns the actions that go with it. A promise binds from the moment it
    is asked of the disk, and is spoken of only when it is durable.
    """

    def __init__(
        self,
        me: int,
        voters: Voters,
        ledger: Ledger,
        boot: Boot,
        timing: Timing,
        chance: Chance,
        planner: Callable[[], Planner],
        incarnation: int,
        now_s: float,
    ) -> None:
        """Begin LOOKING; `look` sets the center going."""
        self.me = me
        self.voters = voters
        self.ledger = ledger
        self.boot = boot
        self.timing = timing
        self.incarnation = incarnation
        self.peers = Peers(me, voters, timing.heartbeat_s, now_s)
        self.election = Election(me, voters.ids, timing, chance)
        record = ledger.durable
        self.served = Served(record.map if record.committed else None, now_s)
        self.state = State.LOOKING
        self.leader: int | None = None
        self.epoch = ledger.promised
        self.epoch_seen = 0
        self.reign: Reign | None = None
        self.candidacy: Candidacy | None = None
        self.followed = Followed()
        self.patience_until_s = now_s
        self._chance = chance
        self._planner = planner
        self._began_s = now_s
        self._beat_s = now_s
        self._fetch_s = now_s
        self._fetched = 0
        self._raises = 0
        self._promised_to: tuple[int, int, int] | None = None
        self._promising: tuple[int, int] | None = None
        self._lease_s = 0.0
        self._hope = (me, now_s)
        self._hope_s = HOPE_OVER_RETRY * timing.retry_max_s

    # Saying things --------------------------------------------------------------------------

    def to_all(self, message: Body) -> list[Action]:
        """Send `message` to every other center."""
        return [Send(peer, message) for peer in self.peers]

    def uptime_ms(self, now_s: float) -> int:
        """Return the center's age."""
        return max(0, int((now_s - self._began_s) * 1000))

    def inquiry(self, now_s: float) -> Inquiry:
        """Return the question of step 3."""
        return Inquiry(self.uptime_ms(now_s), self.voters.digest, self.voters.generation)

    def proposal(self) -> Proposal:
        """Return the present vote: the ballot, or whom one follows.

        A leader that was not elected here is named without a map: he may have another one.
        """
        ballot = self.election.ballot
        if self.leader is not None and ballot.id != self.leader:
            ballot = Ballot(0, 0, 0, self.leader)
        established = self.state in (State.FOLLOWING, State.LEADING)
        return Proposal(
            self.election.round,
            ballot,
            self.state,
            self.epoch if established else 0,
            self.ledger.promised,
            self.served.stamp,
            self.voters.digest,
            self.voters.generation,
        )

    @property
    def largest_number(self) -> int:
        """The largest of the epochs and versions that this center keeps."""
        record = self.ledger.newest
        return max(record.accepted_epoch, record.stamp[1])

    @property
    def outlasted(self) -> bool:
        """Whether the leader's lease is longer than ours.

        Our link to it closes when it was cut for our lease: it may claim to lead then.
        """
        return self._lease_s > self.timing.lease_s

    def be_patient(self, now_s: float) -> None:
        """Wait anew for a sign of life, for longer than the leader's own lease lasts."""
        timing = self.timing
        jitter = 1 + timing.patience_jitter * self._chance.random()
        patience_s = max(timing.patience_s, PATIENCE_OVER_LEASE * self._lease_s)
        self.patience_until_s = now_s + patience_s * jitter

    def _become(self, state: State, leader: int | None, epoch: int, why: str) -> list[Action]:
        if (state, leader, epoch) == (self.state, self.leader, self.epoch):
            return []
        self.state, self.leader, self.epoch = state, leader, epoch
        text = f"{state.name.lower()} leader={leader} epoch={epoch}: {why}"
        return [
            RoleChanged(state, leader, epoch),
            Log(LogLevel.INFO, text),
            *self.to_all(Announcement(leader, epoch, state)),
        ]

    def disk_fails(self, now_s: float) -> bool:
        """Return whether the center cannot promise or keep anything, and has not for a while.

        Whoever cannot write neither leads nor follows: it would hold up every map.
        """
        return self.ledger.failing(now_s, self.timing.patience_s)

    # LOOKING --------------------------------------------------------------------------------

    def look(self, now_s: float, why: str) -> list[Action]:
        """Have no leader: begin a round, or ask around if not yet allowed to vote."""
        if self.reign is not None:
            self.reign.over = True
            self.reign = None
        self.candidacy = None
        self._lease_s = 0.0
        self._hope = (self.me, now_s)
        self._fetch_s = now_s + FIRST_FETCH_S
        actions = self._become(State.LOOKING, None, self.ledger.promised, why)
        map_epoch, map_version = self.ledger.durable.stamp
        own = Ballot(map_epoch, map_version, self.uptime_ms(now_s), self.me)
        if self.disk_fails(now_s):
            own = Ballot(0, 0, 0, self.me)
        self.election.begin(own, now_s)
        return actions + self.canvass(now_s)

    def canvass(self, now_s: float) -> list[Action]:
        """Send the ballot to all; a center that may not vote asks who they are."""
        if self.boot.trusted:
            return self.to_all(self.proposal())
        return self.to_all(self.inquiry(now_s))

    def _canvass_again(self, now_s: float) -> list[Action]:
        """Send the ballot again, or begin a new round if it is that of a silent center.

        Who knows that it is gone takes its ballot from nobody, who does not would hold on to it
        for ever. In a new round only the living have ballots.
        """
        candidate, past_s = self.election.ballot.id, now_s - self._hope_s
        if candidate != self._hope[0]:
            self._hope = (candidate, now_s)
        silent = candidate in self.peers and not self.peers.heard(candidate, past_s)
        if silent and self._hope[1] <= past_s:
            return self.look(now_s, f"candidate {candidate} is silent")
        return self.canvass(now_s)

    def settle(self, now_s: float) -> list[Action]:
        """See whether the election has ended."""
        if self.state is not State.LOOKING:
            return []
        named = self.election.established()
        if named is not None and named[0] not in self.peers.down:
            leader, epoch = named
            if epoch >= self.ledger.promised:
                return self.join(leader, epoch, now_s)
        if not self.boot.trusted or not self.election.decided(now_s, self.peers.down):
            return []
        winner = self.election.ballot.id
        if winner == self.me:
            return [] if self.disk_fails(now_s) else self._stand(now_s)
        self.be_patient(now_s)
        return self._become(State.OBSERVING, winner, self.ledger.promised, "elected")

    # Candidate ------------------------------------------------------------------------------

    def _stand(self, now_s: float) -> list[Action]:
        self._raises = 0
        until_s = now_s + self.timing.handshake_s
        actions = self._become(State.OBSERVING, self.me, self.ledger.promised, "elected")
        return actions + self._ask_for(self._next_epoch(), until_s, now_s)

    def _next_epoch(self) -> int:
        return max(self.ledger.promised, self.epoch_seen) + 1

    def _ask_for(self, epoch: int, until_s: float, now_s: float) -> list[Action]:
        self.candidacy = Candidacy(self.me, len(self.voters.ids), epoch, until_s)
        return self._promise_self(self.candidacy) + self._ask_again(now_s)

    def _promise_self(self, candidacy: Candidacy) -> list[Action]:
        def durable(done_s: float) -> list[Action]:
            candidacy.accept_own(self.ledger.durable.map)  # it may have been given up meanwhile
            return [] if self.candidacy is None else self.judge(done_s)

        return self.ledger.accept(candidacy.epoch, durable)

    def _ask_again(self, now_s: float) -> list[Action]:
        """Ask those who have not answered; a lost question or promise costs one heartbeat."""
        assert self.candidacy is not None
        self._beat_s = now_s + self.timing.heartbeat_s
        candidacy = self.candidacy
        record = self.ledger.durable
        question = Confirmation(
            candidacy.epoch,
            False,
            record.stamp,
            self.ledger.cluster_id,
            self.voters.digest,
            self.timing.lease_s,
        )
        waiting = [peer for peer in self.peers if peer not in candidacy.accepted]
        for peer in waiting:
            candidacy.asked_s.setdefault(peer, now_s)
        return [Send(peer, question) for peer in waiting]

    def candidate_tick(self, now_s: float) -> list[Action]:
        """Give up after `handshake_s`; else ask again each heartbeat, the own disk too."""
        candidacy = self.candidacy
        assert candidacy is not None
        if now_s >= candidacy.until_s:
            return self.look(now_s, "handshake took too long")
        if now_s < self._beat_s:
            return []
        actions: list[Action] = []
        if self.ledger.promised < candidacy.epoch:
            actions += self._promise_self(candidacy)
        return actions + self._ask_again(now_s)

    def raise_epoch(self, now_s: float) -> list[Action]:
        """Ask for a larger epoch, since somebody is bound to this one; not for ever."""
        assert self.candidacy is not None
        self._raises += 1
        if self._raises > RAISES_MAX:
            return self.look(now_s, "others are bound to larger epochs")
        return self._ask_for(self._next_epoch(), self.candidacy.until_s, now_s)

    def judge(self, now_s: float) -> list[Action]:
        """See whether the handshake has ended."""
        assert self.candidacy is not None
        outcome = self.candidacy.outcome()
        if outcome is Outcome.WON:
            return self._lead(self.candidacy, now_s)
        if outcome is Outcome.LOST:
            return self.look(now_s, "a quorum refused")
        return []

    # LEADING --------------------------------------------------------------------------------

    def _lead(self, candidacy: Candidacy, now_s: float) -> list[Action]:
        # A newer map may have come meanwhile; those asked since then did not send theirs.
        candidacy.accept_own(self.ledger.durable.map)
        adopted = candidacy.newest
        try:
            base = ClusterMap("", 0, 0) if adopted is None else ClusterMap.decode(adopted.payload)
        except ProtocolError as exc:
            said = Log(LogLevel.ERROR, f"cannot lead over an unreadable map: {exc}")
            return [said, *self.look(now_s, "unreadable map")]
        voters = len(self.voters.ids)
        publication = Publication(self.me, candidacy.epoch, voters, adopted)
        publication.cluster_id = base.cluster_id or f"{self._chance.getrandbits(64):016x}"
        lease = Lease(self.me, voters, self.timing, now_s)
        members = Members(self.timing)
        members.take_over(base, self._replicated_ages(base), now_s)
        self.reign = Reign(
            publication,
            base,
            lease,
            members,
            self._planner(),
            self.ledger,
            self.timing,
            candidacy.epoch,
            self.me,
            tuple(self.peers),
            self._commit_own,
        )
        self.reign.followers |= candidacy.accepted - {self.me}
        for peer in self.reign.followers:
            lease.contact(peer, candidacy.asked_s[peer])
        self.candidacy = None
        actions = self._become(State.LEADING, self.me, candidacy.epoch, "a quorum promised")
        return actions + self.reign.tick(now_s)

    def _replicated_ages(self, base: ClusterMap) -> dict[str, float]:
        """Return later ages than the map's, where its own leader still pinged after it."""
        if not self.followed.pinged or self.followed.committed[0] != base.epoch:
            return {}
        return ages_of(self.followed.silent, (entry.address for entry in base.servers))

    def _commit_own(self, record: MapRecord, now_s: float) -> list[Action]:
        return self.served.serve(record, now_s) + self.ledger.mark_committed(record.stamp)

    def outranked(self, epoch: int, now_s: float) -> list[Action]:
        """Take note of an epoch somebody is bound to; a leader of a smaller one gives up."""
        self.epoch_seen = max(self.epoch_seen, epoch)
        if self.reign is not None and epoch > self.reign.epoch:
            return self.look(now_s, f"outranked by epoch {epoch}")
        return []

    # OBSERVING, FOLLOWING -------------------------------------------------------------------

    def join(self, leader: int, epoch: int, now_s: float) -> list[Action]:
        """Ask the established leader of `epoch` to be taken in."""
        actions: list[Action] = []
        if self.reign is not None or self.candidacy is not None:
            actions += self.look(now_s, f"center {leader} leads in epoch {epoch}")
        self.be_patient(now_s)
        if self.disk_fails(now_s):
            why = "cannot follow while it cannot write"
            return actions + self._become(State.OBSERVING, leader, self.ledger.promised, why)
        actions += self._become(State.OBSERVING, leader, self.ledger.promised, "joining")
        return [*actions, Send(leader, self.join_request())]

    def join_request(self) -> Join:
        """Return what asks a leader for an established `Confirmation`."""
        durable = self.ledger.durable
        return Join(self.ledger.promised, durable.stamp, self.voters.digest)

    def may_promise(self, sender: int, incarnation: int, asked: Confirmation) -> bool:
        """Return whether a promise to `sender` breaks none.

        An epoch is promised to one process only: the second one that asks for the same
        number is refused, even if it is the same center reborn.
        """
        if asked.epoch != self.ledger.promised or asked.established:
            return asked.epoch >= self.ledger.promised
        return self._promised_to == (asked.epoch, sender, incarnation)

    def promising(self, epoch: int) -> bool:
        """Return whether the promise of `epoch` to the present leader is on its way to disk."""
        return self._promising == (epoch, self.leader) and self.ledger.promised == epoch

    def promise(
        self, sender: int, incarnation: int, asked: Confirmation, now_s: float
    ) -> list[Action]:
        """Promise `asked.epoch` to `sender`; the answer goes out when that is durable."""
        actions: list[Action] = []
        if self.reign is not None or self.candidacy is not None:
            actions += self.look(now_s, f"center {sender} confirmed epoch {asked.epoch}")
        self._lease_s = min(asked.lease_s, LEASE_MAX_S)
        self.be_patient(now_s)
        if (self.leader, self.epoch) != (sender, asked.epoch):
            actions += self._become(State.OBSERVING, sender, asked.epoch, "confirmed")
            self.followed = replace(self.followed, pinged=False)
        self._promised_to = (asked.epoch, sender, incarnation)
        if self.ledger.durable.accepted_epoch == asked.epoch:
            return actions + self._follow(sender, incarnation, asked, now_s)
        if self.promising(asked.epoch):
            return actions
        self._promising = (asked.epoch, sender)
        return actions + self.ledger.accept(
            asked.epoch,
            lambda done_s: self._follow(sender, incarnation, asked, done_s),
            forgot=not self.boot.trusted,
        )

    def _follow(
        self, sender: int, incarnation: int, asked: Confirmation, now_s: float
    ) -> list[Action]:
        self._promising = None
        stands = (self.leader, self.epoch, self.ledger.promised)
        if stands != (sender, asked.epoch, asked.epoch):
            return []
        self.be_patient(now_s)
        record = self.ledger.durable
        answer = Acceptance(
            asked.epoch,
            incarnation,
            record.map if record.stamp > asked.stamp else None,
            record.committed,
            record.stamp,
            self.voters.digest,
        )
        following = self._become(State.FOLLOWING, sender, asked.epoch, "promised")
        return [Send(sender, answer), *following]

    def commit_followed(self, now_s: float) -> list[Action]:
        """Serve the durable map if the leader has said that it is committed."""
        record = self.ledger.durable
        if record.map is None or record.stamp != self.followed.committed:
            return []
        served = self.served.serve(record.map, now_s)
        return served + self.ledger.mark_committed(record.stamp)

    # Time -----------------------------------------------------------------------------------

    def tick(self, now_s: float) -> list[Action]:
        """Do what is due in the present role."""
        actions = self.ledger.probe(now_s, damaged=self.boot.damaged)
        needs_disk = self.reign is not None or self.candidacy is not None
        if (needs_disk or self.state is State.FOLLOWING) and self.disk_fails(now_s):
            actions += self.look(now_s, f"cannot write: {self.ledger.trouble}")
        if self.reign is not None:
            return actions + self.reign.tick(now_s)
        if self.candidacy is not None:
            actions += self.candidate_tick(now_s)
        elif self.state is State.LOOKING:
            if self.election.retry_due(now_s):
                actions += self._canvass_again(now_s)
        elif now_s >= self.patience_until_s:
            actions += self.look(now_s, f"center {self.leader} is silent")
        if self.state in (State.LOOKING, State.OBSERVING) and now_s >= self._fetch_s:
            actions += self._fetch(self.peers.informed(now_s - self.timing.patience_s), now_s)
        return actions

    def _fetch(self, informed: Iterable[int], now_s: float) -> list[Action]:
        self._fetch_s = now_s + FETCH_S
        peers = list(informed)
        if not peers or not self.boot.trusted:
            return []
        self._fetched += 1
        return [Send(peers[self._fetched % len(peers)], Fetch(self.served.stamp))]

    def stretch(self, lag_s: float) -> None:
        """Move every time-out later by the node's own lag; the lease alone is not moved."""
        self.patience_until_s += lag_s
        self.election.stretch(lag_s)
        if self.candidacy is not None:
            self.candidacy.until_s += lag_s
        if self.reign is not None:
            self.reign.stretch(lag_s)

    def deadline_s(self) -> float:
        """Return when something is due in the present role."""
        if self.reign is not None:
            return self.reign.deadline_s()
        if self.candidacy is not None:
            return min(self._beat_s, self.candidacy.until_s)
        if self.state is State.LOOKING:
            return min(self.election.deadline_s(), self._fetch_s)
        if self.state is State.OBSERVING:
            return min(self.patience_until_s, self._fetch_s)
        return self.patience_until_s
