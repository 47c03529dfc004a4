"""Bugs of what must be durable before anything is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from center.core import quorum
from center.core.ballot import Stamp
from center.core.boot import Boot
from center.core.events import Action, Persist, Send
from center.core.leadership import Candidacy
from center.core.ledger import Ledger, Then
from center.core.messages import (
    Confirmation,
    Ping,
    Pong,
    Put,
    Stored,
)
from center.core.publication import Publication
from center.core.quorum import Outcome
from center.core.record import MapRecord, Record
from center.core.role import Role
from center.core.talk import Talk
from center.sim.mutations.planting import planted

__all__: list[str] = []


@planted("the accepted epoch is not written", Ledger, "_persist")
def promise_not_durable(before: Any) -> Any:
    def _persist(self: Ledger, record: Record) -> Persist:
        persist: Persist = before(self, record)
        return replace(persist, record=replace(record, accepted_epoch=0))

    return _persist


@planted("the map is not written", Ledger, "_persist")
def map_not_durable(before: Any) -> Any:
    def _persist(self: Ledger, record: Record) -> Persist:
        persist: Persist = before(self, record)
        return replace(persist, record=replace(record, map=None, committed=False))

    return _persist


@planted("nothing is written", Ledger, "_persist")
def nothing_durable(before: Any) -> Any:
    def _persist(self: Ledger, record: Record) -> Persist:
        persist: Persist = before(self, record)
        return replace(persist, record=Record())

    return _persist


@planted("a follower promises before the promise is durable", Role, "promise")
def promise_before_it_is_durable(before: Any) -> Any:
    def promise(
        self: Role, sender: int, incarnation: int, asked: Confirmation, now_s: float
    ) -> list[Action]:
        actions: list[Action] = before(self, sender, incarnation, asked, now_s)
        return actions + self._follow(sender, incarnation, asked, now_s)

    return promise


@planted("a candidate leads before its own promise is durable", Candidacy, "outcome")
def own_promise_not_awaited(before: Any) -> Any:
    def outcome(self: Candidacy) -> Outcome:
        return quorum.tally(len(self.accepted | {self._me}), len(self.refused), self._voters)

    return outcome


@planted("a follower acknowledges a map before it is durable", Talk, "_on_put")
def map_acked_before_it_is_durable(before: Any) -> Any:
    def _on_put(self: Talk, sender: int, put: Put) -> list[Action]:
        actions: list[Action] = before(self, sender, put)
        if any(isinstance(each, Persist) for each in actions):
            actions.append(Send(sender, Stored(put.epoch, put.map.stamp)))
        return actions

    return _on_put


@planted("a pong tells of a map that is still being written", Talk, "_on_ping")
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


@planted("a leader commits without a copy of its own", Publication, "stored")
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


@planted("a failed write counts as done", Ledger, "on_failed")
def failed_write_counts(before: Any) -> Any:
    def on_failed(self: Ledger, token: int, text: str, now_s: float) -> list[Action]:
        return self.on_persisted(token, now_s)

    return on_failed


@planted("a center without memory votes at once", Boot, "__init__")
def first_boot_rule_off(before: Any) -> Any:
    def __init__(self: Boot, others: tuple[int, ...], *, trusted: bool, damaged: bool) -> None:  # noqa: N807
        before(self, others, trusted=True, damaged=damaged)

    return __init__


@planted("a wiped center that has promised counts as one that remembers", Ledger, "accept")
def loss_of_memory_forgotten(before: Any) -> Any:
    def accept(self: Ledger, epoch: int, then: Then, *, forgot: bool = False) -> list[Action]:
        actions: list[Action] = before(self, epoch, then)
        return actions

    return accept


@planted("the name of a cluster counts before any of its maps is committed", Ledger, "cluster_id")
def unborn_cluster_counts(before: Any) -> Any:
    return property(lambda self: self.durable.cluster_id)
