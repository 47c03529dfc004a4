"""Bugs of epochs, commits and leases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from center.core import quorum
from center.core.ballot import Stamp, State
from center.core.events import Action, Send
from center.core.leadership import Candidacy, Lease
from center.core.ledger import Ledger
from center.core.messages import (
    Ping,
    Pong,
    Proposal,
    Put,
    Relay,
    Stored,
)
from center.core.publication import Publication
from center.core.quorum import Outcome
from center.core.record import MapRecord, Record
from center.core.reign import Reign
from center.core.role import Followed, Role
from center.core.talk import Talk
from center.sim.mutations.planting import planted
from libevrpc.core.mapcache import Answer, CacheAction, MapAnswer, MapCache

__all__: list[str] = []


@planted("who joins a leader votes for him by its own map", Role, "proposal")
def vote_names_another_map(before: Any) -> Any:
    def proposal(self: Role) -> Proposal:
        vote: Proposal = before(self)
        return replace(vote, ballot=replace(self.election.ballot, id=vote.ballot.id))

    return proposal


@planted("the winner of an election leads without a quorum of promises", Candidacy, "outcome")
def no_handshake(before: Any) -> Any:
    def outcome(self: Candidacy) -> Outcome:
        return Outcome.WON if self._me in self.accepted else Outcome.PENDING

    return outcome


@planted("half of the centers are a quorum", quorum, "majority")
def half_is_a_quorum(before: Any) -> Any:
    return lambda voters: max(1, voters // 2)


@planted("any epoch is promised to anybody", Role, "may_promise")
def any_epoch_promised(before: Any) -> Any:
    return lambda self, sender, incarnation, asked: True


@planted("one epoch is promised to several processes", Role, "may_promise")
def epoch_promised_twice(before: Any) -> Any:
    return lambda self, sender, incarnation, asked: asked.epoch >= self.ledger.promised


@planted("followers store maps of any epoch", Talk, "_on_put")
def older_epoch_acked(before: Any) -> Any:
    def _on_put(self: Talk, sender: int, put: Put) -> list[Action]:
        ledger, stamp = self._role.ledger, put.map.stamp
        if ledger.newest.stamp < stamp:
            return ledger.store(
                put.cluster_id, put.map, False, lambda done_s: self._stored(sender, put, done_s)
            )
        if ledger.durable.stamp == stamp:
            return [Send(sender, Stored(put.epoch, stamp))]
        return []

    return _on_put


@planted("followers obey a leader of a smaller epoch than they promised", Talk, "_on_ping")
def older_epoch_obeyed(before: Any) -> Any:
    def _on_ping(self: Talk, sender: int, ping: Ping, now_s: float) -> list[Action]:
        role = self._role
        if ping.epoch >= role.ledger.promised:
            actions: list[Action] = before(self, sender, ping, now_s)
            return actions
        role.be_patient(now_s)
        committed = max(ping.committed, role.followed.committed)
        role.followed = Followed(committed, ping.silent, pinged=True)
        pong = Pong(ping.epoch, ping.sequence, role.ledger.durable.stamp)
        return [Send(sender, pong), *role.commit_followed(now_s)]

    return _on_ping


@planted("a winner leads on with its own map only", Candidacy, "_adopt")
def own_map_only(before: Any) -> Any:
    def _adopt(self: Candidacy, offered: MapRecord | None) -> None:
        if self._me not in self.accepted or self.accepted == {self._me}:
            before(self, offered)

    return _adopt


@planted("a candidate overlooks what it stores while it asks", Candidacy, "accept_own")
def map_of_the_meantime_overlooked(before: Any) -> Any:
    def accept_own(self: Candidacy, own: MapRecord | None) -> None:
        if self._me not in self.accepted:
            before(self, own)

    return accept_own


@planted("a leader commits what it alone has", Publication, "stored")
def leader_commits_alone(before: Any) -> Any:
    def stored(self: Publication, sender: int, stamp: Stamp) -> MapRecord | None:
        if sender != self._me or not self.busy or stamp != self.stamp:
            return None
        self.committed = stamp
        return self.newest

    return stored


@planted("copies of any map count for the newest", Publication, "stored")
def any_copy_counts(before: Any) -> Any:
    def stored(self: Publication, sender: int, stamp: Stamp) -> MapRecord | None:
        committed: MapRecord | None = before(self, sender, self.stamp)
        return committed

    return stored


@planted("followers serve what they store, committed or not", Talk, "_stored")
def followers_serve_uncommitted(before: Any) -> Any:
    def _stored(self: Talk, sender: int, put: Put, now_s: float) -> list[Action]:
        actions: list[Action] = before(self, sender, put, now_s)
        return actions + self._role.served.serve(put.map, now_s)

    return _stored


@planted("followers serve what they have when anything is committed", Role, "commit_followed")
def commits_not_compared(before: Any) -> Any:
    def commit_followed(self: Role, now_s: float) -> list[Action]:
        record = self.ledger.durable
        return [] if record.map is None else self.served.serve(record.map, now_s)

    return commit_followed


@planted("a center that starts serves what it has, committed or not", Ledger, "__init__")
def restart_serves_uncommitted(before: Any) -> Any:
    def __init__(self: Ledger, record: Record | None, digest: str, generation: int) -> None:  # noqa: N807
        if record is not None and record.map is not None:
            record = replace(record, committed=True)
        before(self, record, digest, generation)

    return __init__


@planted("a relayed map is served though a newer one is stored", Talk, "_on_relay")
def older_relay_served(before: Any) -> Any:
    def _on_relay(self: Talk, relay: Relay, now_s: float) -> list[Action]:
        role = self._role
        if role.state is State.FOLLOWING or relay.map.stamp > role.ledger.newest.stamp:
            actions: list[Action] = before(self, relay, now_s)
            return actions
        return role.served.serve(relay.map, now_s)

    return _on_relay


@planted("clients take any map", MapCache, "_take_ours")
def clients_take_any_map(before: Any) -> Any:
    def _take_ours(self: MapCache, answer: Answer, actions: list[CacheAction]) -> bool | None:
        if isinstance(answer, MapAnswer) and answer.map is not None:
            self._adopt(answer.map, answer.centers, actions)
            return True
        taken: bool | None = before(self, answer, actions)
        return taken

    return _take_ours


@planted("a lease never ends", Lease, "until_s")
def lease_never_ends(before: Any) -> Any:
    return lambda self, now_s: float("inf")


@planted("a closed link ends a leader whose lease is longer", Role, "outlasted")
def longer_lease_forgotten(before: Any) -> Any:
    return property(lambda self: False)


@planted("the leader's own lag stretches its lease", Reign, "stretch")
def lag_stretches_the_lease(before: Any) -> Any:
    def stretch(self: Reign, lag_s: float) -> None:
        before(self, lag_s)
        contacts = vars(self.lease)["_contact_s"]
        contacts.update({peer: at_s + lag_s for peer, at_s in contacts.items()})

    return stretch


@planted("the lease counts from the answer, not from the question", Lease, "answered")
def lease_counts_from_the_answer(before: Any) -> Any:
    def answered(self: Lease, sender: int, sequence: int) -> None:
        self.contact(sender, max(self._sent_s.values(), default=0.0))

    return answered


@planted("a leader heeds no larger epoch", Role, "outranked")
def larger_epoch_ignored(before: Any) -> Any:
    return lambda self, epoch, now_s: []
