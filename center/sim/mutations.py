"""Production code with one check or one write taken away: what the checkers must notice.

Nothing here is a switch in production code. Each mutation replaces one attribute of a class
or module for as long as it is applied, in the process that plays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from center.core import members, quorum
from center.core.assignment import _Stock, _Table
from center.core.ballot import Stamp, State
from center.core.boot import Boot
from center.core.election import Election
from center.core.events import Action, Persist, Send
from center.core.leadership import Candidacy, Lease
from center.core.ledger import Ledger, Then
from center.core.members import Members
from center.core.messages import Confirmation, Departure, Ping, Pong, Put, Relay, Stored
from center.core.publication import Publication
from center.core.quorum import Outcome
from center.core.record import MapRecord, Record
from center.core.reign import Reign
from center.core.role import Followed, Role
from center.core.talk import Talk
from libevrpc.core.mapcache import Answer, CacheAction, MapAnswer, MapCache

__all__ = ["MUTATIONS", "Mutation", "applied"]


@dataclass(frozen=True, slots=True)
class Mutation:
    """One thing taken away.

    Attributes:
        name: short.
        what: the effect, in one line.
        target: class or module.
        attribute: of the target.
        instead: made from what is there.
    """

    name: str
    what: str
    target: Any
    attribute: str
    instead: Callable[[Any], Any]


@contextmanager
def applied(mutation: Mutation) -> Iterator[None]:
    """Play with `mutation` in this process."""
    before = mutation.target.__dict__[mutation.attribute]
    setattr(mutation.target, mutation.attribute, mutation.instead(before))
    try:
        yield
    finally:
        setattr(mutation.target, mutation.attribute, before)


MUTATIONS: list[Mutation] = []
"""All of them, in the order of the protocol."""


def _mutation(
    what: str, target: Any, attribute: str
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    def enter(instead: Callable[[Any], Any]) -> Callable[[Any], Any]:
        name = instead.__name__.replace("_", " ")
        MUTATIONS.append(Mutation(name, what, target, attribute, instead))
        return instead

    return enter


# What must be durable -------------------------------------------------------------------------


@_mutation("the accepted epoch is not written", Ledger, "_persist")
def promise_not_durable(before: Any) -> Any:
    def _persist(self: Ledger, record: Record) -> Persist:
        persist: Persist = before(self, record)
        return replace(persist, record=replace(record, accepted_epoch=0))

    return _persist


@_mutation("the map is not written", Ledger, "_persist")
def map_not_durable(before: Any) -> Any:
    def _persist(self: Ledger, record: Record) -> Persist:
        persist: Persist = before(self, record)
        return replace(persist, record=replace(record, map=None, committed=False))

    return _persist


@_mutation("nothing is written", Ledger, "_persist")
def nothing_durable(before: Any) -> Any:
    def _persist(self: Ledger, record: Record) -> Persist:
        persist: Persist = before(self, record)
        return replace(persist, record=Record())

    return _persist


@_mutation("a follower promises before the promise is durable", Role, "promise")
def promise_before_it_is_durable(before: Any) -> Any:
    def promise(
        self: Role, sender: int, incarnation: int, asked: Confirmation, now_s: float
    ) -> list[Action]:
        actions: list[Action] = before(self, sender, incarnation, asked, now_s)
        return actions + self._follow(sender, incarnation, asked, now_s)

    return promise


@_mutation("a candidate leads before its own promise is durable", Candidacy, "outcome")
def own_promise_not_awaited(before: Any) -> Any:
    def outcome(self: Candidacy) -> Outcome:
        return quorum.tally(len(self.accepted | {self._me}), len(self.refused), self._voters)

    return outcome


@_mutation("a follower acknowledges a map before it is durable", Talk, "_on_put")
def map_acked_before_it_is_durable(before: Any) -> Any:
    def _on_put(self: Talk, sender: int, put: Put) -> list[Action]:
        actions: list[Action] = before(self, sender, put)
        if any(isinstance(each, Persist) for each in actions):
            actions.append(Send(sender, Stored(put.epoch, put.map.stamp)))
        return actions

    return _on_put


@_mutation("a pong tells of a map that is still being written", Talk, "_on_ping")
def pong_before_the_map_is_durable(before: Any) -> Any:
    def _on_ping(self: Talk, sender: int, ping: Ping, now_s: float) -> list[Action]:
        newest = self._role.ledger.newest.stamp
        actions: list[Action] = before(self, sender, ping, now_s)
        return [
            Send(each.to, replace(each.message, stamp=newest))
            if isinstance(each, Send) and isinstance(each.message, Pong)
            else each
            for each in actions
        ]

    return _on_ping


@_mutation("a leader commits without a copy of its own", Publication, "stored")
def own_copy_not_awaited(before: Any) -> Any:
    def stored(self: Publication, sender: int, stamp: Stamp) -> MapRecord | None:
        if not self.busy or stamp != self.stamp:
            return None
        self._holders.add(sender)
        if quorum.tally(len(self._holders), 0, self._voters) is not Outcome.WON:
            return None
        self.committed = stamp
        return self.newest

    return stored


@_mutation("a failed write counts as done", Ledger, "on_failed")
def failed_write_counts(before: Any) -> Any:
    def on_failed(self: Ledger, token: int, text: str, now_s: float) -> list[Action]:
        return self.on_persisted(token, now_s)

    return on_failed


@_mutation("a center without memory votes at once", Boot, "__init__")
def first_boot_rule_off(before: Any) -> Any:
    def __init__(self: Boot, others: tuple[int, ...], *, trusted: bool, damaged: bool) -> None:  # noqa: N807
        before(self, others, trusted=True, damaged=damaged)

    return __init__


@_mutation("a wiped center that has promised counts as one that remembers", Ledger, "accept")
def loss_of_memory_forgotten(before: Any) -> Any:
    def accept(self: Ledger, epoch: int, then: Then, *, forgot: bool = False) -> list[Action]:
        actions: list[Action] = before(self, epoch, then)
        return actions

    return accept


@_mutation("the name of a cluster counts before any of its maps is committed", Ledger, "cluster_id")
def unborn_cluster_counts(before: Any) -> Any:
    return property(lambda self: self.durable.cluster_id)


# Epochs ---------------------------------------------------------------------------------------


@_mutation("the winner of an election leads without a quorum of promises", Candidacy, "outcome")
def no_handshake(before: Any) -> Any:
    def outcome(self: Candidacy) -> Outcome:
        return Outcome.WON if self._me in self.accepted else Outcome.PENDING

    return outcome


@_mutation("half of the centers are a quorum", quorum, "majority")
def half_is_a_quorum(before: Any) -> Any:
    return lambda voters: max(1, voters // 2)


@_mutation("any epoch is promised to anybody", Role, "may_promise")
def any_epoch_promised(before: Any) -> Any:
    return lambda self, sender, incarnation, asked: True


@_mutation("one epoch is promised to several processes", Role, "may_promise")
def epoch_promised_twice(before: Any) -> Any:
    return lambda self, sender, incarnation, asked: asked.epoch >= self.ledger.promised


@_mutation("followers store maps of any epoch", Talk, "_on_put")
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


@_mutation("followers obey a leader of a smaller epoch than they promised", Talk, "_on_ping")
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


@_mutation("a winner leads on with its own map only", Candidacy, "_adopt")
def own_map_only(before: Any) -> Any:
    def _adopt(self: Candidacy, offered: MapRecord | None) -> None:
        if self._me not in self.accepted or self.accepted == {self._me}:
            before(self, offered)

    return _adopt


@_mutation("a candidate overlooks what it stores while it asks", Candidacy, "accept_own")
def map_of_the_meantime_overlooked(before: Any) -> Any:
    def accept_own(self: Candidacy, own: MapRecord | None) -> None:
        if self._me not in self.accepted:
            before(self, own)

    return accept_own


# Commits --------------------------------------------------------------------------------------


@_mutation("a leader commits what it alone has", Publication, "stored")
def leader_commits_alone(before: Any) -> Any:
    def stored(self: Publication, sender: int, stamp: Stamp) -> MapRecord | None:
        if sender != self._me or not self.busy or stamp != self.stamp:
            return None
        self.committed = stamp
        return self.newest

    return stored


@_mutation("copies of any map count for the newest", Publication, "stored")
def any_copy_counts(before: Any) -> Any:
    def stored(self: Publication, sender: int, stamp: Stamp) -> MapRecord | None:
        committed: MapRecord | None = before(self, sender, self.stamp)
        return committed

    return stored


@_mutation("followers serve what they store, committed or not", Talk, "_stored")
def followers_serve_uncommitted(before: Any) -> Any:
    def _stored(self: Talk, sender: int, put: Put, now_s: float) -> list[Action]:
        actions: list[Action] = before(self, sender, put, now_s)
        return actions + self._role.served.serve(put.map, now_s)

    return _stored


@_mutation("followers serve what they have when anything is committed", Role, "commit_followed")
def commits_not_compared(before: Any) -> Any:
    def commit_followed(self: Role, now_s: float) -> list[Action]:
        record = self.ledger.durable
        return [] if record.map is None else self.served.serve(record.map, now_s)

    return commit_followed


@_mutation("a center that starts serves what it has, committed or not", Ledger, "__init__")
def restart_serves_uncommitted(before: Any) -> Any:
    def __init__(self: Ledger, record: Record | None, digest: str, generation: int) -> None:  # noqa: N807
        if record is not None and record.map is not None:
            record = replace(record, committed=True)
        before(self, record, digest, generation)

    return __init__


@_mutation("a relayed map is served though a newer one is stored", Talk, "_on_relay")
def older_relay_served(before: Any) -> Any:
    def _on_relay(self: Talk, relay: Relay, now_s: float) -> list[Action]:
        role = self._role
        if role.state is State.FOLLOWING or relay.map.stamp > role.ledger.newest.stamp:
            actions: list[Action] = before(self, relay, now_s)
            return actions
        return role.served.serve(relay.map, now_s)

    return _on_relay


@_mutation("clients take any map", MapCache, "_take_ours")
def clients_take_any_map(before: Any) -> Any:
    def _take_ours(self: MapCache, answer: Answer, actions: list[CacheAction]) -> bool | None:
        if isinstance(answer, MapAnswer) and answer.map is not None:
            self._adopt(answer.map, answer.centers, actions)
            return True
        taken: bool | None = before(self, answer, actions)
        return taken

    return _take_ours


# Leases ---------------------------------------------------------------------------------------


@_mutation("a lease never ends", Lease, "until_s")
def lease_never_ends(before: Any) -> Any:
    return lambda self, now_s: float("inf")


@_mutation("the leader's own lag stretches its lease", Reign, "stretch")
def lag_stretches_the_lease(before: Any) -> Any:
    def stretch(self: Reign, lag_s: float) -> None:
        before(self, lag_s)
        contacts = vars(self.lease)["_contact_s"]
        contacts.update({peer: at_s + lag_s for peer, at_s in contacts.items()})

    return stretch


@_mutation("the lease counts from the answer, not from the question", Lease, "answered")
def lease_counts_from_the_answer(before: Any) -> Any:
    def answered(self: Lease, sender: int, sequence: int) -> None:
        self.contact(sender, max(self._sent_s.values(), default=0.0))

    return answered


@_mutation("a leader heeds no larger epoch", Role, "outranked")
def larger_epoch_ignored(before: Any) -> Any:
    return lambda self, epoch, now_s: []


class _EndlessLease:
    """A lease for whoever asks until when."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lease, name)

    def until_s(self, now_s: float) -> float:
        return float("inf")


