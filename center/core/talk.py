"""What a center answers to each message of another one."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, assert_never, get_args

from center.core.ballot import LEAP_MAX, State
from center.core.election import Turn
from center.core.events import Action, Log, LogLevel, Send
from center.core.messages import (
    Acceptance,
    Announcement,
    Body,
    Confirmation,
    Fetch,
    Forward,
    Inquiry,
    Introduction,
    Join,
    Ping,
    Pong,
    Proposal,
    Put,
    Refusal,
    Relay,
    Stored,
)
from center.core.role import Followed, Role

__all__ = ["Talk"]

MISMATCH_LOG_S = 60.0
"""How often the same center is told apart as one with another list or another cluster."""


class Talk:
    """The conversation with the other centers, over one `Role`."""

    def __init__(self, role: Role) -> None:
        """Talk for `role`."""
        self._role = role
        self._complained_s: dict[int, float] = {}

    def hear(
        self, sender: int, incarnation: int, body: Body, now_s: float, host: str = ""
    ) -> list[Action]:
        """Take one message of a listed center, which came from `host`."""
        peers = self._role.peers
        peers.hear(sender, incarnation, now_s, host)
        doubled: list[Action] = []
        if peers.doubled(sender, now_s):
            doubled = self._complain(sender, "is two processes: give one another id", now_s)
        number, round_ = _largest_number(body), getattr(body, "round", 0)
        number_max = self._role.largest_number + LEAP_MAX
        if number > number_max or round_ > self._role.election.round + LEAP_MAX:
            number = max(number, round_)
            what = f"speaks of an epoch, version or round {number}: that is not believed"
            return doubled + self._complain(sender, what, now_s)
        return doubled + self._answer(sender, incarnation, body, now_s)

    def _answer(self, sender: int, incarnation: int, body: Body, now_s: float) -> list[Action]:
        role = self._role
        match body:
            case Inquiry():
                # One with another list is answered too: so its side can complain as well.
                complaint = self._strange(sender, body.digest, now_s) or []
                return [*complaint, Send(sender, self._introduction(incarnation, now_s))]
            case Introduction():
                return self._on_introduction(sender, body, now_s)
            case Proposal():
                return self._on_proposal(sender, body, now_s)
            case Confirmation():
                return self._on_confirmation(sender, incarnation, body, now_s)
            case Acceptance():
                return self._on_acceptance(sender, body, now_s)
            case Refusal():
                return self._on_refusal(sender, body, now_s)
            case Announcement():
                role.peers.note(sender, body.state, body.leader, body.epoch)
                return []
            case Join():
                return self._on_join(sender, body, now_s)
            case Ping():
                return self._on_ping(sender, body, now_s)
            case Pong():
                return self._on_pong(sender, body, now_s)
            case Put():
                return self._on_put(sender, body)
            case Stored():
                if role.reign is None or role.reign.epoch != body.epoch:
                    return []
                return role.reign.stored(sender, body.stamp, now_s)
            case Fetch():
                return self._on_fetch(sender, body)
            case Relay():
                return self._on_relay(body, now_s)
            case Forward():
                return [] if role.reign is None else role.reign.forwarded(body, now_s)
            case _:
                assert_never(body)

    def _strange(self, sender: int, digest: str, now_s: float) -> list[Action] | None:
        """Return None if `digest` is ours, else the complaint, now and then."""
        same = digest == self._role.voters.digest
        self._role.peers.tell_list(sender, same=same)
        if same:
            return None
        return self._complain(sender, "has another centers list: it counts for nothing", now_s)

    def _complain(self, sender: int, what: str, now_s: float) -> list[Action]:
        last_s = self._complained_s.get(sender)
        if last_s is not None and now_s - last_s < MISMATCH_LOG_S:
            return []
        self._complained_s[sender] = now_s
        host = self._role.peers.host(sender)
        where = f" at {host}" if host else ""
        return [Log(LogLevel.ERROR, f"center {sender}{where} {what}")]

    # Who is there ---------------------------------------------------------------------------

    def _introduction(self, incarnation: int, now_s: float) -> Introduction:
        role = self._role
        record = role.ledger.newest
        sought = 0 if role.candidacy is None else role.candidacy.epoch
        return Introduction(
            incarnation,
            record.map is None and not record.forgot and not role.boot.damaged,
            max(record.accepted_epoch, sought),
            record.stamp,
            role.state,
            role.leader,
            role.uptime_ms(now_s),
            role.voters.digest,
            role.voters.generation,
        )

    def _on_introduction(self, sender: int, who: Introduction, now_s: float) -> list[Action]:
        role = self._role
        complaint = self._strange(sender, who.digest, now_s)
        if complaint is not None:
            return complaint
        if who.to_incarnation != role.incarnation:
            return []
        role.peers.note(sender, who.state, who.leader, who.accepted_epoch)
        role.epoch_seen = max(role.epoch_seen, who.accepted_epoch)
        if not role.boot.hear(sender, who):
            return []
        if role.boot.floor <= role.ledger.durable.accepted_epoch:
            return self._trusted(now_s)
        return role.ledger.accept(role.boot.floor, self._trusted)

    def _trusted(self, now_s: float) -> list[Action]:
        role = self._role
        role.boot.trust()
        return role.look(now_s, "all centers are new") if role.state is State.LOOKING else []

    # Election -------------------------------------------------------------------------------

    def _on_proposal(self, sender: int, vote: Proposal, now_s: float) -> list[Action]:
        role = self._role
        complaint = self._strange(sender, vote.digest, now_s)
        if complaint is not None:
            return complaint
        leads = vote.state in (State.FOLLOWING, State.LEADING)
        role.peers.note(sender, vote.state, vote.ballot.id if leads else None, vote.epoch)
        role.epoch_seen = max(role.epoch_seen, vote.accepted_epoch)
        actions: list[Action] = []
        abandoned = sender == role.leader and vote.accepted_epoch >= role.epoch
        if vote.state is State.LOOKING and abandoned and role.state is State.FOLLOWING:
            actions += role.look(now_s, f"center {sender} leads no more")
        if role.state is not State.LOOKING:
            if vote.state is State.LOOKING:
                actions.append(Send(sender, role.proposal()))
            return actions
        turn = role.election.take(sender, vote, role.peers.down)
        if not role.boot.trusted:
            return actions
        if turn is Turn.SPREAD:
            actions += role.canvass(now_s)
        elif turn is Turn.ANSWER:
            actions.append(Send(sender, role.proposal()))
        return actions

    # Handshake ------------------------------------------------------------------------------

    def _on_confirmation(
        self, sender: int, incarnation: int, asked: Confirmation, now_s: float
    ) -> list[Action]:
        role = self._role
        complaint = self._strange(sender, asked.digest, now_s)
        if complaint is not None:
            return complaint
        if self._foreign(asked.cluster_id):
            return self._complain(sender, f"belongs to cluster {asked.cluster_id}", now_s)
        if asked.established and not role.boot.may_join(asked.epoch):
            return role.to_all(role.inquiry(now_s))
        if not asked.established and not role.boot.trusted:
            return []
        if role.disk_fails(now_s):
            return []
        if not asked.established and self._is_content(sender):
            return [self._refuse(sender, asked.epoch)]
        if not role.may_promise(sender, incarnation, asked):
            return [self._refuse(sender, asked.epoch)]
        return self._compare_leases(sender, asked, now_s) + role.promise(
            sender, incarnation, asked, now_s
        )

    def _compare_leases(self, sender: int, asked: Confirmation, now_s: float) -> list[Action]:
        own_s = self._role.timing.lease_s
        if asked.lease_s == own_s:
            return []
        what = f"has lease_s = {asked.lease_s:g}, here it is {own_s:g}: set all centers alike"
        return self._complain(sender, what, now_s)

    def _foreign(self, cluster_id: str) -> bool:
        return self._role.ledger.cluster_id not in ("", cluster_id) and bool(cluster_id)

    def _is_content(self, sender: int) -> bool:
        """Whether this center has a leader that it has no reason to give up for `sender`."""
        role = self._role
        if role.state is State.LEADING:
            return True
        if role.state is not State.FOLLOWING:
            return False
        return role.leader != sender and (role.outlasted or role.leader not in role.peers.down)

    def _refuse(self, sender: int, epoch: int) -> Action:
        role = self._role
        return Send(sender, Refusal(epoch, role.ledger.promised, role.leader))

    def _on_acceptance(self, sender: int, promised: Acceptance, now_s: float) -> list[Action]:
        role = self._role
        complaint = self._strange(sender, promised.digest, now_s)
        if complaint is not None:
            return complaint
        if promised.to_incarnation != role.incarnation:
            return []
        role.peers.note(sender, State.FOLLOWING, role.me, promised.epoch)
        if role.reign is not None and role.reign.epoch == promised.epoch:
            return role.reign.joined(sender, promised.stamp, now_s)
        if role.candidacy is None or role.candidacy.epoch != promised.epoch:
            return []
        role.candidacy.accept(sender, promised)
        return role.judge(now_s)

    def _on_refusal(self, sender: int, refusal: Refusal, now_s: float) -> list[Action]:
        role = self._role
        actions = role.outranked(refusal.accepted_epoch, now_s)
        candidacy = role.candidacy
        if candidacy is None or refusal.epoch != candidacy.epoch:
            return actions
        if refusal.leader in (None, role.me):  # content with nobody else: bound to too much
            return actions + role.raise_epoch(now_s)
        candidacy.refuse(sender)
        return actions + role.judge(now_s)

    def _on_join(self, sender: int, join: Join, now_s: float) -> list[Action]:
        role = self._role
        complaint = self._strange(sender, join.digest, now_s)
        if complaint is not None:
            return complaint
        actions = role.outranked(join.accepted_epoch, now_s)
        if role.reign is None:
            return actions
        publication = role.reign.publication
        taken = Confirmation(
            role.reign.epoch,
            True,
            publication.stamp,
            publication.cluster_id,
            join.digest,
            role.timing.lease_s,
        )
        return [*actions, Send(sender, taken)]

    # Following ------------------------------------------------------------------------------

    def _on_ping(self, sender: int, ping: Ping, now_s: float) -> list[Action]:
        role = self._role
        if ping.epoch < role.ledger.promised:
            return [self._refuse(sender, ping.epoch)]
        role.peers.note(sender, State.LEADING, sender, ping.epoch)
        if role.leader == sender and role.state is State.FOLLOWING and role.epoch == ping.epoch:
            role.be_patient(now_s)
            role.followed = Followed(
                max(ping.committed, role.followed.committed), ping.silent, pinged=True
            )
            pong = Pong(ping.epoch, ping.sequence, role.ledger.durable.stamp)
            return [Send(sender, pong), *role.commit_followed(now_s)]
        if sender in role.peers.down:
            return []
        if role.leader == sender and role.promising(ping.epoch):
            role.be_patient(now_s)
            return []
        return role.join(sender, ping.epoch, now_s)

    def _on_pong(self, sender: int, pong: Pong, now_s: float) -> list[Action]:
        role = self._role
        if role.reign is None or pong.epoch != role.reign.epoch:
            return []
        role.peers.note(sender, State.FOLLOWING, role.me, pong.epoch)
        return role.reign.ponged(sender, pong, now_s)

    def _on_put(self, sender: int, put: Put) -> list[Action]:
        role = self._role
        ledger = role.ledger
        following = role.state is State.FOLLOWING and role.leader == sender
        if not following or not put.epoch == put.map.epoch == ledger.promised:
            return []
        if self._foreign(put.cluster_id):
            return []
        stamp = put.map.stamp
        if ledger.newest.stamp < stamp:
            return ledger.store(
                put.cluster_id,
                put.map,
                False,
                lambda done_s: self._stored(sender, put, done_s),
            )
        if ledger.durable.stamp == stamp:
            return [Send(sender, Stored(put.epoch, stamp))]
        return []

    def _stored(self, sender: int, put: Put, now_s: float) -> list[Action]:
        role = self._role
        role.boot.trust()
        committed = role.commit_followed(now_s)
        if role.ledger.promised != put.epoch:  # a later leader was promised during the write
            return committed
        return [Send(sender, Stored(put.epoch, put.map.stamp)), *committed]

    # Beside the leader ----------------------------------------------------------------------

    def _on_fetch(self, sender: int, fetch: Fetch) -> list[Action]:
        role = self._role
        record = role.served.record
        if record is None or record.stamp <= fetch.newer_than:
            return []
        return [Send(sender, Relay(role.ledger.durable.cluster_id, record))]

    def _on_relay(self, relay: Relay, now_s: float) -> list[Action]:
        role = self._role
        if role.state is State.FOLLOWING or role.reign is not None or not role.boot.trusted:
            return []
        if self._foreign(relay.cluster_id):
            return []
        relayed = relay.map
        # A map older than the durable one may be older than what was served before a restart.
        if relayed.stamp == role.ledger.durable.stamp:
            served = role.served.serve(relayed, now_s)
            return served + role.ledger.mark_committed(relayed.stamp)
        if relayed.stamp <= role.ledger.newest.stamp:
            return []
        return role.ledger.store(
            relay.cluster_id, relayed, True, lambda done_s: role.served.serve(relayed, done_s)
        )


def _names_in(kind: type[Any]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the fields of a kind of message that are numbers, stamps, and have both inside."""
    names = {each.name for each in fields(kind)}
    return (
        tuple(names & {"epoch", "accepted_epoch"}),
        tuple(names & {"stamp", "committed", "newer_than"}),
        tuple(names & {"ballot", "map"}),
    )


_NAMES = {kind: _names_in(kind) for kind in get_args(Body)}


def _largest_number(body: Body) -> int:
    """Return the largest epoch or version that a message speaks of, 0 if of none."""
    numbers, stamps, parts = _NAMES[type(body)]
    largest = 0
    for name in numbers:
        largest = max(largest, getattr(body, name))
    for name in stamps:
        stamp = getattr(body, name)
        if isinstance(stamp, tuple):  # an `Acceptance` is committed or not
            largest = max(largest, *stamp)
    for name in parts:
        part = getattr(body, name)
        if part is not None:
            largest = max(largest, part.epoch, part.version)
    return largest
