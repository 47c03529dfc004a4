"""One center, fed by hand, with a disk that answers when asked to."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, TypeVar

from center.core.ballot import Ballot, State
from center.core.events import (
    Action,
    Event,
    Message,
    Persist,
    Persisted,
    Plan,
    Planned,
    Send,
    Tick,
)
from center.core.messages import (
    Acceptance,
    Body,
    Confirmation,
    Introduction,
    Proposal,
)
from center.core.node import Node
from center.core.record import MapRecord, Record
from libevrpc.core.clustermap import ClusterMap
from unit_test.center_core.pump import PlainPlanner, voters_of

DIGEST = "d1gest"
Kind = TypeVar("Kind")


def map_record(epoch: int, version: int) -> MapRecord:
    return MapRecord(epoch, version, (0, 0), ClusterMap("c", epoch, version).encode())


KEPT = map_record(3, 5)
RECORD = Record("c", 3, KEPT, True)


class Bench:
    """Center 1 of three with a disk of its own that answers when asked to."""

    def __init__(
        self, record: Record | None = RECORD, *, disk: bool = True, **options: Any
    ) -> None:
        self.now_s = 0.0
        self.disk = disk
        self.writes: list[Persist] = []
        self.node = Node(
            1,
            voters_of(3),
            record,
            0.0,
            chance=random.Random(1),
            planner=PlainPlanner,
        )
        self.feed(Tick())

    def feed(self, event: Event) -> list[Action]:
        actions = self.node.step(event, self.now_s)
        for action in list(actions):
            if isinstance(action, Persist):
                self.writes.append(action)
                if self.disk:
                    actions += self.feed(Persisted(action.token))
            elif isinstance(action, Plan):
                actions += self.feed(Planned(action.token, action.job.run()))
        return actions

    def hear(self, sender: int, body: Body, incarnation: int | None = None) -> list[Action]:
        return self.feed(Message(sender, sender * 10 if incarnation is None else incarnation, body))

    def later(self, span_s: float) -> list[Action]:
        """Let time pass in naps that are never late."""
        until_s = self.now_s + span_s
        actions: list[Action] = []
        while self.now_s < until_s:
            self.now_s = min(until_s, self.node.next_deadline_s())
            actions += self.feed(Tick())
        return actions

    @property
    def state(self) -> State:
        return self.node.snapshot(self.now_s).state

    def stands(self) -> int:
        """Have center 1 elected; return the epoch it asks for."""
        ballot = Ballot(3, 5, 0, 1)
        for peer in (2, 3):
            vote = Proposal(1, ballot, State.LOOKING, 0, 3, (3, 5), DIGEST, 0)
            actions = self.hear(peer, vote)
        asked = said(actions, Confirmation)
        return asked[0].epoch

    def leads(self) -> int:
        """Have center 1 lead; return the epoch."""
        epoch = self.stands()
        self.hear(2, self.acceptance(epoch))
        assert self.state is State.LEADING
        return epoch

    def acceptance(self, promised: int, /, **more: Any) -> Acceptance:
        plain = Acceptance(promised, self.node.incarnation, None, False, (3, 5), DIGEST)
        return replace(plain, **more)

    def follows(self, epoch: int = 4) -> None:
        """Have center 1 follow center 3."""
        self.hear(3, confirmation(epoch))
        assert self.state is State.FOLLOWING


def confirmation(epoch: int, **more: Any) -> Confirmation:
    return replace(Confirmation(epoch, False, (3, 5), "c", DIGEST), **more)


def said(actions: list[Action], kind: type[Kind], to: int | None = None) -> list[Kind]:
    return [
        each.message
        for each in actions
        if isinstance(each, Send) and isinstance(each.message, kind) and to in (None, each.to)
    ]


def introduction(bench: Bench, **more: Any) -> Introduction:
    plain = Introduction(bench.node.incarnation, True, 0, (0, 0), State.LOOKING, None, 0, DIGEST, 0)
    return replace(plain, **more)