# Servers --------------------------------------------------------------------------------------


@_mutation("a leader out of contact judges servers", Reign, "tick")
def expiry_without_a_lease(before: Any) -> Any:
    def tick(self: Reign, now_s: float) -> list[Action]:
        lease = self.lease
        self.lease = cast(Lease, _EndlessLease(lease))
        try:
            actions: list[Action] = before(self, now_s)
        finally:
            self.lease = lease
        return actions

    return tick


@_mutation("all servers expire together", Members, "sweep")
def empty_over_full(before: Any) -> Any:
    def sweep(self: Members, now_s: float) -> tuple[bool, list[Action]]:
        expired = [
            address
            for address, age_s in self.ages_s(now_s).items()
            if age_s >= self._timing.expire_s
        ]
        for address in expired:
            del self._members[address]
        return bool(expired), []

    return sweep


@_mutation("servers that fall silent together expire like one", members, "MASS_MIN")
def mass_expires(before: Any) -> Any:
    return 1_000_000


@_mutation("the last server leaves when its port refuses", Members, "depart")
def last_server_refused(before: Any) -> Any:
    def depart(self: Members, departure: Departure, now_s: float) -> bool:
        changed: bool = before(self, replace(departure, goodbye=True), now_s)
        return changed

    return depart


# Slots ----------------------------------------------------------------------------------------


@_mutation("a round moves as many slots as it likes", _Table, "rebalance")
def moves_without_budget(before: Any) -> Any:
    return lambda self, ring, band, moves_max: before(self, ring, 0.0, len(self.owners))


@_mutation("slots are chosen by memory addresses", _Stock, "pop")
def assignment_by_chance(before: Any) -> Any:
    chosen = [0]

    def pop(self: _Stock, donor: int, taker: int) -> int:
        chosen[0] += 1
        slots = self._slots_of[donor]
        if slots and not self._homes_of[donor]:
            return slots.pop(chosen[0] % len(slots))
        slot: int = before(self, donor, taker)
        return slot

    return pop


# Coming right again ---------------------------------------------------------------------------


@_mutation("a ballot is sent once only", Election, "retry_due")
def ballots_not_repeated(before: Any) -> Any:
    return lambda self, now_s: False


@_mutation("nobody joins a leader that others follow", Election, "established")
def established_leader_unseen(before: Any) -> Any:
    return lambda self: None


@_mutation("a leader gives up for whoever is looking", Talk, "_on_proposal")
def leader_yields_to_the_looking(before: Any) -> Any:
    def _on_proposal(self: Talk, sender: int, vote: Any, now_s: float) -> list[Action]:
        role = self._role
        if role.state is State.LEADING and vote.state is State.LOOKING:
            return role.look(now_s, f"center {sender} looks for a leader")
        actions: list[Action] = before(self, sender, vote, now_s)
        return actions

    return _on_proposal


@_mutation("centers with another list count like the others", Talk, "_strange")
def other_lists_count(before: Any) -> Any:
    return lambda self, sender, digest, now_s: None
